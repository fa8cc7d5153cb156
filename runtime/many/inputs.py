"""Which pictures a file, a folder or a glob names: the one lister of every command."""

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
        """Its name in results."""

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
        name: in results: its path from the folder that was given, with slashes; else as given.
    """

    name: str
    path: Path

    def read(self) -> NDArray[np.uint8]:
        """Decode it, as `read_picture`."""
        return read_picture(self.path)


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
        found = [PictureFile(name=shown(n), path=path / n) for n in sorted(_inside(path))]
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


def is_picture(name: str) -> bool:
    """Whether a file in a folder counts as a picture, by its name."""
    return Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")


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
        for name in filter(is_picture, files):
            yield (Path(place) / name).relative_to(folder).as_posix()
