"""Rows in processes of their own, of which exactly one works at a time, in random order.

Engines in one process disturb each other: their threads spin on after a run, and are pinned. A
process each also gives every row its own peak memory.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from benchmarks.suite.plan import RowPlan
from benchmarks.suite.row_worker import RowWorker
from runtime.cli import command_line
from runtime.errors import InferenceError, StarmarkError, one_line

# torch's compiler takes minutes for a large network, a batch size at a time.
PATIENCE_S = 1800.0
# Before each turn: threads of the row before spin on for a while, on the cores of this one.
REST_S = 0.05

_served: Any = None  # in the process


class ProcessProxy:
    """An object in a process of its own, whose methods are called one at a time.

    Args:
        name: for errors.
        action: the remedy where the process died, for errors.
        make: called in the process with `arguments`; its result is the object.
        *arguments: can be pickled, as `make` can.
        timeout_s: for making it.

    Raises:
        StarmarkError: `make` raised it; or the process died, or took too long.
    """

    def __init__(
        self,
        name: str,
        action: str,
        make: Callable[..., object],
        *arguments: Any,
        timeout_s: float = PATIENCE_S,
    ) -> None:
        self._name, self._action = name, action
        # spawned, never forked: engines' threads do not survive a fork
        context = multiprocessing.get_context("spawn")
        self._pool = futures.ProcessPoolExecutor(1, context, initializer=_begin)
        # the coordinator alone answers Ctrl-C, which a terminal sends to the whole group: what is
        # blocked when a process begins stays blocked in it, from its first instruction on
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            started = self._pool.submit(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            self._pid = int(self._result(started, "starting", timeout_s))
            opened = self._pool.submit(_make, make, arguments)
            self._result(opened, "opening", timeout_s)
        except BaseException:
            self.kill()
            raise

    def call(self, method: str, *arguments: Any, timeout_s: float = PATIENCE_S) -> Any:
        """Call a method in the process.

        Raises:
            StarmarkError: the method raised it; or the process died, or took too long.
        """
        try:
            answer = self._pool.submit(_call, method, arguments)
        except BrokenProcessPool as error:
            raise self._lost(method) from error
        return self._result(answer, method, timeout_s)

    def close(self) -> None:
        """End the process when it is idle."""
        self._pool.shutdown()

    def kill(self) -> None:
        """End the process at once."""
        if hasattr(self, "_pid"):
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        self._pool.shutdown()

    def _result(self, answer: futures.Future[Any], what: str, timeout_s: float) -> Any:
        try:
            return answer.result(timeout_s)
        except BrokenProcessPool as error:
            raise self._lost(what) from error
        except futures.TimeoutError as error:
            raise InferenceError(
                f"{self._name}: {what}",
                got=f"no answer within {timeout_s:.0f} s",
                action=self._action,
            ) from error

    def _lost(self, what: str) -> InferenceError:
        return InferenceError(
            f"{self._name}: {what}",
            got="its process ended suddenly: a crash in the engine, or too little memory",
            action=self._action,
        )


def _begin() -> None:
    # a row's errors are its reason in the report; a worker a row would log them ten times over
    logging.getLogger("starmark").setLevel(logging.ERROR)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's worker outlives a parent that is killed, and would hold its model for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    global _served  # noqa: PLW0603  # one object a process
    with _portable_errors():
        _served = make(*arguments)


def _call(method: str, arguments: tuple[Any, ...]) -> Any:
    with _portable_errors():
        return getattr(_served, method)(*arguments)


@contextmanager
def _portable_errors() -> Iterator[None]:
    """Errors that can be pickled and that a row can show: engines raise their own classes."""
    try:
        yield
    except StarmarkError:
        raise
    except Exception as error:  # noqa: BLE001  # engines raise their own
        raise InferenceError(
            "worker",
            got=one_line(f"{type(error).__name__}: {error}", 300),
            action="Run the row's source alone: python -m parity.benchmark --sources SOURCE",
        ) from None


class RowProcesses:
    """The rows of one model that are running, and by the row's key why the others are not."""

    def __init__(self, seed: int) -> None:
        self.failures: dict[str, StarmarkError] = {}
        self._running: dict[str, ProcessProxy] = {}
        self._random = np.random.default_rng(seed)

    def __enter__(self) -> RowProcesses:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        for proxy in self._running.values():
            if error is None:
                proxy.close()
            else:
                proxy.kill()
        self._running.clear()

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the rows that are running."""
        return tuple(self._running)

    def open(self, row: RowPlan) -> None:
        """Start a row's process and wait until its engine is open."""
        try:
            self._running[row.key] = ProcessProxy(row.label, row.alone(), RowWorker, row.opening)
        except StarmarkError as error:
            self.failures[row.key] = error

    def call(self, key: str, method: str, *arguments: Any) -> Any:
        """Call one row's method; None where the row has failed, now or before."""
        if key not in self._running:
            return None
        try:
            return self._running[key].call(method, *arguments)
        except StarmarkError as error:
            self.failures[key] = error
            self._running.pop(key).kill()
            return None

    def each(self, method: str) -> dict[str, Any]:
        """Call a method of every row once; those that failed are absent."""
        answers = {key: self.call(key, method) for key in self.keys}
        return {key: answer for key, answer in answers.items() if key in self._running}

    def rounds(self, count: int, what: str, method: str, *arguments: Any) -> dict[str, list[Any]]:
        """Call a method of every row once a round, in another random order each round.

        Returns:
            Each row's answers, one a round; a row that failed in any round is absent.
        """
        answers: dict[str, list[Any]] = {key: [] for key in self.keys}
        for _ in command_line.progress(range(count), what, count):
            for index in self._random.permutation(len(answers)):
                key = list(answers)[index]
                time.sleep(REST_S)
                answers[key].append(self.call(key, method, *arguments))
        return {key: found for key, found in answers.items() if key in self._running}
