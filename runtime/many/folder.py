"""A folder of results from many pictures: run, continued, and said at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runtime.cli.command_line import progress
from runtime.detector import Detector
from runtime.errors import ConfigError, InputError
from runtime.files import shown
from runtime.image.draw import draw_faces
from runtime.image.picture import write_picture
from runtime.many.formats import TABLES, check_format, write_pts, write_table
from runtime.many.inputs import PictureFile
from runtime.many.journal import JOURNAL_NAME, Heading, Journal
from runtime.many.rows import Row, rows_of
from runtime.many.search import Searched, search
from runtime.many.summary import FinishedRun, Summary, finished_before, hash_of_names, note_finished

logger = logging.getLogger("starmark")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be written.

    Attributes:
        folder: where.
        formats: of `runtime.many.formats.FORMATS`.
        drawn: pictures with their landmarks, too.
        contours, ellipses: as for `draw_landmarks_with_contours`.
        resume: go on with a run that was stopped.
        readers, batch: as for `search`.
    """

    folder: Path
    formats: tuple[str, ...]
    drawn: bool
    contours: bool = False
    ellipses: bool = False
    resume: bool = False
    readers: int = 2
    batch: int | None = None


def run_folder(
    detector: Detector | Sequence[Detector],
    files: Sequence[PictureFile],
    heading: Heading,
    wanted: Wanted,
) -> Summary:
    """Run pictures and write their results; stopped at any moment, it can be continued.

    Raises:
        ConfigError: an unfinished run is in the way, or `resume` is about another one.
        BackendUnavailable: the package of a format is missing.
        InferenceError: a device is lost.
        OSError: something cannot be written.
    """
    for name in wanted.formats:
        check_format(name)
    wanted.folder.mkdir(parents=True, exist_ok=True)
    pictures = hash_of_names(file.name for file in files)
    unfinished = (wanted.folder / JOURNAL_NAME).exists()
    if wanted.resume and not unfinished:
        before = finished_before(wanted.folder, heading, pictures)
        if before is not None:
            logger.info("up to date: %s", shown(wanted.folder))
            return before
    summary = Summary()
    points = (detector if isinstance(detector, Detector) else detector[0]).spec.points
    with Journal(wanted.folder, heading, resume=wanted.resume) as journal:
        start = time.perf_counter()
        try:
            _run(detector, files, journal, wanted, summary)
        except BaseException:
            told = "stopped after %d of %d pictures: the same command with --resume goes on"
            logger.warning(told, len(journal.done), len(files))
            raise
        summary.seconds_now = time.perf_counter() - start
        for name in wanted.formats:
            if name in TABLES:
                path = wanted.folder / f"results.{name}"
                write_table(name, path, journal.rows, points)
                summary.saved.append(shown(path))
        summary.count(journal.rows())
        folders = [name for name in ("drawn", "pts") if (wanted.folder / name).is_dir()]
        summary.saved += [shown(wanted.folder / name) for name in folders]
        run = FinishedRun(heading=heading, pictures_sha256=pictures, summary=summary)
        note_finished(wanted.folder, run)
        journal.finish()
    return summary


def check_apart(given: str, folder: Path) -> None:
    """Refuse results among the pictures: the next run would take what is drawn for pictures.

    Raises:
        ConfigError: the one folder is inside the other, or a file stands there.
    """
    inside, target = Path(given).resolve(), folder.resolve()
    if target.exists() and not target.is_dir():
        raise ConfigError(
            f"--output {shown(folder)}",
            expected="a folder, where results of many pictures go",
            got="a file",
            action="Write somewhere else",
        )
    if inside.is_dir() and target.is_relative_to(inside):
        raise ConfigError(
            f"--output {shown(folder)}",
            expected="a folder outside that of the pictures",
            got=f"one in {shown(given)}",
            action="Write somewhere else",
        )


def _run(
    detector: Detector | Sequence[Detector],
    files: Sequence[PictureFile],
    journal: Journal,
    wanted: Wanted,
    summary: Summary,
) -> None:
    left = [file for file in files if file.name not in journal.done]
    if len(left) < len(files):
        logger.info("resumed: %d of %d pictures are done", len(files) - len(left), len(files))
    beside = _Beside(wanted, files)
    found = search(detector, left, readers=wanted.readers, batch=wanted.batch)
    with closing(found) as searched:
        for picture in progress(searched, "pictures", len(left)):
            rows = rows_of(picture)
            beside.write(picture, rows)
            journal.add(rows)  # last: whoever is in it has everything
            summary.pictures_now += 1


class _Beside:
    """Files of each picture's own: drawn, and its points."""

    def __init__(self, wanted: Wanted, files: Sequence[PictureFile]) -> None:
        self._wanted = wanted
        stems = [PurePosixPath(file.name).with_suffix("") for file in files]
        self._names_alike = len(set(stems)) < len(stems)  # a.jpg beside a.png

    def write(self, picture: Searched, rows: list[Row]) -> None:
        name = picture.file.name
        if self._wanted.drawn and picture.image is not None and picture.error is None:
            target = self._place("drawn", name)
            drawn = draw_faces(
                picture.image,
                (face.landmarks for face in picture.faces),
                contours=self._wanted.contours,
                ellipses=self._wanted.ellipses,
            )
            try:
                write_picture(target, drawn)
            except InputError:  # a suffix that is only read, or a picture too large for it
                write_picture(target.with_name(target.name + ".png"), drawn)
        if "pts" in self._wanted.formats:
            for row in rows:
                if row.points_px is not None:
                    more = "" if row.faces == 1 else f"_{row.face}"
                    target = self._place("pts", name)
                    stem = target.name if self._names_alike else target.stem
                    write_pts(target.with_name(f"{stem}{more}.pts"), row)

    def _place(self, kind: str, name: str) -> Path:
        """A file's place in the results; its folder is made."""
        parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..", ".")]
        place = self._wanted.folder.joinpath(kind, *parts)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place
