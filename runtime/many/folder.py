"""Results of many pictures in a folder: written as they come, continued after a stop."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.cli.command_line import progress
from runtime.detector import Detector
from runtime.errors import ConfigError, InputError
from runtime.files import json_text, remove_parts, shown, write_text_whole
from runtime.files.reading import DamageError, decode_json, read_bytes
from runtime.image.draw import draw_faces
from runtime.image.landmarks import Landmarks
from runtime.image.picture import MAX_PIXELS, write_picture
from runtime.many.heading import Heading
from runtime.many.inputs import Listing
from runtime.many.names import FileNames
from runtime.many.rows import Row, rows_of
from runtime.many.search import Searched, search
from runtime.many.summary import Summary
from runtime.many.tables import TABLES, import_pyarrow, write_pts, write_table

JOURNAL_NAME, RUN_NAME = "unfinished.jsonl", "run.json"

logger = logging.getLogger("starmark")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be written.

    Attributes:
        output: a folder; for one picture or video, also its drawn file.
        formats: of `runtime.many.tables.FORMATS`, into the folder.
        drawn: drawn pictures or a drawn video, too.
        contours, ellipses: as for `draw_faces`.
        raw_csv: as for `write_table`.
    """

    output: Path
    formats: tuple[str, ...] = ("jsonl",)
    drawn: bool = False
    contours: bool = False
    ellipses: bool = False
    raw_csv: bool = False

    def check_packages(self) -> None:
        """Find out that a format cannot be written before there is anything to write.

        Raises:
            BackendUnavailable: its package is missing.
        """
        if "parquet" in self.formats:
            import_pyarrow()

    def draw(self, image: NDArray[np.uint8], faces: Iterable[Landmarks]) -> NDArray[np.uint8]:
        """Draw faces into a copy of their picture."""
        return draw_faces(image, faces, contours=self.contours, ellipses=self.ellipses)


