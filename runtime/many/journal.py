"""What a run over many pictures has done so far: a line for each picture, with all its rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from runtime.errors import ConfigError
from runtime.files import shown
from runtime.files.lines import GrowingLines
from runtime.files.owned import ReadFile
from runtime.files.reading import DamageError, decode_json
from runtime.many.heading import Heading
from runtime.many.rows import Row
from runtime.many.summary import Summary

JOURNAL_NAME = "unfinished.jsonl"

logger = logging.getLogger("starmark")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A picture that is done.

    Attributes:
        read: what its rows were made from, and the files that were written beside them.
        rows: in JSON, one for each face.
    """

    read: ReadFile
    rows: list[msgspec.Raw]


class _Warned(msgspec.Struct):
    """Of a row, what the summary counts."""

    warning: str = ""


class Journal:
    """A file of entries, after the heading of the run.

    Args:
        folder: where the results go.
        heading: of this run.
        resume: go on with what is there.
        counts: whether an entry that is there still holds; else its picture is run again.

    Attributes:
        done: the names of the pictures that have their rows, and where in the file.

    Raises:
        ConfigError: there is an unfinished run and `resume` is not set, or it is another run.
        InputError: the heading is damaged.
    """

    def __init__(
        self,
        folder: Path,
        heading: Heading,
        *,
        resume: bool,
        counts: Callable[[ReadFile], bool] = lambda _: True,
    ) -> None:
        self.path = folder / JOURNAL_NAME
        self.done: dict[str, int] = {}
        there = self.path.exists()
        if there and not resume:
            raise ConfigError(
                shown(self.path),
                expected="no unfinished run in the folder of the results",
                got="one",
                action="Add --resume to continue it, or remove this file",
            )
        if there:
            self._continue(heading, counts)
        self._lines = GrowingLines(self.path)
        if not self._lines.bytes:
            self._lines.add(msgspec.json.encode(heading))

    def add(self, read: ReadFile, rows: Iterable[Row]) -> None:
        """Write a picture's rows, all or none; they take the place of earlier ones."""
        encoded = [msgspec.Raw(msgspec.json.encode(row)) for row in rows]
        self.put(Entry(read=read, rows=encoded))

    def put(self, entry: Entry) -> None:
        """Write an entry."""
        self.done[entry.read.name] = self._lines.add(msgspec.json.encode(entry))

    def entries(self, names: Iterable[str]) -> Iterator[Entry]:
        """The entries of these pictures, in their order."""
        decoder = msgspec.json.Decoder(Entry)
        with self.path.open("rb") as file:
            for name in names:
                if file.tell() != self.done[name]:
                    file.seek(self.done[name])
                yield decoder.decode(file.readline())

    def lines(self, names: Iterable[str]) -> Iterator[bytes]:
        """The rows of these pictures, in their order, a line each."""
        for entry in self.entries(names):
            for row in entry.rows:
                yield bytes(row) + b"\n"

    def count(self, names: Iterable[str]) -> Summary:
        """What these pictures came to."""
        summary = Summary()
        for entry in self.entries(names):
            row = msgspec.json.decode(entry.rows[0], type=Row)
            warnings = [msgspec.json.decode(one, type=_Warned).warning for one in entry.rows]
            summary.count(row.picture, row.status, row.faces, row.error, warnings)
        return summary

    def finish(self) -> None:
        """Remove the file: its rows are in the results."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the file for a run that goes on with it; a second call does nothing."""
        self._lines.close()
        if not self.done:
            self.path.unlink(missing_ok=True)  # nothing to go on with

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _continue(self, heading: Heading, counts: Callable[[ReadFile], bool]) -> None:
        damaged = changed = 0
        with self.path.open("rb") as file:
            first = file.readline()
            if not first.endswith(b"\n"):  # killed while it began
                return
            heading.check(first, shown(self.path))
            start = len(first)
            for line in file:
                try:
                    if not line.endswith(b"\n"):
                        raise DamageError("cut off")
                    entry = decode_json(line, Entry)
                    rows = [decode_json(row, Row) for row in entry.rows]
                    if not rows or len(rows) != max(1, rows[0].faces):
                        raise DamageError("another number of rows")
                except DamageError:
                    damaged += 1
                else:
                    if counts(entry.read):
                        self.done[entry.read.name] = start
                    else:
                        self.done.pop(entry.read.name, None)
                        changed += 1
                start += len(line)
        if damaged:
            logger.warning("%s: %d damaged lines, run again", shown(self.path), damaged)
        if changed:
            logger.info("changed since they were run: %d pictures, run again", changed)
