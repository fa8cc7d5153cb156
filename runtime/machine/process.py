"""Runs other programs, all of this project's: with a time limit, and leaving nothing behind."""

from __future__ import annotations

import codecs
import errno
import os
import platform
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from runtime.errors import BackendUnavailable, one_line
from runtime.interrupts import Held

# How often the exit of a program is looked for while its output is silent.
LOOK_S = 0.05
# Between asking a program to end and ending it.
GRACE_S = 2.0
# A program that prints without end must not fill our memory; the end of its output matters most.
LONGEST_OUTPUT = 32 << 20
LONGEST_LINE = 1 << 20
_NOT_STARTED = {
    errno.ENOEXEC: f"Install the one for this processor, {platform.machine()}",
    errno.EACCES: "Make it executable for this user; look for noexec among its mount's options",
}


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a program ended.

    Attributes:
        returncode: its exit status; the negative number of the signal that ended it.
        output: stdout and stderr as they came, at most the last 32 MiB.
        seconds: wall-clock time it took.
        timed_out: whether it was ended because its time was up.
    """

    returncode: int
    output: str
    seconds: float
    timed_out: bool


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Finished:
    """Run a program in a process group of its own, without input, and read what it prints.

    When this returns or raises (Ctrl-C included), no process of that group lives on.

    Args:
        command: program and arguments; no shell reads them.
        timeout_s: seconds after which the group is ended.
        cwd: folder to run in.
        env: the whole environment, instead of this process's own.
        on_line: called with each line, without its line break, as soon as it is whole.

    Raises:
        BackendUnavailable: the program cannot be started.
    """
    start = time.monotonic()
    output = _Output(on_line)
    with Held() as held:
        process = _start(command, cwd, env)
        assert process.stdout is not None  # noqa: S101  # for mypy: it was asked for
        with process.stdout as pipe:
            try:
                held.release()
                in_time = _follow(process, output, pipe.fileno(), start + timeout_s)
                if not in_time:
                    _signal_group(process, signal.SIGTERM)
                    grace_ends = time.monotonic() + GRACE_S
                    while not _ended(process) and time.monotonic() < grace_ends:
                        time.sleep(LOOK_S)
            finally:
                held.hold()
                _signal_group(process, signal.SIGKILL)
                process.wait()
            while output.read(pipe.fileno()):
                pass  # what was in the pipe when it ended; nobody is left who could write more
    return Finished(
        returncode=process.returncode,
        output=output.text(),
        seconds=time.monotonic() - start,
        timed_out=not in_time,
    )


def _start(
    command: Sequence[str | os.PathLike[str]], cwd: Path | None, env: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603  # callers pass lists of their own making
            list(command),
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise BackendUnavailable(
            os.fspath(command[0]),
            expected="a program that can be started",
            got=one_line(error),
            action=_NOT_STARTED.get(error.errno or 0, "Install it, or put its folder on PATH"),
        ) from error


def _follow(process: subprocess.Popen[bytes], output: _Output, pipe: int, deadline: float) -> bool:
    """Read until the program itself has ended; False where its time was up before.

    Its end counts, not the pipe's: a process it left behind may hold the pipe open for ever.
    """
    os.set_blocking(pipe, False)
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not _ended(process):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if not selector.get_map():
                time.sleep(min(left, LOOK_S))  # it closed its output and works on
            elif selector.select(min(left, LOOK_S)) and not output.read(pipe):
                selector.unregister(pipe)
    return True


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the program has ended, without reaping it.

    Unreaped, it keeps its number, so that no signal meant for its group can hit a stranger's.
    """
    try:
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, process.pid, options) is not None
    except ChildProcessError:
        return True


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # a group of nothing but dead processes, or of another user's (a setuid tool)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


@dataclass
class _Output:
    """What a program has printed so far, in pieces and in lines."""

    on_line: Callable[[str], None] | None
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")(errors="replace")
    )
    _parts: deque[str] = field(default_factory=deque)
    _length: int = 0
    _open: str = ""

    def read(self, pipe: int) -> bool:
        """Take what the pipe holds; False where there is nothing (more)."""
        try:
            chunk = os.read(pipe, 1 << 16)
        except BlockingIOError:
            return False
        text = self._decoder.decode(chunk)
        self._parts.append(text)
        self._length += len(text)
        while self._length > LONGEST_OUTPUT:
            self._length -= len(self._parts.popleft())
        *lines, self._open = (self._open + text).split("\n")
        if len(self._open) > LONGEST_LINE:
            lines, self._open = [*lines, self._open], ""
        for line in lines:
            self._pass_on(line)
        return bool(chunk)

    def text(self) -> str:
        """All of it; a last line without a break is passed on here."""
        rest = self._decoder.decode(b"", final=True)
        if self._open + rest:
            self._pass_on(self._open + rest)
            self._open = ""
        return "".join(self._parts) + rest

    def _pass_on(self, line: str) -> None:
        if self.on_line is not None:
            self.on_line(line.removesuffix("\r"))
