"""What may lie in the place of a file, and is not waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.doctor.plain_files import open_plain


def test_a_plain_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    """Through a link, too."""
    (tmp_path / "x").write_bytes(b"abc\0")
    (tmp_path / "link").symlink_to("x")
    with open_plain(tmp_path / "link") as file:
        assert file.read() == b"abc\0"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to a pipe", "none"])
def test_whatever_is_none_is_an_error_of_the_system(tmp_path: Path, kind: str) -> None:
    """At once: a pipe without a writer would be waited for for ever, a device without end read."""
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to a pipe":
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to("pipe")
    with pytest.raises(OSError, match=str(path)):
        open_plain(path)
