"""Signals that interrupt: held back where what is made could not be removed yet."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Held:
    """Stands before the handlers of interrupting signals, and holds back what comes until released.

    A handler that raises between the making of a file or process and the `try` that removes it,
    or in what removes it, would leave an orphan. The signals are not blocked: a program that is
    started would inherit that.
    """

    def __enter__(self) -> Held:
        self._holds, self._came = False, list[tuple[int, FrameType | None]]()
        self._handlers: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # where all handlers run
            for number in INTERRUPTING:
                if callable(handler := signal.getsignal(number)):
                    self._handlers[number] = handler
                    signal.signal(number, self._handle)
        self.hold()
        return self

    def hold(self) -> None:
        """Keep what comes."""
        self._holds = True

    def release(self) -> None:
        """Let what came interrupt, and what comes."""
        self._holds = False
        while self._came:
            self._handle(*self._came.pop(0))

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self.release()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._holds:
            self._came.append((number, frame))
        else:
            self._handlers[number](number, frame)
