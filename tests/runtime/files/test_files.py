"""Files are whole or absent, and nothing but a regular file is ever replaced."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runtime.errors import ConfigError
from runtime.files import check_target, json_text, shown, write_text_whole, written_whole


def test_link_is_written_through(tmp_path: Path) -> None:
    """What it points to gets the new content, and it stays a link."""
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    link.symlink_to(real)
    write_text_whole(link, "new")

    assert link.is_symlink()
    assert real.read_text() == "new"


def test_devices_pipes_and_folders_are_never_replaced(tmp_path: Path) -> None:
    """Before the work, and at the last moment, too."""
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    for path in (pipe, folder, Path("/dev/null")):
        with pytest.raises(ConfigError, match="--output"):
            check_target(path, "--output")
        with pytest.raises(OSError, match="not a regular file"):
            write_text_whole(path, "x")

    assert pipe.is_fifo()
    assert Path("/dev/null").is_char_device()


def test_failure_leaves_the_old_file_and_names_the_real_one(tmp_path: Path) -> None:
    """Not the temporary name, which nobody asked for."""
    path = tmp_path / "report.json"
    path.write_text("old")

    def fail() -> None:
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device", str(temporary))

    with pytest.raises(OSError, match="report.json") as caught:
        fail()

    assert ".part" not in str(caught.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_new_file_has_the_usual_rights(tmp_path: Path) -> None:
    """Others may read it, as the umask says."""
    before = os.umask(0o022)
    try:
        write_text_whole(tmp_path / "a.json", "x")
    finally:
        os.umask(before)

    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o644


def test_long_names_and_names_that_are_no_text(tmp_path: Path) -> None:
    """A legal name of 250 bytes is written; bytes that are no UTF-8 are shown as such."""
    path = tmp_path / ("a" * 246 + ".png")
    write_text_whole(path, "x")

    assert path.read_text() == "x"
    assert shown(os.fsdecode(b"\xc3\xcf.jpg")) == "\\udcc3\\udccf.jpg"


@pytest.mark.parametrize("name", ["a" * 256, "a" * 256 + "/b.json", "/".join(["a" * 200] * 21)])
def test_a_name_that_is_too_long_is_refused_as_such(tmp_path: Path, name: str) -> None:
    """A file's, a folder's, or the whole path: none is a matter of space."""
    with pytest.raises(ConfigError) as raised:
        check_target(tmp_path / name, "--output")
    assert raised.value.got == "a name longer than the file system takes"


def test_inputs_are_not_overwritten(tmp_path: Path) -> None:
    """By whatever name they are called."""
    picture = tmp_path / "a.jpg"
    picture.touch()
    with pytest.raises(ConfigError, match="a file that is read, too"):
        check_target(tmp_path / "x" / ".." / "a.jpg", "--output", [picture])


def test_a_read_only_file_is_not_replaced(tmp_path: Path) -> None:
    """Renaming over it would not ask its mode, and root least of all."""
    kept = tmp_path / "kept.txt"
    kept.write_text("kept", encoding="utf-8")
    kept.chmod(0o444)
    with pytest.raises(ConfigError, match="got a read-only file"):
        check_target(kept, "--output")


def test_a_link_to_itself_is_no_target(tmp_path: Path) -> None:
    loop = tmp_path / "loop.json"
    loop.symlink_to("loop.json")
    with pytest.raises(ConfigError, match="got a link that leads to itself"):
        check_target(loop, "--output")


def test_json_has_a_point_a_line() -> None:
    """Lists of numbers are one line each; texts are left alone, whatever they hold."""
    record = {
        "points_px": [[1.5, -2e-9], [3, 4]],
        "size": [],
        "texts": ["[\n  1,\n  2\n]", "b"],
        "flags": [None, True],
    }
    text = json_text(record)

    assert json.loads(text) == record
    assert "\n    [1.5, -2e-9],\n    [3, 4]\n" in text
    assert '"flags": [null, true]' in text