class FinishedRun(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside the results of a run: how they were made, and what they came to."""

    heading: Heading
    pictures_sha256: str  # of their names: there may be a million
    summary: Summary


def run_folder(
    detector: Detector,
    listing: Listing,
    heading: Heading,
    wanted: Wanted,
    *,
    resume: bool = False,
    readers: int = 2,
    batch: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Summary:
    """Run pictures and write their results; stopped at any moment, it can be continued.

    Args:
        detector: open, with its finder and its passes.
        listing: the pictures.
        heading: of this run.
        wanted: what is to be written.
        resume: go on with a run that was stopped.
        readers: as for `search`.
        batch: as for `search`.
        max_pixels: as for `read_picture`.

    Raises:
        ConfigError: an unfinished run is in the way, or `resume` is about another one.
        BackendUnavailable: the package of a format is missing.
        InferenceError: a device is lost.
    """
    wanted.check_packages()
    files, folder = listing.files, wanted.output
    folder.mkdir(parents=True, exist_ok=True)
    names = hashlib.sha256(b"".join(file.name.encode() + b"\0" for file in files)).hexdigest()
    if resume:
        before = _finished_before(folder, heading, names)
        if before is not None:
            logger.info("up to date: %s", shown(folder))
            before.skipped = listing.skipped
            return before
    with Journal(folder, heading, resume=resume) as journal:
        if resume:
            remove_parts(folder)
        summary = journal.summary
        summary.skipped = listing.skipped
        left = [file for file in files if file.name not in journal.done]
        if len(left) < len(files):
            logger.info("resumed: %d of %d pictures are done", len(files) - len(left), len(files))
        start = time.perf_counter()
        try:
            with closing(
                search(detector, left, readers=readers, batch=batch, max_pixels=max_pixels)
            ) as searched:
                places = FileNames([file.name for file in files])
                for picture in progress(searched, "pictures", len(left)):
                    rows = rows_of(picture)
                    _write_beside(picture, rows, wanted, places)
                    journal.add(rows)  # last: whoever is in it has everything
                    summary.pictures_now += 1
        except BaseException:
            logger.warning(
                "stopped after %d of %d pictures: the same command with --resume goes on",
                len(journal.done),
                len(files),
            )
            raise
        summary.seconds_now = time.perf_counter() - start
        for name in (one for one in wanted.formats if one in TABLES):
            path = folder / f"results.{name}"
            write_table(name, path, journal.lines(), detector.spec.points, raw_csv=wanted.raw_csv)
            summary.saved.append(shown(path))
        folders = [name for name in ("drawn", "pts") if (folder / name).is_dir()]
        summary.saved += [shown(folder / name) for name in folders]
        run = FinishedRun(heading=heading, pictures_sha256=names, summary=summary)
        write_text_whole(folder / RUN_NAME, json_text(run))
        journal.finish()
    return summary


def _finished_before(folder: Path, heading: Heading, names_sha256: str) -> Summary | None:
    """What the same run came to, where it has ended and its results are all there."""
    if (folder / JOURNAL_NAME).exists():
        return None
    try:
        run = decode_json(read_bytes(folder / RUN_NAME), FinishedRun)
    except FileNotFoundError:
        return None
    except DamageError as error:
        raise _damaged(folder / RUN_NAME, "the record of a finished run", error) from error
    there = all(Path(name).exists() for name in run.summary.saved)
    if run.heading != heading or run.pictures_sha256 != names_sha256 or not there:
        return None
    run.summary.pictures_now, run.summary.seconds_now = 0, 0.0
    return run.summary


def _damaged(path: Path, expected: str, error: DamageError) -> InputError:
    action = "Write to another folder, or remove this file to start over"
    return InputError(shown(path), expected=expected, got=str(error), action=action)


def _write_beside(picture: Searched, rows: list[Row], wanted: Wanted, places: FileNames) -> None:
    """Write a picture's own files: drawn, and the points of each face."""
    if picture.error is not None:
        return
    name = picture.file.name
    if wanted.drawn and picture.image is not None:
        target = _place(wanted.output, places.drawn(name))
        drawn = wanted.draw(picture.image, (face.landmarks for face in picture.faces))
        try:
            write_picture(target, drawn)
        except InputError:  # a suffix that is only read, or a picture too large for it
            write_picture(target.with_name(target.name + ".png"), drawn)
    if "pts" in wanted.formats:
        for row in rows:
            if row.points_px is not None:
                face = None if row.faces == 1 else row.face
                write_pts(_place(wanted.output, places.pts(name, face)), row.points_px)


def _place(folder: Path, name: str) -> Path:
    """A file's place in the results; its folder is made."""
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


class Journal:
    """Rows in JSON, one a line, all those of a picture in one write.

    Args:
        folder: where the results go.
        heading: of this run.
        resume: go on with what is there.

    Attributes:
        done: the names of the pictures that have their rows.
        summary: counts over these rows.

    Raises:
        ConfigError: there is an unfinished run and `resume` is not set, or it is another run.
    """

    def __init__(self, folder: Path, heading: Heading, *, resume: bool) -> None:
        self.path = folder / JOURNAL_NAME
        self.done: set[str] = set()
        self.summary = Summary()
        there = self.path.exists()
        if there and not resume:
            raise ConfigError(
                shown(self.path),
                expected="no unfinished run in the folder of the results",
                got="one",
                action="Add --resume to continue it, or remove this file",
            )
        if there:
            self._continue(heading)
        # a buffer would keep what a full disk did not take, and write it behind the cut
        self._file = self.path.open("ab", buffering=0)
        if not there:
            self._append(msgspec.json.encode(heading) + b"\n")

    def add(self, rows: list[Row]) -> None:
        """Write a picture's rows, all or none."""
        self._append(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
        self._count(rows[0])

    def lines(self) -> Iterator[bytes]:
        """All rows so far, as they were encoded."""
        with self.path.open("rb") as file:
            yield from islice(file, 1, None)

    def finish(self) -> None:
        """Remove the file: its rows are in the results."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the file for a run that goes on with it; a second call does nothing."""
        self._file.close()
        if not self.done:
            self.path.unlink(missing_ok=True)  # nothing to go on with

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _count(self, row: Row) -> None:
        self.done.add(row.picture)
        self.summary.count(row.picture, row.status, row.faces, row.error)

    def _append(self, data: bytes) -> None:
        end = self._file.tell()
        try:
            left = memoryview(data)
            while left:
                left = left[self._file.write(left) :]
        except OSError:  # a full disk may take a part of it
            with suppress(OSError):
                os.ftruncate(self._file.fileno(), end)
            raise

    def _continue(self, heading: Heading) -> None:
        """Read what is whole, and cut off what is not: a picture's last rows may be half there."""
        with self.path.open("rb") as file:
            first = file.readline()
            heading.check(first, shown(self.path))
            whole, pending, size = len(first), 0, 0
            for number, line in enumerate(file, 2):
                if not line.endswith(b"\n"):
                    break
                try:
                    row = decode_json(line, Row)
                except DamageError as error:
                    raise _damaged(
                        self.path, f"a row of results in line {number}", error
                    ) from error
                size += len(line)
                pending += 1
                if pending >= max(row.faces, 1):
                    self._count(row)
                    whole, pending, size = whole + size, 0, 0
        os.truncate(self.path, whole)
