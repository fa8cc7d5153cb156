"""Memory that is used again: fresh pages cost a crop more time than its arithmetic."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

# What a thread keeps for its next call; a larger piece is let go, it is dear to hold.
LARGEST_KEPT_BYTES = 4 << 20


class Scratch(threading.local):
    """One thread's own memory for what does not outlive a call.

    Each thread sees a Scratch of its own, which goes when the thread does. What is lent is out of
    it: whoever asks meanwhile in the same thread, as a signal's handler may, gets other memory.
    """

    def __init__(self) -> None:
        self._idle: list[NDArray[np.uint8]] = []

    @contextmanager
    def lent(self, shape: tuple[int, ...], dtype: DTypeLike) -> Iterator[NDArray[Any]]:
        """Lend an array with anything in it; nothing may refer to it after the block."""
        kind = np.dtype(dtype)
        count = math.prod(shape) * kind.itemsize
        memory = self._idle.pop() if self._idle else np.empty(count, np.uint8)
        if memory.nbytes < count:
            memory = np.empty(count, np.uint8)
        try:
            yield memory[:count].view(kind).reshape(shape)
        finally:
            if memory.nbytes <= LARGEST_KEPT_BYTES:
                self._idle.append(memory)
