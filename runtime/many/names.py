"""Names of the files beside a picture's rows: decided over the whole run, none of them twice."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from runtime.files import shown

# What most file systems take for one part of a path, and what a name may still get behind it.
LONGEST_BYTES, ROOM_BYTES = 255, len("_99999.pts")
# What a file's name may have behind that of its picture: which face it is, or another format.
FACE_NUMBER, OTHER_FORMAT = re.compile(r"_(0|[1-9]\d*)$"), re.compile(r"\.png$")

Way = Callable[[str], PurePosixPath]


class FileNames:
    """Where the files of each picture go: `pts/NAME.pts` and `drawn/NAME`.

    No two pictures share a file, whatever number of faces each of them has, and also where a file
    system takes upper and lower case, or both Unicode forms, for the same: pictures that might
    are given their whole name, or a digest of it. The order of the pictures does not matter.

    Args:
        pictures: the names of all pictures of the run, each once.
    """

    def __init__(self, pictures: Sequence[str]) -> None:
        self._all = pictures
        self._pts = _decided(pictures, (_stem, _whole, _digest_behind), FACE_NUMBER, ".pts")
        self._drawn = _decided(pictures, (_whole, _digest_inside), OTHER_FORMAT, "")

    def pts(self, picture: str, face: int | None = None) -> str:
        """The file of a face's points, below the folder of the results; None: the only face."""
        number = "" if face is None else f"_{face}"
        return f"pts/{self._stem(picture)}{number}.pts"

    def drawn(self, picture: str) -> str:
        """The file of the drawn picture; where its format cannot hold it, with .png behind."""
        return f"drawn/{self._drawn.get(picture) or _whole(picture)}"

    def pts_in(self, folder: Path) -> Iterator[str]:
        """Files below a folder of results where a picture's points may go, however many faces."""
        stems = {_folded(PurePosixPath(self._stem(name))): self._stem(name) for name in self._all}
        for place in sorted({PurePosixPath("pts", stem).parent for stem in stems.values()}):
            with suppress(OSError):  # none is there
                for found in sorted((folder / place).iterdir()):
                    key = _folded((place / shown(found.name)).relative_to("pts"))
                    number = FACE_NUMBER.search(key.removesuffix(".pts"))
                    for end in ("", number[0] if number else ""):
                        if stem := stems.get(key.removesuffix(f"{end}.pts")):
                            yield f"pts/{stem}{end}.pts"

    def _stem(self, picture: str) -> str:
        return str(self._pts.get(picture) or _stem(picture))


def _decided(
    pictures: Sequence[str], ways: Sequence[Way], behind: re.Pattern[str], suffix: str
) -> dict[str, PurePosixPath]:
    """Names of the pictures that the first way does not serve.

    Args:
        pictures: all of them.
        ways: of naming a picture, each more certain than the one before.
        behind: what a file's name may have behind that.
        suffix: of all files.
    """
    folders = {_folded(parent) for name in pictures for parent in _whole(name).parents}
    folders = {one.removesuffix(suffix) for one in folders if one.endswith(suffix)}
    chosen: dict[str, int] = {}
    while True:
        paths = {name: ways[chosen.get(name, 0)](name) for name in pictures}
        keys = {name: _folded(path) for name, path in paths.items()}
        taken, twice = set[str](), set[str]()
        for key in keys.values():
            (twice if key in taken else taken).add(key)
        twice |= folders & taken
        for key in taken | folders:
            if (found := behind.search(key)) and (shorter := key[: found.start()]) in taken:
                twice |= {key, shorter}
        again = [
            name
            for name, path in paths.items()
            if chosen.get(name, 0) < len(ways) - 1 and (keys[name] in twice or _is_long(path))
        ]
        if not again:
            return {name: paths[name] for name in chosen}
        chosen |= {name: chosen.get(name, 0) + 1 for name in again}


def _whole(picture: str) -> PurePosixPath:
    """A picture's own path, without what would lead out of the folder of the results."""
    parts = [part for part in PurePosixPath(picture).parts if part not in ("/", "..", ".")]
    return PurePosixPath(*(_short(part) for part in parts[:-1]), *(parts[-1:] or ["_"]))


def _stem(picture: str) -> PurePosixPath:
    return _whole(picture).with_suffix("")


def _digest_behind(picture: str) -> PurePosixPath:
    whole = _whole(picture)
    return whole.with_name(_short(whole.name, digest=_digest(picture)))


def _digest_inside(picture: str) -> PurePosixPath:
    whole = _whole(picture)
    return whole.with_name(_short(whole.stem, whole.suffix, digest=_digest(picture)))


def _short(name: str, suffix: str = "", *, digest: str = "") -> str:
    """A part of a path, cut and with a digest where it is too long or where one is given."""
    if not digest:
        if len(os.fsencode(name)) <= LONGEST_BYTES:
            return name
        digest = _digest(name)
    end = f"~{digest}{suffix}"
    while len(os.fsencode(name + end)) > LONGEST_BYTES - ROOM_BYTES:
        name = name[:-1]
    return name + end


def _is_long(path: PurePosixPath) -> bool:
    return len(os.fsencode(path.name)) > LONGEST_BYTES - ROOM_BYTES


def _digest(name: str) -> str:
    return hashlib.blake2b(os.fsencode(name), digest_size=4).hexdigest()


def _folded(path: PurePosixPath) -> str:
    text = str(path)
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
