"""What a run over many pictures came to, for people and for machines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from runtime.bulk.rows import Row
from runtime.files import json_text

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
