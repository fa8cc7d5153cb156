"""The rows of a run as they come, in a file that a run that was stopped can be continued from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from runtime.detector import Detector
from runtime.errors import ConfigError, InputError
from runtime.files import sha256_file, shown
from runtime.many.rows import Row
from runtime.model.manifest import MANIFEST_NAME, read_manifest
from runtime.model.source import find_artifact, parse_source

JOURNAL_NAME = "unfinished.jsonl"


class Heading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run's rows depend on: a run with another one is another run.

    Attributes:
        model: the digest of the bundle's manifest, or SHA-256 of the model's file.
        engine: name and version, and the device.
        given: the input as it was named.
        options: what else changes the rows or the files beside them.
    """

    model: str
    engine: str
    given: str
    options: dict[str, str]


def heading_of(
    source: str | os.PathLike[str], detector: Detector, given: str, options: dict[str, str]
) -> Heading:
    """Say what a run is; arguments as for `Heading`, and the source that the detector came from."""
    meant = parse_source(source)
    if (meant.path / MANIFEST_NAME).is_file():
        model = read_manifest(meant.path).digest  # made again from the same inputs it is the same
    else:
        model = sha256_file(find_artifact(meant).path)
    return Heading(
        model=model,
        engine=f"{detector.backend.name} on {detector.device}",
        given=shown(given),
        options=options,
    )


def differences(found: msgspec.Struct, wanted: msgspec.Struct) -> str:
    """What a heading says otherwise than it should, with its own values; empty where nothing."""
    return ", ".join(
        f"{name} {getattr(found, name)!r}"
        for name in wanted.__struct_fields__
        if getattr(found, name) != getattr(wanted, name)
    )


class Journal:
    """Rows in JSON, one a line, all those of a picture in one write.

    Args:
        folder: where the results go.
        heading: of this run.
        resume: go on with what is there.

    Attributes:
        done: the names of the pictures that have their rows.

    Raises:
        ConfigError: there is an unfinished run and `resume` is not set, or it is another run.
        OSError: the file cannot be written.
    """

    def __init__(self, folder: Path, heading: Heading, *, resume: bool) -> None:
        self.path = folder / JOURNAL_NAME
        self.done: set[str] = set()
        there = self.path.exists()
        if there and not resume:
            raise ConfigError(
                shown(self.path),
                expected="no unfinished run in the folder of the results",
                got="one",
                action="Add --resume to continue it, or remove this file",
            )
        if there:
            self._take_up(heading)
        self._file: BinaryIO = self.path.open("ab")
        if not there:
            self._append(msgspec.json.encode(heading) + b"\n")

    def add(self, rows: list[Row]) -> None:
        """Write a picture's rows, all or none.

        Raises:
            OSError: they cannot be written; the file ends where it ended before.
        """
        self._append(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
        self.done.add(rows[0].picture)

    def rows(self) -> Iterator[Row]:
        """All rows so far, read back from the file."""
        decoder = msgspec.json.Decoder(Row)
        with self.path.open("rb") as file:
            next(file, None)
            for line in file:
                yield decoder.decode(line)

    def finish(self) -> None:
        """Remove the file: its rows stand elsewhere now."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the file for a run that goes on with it; a second call does nothing."""
        self._file.close()
        if not self.done:
            self.path.unlink(missing_ok=True)  # nothing to go on with

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _append(self, data: bytes) -> None:
        end = self._file.tell()
        try:
            self._file.write(data)
            self._file.flush()
        except OSError:  # a full disk may take a part of it
            with suppress(OSError):
                os.ftruncate(self._file.fileno(), end)
            raise

    def _take_up(self, heading: Heading) -> None:
        """Read what is whole, and cut off what is not: a picture's last rows may be half there."""
        whole = 0
        with self.path.open("rb") as file:
            first = file.readline()
            self._check(first, heading)
            whole = len(first)
            pending, size = 0, 0
            decoder = msgspec.json.Decoder(Row)
            for line in file:
                try:
                    row = decoder.decode(line) if line.endswith(b"\n") else None
                except msgspec.DecodeError:
                    row = None
                if row is None:
                    break
                size += len(line)
                pending += 1
                if pending >= max(row.faces, 1):
                    self.done.add(row.picture)
                    whole, pending, size = whole + size, 0, 0
        os.truncate(self.path, whole)

    def _check(self, line: bytes, heading: Heading) -> None:
        try:
            found = msgspec.json.decode(line, type=Heading)
        except msgspec.MsgspecError as error:
            raise InputError(
                shown(self.path),
                expected="the journal of an unfinished run",
                got=str(error),
                action="Remove this file, and run again without --resume",
            ) from error
        differing = differences(found, heading)
        if differing:
            raise ConfigError(
                shown(self.path),
                expected="the same model, engine, input and options as the run to continue",
                got=differing,
                action="Continue it as it was begun, or remove this file to begin anew",
            )
