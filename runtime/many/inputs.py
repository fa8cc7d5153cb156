"""Which pictures a file, a folder or a glob names: the one lister of every command."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ConfigError, InputError
from runtime.files import shown
from runtime.image.picture import MAX_PIXELS, SUFFIXES, read_picture

ADDRESS = "://"


class StoredPicture(Protocol):
    """A picture, wherever it lies: read when its turn comes."""

    @property
    def name(self) -> str:
        """Its name in results."""

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
    """

    name: str
    path: Path

    def read(self, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
        """Decode it, as `read_picture`."""
        return read_picture(self.path, max_pixels)


def find_pictures(given: str) -> list[PictureFile]:
    """List pictures, sorted by name.

    Args:
        given: a file, a folder with all folders in it, or a glob. In a folder, files count whose
            suffix is a picture's; hidden ones apart (._a.jpg is macOS's note about a.jpg).
            Links are followed, circles once.

    Raises:
        InputError: nothing is there, or no picture.
    """
    path = Path(given)
    if path.is_dir():
        found = [PictureFile(name=shown(n), path=path / n) for n in files_in(path, *SUFFIXES)]
        missing = "a folder without any"
    elif path.exists():
        return [PictureFile(name=shown(given), path=path)]
    else:
        # not Path.glob: the pattern may be absolute
        matches = map(Path, sorted(glob.glob(given, recursive=True)))  # noqa: PTH207
        found = [PictureFile(name=shown(m), path=m) for m in matches if not m.is_dir()]
        missing = "no such file, folder or match"
    if not found:
        raise InputError(
            given,
            expected=f"pictures ({', '.join(SUFFIXES)})",
            got=missing,
            action="Name a picture, a folder that holds some, or a glob in quotes",
        )
    return found


def files_in(folder: Path, *suffixes: str) -> list[str]:
    """Paths of files in a folder and all below it, with slashes; each folder once, none hidden."""
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = Path(place).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            (Path(place) / name).relative_to(folder).as_posix()
            for name in files
            if name.lower().endswith(suffixes) and not name.startswith(".")
        ]
    return sorted(found)


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
    inside = given
    while glob.has_magic(inside) and ADDRESS not in inside:
        inside = os.path.dirname(inside) or "."  # noqa: PTH120  # of a pattern, not of a path
    # a plain pattern looks into one folder alone
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
