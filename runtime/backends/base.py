"""What every engine must do, with the checks made once for all."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from runtime.errors import (
    DEVICE_LOST,
    BackendError,
    ConfigError,
    InferenceError,
    InputError,
    StarmarkError,
)
from runtime.model.manifest import Manifest
from runtime.model.spec import ModelSpec

F32 = NDArray[np.float32]

Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

# In the normalised frame; landmarks lie in [-1, 1], moments in [-2, 2].
LARGEST_OUTPUT = 2.5
DEBUG_BUNDLE = (
    "a debug bundle: every call also fetches the tensors inside the network, tens of MB a picture."
    " Deploy one that was exported without --taps."
)
# More than any machine has cores; engines allocate for each before they find out.
MOST_THREADS = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class Outputs:
    """The network's outputs for a batch.

    Attributes:
        landmarks: float32 (N, P, 2), x and y in [-1, 1].
        covariance: float32 (N, P, 3) as xx, xy, yy, in the same unit squared.
        timings: seconds the batch took by stage: h2d (host to device), compute, d2h. An engine that
            cannot tell them apart gives compute alone.
        taps: of a debug bundle, float32 (N, C, H, W) by the names of `spec.taps`; else empty. They
            may hold NaN and infinities, so that they show where a tensor overflows.
    """

    landmarks: F32
    covariance: F32
    timings: Mapping[str, float] = field(default_factory=dict)
    taps: Mapping[str, F32] = field(default_factory=dict)

    def of(self, index: int) -> Outputs:
        """One picture's share, still with a batch axis of 1; a view."""
        part = slice(index, index + 1)
        return Outputs(
            landmarks=self.landmarks[part],
            covariance=self.covariance[part],
            timings=self.timings,
            taps={name: tap[part] for name, tap in self.taps.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The caller's choices for any engine.

    Attributes:
        allow_hf32: torch_npu may run convolutions in HF32 (11 mantissa bits), and in fp16 on chips
            without fp32: faster, and not fp32. Other engines have no such switch.
        threads: processor threads that one call may use; None is the engine's own default, one for
            each core. Several streams or processes on one machine divide the cores between them:
            more threads than cores is slower than either. Of no use on an NPU.
        throughput: one call for each thread, side by side, instead of one call on all of them: more
            pictures a second, and each takes longer. For many pictures that are there at once. On a
            CPU, as far as half of the free memory goes; other devices pass over it.
        precision: what OpenVINO computes in; None is fp32. Other engines refuse it: they run in
            the file's own.
        weights_key: of a checkpoint, the dictionary whose weights are taken; "" finds it.
        input_size: of a checkpoint, the side it was trained at, px; None is what the file says of
            itself, or 256. Bundles and graphs carry theirs.

    Raises:
        ConfigError: no such number of threads.
    """

    allow_hf32: bool = False
    threads: int | None = None
    throughput: bool = False
    precision: Precision | None = None
    weights_key: str = ""
    input_size: int | None = None

    @property
    def of_weights(self) -> dict[str, str]:
        """What was stated about a checkpoint, by its option's name."""
        stated = {"weights-key": self.weights_key, "input-size": self.input_size or ""}
        return {name: str(value) for name, value in stated.items() if value}

    def __post_init__(self) -> None:
        given = self.threads
        if given is not None and (type(given) is not int or not 1 <= given <= MOST_THREADS):
            raise ConfigError(
                "threads",
                expected=f"1 to {MOST_THREADS}, or nothing for the engine's own default",
                got=repr(given),
                action="Pass at most as many as this machine has cores",
            )


DEFAULT_SETTINGS = Settings()


class Backend(ABC):
    """One model, opened on one device. Safe to share between threads.

    Attributes:
        name: engine and version, for example "onnxruntime 1.32.0 CPUExecutionProvider".
        device: where it runs, as it was resolved ("cpu", "npu:0", ...).
        parameters: number of the model's parameters, None where unknown.
        checkpoint_sha256: of the weights the model was made from; empty where unknown.
        arithmetic: what it computes in: fp32, hf32, fp16, bf16 or int8, a rehearsal's, or an .om's
            precision mode as ATC was given it; empty where unknown.
        at_once: calls that it runs side by side; others wait, or share what these have.
        batches: the batches it was made for, ascending; others are split or padded to them. Empty
            where it takes any.
        reasons: why `auto` took this device, and why each better one was refused.
    """

    name: str
    device: str
    spec: ModelSpec
    parameters: int | None = None
    checkpoint_sha256: str = ""
    arithmetic: str = ""
    manifest: Manifest | None = None
    at_once: int = 1
    batches: tuple[int, ...] = ()
    reasons: tuple[str, ...] = ()

    _closed = False
    _lost_to: StarmarkError | None = None

    def __new__(cls, *_: Any, **__: Any) -> Backend:
        """Note the process, which no subclass can then forget."""
        backend = super().__new__(cls)
        backend._process = os.getpid()
        return backend

    _process: int

    def __reduce__(self) -> tuple[object, ...]:
        raise BackendError(
            self.name,
            expected="use in the process that opened it",
            got="an open engine to be pickled or copied, for example into a worker process",
            action="Open a Detector in each process, for example in the initializer of its pool",
        )

    def run(self, batch: NDArray[Any]) -> Outputs:
        """Run the network on packed crops.

        Args:
            batch: as `spec.input` describes it, (N, ...), N at least 1. Its memory is reused for
                the next batch once this returns: outputs must not refer to it.

        Raises:
            InputError: another shape or dtype.
            InferenceError: closed, the engine failed, or its outputs are not what they must be.
            StarmarkError: the device was lost in an earlier call; what that call raised.
        """
        self._check_call(batch)
        outputs = self._run(batch)
        for name, tap in outputs.taps.items():
            self._check_shape(name, tap, (len(batch), *self.spec.taps[name]))
        named = (("landmarks", outputs.landmarks, 2), ("covariance", outputs.covariance, 3))
        for name, output, last in named:
            self._check_shape(name, output, (len(batch), self.spec.points, last))
            self._check_values(name, output, outputs.taps)
        return outputs

    @property
    def closed(self) -> bool:
        """Whether it was closed, or closed itself because its device was lost."""
        return self._closed

    @property
    def lost_to(self) -> StarmarkError | None:
        """The failure that lost its device, the first one; None where it was not lost.

        A new error at each call: one that is raised by several threads must not be shared, and the
        frames of the first would keep its batch alive.
        """
        return copy.copy(self._lost_to)

    def close(self) -> None:
        """Release the engine; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._close()

    def _lose_device(self, cause: StarmarkError) -> None:
        """Close, and raise this failure at every later call, unless an earlier one did so."""
        cause.code = DEVICE_LOST
        if self._lost_to is None:
            self._lost_to = copy.copy(cause)
        self.close()

    def __enter__(self) -> Backend:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def _run(self, batch: NDArray[Any]) -> Outputs:
        """Run the engine, and time its stages once the device has really finished each."""

    @abstractmethod
    def _close(self) -> None:
        """Release what the engine holds."""

    def _check_call(self, batch: NDArray[Any]) -> None:
        """Refuse a call that no engine should see."""
        self._check_open()
        expected = self.spec.input
        shape = expected.shape(len(batch) if batch.ndim else 0)
        if batch.dtype != expected.dtype or batch.shape != shape or len(batch) == 0:
            raise InputError(
                self.name,
                expected=f"{expected.dtype} {expected.shape(1)} with 1 or more pictures",
                got=f"{batch.dtype} {batch.shape}",
                action="Pack crops with spec.input.pack()",
            )

    def _check_open(self) -> None:
        # before the question whether it is closed: that is a consequence, or came afterwards
        lost_to = self.lost_to
        if lost_to is not None:
            raise lost_to
        if self._closed:
            raise InferenceError(
                self.name, expected="an open backend", got="a closed one", action="Open a new one"
            )
        if os.getpid() != self._process:
            # engines' threads do not survive a fork; torch would wait for them for ever
            raise InferenceError(
                self.name,
                expected=f"a call in process {self._process}, which opened it",
                got=f"one in its fork {os.getpid()}",
                action="Open a Detector in each process; on an NPU, in spawned ones",
            )

    def _check_shape(self, output: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
        if array.shape != shape or array.dtype != np.float32:
            raise InferenceError(
                f"{self.name}: {output}",
                expected=f"float32 {shape}",
                got=f"{array.dtype} {array.shape}",
                action="Export the model again; its outputs are not those of its spec",
            )

    def _check_values(self, output: str, array: F32, taps: Mapping[str, F32]) -> None:
        # a centre of mass lies inside the grid, and no moment about it exceeds its extent: what is
        # larger has overflowed, also where it is finite; NaN compares as not smaller
        if not np.abs(array).max() <= LARGEST_OUTPUT:
            finite = (np.abs(array) <= LARGEST_OUTPUT).all(axis=2)
            picture, point = np.argwhere(~finite)[0]
            first = next((name for name, tap in taps.items() if not np.isfinite(tap).all()), "")
            raise InferenceError(
                f"{self.name}: {output}",
                expected=f"finite numbers within {LARGEST_OUTPUT:g}",
                got=f"{array[picture, point].tolist()} at picture {picture}, point {point}"
                f" (of {int((~finite).sum())} such points)",
                action="Check the weights and the precision mode: a tensor has overflowed"
                + (f", {first} before any other" if first else ""),
            )
