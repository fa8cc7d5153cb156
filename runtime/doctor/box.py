"""The archive that a machine sends back: parts gathered, made anonymous, listed, then written."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.doctor.plain_files import open_plain
from runtime.doctor.redaction import Redactor
from runtime.errors import StarmarkError, one_line

FOLDER = "starmark-box"
MODE = 0o644
# The end of a log is where its failure stands; version files are far shorter.
LONGEST_TEXT_BYTES = 256 << 10
LONGEST_NAME = 80


@dataclass
class Box:
    """What was gathered so far, still with every name in it, and (what, reason) of what was not.

    Attributes:
        parts: name in the archive -> text, bytes of a model's head, or a JSON value.
        pictures: names of pictures that reports list, which no text may hold.
    """

    parts: dict[str, str | bytes | list[Any] | dict[str, Any]] = field(default_factory=dict)
    failed: list[tuple[str, str]] = field(default_factory=list)
    pictures: set[str] = field(default_factory=set)

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Gather a part; one that fails becomes a line of its own, whatever went wrong."""
        try:
            yield
        except StarmarkError as error:
            reason = f"{error.problem}. {error.action}"
            self.failed.append((what, one_line(reason, 500)))
        except Exception as error:  # noqa: BLE001  # a broken box must still be reported
            self.failed.append((what, one_line(error, 500, kind=True)))

    def add_text(self, name: str, path: Path) -> None:
        """Add the end of a text file, or a line on why it cannot be read."""
        with self.attempt(str(path)):
            self.parts[name] = read_tail(path)

    def files(self, redactor: Redactor) -> dict[str, bytes]:
        """All files without anybody's names, under names that any system can hold.

        A part whose names cannot be replaced is left out.
        """
        redactor.pictures |= self.pictures
        for name, part in self.parts.items():
            with self.attempt(name):
                redactor.learn(part)
        made: dict[str, bytes] = {}
        for name, part in sorted(self.parts.items()):
            with self.attempt(name):
                if isinstance(part, bytes):
                    data = redactor.head(part)
                elif isinstance(part, str):
                    data = redactor.text(part).encode("utf-8", "replace")
                else:
                    data = as_json(redactor.value(part))
                made[_unique(_plain_name(redactor.text(name)), made)] = data
        return made


def read_tail(path: Path) -> str:
    """The last part of a text file.

    Raises:
        OSError: it cannot be read, or is no plain file.
        ValueError: not text.
    """
    with open_plain(path) as file:
        left_out = max(0, os.fstat(file.fileno()).st_size - LONGEST_TEXT_BYTES)
        file.seek(left_out)
        data = file.read(LONGEST_TEXT_BYTES)
    if b"\0" in data:
        raise ValueError(f"{path}: not text")
    text = data.decode("utf-8", "replace")
    return f"[the first {left_out:,} bytes were left out]\n{text}" if left_out else text


def as_json(value: Any) -> bytes:
    """A JSON value as people read it."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return (text + "\n").encode("utf-8", "replace")


def write_box(archive: Path, files: Mapping[str, bytes], created_s: int) -> None:
    """Write a .tar.gz with one folder in it, which names neither its writer nor its place.

    Raises:
        OSError: it cannot be written.
    """
    with (
        archive.open("wb") as raw,
        # the stream's own head would hold the temporary file's name
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=created_s) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{FOLDER}/{name}")
            entry.size, entry.mtime, entry.mode = len(data), created_s, MODE
            tar.addfile(entry, io.BytesIO(data))


def _plain_name(name: str) -> str:
    # a leading dot would hide the file, and two of them lead out of the folder
    parts = [re.sub(r"[^A-Za-z0-9._+-]|^\.+", "_", one) for one in name.split("/")]
    return "/".join(one[-LONGEST_NAME:] or "_" for one in parts)


def _unique(name: str, taken: Mapping[str, bytes]) -> str:
    stem, dot, suffix = name.rpartition(".")
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{stem}-{number}{dot}{suffix}"
    return found
