"""An object in a process of its own, whose methods are called one at a time.

Engines in one process disturb each other: their threads spin on after a run, and are pinned.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from runtime.errors import InferenceError, StarmarkError, one_line

# Between asking a process to end and ending it.
GRACE_S = 5.0


class Apart:
    """Starts the process, and waits for whatever it is asked.

    Args:
        name: for errors.
        action: what to do about a process that died, for errors.
        make: called in the process with `arguments`; what it gives is what `call` speaks to. Found
            by its name in its module, as pickles are.
    """

    def __init__(
        self, name: str, action: str, make: Callable[..., object], *arguments: Any
    ) -> None:
        self._name, self._action = name, action
        # spawned, never forked: engines' threads do not survive a fork
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, make, arguments), name=name)
        with _interrupts_held_back():
            self._process.start()
        there.close()  # else its death would not be seen as the end of the pipe

    def opened(self, timeout_s: float) -> None:
        """Wait until `make` has returned.

        Raises:
            StarmarkError: what it raised; or the process died, or took too long.
        """
        self._answer("opening", timeout_s)

    def call(self, method: str, *arguments: Any, timeout_s: float) -> Any:
        """Call a method in the process.

        Raises:
            StarmarkError: what it raised; or the process died, or took too long.
        """
        try:
            self._here.send((method, arguments))
        except OSError as error:
            raise self._gone(method) from error
        return self._answer(method, timeout_s)

    def close(self) -> None:
        """End the process: by closing its pipe, then by asking, then by force."""
        self._here.close()
        self._process.join(GRACE_S)
        if self._process.exitcode is None:
            self._process.terminate()
            self._process.join(GRACE_S)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self.close()

    def _answer(self, asked: str, timeout_s: float) -> Any:
        try:
            if not self._here.poll(timeout_s):
                raise InferenceError(
                    f"{self._name}: {asked}",
                    expected=f"an answer within {timeout_s:.0f} s",
                    got="none",
                    action=self._action,
                )
            done, answer = self._here.recv()
        except (EOFError, OSError) as error:
            raise self._gone(asked) from error
        if not done:
            raise answer
        return answer

    def _gone(self, asked: str) -> InferenceError:
        self._process.join(GRACE_S)
        code = self._process.exitcode
        got = f"exit code {code}"
        if code is not None and code < 0:
            with suppress(ValueError):
                got = f"its end by {signal.Signals(-code).name}"
        return InferenceError(
            f"{self._name}: {asked}",
            expected="an answer from its process",
            got=got,
            action=self._action,
        )


def _serve(there: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """In the process: make the object, then answer until the pipe ends."""
    # what a row has to say goes home as its reason; a worker a row would say it ten times over
    logging.getLogger("starmark").setLevel(logging.ERROR)
    # closed with an answer unread, a socket is reset and not just at its end
    with suppress(EOFError, ConnectionError), there:
        try:
            served = make(*arguments)
        except Exception as error:  # noqa: BLE001  # goes home
            there.send((False, _portable(error)))
            return
        there.send((True, None))
        while True:
            method, given = there.recv()
            try:
                answer = (True, getattr(served, method)(*given))
            except Exception as error:  # noqa: BLE001  # goes home
                answer = (False, _portable(error))
            there.send(answer)


def _portable(error: Exception) -> StarmarkError:
    """An error that can be pickled and that a row can show: engines raise their own classes."""
    if isinstance(error, StarmarkError):
        return error
    return InferenceError(
        "worker",
        expected="no error that nobody foresaw",
        got=one_line(f"{type(error).__name__}: {error}", 300),
        action="Run the row's source alone: python -m parity.benchmark --sources SOURCE",
    )


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C is the coordinator's to handle: a process begun here never sees it.

    A terminal sends it to every process of the group; what is blocked when a process begins stays
    blocked in it, from its first instruction on.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
