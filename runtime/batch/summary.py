"""What a batch came to, for people and for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from runtime.batch.job import Results
from runtime.batch.worker import Done
from runtime.files import json_text
from runtime.many.summary import NAMED


@dataclass(kw_only=True)
class BatchSummary:
    """Counts over all results, those of earlier runs included, but where it says "now".

    Attributes:
        engine: local or ray.
        inputs, partitions: all there are.
        rows, faces, without_face, failed: what stands in the results.
        first_failed: name and error of some.
        pictures_now: of this run.
        seconds_now: of this run, start of the workers included.
        first_to_last_s: from its first partition's end to its last one's, start excluded.
        pictures_after_first: of the partitions after the first.
    """

    engine: str
    inputs: int
    partitions: int
    rows: int = 0
    faces: int = 0
    without_face: int = 0
    failed: int = 0
    first_failed: list[tuple[str, str]] = field(default_factory=list)
    pictures_now: int = 0
    seconds_now: float = 0.0
    first_to_last_s: float = 0.0
    pictures_after_first: int = 0

    def __post_init__(self) -> None:
        self._first_s = 0.0

    def add(self, done: Done, since_start_s: float) -> None:
        """Count a partition of this run."""
        if self.pictures_now:
            self.pictures_after_first += done.pictures
            self.first_to_last_s = since_start_s - self._first_s
        else:
            self._first_s = since_start_s
        self.pictures_now += done.pictures

    def read(self, results: Results) -> None:
        """Count what the results say, partition by partition.

        Raises:
            OSError: one cannot be read.
        """
        for index in range(self.partitions):
            found = results.columns(index, ["input", "status", "faces", "error"])
            self.rows += len(found["status"])
            self.faces += sum(found["faces"])
            self.without_face += found["status"].count("no face")
            failed = [
                (name, error)
                for name, status, error in zip(
                    found["input"], found["status"], found["error"], strict=True
                )
                if status == "error"
            ]
            self.failed += len(failed)
            self.first_failed += failed[: NAMED - len(self.first_failed)]

    def text(self, output: str) -> str:
        """A few lines for people."""
        seconds = self.seconds_now
        rate = f" in {seconds:.1f} s, {self.pictures_now / seconds:.1f} a second" if seconds else ""
        before = self.rows - self.pictures_now
        earlier = f" and {before} before" if before else ""
        return "\n".join(
            (
                f"Pictures: {self.rows} ({self.pictures_now} now{rate}{earlier})",
                f"Partitions: {self.partitions}",
                f"Faces: {self.faces}",
                f"Without a face: {self.without_face}",
                f"Failed: {self.failed}",
                f"Saved: {output}",
            )
        )

    def json(self) -> str:
        """The same for machines."""
        return json_text(asdict(self)).rstrip("\n")
