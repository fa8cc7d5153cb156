"""What every command line here shares: exit codes, one-line errors, logging and progress."""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, TypeVar

from runtime.errors import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    StarmarkError,
    one_line,
)
from runtime.files import printable
from runtime.interrupts import INTERRUPTING
from runtime.machine.packages import import_failure
from runtime.version import VERSION

Item = TypeVar("Item")
# The console script that runs every command.
DOOR = "starmark"
# Set by argcomplete's shell functions.
COMPLETING = "_ARGCOMPLETE"
_OTHER_SPELLING = re.compile(r"python -m (?:(?:runtime|parity|export)\.(\w+)|export\b)")
logger = logging.getLogger("starmark")
_stopping = threading.Event()
# What mends an error of the system's.
_REMEDIES = {
    errno.ENAMETOOLONG: "Choose a shorter name",
    errno.EACCES: "Choose a place that this user may use, or change its permissions",
    errno.EPERM: "Choose a place that this user may use, or change its permissions",
    errno.EROFS: "Choose a place that can be written",
    errno.EMFILE: "Raise the limit of open files: ulimit -n 4096",
    errno.ENOENT: "Check the path",
    errno.ENOTDIR: "Check the path",
    errno.ENOSPC: "Free space, or choose another place",
    errno.EDQUOT: "Free space, or choose another place: this user's quota is used up",
    errno.EFBIG: "Raise the limit of a file's size (ulimit -f), or choose another file system",
    errno.ENOMEM: "Free memory, or use a machine with more",
    errno.EBUSY: "Choose another place: what is mounted or in use there cannot be replaced",
    errno.EIO: "Look at the disk (dmesg), or choose another one",
    errno.ENOLCK: "Choose a place on a local disk: this file system cannot lock files",
    errno.ENODEV: "Copy it to a local disk: this file system cannot map files into memory",
}


def run(command: Callable[[], int]) -> int:
    """Run a command line's body; give its exit code, with every expected error as one line.

    Ctrl-C, SIGTERM and SIGHUP (its terminal was closed) unwind the stack, so that half-written
    files are removed on the way. Under nohup SIGHUP stays ignored. Once the body has ended they
    do what they did before: what is written is whole, and the process may end at once.
    """
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # only there may handlers be set
        _stopping.clear()
        for number in INTERRUPTING:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a file's name need not be text in the terminal's encoding
            stream.reconfigure(errors="backslashreplace")
    code = _guarded(command)
    for changed, handler in before.items():
        signal.signal(changed, handler or signal.SIG_DFL)
    return _flushed(code)


def _guarded(command: Callable[[], int]) -> int:
    try:
        return command()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # a bug is raised again
        # an interrupt in the middle of an engine's import comes out as that engine's ImportError
        if isinstance(error, KeyboardInterrupt) or _stopping.is_set():
            return _fail("interrupted; nothing half-written was left behind", EXIT_INTERRUPTED)
        return _explained(error)


def on_uncaught(kind: type[BaseException], error: BaseException, tb: TracebackType | None) -> None:
    """`sys.excepthook` of `python -m`: what a command imports before its `main` fails likewise.

    Raises:
        SystemExit: with the exit code of an expected error, which was explained.
    """
    expected = isinstance(error, StarmarkError) or import_failure(error) is not None
    if isinstance(error, Exception) and expected:
        sys.exit(_explained(error))
    sys.__excepthook__(kind, error, tb)


def _explained(error: Exception) -> int:
    """Say an expected error in one line; a bug keeps its traceback."""
    if isinstance(error, StarmarkError):
        return _fail(str(error), error.exit_code)
    not_imported = import_failure(error)
    if not_imported is not None:
        return _fail(str(not_imported), not_imported.exit_code)
    if isinstance(error, BrokenPipeError):
        return EXIT_FAILED  # the reader of our output went away: not an error worth a line
    if isinstance(error, OSError):
        return _fail(_of_system(error), EXIT_FAILED)
    if isinstance(error, MemoryError):
        return _fail(
            "memory: expected enough for this picture or batch, got none left."
            " Use smaller pictures, or pass a face box.",
            EXIT_FAILED,
        )
    raise error


