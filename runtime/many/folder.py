"""Results of many pictures in a folder: written as they come, continued after a stop."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.cli.command_line import progress
from runtime.detector import Detector
from runtime.errors import InputError
from runtime.files import json_text, shown
from runtime.files.lock import folder_locked
from runtime.files.owned import OwnedFiles, ReadFile, sweep
from runtime.files.reading import DamageError, decode_json, read_bytes
from runtime.image.draw import draw_faces
from runtime.image.landmarks import Landmarks
from runtime.image.picture import MAX_PIXELS, write_picture
from runtime.many.heading import Heading
from runtime.many.inputs import Listing, Noted
from runtime.many.journal import JOURNAL_NAME, Entry, Journal
from runtime.many.names import FileNames
from runtime.many.rows import Row, rows_of
from runtime.many.search import Searched, search
from runtime.many.summary import Summary
from runtime.many.tables import TABLES, import_pyarrow, write_pts, write_table

# Of a path that the file system of the results does not take, and another would.
NAME_REFUSED = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
RUN_NAME, ROWS_NAME = "run.json", "results.jsonl"

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
        resume: go on with a run that was stopped, or make again what of an ended one is not what
            was written, or was made from other bytes.
        readers: as for `search`.
        batch: as for `search`.
        max_pixels: as for `read_picture`.

    Raises:
        ConfigError: an unfinished run, another run's lock or a file of the user's is in the way,
            or `resume` is about another run.
        BackendUnavailable: the package of a format is missing.
        InferenceError: a device is lost.
    """
    wanted.check_packages()
    files, folder = listing.files, wanted.output
    folder.mkdir(parents=True, exist_ok=True)
    with folder_locked(folder), closing(OwnedFiles(folder)) as owned:
        run = _FolderRun(listing, heading, wanted, owned)
        owned.check(run.targets(), again=resume)
        sweep(folder)
        if resume and (before := run.up_to_date()):
            logger.info("up to date: %s", shown(folder))
            return before
        with Journal(folder, heading, resume=resume, counts=run.counts) as journal:
            left = [file for file in files if file.name not in journal.done]
            if len(left) < len(files):
                done = len(files) - len(left)
                logger.info("resumed: %d of %d pictures are done", done, len(files))
            start = time.perf_counter()
            noted = (Noted(picture=file, path=file.path) for file in left)
            found = search(detector, noted, readers=readers, batch=batch, max_pixels=max_pixels)
            try:
                with closing(found) as searched:
                    for picture in progress(searched, "pictures", len(left)):
                        run.add(journal, picture)
            except BaseException:
                logger.warning(
                    "stopped after %d of %d pictures: the same command with --resume goes on",
                    len(journal.done),
                    len(files),
                )
                raise
            seconds = time.perf_counter() - start
            return run.finish(journal, detector.spec.points, len(left), seconds)


