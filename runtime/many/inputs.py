"""Which pictures files, folders and globs name: the one lister of every command."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ConfigError, InputError
from runtime.files import shown
from runtime.files.kind import no_file
from runtime.files.listing import Lister, Skip, skipped_text
from runtime.files.owned import ReadFile
from runtime.image.picture import MAX_PIXELS, SUFFIXES, read_picture, unreadable
from runtime.many.boxes import Box, match_names, read_boxes, refused

ADDRESS, PARQUET, POINTS = "://", ".parquet", ".pts"

logger = logging.getLogger("starmark")


class StoredPicture(Protocol):
    """A picture, wherever it lies: read when its turn comes."""

    @property
    def name(self) -> str:
        """Its name in results."""

    @property
    def boxes(self) -> Sequence[Box] | None:
        """Its faces, x1, y1, x2, y2 in image px; None where they are to be found."""

    def read(self, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
        """Decode it, as `read_picture`.

        Returns:
            uint8 (H, W, 3) BGR.

        Raises:
            InputError: it cannot be read.
        """


@dataclass(frozen=True, kw_only=True)
class PictureFile:
    """A picture to be read.

    Attributes:
        name: in results: its path from the folder that was given, with slashes; else as given.
        boxes: as for `StoredPicture`.
        boxed_by: file of boxes; without boxes in it, the picture is not read.
    """

    name: str
    path: Path
    boxes: Sequence[Box] | None = None
    boxed_by: str = ""

    def read(self, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
        """Decode it, as `read_picture`; an InputError where its boxes are missing."""
        if self.boxed_by and self.boxes is None:
            raise unboxed(self.name, self.boxed_by)
        return read_picture(self.path, max_pixels)


@dataclass(kw_only=True)
class Noted:
    """A picture whose file is noted when its turn comes, by the thread that reads it.

    Attributes:
        picture: to be read.
        path: of its file.
        note: the file as it was just before it was read; None before.
    """

    picture: StoredPicture
    path: Path
    note: ReadFile | None = None

    @property
    def name(self) -> str:
        """As the picture's."""
        return self.picture.name

    @property
    def boxes(self) -> Sequence[Box] | None:
        """As the picture's."""
        return self.picture.boxes

    def read(self, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
        """As the picture's; the digest of a file costs a second look at bytes that are cached."""
        self.note = ReadFile.of(self.name, self.path)
        return self.picture.read(max_pixels)


def unboxed(name: str, boxed_by: str) -> InputError:
    """The error of a picture that a file of boxes does not name."""
    return InputError(
        name, expected=f"its boxes in {boxed_by}", got="none", action="Add them, or leave it out"
    )


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The pictures that were found, and what was passed over on the way.

    Attributes:
        files: sorted by name, one input after the other.
        skipped: by reason.
    """

    files: list[PictureFile]
    skipped: dict[str, Skip]


def find_pictures(*given: str, tables: bool = False) -> Listing:
    """List pictures.

    Args:
        given: files, folders with all folders in them, and patterns. A file that is named counts
            whatever its suffix; others if it is a picture's, see `Lister`.
        tables: list Parquet files, too.

    Raises:
        InputError: nothing is there, no picture, a pipe or device, a picture twice, or two whose
            names are written alike.
    """
    lister = Lister(*SUFFIXES, *([PARQUET] if tables else []), beside=(POINTS,))
    files: list[PictureFile] = []
    for one in given:
        found = _found(lister, one, alone=len(given) == 1)
        if not found:
            raise _nothing(one, skipped_text(lister.skipped), tables=tables)
        files += [PictureFile(name=name, path=Path(path)) for name, path in found]
    if len(given) > 1:
        _check_once(files)
    if len({file.name for file in files}) < len(files):
        ((name, _),) = Counter(file.name for file in files).most_common(1)
        raise InputError(
            name,
            expected="names that differ as they are written",
            got="this one for two files: bytes that are no UTF-8 are written so",
            action="Rename one of them",
        )
    return Listing(files=files, skipped=lister.skipped)


def _nothing(given: str, skipped: str, *, tables: bool) -> InputError:
    got = "a folder without any" if Path(given).is_dir() else "no such file, folder or match"
    return InputError(
        shown(given),
        expected=f"pictures ({', '.join(SUFFIXES)}){' or Parquet files' if tables else ''}",
        got=f"none, but {skipped}" if skipped else got,
        action="Name a picture, a folder that holds some, or a glob in quotes",
    )


def _found(lister: Lister, given: str, *, alone: bool) -> list[tuple[str, str]]:
    """Names in results and paths of what one input names."""
    if os.path.isdir(given):  # noqa: PTH112  # as the path was written
        found = lister.folder(given)
        # several folders may hold the same names
        return found if alone else [(shown(Path(given, name)), path) for name, path in found]
    if not os.path.lexists(given):
        check_is_no_address(given)
        return lister.pattern(given)
    got = "a link that leads nowhere" if not Path(given).exists() else no_file(Path(given))
    if got:
        raise unreadable(given, got)
    return [(shown(given), given)]


def check_is_no_address(given: str) -> None:
    """Refuse an address, which pathlib would take for a path.

    Raises:
        InputError: it is one.
    """
    if ADDRESS in given and not os.path.lexists(given):
        raise InputError(
            shown(given),
            expected="a path of this machine",
            got="an address",
            action="Name the file or folder by its path; runtime.batch takes addresses, too",
        )


def _check_once(files: Sequence[PictureFile]) -> None:
    seen: set[tuple[Path, str]] = set()
    folders: dict[Path, Path] = {}
    for file in files:
        folder = file.path.parent
        place = folders.get(folder) or folders.setdefault(folder, folder.resolve()), file.path.name
        if place in seen:
            raise InputError(
                shown(file.path),
                expected="each picture once",
                got="it twice",
                action="Name it once",
            )
        seen.add(place)


def boxes_of(path: Path, pictures: Sequence[tuple[str, str]]) -> list[list[Box] | None]:
    """Read a file of boxes for pictures, given as for `match_names`.

    Returns:
        Each picture's boxes, none where it is listed without; None where it is not in the file.

    Raises:
        InputError: as `read_boxes` and `match_names`, or no picture is in it.
    """
    named = read_boxes(path)
    found = match_names(path, named, pictures)
    missing = found.entries.count(None)
    if missing == len(pictures):
        first = ", ".join(map(shown, found.others[:3])) or "no names"
        expected = f"a name of the {missing} pictures given, {shown(pictures[0][0])} first"
        raise refused(path, expected, first)
    if missing or found.others:
        message = "boxes: %d of %d pictures are not in %s, and %d of its names are of no picture"
        logger.warning(message, missing, len(pictures), shown(path), len(found.others))
    return found.entries


def check_apart(given: str, output: str) -> None:
    """Refuse results among the inputs: the next run would read them as input.

    Args:
        given: file, folder, pattern or address of the inputs.
        output: folder or address of the results.

    Raises:
        ConfigError: the one folder is inside the other, or a file stands there.
    """
    if Path(output).is_file():
        raise no_place(output, "a folder, where results of many pictures go", "a file")
    inside = os.path.dirname(given) or "." if Path(given).is_file() else given  # noqa: PTH120
    while glob.has_magic(inside) and ADDRESS not in inside:
        inside = os.path.dirname(inside) or "."  # noqa: PTH120  # of a pattern, not of a path
    # a file and a plain pattern are of one folder alone
    deep = inside == given or "**" in given
    folder, target = _place(inside), _place(output)
    if target == folder or (deep and target.is_relative_to(folder)):
        raise no_place(output, "a folder outside that of the pictures", f"one in {shown(inside)}")


def no_place(output: object, expected: str, got: str) -> ConfigError:
    """Make the error for an --output where these results cannot go."""
    return ConfigError(
        f"--output {shown(output)}", expected=expected, got=got, action="Write somewhere else"
    )


def _place(given: str) -> PurePath:
    path = given.removeprefix(f"file{ADDRESS}")
    return PurePosixPath(path) if ADDRESS in path else Path(path).resolve()
