"""The journal of a folder's run: half a picture is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.many.folder import Journal
from runtime.many.heading import Heading
from runtime.many.rows import Row


@pytest.mark.parametrize("lost", ["last face", "newline", "half a row"])
def test_half_of_a_picture_is_cut_off(tmp_path: Path, lost: str) -> None:
    """A crash between two of its faces, or before the last byte: it is run again, whole."""
    heading = Heading(model="m", engine="e", given="g", options={})
    Journal(tmp_path, heading, resume=False).close()  # of a run without a row, nothing stays
    with Journal(tmp_path, heading, resume=False) as journal:
        for name in ("one", "two"):
            journal.add([Row(picture=name, status="ok", faces=2, face=i) for i in range(2)])
    lines = journal.path.read_bytes().splitlines(keepends=True)
    whole = len(lines[-1])
    lines[-1] = lines[-1][: {"last face": 0, "newline": whole - 1, "half a row": 40}[lost]]
    journal.path.write_bytes(b"".join(lines))
    with Journal(tmp_path, heading, resume=True) as again:
        assert again.done == {"one"}
        assert (again.summary.pictures, again.summary.faces) == (1, 2)
        again.add([Row(picture="two", status="no face")])
        assert again.summary.without_face == 1
        assert [json.loads(line)["picture"] for line in again.lines()] == ["one", "one", "two"]