class _FolderRun:
    """The files of a run over pictures: what it reads, and what it writes where."""

    def __init__(
        self, listing: Listing, heading: Heading, wanted: Wanted, owned: OwnedFiles
    ) -> None:
        self._paths = {file.name: file.path for file in listing.files}
        self._skipped = listing.skipped
        self._heading, self._wanted, self._owned = heading, wanted, owned
        self._folder = wanted.output
        self._beside = wanted.drawn or "pts" in wanted.formats
        self._places = FileNames([*self._paths] if self._beside else ())
        self._tables = [f"results.{name}" for name in wanted.formats if name in TABLES]
        names = b"".join(os.fsencode(name) + b"\0" for name in self._paths)
        self._names_sha256 = hashlib.sha256(names).hexdigest()

    def targets(self) -> Iterator[str]:
        """The files that may be written, as far as something may be in their way."""
        yield from (RUN_NAME, *self._tables)
        beside: list[str] = []
        if self._wanted.drawn:
            beside = [self._places.drawn(name) for name in self._paths]
            yield from (f"{place}{end}" for place in beside for end in ("", ".png"))
        if "pts" in self._wanted.formats:
            beside += [self._places.pts(name) for name in self._paths]
            yield from self._places.pts_in(self._folder)
        for parent in {up for place in beside for up in PurePosixPath(place).parents}:
            if not os.path.isdir(self._folder / parent):  # noqa: PTH112  # it may be too long
                yield str(parent)

    def counts(self, read: ReadFile) -> bool:
        """Whether what was made from an input is there, and would be made from it again."""
        path = self._paths.get(read.name)
        still = path is not None and read.is_still(path)
        return still and all(self._owned.is_intact(name) for name in read.wrote)

    def up_to_date(self) -> Summary | None:
        """What the same run came to, where it has ended and nothing is to be made again.

        Otherwise its rows become a journal again, as far as they hold.
        """
        path = self._folder / RUN_NAME
        if (self._folder / JOURNAL_NAME).exists() or not path.exists():
            return None
        try:
            run = decode_json(read_bytes(path), FinishedRun)
        except DamageError as error:
            logger.warning("warning: %s: %s. All pictures are run again", shown(path), error)
            return None
        if run.heading != self._heading:
            return None
        holding = {name: read for name, read in self._owned.read.items() if self.counts(read)}
        changed = [name for name in self._tables if not self._owned.is_intact(name)]
        for name in changed:
            logger.info("changed since it was written, made again: %s", shown(self._folder / name))
        same = run.pictures_sha256 == self._names_sha256 and len(holding) == len(self._paths)
        if same and not changed and self._owned.is_intact(RUN_NAME):
            run.summary.pictures_now, run.summary.seconds_now = 0, 0.0
            run.summary.skipped = self._skipped
            return run.summary
        rows = self._folder / ROWS_NAME
        if self._owned.is_intact(ROWS_NAME):
            with Journal(self._folder, self._heading, resume=False) as journal:
                _restore(journal, rows, holding)
        return None

    def add(self, journal: Journal, picture: Searched) -> None:
        """Write what belongs to a picture: last its rows, so that who has them has everything."""
        file, rows = picture.file, rows_of(picture)
        assert isinstance(file, Noted)  # noqa: S101  # as `run_folder` gave it
        assert file.note is not None  # noqa: S101  # it was read, or tried to be
        wrote: list[str] = []
        try:
            wrote = self._write_beside(picture, rows)
        except OSError as error:
            if error.errno not in NAME_REFUSED:
                raise
            picture.error = InputError(
                "--output",
                expected="paths that the file system takes",
                got=f"{error.strerror}: one of {len(os.fsencode(error.filename))} bytes",
                action="Write to a folder with a shorter path",
            )
            rows = rows_of(picture)
        journal.add(msgspec.structs.replace(file.note, wrote=tuple(wrote)), rows)

    def finish(self, journal: Journal, points: int, now: int, seconds: float) -> Summary:
        """Write the tables, and remove what earlier runs wrote and this one did not."""
        summary = journal.count(self._paths)
        summary.skipped = self._skipped
        summary.pictures_now, summary.seconds_now = now, seconds
        for table in self._tables:
            path, kind = self._folder / table, table.removeprefix("results.")
            lines = journal.lines(self._paths)
            raw, writing = self._wanted.raw_csv, self._owned.writing
            write_table(kind, path, lines, points, raw_csv=raw, writing=writing)
        read = [entry.read for entry in journal.entries(self._paths)]
        beside = [name for one in read for name in one.wrote]
        kinds = sorted({name.partition("/")[0] for name in beside})
        summary.saved += [shown(self._folder / name) for name in (*self._tables, *kinds)]
        run = FinishedRun(
            heading=self._heading, pictures_sha256=self._names_sha256, summary=summary
        )
        with self._owned.writing(self._folder / RUN_NAME) as temporary:
            temporary.write_text(json_text(run), encoding="utf-8")
        self._owned.keep((RUN_NAME, *self._tables, *beside), read)
        journal.finish()
        return summary

    def _write_beside(self, picture: Searched, rows: list[Row]) -> list[str]:
        """Write a picture's own files: drawn, and the points of each face."""
        wrote: list[str] = []
        if picture.error is not None:
            return wrote
        name = picture.file.name
        if self._wanted.drawn and picture.image is not None:
            wrote.append(self._places.drawn(name))
            drawn = self._wanted.draw(picture.image, (face.landmarks for face in picture.faces))
            try:
                write_picture(self._place(wrote[-1]), drawn, writing=self._owned.writing)
            except InputError:  # a suffix that is only read, or a picture too large for it
                wrote[-1] += ".png"
                write_picture(self._place(wrote[-1]), drawn, writing=self._owned.writing)
        if "pts" in self._wanted.formats:
            for row in rows:
                if row.points_px is not None:
                    face = None if row.faces == 1 else row.face
                    wrote.append(self._places.pts(name, face))
                    write_pts(self._place(wrote[-1]), row.points_px, writing=self._owned.writing)
        return wrote

    def _place(self, name: str) -> Path:
        """A file's place in the results; its folder is made."""
        place = self._folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


class _Named(msgspec.Struct):
    picture: str


def _restore(journal: Journal, rows: Path, holding: Mapping[str, ReadFile]) -> None:
    """Take the rows of pictures that hold from a table of all rows."""
    picture_of = msgspec.json.Decoder(_Named)
    with rows.open("rb") as file:
        for name, lines in groupby(file, lambda line: picture_of.decode(line).picture):
            if name in holding:
                raw = [msgspec.Raw(line.rstrip(b"\n")) for line in lines]
                journal.put(Entry(read=holding[name], rows=raw))
