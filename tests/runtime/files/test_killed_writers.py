"""What killed writers of a file leave is taken by the next, and no living one is disturbed."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from builders import run_python

from runtime.files import PART, remove_folder, write_text_whole, written_whole
from runtime.files.lock import folder_locked

KILLED = """
import os, signal, sys
from pathlib import Path
from runtime.files import written_whole
with written_whole(Path(sys.argv[1])) as part:
    part.write_text("half of a rather long text")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_next_writer_takes_what_a_killed_one_left(tmp_path: Path) -> None:
    """The kernel lets go of its lock: nothing but the file is there afterwards."""
    target = tmp_path / "results.json"
    assert run_python("-c", KILLED, target).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert PART.fullmatch(left.name)
    write_text_whole(target, "new")

    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert target.read_text() == "new"


@pytest.mark.parametrize("made", [lambda folder: written_whole(folder / "a"), folder_locked])
def test_an_interrupt_while_a_file_is_made_leaves_none(
    made: Callable[[Path], AbstractContextManager[object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What comes during a system call comes out of it, before its result is known."""

    def interrupted(*arguments: Any, open_file: Callable[..., int] = os.open) -> int:
        file = open_file(*arguments)
        os.kill(os.getpid(), signal.SIGINT)
        return file

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", interrupted)
            with pytest.raises(KeyboardInterrupt), made(tmp_path):
                pass
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """The last to end wins, whole."""
    target = tmp_path / "one.txt"
    with written_whole(target) as first:
        first.write_text("first")
        with written_whole(target) as second:
            second.write_text("second")
        assert target.read_text() == "second"
        assert first != second
        assert first.suffix == second.suffix == ".txt"

    assert target.read_text() == "first"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", ["link", "hard link", "folder"])
def test_what_lies_under_the_temporary_name_is_never_written_through(
    tmp_path: Path, kind: str
) -> None:
    """In a folder of many users the name can be guessed."""
    with written_whole(tmp_path / "target") as part:
        name = part.name
    (tmp_path / "target").unlink()
    victim, trap = tmp_path / "victim", tmp_path / name
    victim.write_text("precious")
    if kind == "link":
        trap.symlink_to(victim)
    elif kind == "hard link":
        trap.hardlink_to(victim)
    else:
        trap.mkdir()
    write_text_whole(tmp_path / "target", "new")

    assert victim.read_text() == "precious"
    assert (tmp_path / "target").read_text() == "new"


def test_without_locks_files_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS without its lock daemon: ENOLCK."""

    def refuse(_file: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    write_text_whole(tmp_path / "a", "1")
    write_text_whole(tmp_path / "a", "2")
    assert (tmp_path / "a").read_text() == "2"


def test_closed_folders_are_removed(tmp_path: Path) -> None:
    """As a killed run leaves what it copied from a read-only bundle."""
    inner = tmp_path / "left/inner"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    for folder in (inner, inner.parent):
        folder.chmod(0o500)
    remove_folder(inner.parent)
    remove_folder(inner.parent)
    assert list(tmp_path.iterdir()) == []
