"""A folder's run: nothing of the user's is lost, and --resume makes again what is not as it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from grey_backend import Grey, picture

from runtime.detector import Detector
from runtime.errors import ConfigError
from runtime.files.lock import folder_locked
from runtime.many.folder import Wanted, run_folder
from runtime.many.heading import Heading
from runtime.many.inputs import Listing, PictureFile, find_pictures
from runtime.many.rows import rows_of
from runtime.many.summary import Summary

HEADING = Heading(model="m", engine="e", given="g", options={})
NAMES = ("a.png", "b.png", "in/c.png")
WRITTEN = {
    *("results.jsonl", "results.csv", "run.json", "files.jsonl"),
    *(f"drawn/{name}" for name in NAMES),
    *(f"pts/{name[:-4]}.pts" for name in NAMES),
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for index, name in enumerate(NAMES):
        place = tmp_path / "photos" / name
        place.parent.mkdir(exist_ok=True, parents=True)
        cv2.imwrite(str(place), picture(40 * index))
    return tmp_path / "photos"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def run(photos: Path, out: Path, *formats: str, drawn: bool = True, **options: Any) -> Summary:
    wanted = Wanted(output=out, formats=formats or ("jsonl", "csv", "pts"), drawn=drawn)
    listing = find_pictures(str(photos))
    return run_folder(Detector(Grey()), listing, HEADING, wanted, **options)


def files_in(folder: Path) -> dict[str, bytes]:
    """All files but the lists of what was read, which have times."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return {
        name: b"" if name in ("run.json", "files.jsonl") else path.read_bytes()
        for name, path in found.items()
    }


@pytest.mark.parametrize("name", sorted(WRITTEN | {"pts/a_0.pts", "drawn/b.png.png", "pts"}))
@pytest.mark.parametrize("resume", [False, True])
def test_a_file_of_the_users_is_refused_before_anything_is_done(
    photos: Path, out: Path, name: str, resume: bool
) -> None:
    """Whatever the run would write at its name, and whatever else is there stays."""
    (out / name).parent.mkdir(parents=True)
    (out / name).write_bytes(b"mine")
    (out / ".0123abcd.part.txt").write_bytes(b"")
    with pytest.raises(ConfigError, match=f"{name}: expected no file here, or one that an earlier"):
        run(photos, out, resume=resume)
    assert files_in(out).keys() == {name, ".0123abcd.part.txt"}
    assert (out / name).read_bytes() == b"mine"


def test_only_files_of_earlier_runs_are_replaced_or_removed(photos: Path, out: Path) -> None:
    """Not what the user put beside them, nor what was changed and is not to be written again."""
    for name in ("pts/mine.pts", "drawn/mine.png", "results.txt", "mine/a.png"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"mine")
    mine = files_in(out)
    run(photos, out)
    assert files_in(out).keys() == WRITTEN | mine.keys()
    (out / "pts/b.pts").write_text("better")
    run(photos / "in", out, "jsonl", drawn=False)
    (row,) = (out / "results.jsonl").read_text().splitlines()
    assert json.loads(row)["picture"] == "c.png"
    left = files_in(out)
    assert left.keys() == {"results.jsonl", "run.json", "files.jsonl", "pts/b.pts"} | mine.keys()
    assert left.items() >= mine.items()
    assert left["pts/b.pts"] == b"better"


def test_a_file_that_was_changed_is_replaced_by_resume_alone(photos: Path, out: Path) -> None:
    run(photos, out)
    whole = files_in(out)
    for name in ("pts/a.pts", "results.csv"):
        (out / name).write_text("corrected by hand")
        with pytest.raises(ConfigError, match=f"{name}.* got one that was changed since"):
            run(photos, out)
        assert (out / name).read_text() == "corrected by hand"
        run(photos, out, resume=True)
        assert files_in(out) == whole


class Place(NamedTuple):
    photos: Path
    out: Path


def cut(at: Place) -> None:
    os.truncate(at.out / "results.csv", 99)


def replaced(at: Place) -> None:
    shutil.copy(at.photos / "a.png", at.photos / "b.png")


def of_the_same_size_and_time(at: Place) -> None:
    path = at.out / "drawn/a.png"
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def added(at: Place) -> None:
    cv2.imwrite(str(at.photos / "aa.png"), picture(200))


def removed(at: Place) -> None:
    (at.photos / "a.png").unlink()


def touched(at: Place) -> None:
    (at.photos / "a.png").touch()


def rows_damaged(at: Place) -> None:
    data = (at.out / "results.jsonl").read_bytes()
    (at.out / "results.jsonl").write_bytes(data.replace(b"ok", b"\xff\xff", 1))


def record_damaged(at: Place) -> None:
    (at.out / "run.json").write_bytes(b"\xff")


def journal_cut(at: Place) -> None:
    """A run that was killed within the row of its second picture, and gone on with."""
    shutil.rmtree(at.out)
    left = [2]

    def stopping(one: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return rows_of(one)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runtime.many.folder.rows_of", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(at.photos, at.out)
    journal = at.out / "unfinished.jsonl"
    os.truncate(journal, journal.stat().st_size - 20)


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (cut, 0),
        (replaced, 1),
        (of_the_same_size_and_time, 1),
        (added, 1),
        (removed, 0),
        (touched, 0),
        (rows_damaged, 3),
        (record_damaged, 3),
        (journal_cut, 2),
    ],
)
def test_resume_makes_again_what_is_not_as_it_was(
    photos: Path,
    out: Path,
    tmp_path: Path,
    change: Callable[[Place], None],
    again: int,
) -> None:
    """And nothing else; the results are those of a run from the start."""
    run(photos, out)
    change(Place(photos, out))
    summary = run(photos, out, resume=True)
    assert summary.pictures_now == again
    fresh = run(photos, tmp_path / "fresh")
    assert files_in(out) == files_in(tmp_path / "fresh")
    assert (summary.pictures, summary.faces) == (fresh.pictures, fresh.faces)
    assert run(photos, out, resume=True).pictures_now == 0


def test_without_jsonl_all_pictures_are_run_again(photos: Path, out: Path) -> None:
    """The other tables are no place to take rows from."""
    run(photos, out, "csv", drawn=False)
    assert run(photos, out, "csv", drawn=False, resume=True).pictures_now == 0
    cut(Place(photos, out))
    assert run(photos, out, "csv", drawn=False, resume=True).pictures_now == 3


def test_a_path_too_long_is_its_pictures_error(photos: Path, out: Path) -> None:
    """Of 4,096 bytes at most; names alone are shortened."""
    long = "/".join(["n" * 200] * 21)
    wanted = Wanted(output=out, formats=("jsonl", "pts"))
    files = [PictureFile(name=f"{long}/a.png", path=photos / "a.png")]
    files += find_pictures(str(photos)).files
    listing = Listing(files=files, skipped={})
    summary = run_folder(Detector(Grey()), listing, HEADING, wanted)
    assert (summary.pictures, summary.failed) == (4, 1)
    assert "the file system takes, got File name too long: one of 4" in summary.first_failed[0][1]


def test_a_second_run_is_refused_while_the_first_writes(photos: Path, out: Path) -> None:
    out.mkdir()
    with (
        folder_locked(out),
        pytest.raises(ConfigError, match=f"not ended: process {os.getpid()} on "),
    ):
        run(photos, out, resume=True)
    assert list(out.iterdir()) == []
    np.testing.assert_equal(run(photos, out).pictures, 3)