def _flushed(code: int) -> int:
    """Flush here and not at the interpreter's exit, where an error would have its own exit code."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
    except OSError as error:
        _drop_stdout()
        return _fail(_of_system(error, "standard output"), EXIT_FAILED)
    return code


def _drop_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _of_system(error: OSError, where: str = "") -> str:
    remedy = _REMEDIES.get(error.errno or 0, "Choose another place")
    if "temporary directory" in str(error):  # tempfile found none of its folders fit
        remedy = "Free space there, or let TMPDIR name a folder that can be written"
    return one_line(
        f"{where or error.filename or 'file system'}: expected to read and write here, got"
        f" {error.strerror or error}. {remedy}."
    )


def as_called(text: str) -> str:
    """A text with its commands spelt as this one was: `starmark X`, or `python -m ROOM.X`."""
    called = Path(*sys.argv[:1])
    if DOOR not in (called.stem, called.parent.name):
        return text
    return _OTHER_SPELLING.sub(lambda found: f"{DOOR} {found[1] or 'export'}", text)


class _Format(logging.Formatter):
    """A name in a message must neither forge a line of the log nor move the terminal's cursor."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        message = super().formatMessage(record)
        if record.name == logger.name:
            return printable(message)
        return "\n".join(map(printable, message.splitlines()))  # a library's may have several

    def format(self, record: logging.LogRecord) -> str:
        return as_called(super().format(record))


def log_to_stderr(*, verbose: bool = False) -> None:
    """Send the project's log to stderr; results alone go to stdout."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Format("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)


def parser(module: str, description: str, example: str) -> argparse.ArgumentParser:
    """Make a parser with `--version` and an example in its `--help`."""
    made = _Parser(
        prog=as_called(f"python -m {module}"),
        description=as_called(description),
        epilog=as_called(f"example:\n  {example}"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=f"starmark {VERSION}")
    return made


def named(text: str) -> str:
    """Refuse an empty name, which would be the folder the command is started in."""
    if not text:
        raise argparse.ArgumentTypeError("expected a name, got an empty one")
    return text


class _Parser(argparse.ArgumentParser):
    """Usage errors as one line, like every other error; completes words where a shell asks."""

    def parse_args(self, *arguments: Any, **keywords: Any) -> Any:
        if COMPLETING in os.environ:
            import argcomplete

            argcomplete.autocomplete(self)  # ends the process
        return super().parse_args(*arguments, **keywords)

    def error(self, message: str) -> NoReturn:
        self.exit(
            EXIT_BAD_INPUT, f"error: {self.prog}: {printable(one_line(message))}. See --help.\n"
        )


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def progress(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Pass items through, with a progress bar where stderr is a terminal and rich is there."""
    if not _on_terminal():
        yield from items
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
    except ImportError:
        yield from items
        return
    shown = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*shown, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        start = time.perf_counter()
        for count, item in enumerate(items, start=1):
            yield item
            rate = count / max(time.perf_counter() - start, 1e-9)
            bar.update(task, advance=1, description=f"{description} ({rate:.1f} a second)")


@contextmanager
def step(description: str, *, turning: bool = True) -> Iterator[None]:
    """Log a step when it is done, with its time; a terminal sees it turning meanwhile.

    Args:
        description: what is being done.
        turning: False where the step shows progress of its own: rich before 14 shows one thing.
    """
    _stop_if_asked()
    start = time.perf_counter()
    with ExitStack() as stack:
        if turning and _on_terminal():
            with suppress(ImportError):
                from rich.console import Console
                from rich.text import Text  # a name may look like mark-up

                turns = Text(f"{printable(description)} ...")
                stack.enter_context(Console(stderr=True).status(turns))
        yield
    _stop_if_asked()
    logger.info("%s: %.1f s", description, time.perf_counter() - start)


def _stop_if_asked() -> None:
    """Interrupt, where an engine swallowed the interrupt: C code may drop Python's exceptions."""
    if _stopping.is_set():
        raise KeyboardInterrupt


def _fail(message: str, code: int) -> int:
    if sys.stderr is not None:
        with suppress(OSError):  # stderr is gone; the exit code is left
            print(f"error: {printable(as_called(message))}", file=sys.stderr)
            sys.stderr.flush()
    return code


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    _stopping.set()
    raise KeyboardInterrupt
