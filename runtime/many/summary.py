"""What a run over many pictures came to, for people and for machines."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from runtime.cli.language import ENGLISH, Words
from runtime.files import json_text, printable
from runtime.files.listing import Skip, log_skipped

logger = logging.getLogger("starmark")

# So many of the pictures that failed are named at the end; the results name all.
NAMED = 20


def faces_line(faces: int, unsure: int, say: Words = ENGLISH) -> str:
    """How many faces there are, and of how many the points are unsure."""
    line = say("Faces: {count}", count=faces)
    return line + (say(" ({count} unsure)", count=unsure) if unsure else "")


@dataclass(kw_only=True)
class Summary:
    """What a run came to.

    Attributes:
        pictures, faces, without_face, failed: counts over all runs that were continued.
        unsure: of the faces, those whose points are unsure.
        first_failed: name and error of some.
        pictures_now: pictures of this run alone.
        seconds_now: of this run alone.
        saved: the files and folders.
        skipped: files among the inputs that were passed over, by reason.
    """

    pictures: int = 0
    faces: int = 0
    unsure: int = 0
    without_face: int = 0
    failed: int = 0
    first_failed: list[tuple[str, str]] = field(default_factory=list)
    pictures_now: int = 0
    seconds_now: float = 0.0
    saved: list[str] = field(default_factory=list)
    skipped: dict[str, Skip] = field(default_factory=dict)

    def count(
        self, picture: str, status: str, faces: int, error: str, warnings: Iterable[str]
    ) -> None:
        """Count one picture by its row's columns, and the warnings of its faces."""
        self.pictures += 1
        self.faces += faces
        self.unsure += sum(map(bool, warnings))
        self.without_face += status == "no face"
        self.failed += status == "error"
        if status == "error" and len(self.first_failed) < NAMED:
            self.first_failed.append((picture, error))

    def log_left_out(self) -> None:
        """Name some of the pictures that failed and of the files that were passed over."""
        for name, error in self.first_failed:
            logger.warning("failed: %s: %s", name, error)
        if self.failed > len(self.first_failed):
            logger.warning("failed: %d more", self.failed - len(self.first_failed))
        log_skipped(self.skipped)

    def lines(self, say: Words = ENGLISH) -> list[str]:
        """A few lines for people."""
        seconds, resumed = self.seconds_now, self.pictures - self.pictures_now
        now = say("{pictures} now", pictures=self.pictures_now)
        if seconds:
            rate = f"{self.pictures_now / seconds:.1f}"
            now += say(" in {seconds} s, {rate} a second", seconds=f"{seconds:.1f}", rate=rate)
        if resumed:
            now += say(" and {pictures} before", pictures=resumed)
        return [
            say("Pictures: {count} ({now})", count=self.pictures, now=now),
            faces_line(self.faces, self.unsure, say),
            say("Without a face: {count}", count=self.without_face),
            say("Failed: {count}", count=self.failed),
            *(say("Saved: {name}", name=printable(name)) for name in self.saved),
        ]

    def json(self, **beside: str) -> str:
        """The same for machines, after what stands beside it."""
        return json_text({**beside, **asdict(self)}).rstrip("\n")
