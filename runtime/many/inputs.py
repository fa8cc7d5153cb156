"""Which pictures a file, a folder or a glob means, and what each is called."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.files import shown
from runtime.image.picture import SUFFIXES, read_picture


class StoredPicture(Protocol):
    """A picture, wherever it lies: read when its turn comes."""

    @property
    def name(self) -> str:
        """What results call it."""

    def read(self) -> NDArray[np.uint8]:
        """Decode it.

        Returns:
            uint8 (H, W, 3) BGR.

        Raises:
            InputError: it cannot be read.
        """


@dataclass(frozen=True, kw_only=True)
class PictureFile:
    """A picture to be read.

    Attributes:
        name: as results call it: its path from the folder that was given, with slashes; else as
            given.
    """

    name: str
    path: Path

    def read(self) -> NDArray[np.uint8]:
        """Decode it, as `read_picture`."""
        return read_picture(self.path)


def find_pictures(given: str) -> list[PictureFile]:
    """List pictures, sorted by name.

    Args:
        given: a file, a folder, gone through to its depths, or a glob. In a folder, files count
            whose suffix is a picture's; hidden ones apart (._a.jpg is macOS's note about a.jpg).
            Links are followed, those that lead in circles once.

    Raises:
        InputError: nothing is there, or no picture.
    """
    path = Path(given)
    if path.is_dir():
        names = sorted(_inside(path))
        found = [PictureFile(name=shown(name), path=path / name) for name in names]
        if not found:
            raise _nothing(given, "a folder without any")
        return found
    if path.exists():
        return [PictureFile(name=shown(given), path=path)]
    # not Path.glob: the pattern may be absolute
    matches = sorted(
        match
        for match in glob.glob(given, recursive=True)  # noqa: PTH207
        if not Path(match).is_dir()
    )
    if not matches:
        raise _nothing(given, "no such file, folder or match")
    return [PictureFile(name=shown(match), path=Path(match)) for match in matches]


def _inside(folder: Path) -> Iterator[str]:
    """Paths of pictures from a folder on, with slashes; each folder once, whatever leads to it."""
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = Path(place).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(place) / name
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                yield path.relative_to(folder).as_posix()


def _nothing(where: str, got: str) -> InputError:
    return InputError(
        where,
        expected=f"pictures ({', '.join(SUFFIXES)})",
        got=got,
        action="Name a picture, a folder that holds some, or a glob in quotes",
    )
