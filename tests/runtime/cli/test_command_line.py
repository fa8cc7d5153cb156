"""What every command line shares: signals, and the remedies of the system's errors."""

from __future__ import annotations

import errno
import os
import signal
import tempfile
from pathlib import Path

import pytest
from builders import run_python

from runtime.cli import command_line

SIGNALLED = """
import os, signal, sys, time
from runtime.cli import command_line
if sys.argv[2:]:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
def work():
    os.kill(os.getpid(), int(sys.argv[1]))
    time.sleep(0.05)
    return 7
sys.exit(command_line.run(work))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_that_interrupt_unwind_the_stack(number: signal.Signals) -> None:
    """With one line and one exit code."""
    done = run_python("-c", SIGNALLED, int(number))
    assert done.returncode == 130, done.stderr
    assert done.stderr == "error: interrupted; nothing half-written was left behind\n"


def test_under_nohup_a_closed_terminal_ends_nothing() -> None:
    assert run_python("-c", SIGNALLED, int(signal.SIGHUP), "nohup").returncode == 7


LATE = """
import os, signal, sys
from runtime.cli import command_line
code = command_line.run(lambda: 0)
os.kill(os.getpid(), int(sys.argv[1]))
sys.exit(code)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_after_the_end_is_no_error_of_ours(number: signal.Signals) -> None:
    """The interpreter takes a while to end, and all is written by then."""
    done = run_python("-c", LATE, int(number))
    assert (done.returncode, done.stderr) == (-number, "")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Free space"),
        (errno.EDQUOT, "Free space"),
        (errno.EXDEV, "Choose another place"),
        (errno.EBUSY, "what is mounted"),
        (errno.ENOLCK, "cannot lock files"),
        (errno.ENODEV, "Copy it to a local disk"),
        (errno.EIO, "dmesg"),
        (errno.EEXIST, "Choose another place"),
    ],
)
def test_space_is_freed_only_where_it_is_used_up(
    number: int, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A remedy that does not fit sends people away."""

    def fail() -> int:
        raise OSError(number, os.strerror(number), "/place")

    assert command_line.run(fail) == 4
    said = capsys.readouterr().err
    assert said.startswith("error: /place: expected to read and write here, got")
    assert remedy in said
    assert ("Free space" in said) == (number in (errno.ENOSPC, errno.EDQUOT))


def test_full_folders_for_temporary_files_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python's own error for it is ENOENT, of which a wrong path is the usual cause."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "gone")])

    def work() -> int:
        with tempfile.TemporaryFile():
            return 0

    assert command_line.run(work) == 4
    assert "let TMPDIR name a folder that can be written" in capsys.readouterr().err
