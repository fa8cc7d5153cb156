"""What a run over many pictures came to, for people and for machines."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from runtime.files import json_text, write_text_whole
from runtime.many.journal import Heading
from runtime.many.rows import Row

logger = logging.getLogger("starmark")

RUN_NAME = "run.json"

# So many of the pictures that failed are named at the end; the results name all.
NAMED = 20


@dataclass(kw_only=True)
class Summary:
    """What a run came to.

    Attributes:
        pictures, faces, without_face, failed: counts over all runs that were continued.
        first_failed: name and error of some.
        pictures_now: pictures of this run alone.
        seconds_now: of this run alone.
        saved: the files and folders.
    """

    pictures: int = 0
    faces: int = 0
    without_face: int = 0
    failed: int = 0
    first_failed: list[tuple[str, str]] = field(default_factory=list)
    pictures_now: int = 0
    seconds_now: float = 0.0
    saved: list[str] = field(default_factory=list)

    def count(self, rows: Iterable[Row]) -> None:
        """Add up what rows say."""
        for row in rows:
            self.faces += row.status == "ok"
            self.without_face += row.status == "no face"
            self.failed += row.status == "error"
            self.pictures += (row.face or 0) == 0
            if row.status == "error" and len(self.first_failed) < NAMED:
                self.first_failed.append((row.picture, row.error))

    def text(self) -> str:
        """A few lines for people."""
        seconds = self.seconds_now
        rate = f" in {seconds:.1f} s, {self.pictures_now / seconds:.1f} a second" if seconds else ""
        resumed = self.pictures - self.pictures_now
        before = f" and {resumed} before" if resumed else ""
        return "\n".join(
            (
                f"Pictures: {self.pictures} ({self.pictures_now} now{rate}{before})",
                f"Faces: {self.faces}",
                f"Without a face: {self.without_face}",
                f"Failed: {self.failed}",
                *(f"Saved: {name}" for name in self.saved),
            )
        )

    def json(self, device: str, engine: str) -> str:
        """The same for machines."""
        return json_text({"device": device, "engine": engine, **asdict(self)})


def log_failed(first_failed: Sequence[tuple[str, str]], failed: int) -> None:
    """Name some of the pictures that failed, and count the others."""
    for name, error in first_failed:
        logger.warning("failed: %s: %s", name, error)
    if failed > len(first_failed):
        logger.warning("failed: %d more", failed - len(first_failed))


class FinishedRun(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside the results of a run: how they were made, and what they came to."""

    heading: Heading
    pictures_sha256: str  # of their names: there may be a million
    summary: Summary


def note_finished(folder: Path, run: FinishedRun) -> None:
    """Write it beside the results.

    Raises:
        OSError: it cannot be written.
    """
    write_text_whole(folder / RUN_NAME, json_text(run))


def hash_of_names(names: Iterable[str]) -> str:
    """SHA-256 over names, in their order."""
    found = hashlib.sha256()
    for name in names:
        found.update(name.encode() + b"\0")
    return found.hexdigest()


def finished_before(folder: Path, heading: Heading, pictures_sha256: str) -> Summary | None:
    """What the same run came to, where it has ended and its results are all there."""
    try:
        run = msgspec.json.decode((folder / RUN_NAME).read_bytes(), type=FinishedRun)
    except (OSError, msgspec.MsgspecError):
        return None
    there = all(Path(name).exists() for name in run.summary.saved)
    if run.heading != heading or run.pictures_sha256 != pictures_sha256 or not there:
        return None
    run.summary.pictures_now, run.summary.seconds_now = 0, 0.0
    return run.summary
