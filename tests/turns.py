"""A lock that tells who has it and who waits: it forces an order upon threads."""

from __future__ import annotations

import threading
from types import TracebackType


class Turns:
    """A lock that tells when somebody has it and when somebody waits for it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._asked = 0
        self.has_one, self.has_two, self.has_three = (threading.Event() for _ in range(3))

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._asked += 1
            (self.has_two if self._asked == 1 else self.has_three).set()
            self._lock.acquire()
        self.has_one.set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()
