"""The journal of a run: a picture is in it with all its rows, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.files.owned import ReadFile
from runtime.many.heading import Heading
from runtime.many.journal import Journal
from runtime.many.rows import Row

HEADING = Heading(model="m", engine="e", given="g", options={})


def rows(name: str) -> list[Row]:
    return [Row(picture=name, status="ok", faces=2, face=index) for index in range(2)]


def begun(folder: Path) -> Path:
    """Three pictures with two faces each."""
    with Journal(folder, HEADING, resume=False) as journal:
        for name in ("one", "two", "three"):
            journal.add(ReadFile(name=name), rows(name))
    return journal.path


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (lambda data: data[:-1], {"one", "two"}),  # the end of a line, which is whole but for that
        (lambda data: data[: data.rindex(b"face") - 9], {"one", "two"}),
        (lambda data: data.replace(b"two", b"\xff\xffo"), {"one", "three"}),
        (lambda data: data.replace(b'"faces":2', b'"faces":3', 1), {"two", "three"}),
        (lambda data: data.replace(b"\n", b"\0", 2), None),
        (lambda data: data[:9], set()),  # killed while it wrote the heading
    ],
)
def test_what_is_damaged_is_run_again(
    tmp_path: Path, damage: object, left: set[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    """And is said; what is whole counts, and the rows come in the order that is asked for."""
    path = begun(tmp_path)
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    if left is None:
        with pytest.raises(Exception, match="the heading of a run to continue"):
            Journal(tmp_path, HEADING, resume=True)
        return
    with Journal(tmp_path, HEADING, resume=True) as journal:
        assert set(journal.done) == left
        assert not left or "1 damaged lines, run again" in caplog.text
        for name in {"one", "two", "three"} - left:
            journal.add(ReadFile(name=name), rows(name))
        assert [json.loads(line)["picture"] for line in journal.lines(["three", "two"])] == [
            *["three"] * 2,
            *["two"] * 2,
        ]
        summary = journal.count(["one", "two", "three"])
        assert (summary.pictures, summary.faces) == (3, 6)


def test_of_a_run_without_a_row_nothing_stays(tmp_path: Path) -> None:
    Journal(tmp_path, HEADING, resume=False).close()
    assert not list(tmp_path.iterdir())


def test_what_is_run_again_takes_the_place_of_what_was(tmp_path: Path) -> None:
    begun(tmp_path)
    counts = {"one", "three"}
    with Journal(
        tmp_path, HEADING, resume=True, counts=lambda read: read.name in counts
    ) as journal:
        assert set(journal.done) == counts
        journal.add(ReadFile(name="two"), [Row(picture="two", status="no face")])
    with Journal(tmp_path, HEADING, resume=True) as journal:
        summary = journal.count(journal.done)
        assert (summary.pictures, summary.faces, summary.without_face) == (3, 4, 1)
