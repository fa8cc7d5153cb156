"""The things that handles stand for."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]


@dataclass
class Device:
    """One NPU; `references` counts set_device against reset_device."""

    id: int
    references: int = 0
    default_context: int = 0
    lost: bool = False


@dataclass
class Work:
    """One queued execution, done when the stream is synchronised; `drop` undoes its queueing."""

    perform: Callable[[], None]
    drop: Callable[[], None]


@dataclass
class Stream:
    """A queue in a context."""

    handle: int
    context: int
    queue: deque[Work] = field(default_factory=deque)
    # two threads may synchronise one stream; its work is done once and in order
    turn: threading.RLock = field(default_factory=threading.RLock)


@dataclass
class Context:
    """A context with its own default stream, which has the handle 0."""

    handle: int
    device: int
    is_default: bool
    default_stream: Stream


@dataclass
class Allocation:
    """Memory of a device, or pinned memory of the host; `users` are executions at work on it.

    Freed memory stays as noise, so that a late use is seen and never crashes the tests.
    """

    handle: int  # its address
    size: int
    device: int
    data: U8
    freed: bool = False
    users: int = 0


@dataclass(frozen=True)
class Tensor:
    """An input or output as the descriptor reports it."""

    name: str
    dims: tuple[int, ...]
    dtype: int

    def shape(self, batch: int) -> tuple[int, ...]:
        """Dims with the batch in the place of -1."""
        return tuple(batch if d == -1 else d for d in self.dims)


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """The content of a simulated .om."""

    soc: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    gears: tuple[int, ...]
    precision: str
    keep_fp32: tuple[str, ...]
    aipp: dict[str, Any] | None
    onnx: bytes

    @property
    def largest(self) -> int:
        """The batch of the reported sizes and output dims."""
        return max(self.gears, default=1)


@dataclass
class Model:
    """A loaded model.

    Attributes:
        queued: executions queued or at work, by their stream's id.
        gear: as set_dynamic_batch_size left it, None if it was never called.
    """

    handle: int
    context: int
    device: int
    artifact: Artifact
    session: Any
    queued: Counter[int] = field(default_factory=Counter)
    gear: int | None = None


@dataclass
class DataBuffer:
    """Address and size, owned by neither."""

    address: int
    size: int
