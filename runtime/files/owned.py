"""Which files of a folder are those of our runs: they alone are replaced or removed."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import msgspec

from runtime.errors import ConfigError
from runtime.files import remove_parts, sha256_file, shown, written_whole
from runtime.files.lines import GrowingLines

FILES_NAME = "files.jsonl"

logger = logging.getLogger("starmark")


class WrittenFile(msgspec.Struct, frozen=True, kw_only=True, tag="written"):
    """A file of ours.

    Attributes:
        path: from the folder on, with slashes.
        bytes, sha256: of its content.
    """

    path: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Stay in the folder: what is listed may be removed."""
        parts = PurePosixPath(self.path).parts
        if not parts or parts[0] == "/" or ".." in parts or "\0" in self.path:
            raise ValueError(f"path {self.path!r}")


class ReadFile(msgspec.Struct, frozen=True, kw_only=True, tag="read"):
    """An input, as it was when it was read.

    Attributes:
        name: in results.
        bytes, mtime_ns, sha256: of it; no digest where it could not be read.
        wrote: the files of its own, by `WrittenFile.path`.
    """

    name: str
    bytes: int = 0
    mtime_ns: int = 0
    sha256: str = ""
    wrote: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, path: Path) -> ReadFile:
        """Note what there is now."""
        with suppress(OSError, ValueError):  # a NUL in a name
            found = path.stat()
            if stat.S_ISREG(found.st_mode):
                digest = sha256_file(path)
                return cls(
                    name=name, bytes=found.st_size, mtime_ns=found.st_mtime_ns, sha256=digest
                )
        return cls(name=name)

    def is_still(self, path: Path) -> bool:
        """Whether the file holds what it held."""
        try:
            found = path.stat()
            if not self.sha256 or found.st_size != self.bytes:
                return False
            return found.st_mtime_ns == self.mtime_ns or sha256_file(path) == self.sha256
        except OSError:
            return False


class OwnedFiles:
    """The files that runs have written into a folder, from `files.jsonl` in it.

    A file is noted before it is renamed into place: one that is there and not noted is not ours.

    Args:
        folder: of the results, locked.

    Attributes:
        read: the inputs of a run that ended, by name.

    Raises:
        ConfigError: there is a `files.jsonl` of another origin.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / FILES_NAME
        self._lines: GrowingLines | None = None
        # several of a file where runs were killed while they replaced it; the last is the newest
        self._written: dict[str, list[WrittenFile]] = {}
        self.read: dict[str, ReadFile] = {}
        decoder, damaged = msgspec.json.Decoder(WrittenFile | ReadFile), 0
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            for line in file:
                try:
                    found = decoder.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    damaged += 1
                    continue
                if isinstance(found, ReadFile):
                    self.read[found.name] = found
                else:
                    self._written.setdefault(found.path, []).append(found)
        if damaged and not self._written:
            raise _in_the_way(self._path, "one of another origin, or a damaged one")
        if damaged:
            logger.warning("warning: %s: %d damaged lines", shown(self._path), damaged)

    def check(self, names: Iterable[str], *, again: bool) -> None:
        """Find out what of the user's is in the way, before anything is done.

        Args:
            names: of the files to be written, from the folder on.
            again: make files of ours again that were changed since they were written.

        Raises:
            ConfigError: a file, folder or link that is not ours, or that was changed.
        """
        for name in names:
            path = self._folder / name
            if os.path.lexists(path):
                if name not in self._written:
                    raise _in_the_way(path, f"one that {FILES_NAME} does not name")
                if not again and not self._holds(name, self._written[name]):
                    raise _in_the_way(path, "one that was changed since it was written")

    def is_intact(self, name: str) -> bool:
        """Whether a file of ours holds what was written last."""
        return self._holds(name, self._written.get(name, [])[-1:])

    @contextmanager
    def writing(self, path: Path) -> Iterator[Path]:
        """`written_whole` of a file in the folder, with a note of it."""
        name = path.relative_to(self._folder).as_posix()
        with written_whole(path) as temporary:
            yield temporary
            note = WrittenFile(
                path=name, bytes=temporary.stat().st_size, sha256=sha256_file(temporary)
            )
            self._lines = self._lines or GrowingLines(self._path)
            self._lines.add(msgspec.json.encode(note))
            self._written.setdefault(name, []).append(note)

    def keep(self, names: Iterable[str], read: Iterable[ReadFile] = ()) -> None:
        """Remove all files of earlier runs but these, and note what is left and what was read.

        What was changed since it was written is left, and no longer ours.
        """
        kept = {name: self._written[name][-1] for name in names if name in self._written}
        for name, notes in self._written.items():
            if name not in kept and self._holds(name, notes):
                self._remove(name)
        self.close()
        with written_whole(self._path) as temporary, temporary.open("wb") as file:
            for note in (*kept.values(), *read):
                file.write(msgspec.json.encode(note) + b"\n")
        self._written = {name: [note] for name, note in kept.items()}

    def close(self) -> None:
        """A second call does nothing."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def _holds(self, name: str, notes: list[WrittenFile]) -> bool:
        path = self._folder / name
        try:
            alike = [note for note in notes if path.is_file() and path.stat().st_size == note.bytes]
            digest = sha256_file(path) if alike else ""
        except OSError:
            return False
        return any(note.sha256 == digest for note in alike)

    def _remove(self, name: str) -> None:
        path = self._folder / name
        with suppress(OSError):  # a folder that is not empty stays
            path.unlink()
            while (path := path.parent) != self._folder:
                path.rmdir()


def sweep(folder: Path) -> None:
    """Remove what a killed run left half-written, where runs write."""
    for place in (folder / "drawn", folder / "pts"):
        remove_parts(place)
    remove_parts(folder, deep=False)


def _in_the_way(path: Path, got: str) -> ConfigError:
    return ConfigError(
        shown(path),
        expected="no file here, or one that an earlier run wrote",
        got=got,
        action="Move it away, or write to another folder",
    )
