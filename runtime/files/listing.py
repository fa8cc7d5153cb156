"""Files in folders and by patterns: each once, and what is passed over counted by its reason."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from runtime.errors import InputError
from runtime.files import printable, shown

# So many of each reason are named.
NAMED = 5
HIDDEN: Final = "hidden"
OTHER_SUFFIX: Final = "with another suffix"
DEAD_LINK: Final = "linked to nothing"
FOLDER: Final = "matched as folders"
DEEP, FILE = "**", ""

logger = logging.getLogger("starmark")


@dataclass(kw_only=True)
class Skip:
    """How many files were passed over for one reason, and the names of the first."""

    count: int = 0
    first: list[str] = field(default_factory=list)


def count_skip(skipped: dict[str, Skip], reason: str, name: str) -> None:
    """Count a file that is passed over."""
    skip = skipped.setdefault(reason, Skip())
    skip.count += 1
    if len(skip.first) < NAMED:
        skip.first.append(shown(name))


def skipped_text(skipped: Mapping[str, Skip]) -> str:
    """Counts and names in one line, such as: 3 hidden (.a, .b, .c), 1 with another suffix (d)."""
    return ", ".join(
        f"{skip.count} {reason} ({', '.join(map(printable, skip.first))}"
        f"{', …' if skip.count > len(skip.first) else ''})"
        for reason, skip in skipped.items()
    )


def log_skipped(skipped: Mapping[str, Skip]) -> None:
    """Say what was passed over, if anything was."""
    if skipped:
        count = sum(skip.count for skip in skipped.values())
        files = "1 file" if count == 1 else f"{count} files"
        logger.warning("skipped: %s: %s", files, skipped_text(skipped))


class Lister:
    """Lists files by their suffixes, the same way for every command.

    Links are followed; a folder that is reached twice is listed once, under the first path to it.
    Hidden files and folders are passed over (._a.jpg is macOS's note about a.jpg), unless a
    pattern begins with a dot. A folder that cannot be read is listed as if it were a file, with a
    slash behind its name: reading it fails, and is one of the run's failures.

    Args:
        suffixes: in lower case; files with these in any case are listed.
        beside: of files that belong to these and are not counted, such as annotations.

    Attributes:
        skipped: by reason, what was passed over so far.
    """

    def __init__(self, *suffixes: str, beside: tuple[str, ...] = ()) -> None:
        self.skipped: dict[str, Skip] = {}
        self._beside = beside
        self._suffixes = suffixes
        self._unreadable: list[str] = []

    def folder(self, top: str) -> list[tuple[str, str]]:
        """List a folder and all below it.

        Returns:
            Names, which are paths from the folder on, and paths; sorted by name.

        Raises:
            InputError: the folder itself cannot be read.
        """
        self._unreadable = []
        start = len(os.path.join(top, ""))  # noqa: PTH118  # paths as text: a million of them
        found = []
        for place, entries in self._below(top):
            for entry in entries:
                path = _join(place, entry.name)
                reason = HIDDEN if entry.name.startswith(".") else self._reason(path, _kind(entry))
                if reason:
                    self._skip(reason, path[start:])
                else:
                    found.append((shown(path[start:]), path))
        if top in self._unreadable:
            raise InputError(
                shown(top),
                expected="a folder that can be read",
                got="one that this user may not list",
                action="Change its permissions (chmod u+rx), or name another one",
            )
        return self._with_unreadable(found, start)

    def pattern(self, pattern: str) -> list[tuple[str, str]]:
        """List what a pattern matches: *, ? and [] within a name, ** for any folders.

        Returns:
            Names, which are the paths, and paths; sorted.
        """
        self._unreadable = []
        found: dict[str, str] = {}
        homes: dict[tuple[int, int], str] = {}
        identities: dict[str, tuple[int, int]] = {}
        parts = [part for part in pattern.split("/") if part]
        for path, kind in self._matches("/" * pattern.startswith("/"), parts):
            if kind == FOLDER and DEEP in parts:  # what is in it was matched, too
                continue
            home = os.path.dirname(path)  # noqa: PTH120
            identity = identities.get(home) or identities.setdefault(home, _identity(home))
            if homes.setdefault(identity, home) != home:
                continue
            reason = self._reason(path, kind)
            if reason:
                self._skip(reason, path)
            else:
                found[shown(path)] = path
        return self._with_unreadable(list(found.items()), 0)

    def _with_unreadable(self, found: list[tuple[str, str]], start: int) -> list[tuple[str, str]]:
        return sorted([*found, *((f"{shown(path[start:])}/", path) for path in self._unreadable)])

    def _skip(self, reason: str, name: str) -> None:
        if reason != OTHER_SUFFIX or not name.lower().endswith(self._beside):
            count_skip(self.skipped, reason, name)

    def _reason(self, path: str, kind: str) -> str:
        return kind or (FILE if path.lower().endswith(self._suffixes) else OTHER_SUFFIX)

    def _below(self, top: str) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
        """Each folder once, with all in it that is no visible folder."""
        seen: set[tuple[int, int]] = set()
        waiting = [top]
        while waiting:
            place = waiting.pop()
            identity = _identity(place)
            if identity in seen:
                continue
            seen.add(identity)
            entries, folders = [], []
            for entry in self._entries(place):
                if _kind(entry) == FOLDER and not entry.name.startswith("."):
                    folders.append(_join(place, entry.name))
                else:
                    entries.append(entry)
            yield place, entries
            waiting += reversed(folders)

    def _matches(self, base: str, parts: list[str]) -> Iterator[tuple[str, str]]:
        """Paths that a pattern's parts match in a folder, and their kinds."""
        part, *rest = parts
        if part == DEEP:
            for place, _ in self._below(base):
                yield from self._matches(place, rest or ["*"])
        elif not glob.has_magic(part):
            path = _join(base, part)
            if rest:
                yield from self._matches(path, rest)
            elif os.path.lexists(path):
                yield path, _kind_of(path)
        else:
            for entry in self._entries(base):
                hidden = entry.name.startswith(".") and not part.startswith(".")
                if hidden or not fnmatchcase(entry.name, part):
                    continue
                kind = _kind(entry)
                if not rest:
                    yield _join(base, entry.name), kind
                elif kind == FOLDER:
                    yield from self._matches(_join(base, entry.name), rest)

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder or ".") as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return []  # a pattern's folder that is not there
        except OSError:
            if folder not in self._unreadable:
                self._unreadable.append(folder)
            return []


def _join(folder: str, name: str) -> str:
    return os.path.join(folder, name)  # noqa: PTH118


def _identity(folder: str) -> tuple[int, int]:
    try:
        status = os.stat(folder or ".")  # noqa: PTH116
    except OSError:
        return 0, hash(folder)
    return status.st_dev, status.st_ino


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        # the folder's own listing tells, without a call for each file
        return FOLDER if entry.is_dir() else _kind_of(entry.path) if entry.is_symlink() else FILE
    except OSError:
        return _kind_of(entry.path)


def _kind_of(path: str) -> str:
    if os.path.isdir(path):  # noqa: PTH112
        return FOLDER
    return FILE if os.path.exists(path) else DEAD_LINK  # noqa: PTH110
