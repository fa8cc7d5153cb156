"""The pictures two sources are compared on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import InputError
from runtime.files import sha256_file

ASSETS = Path(__file__).resolve().parents[1] / "assets"
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A picture file and how it is shown to the network: as a whole, or as the crop it is."""

    name: str
    path: Path
    cropped: bool = False

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return sha256_file(self.path)


def default_samples() -> list[Sample]:
    """The reference's two cases: a photo in whole-picture mode, and a face crop.

    Raises:
        InputError: the pictures are not there.
    """
    samples = [
        Sample(name="test.jpg", path=ASSETS / "test.jpg"),
        Sample(name="sample.jpg", path=ASSETS / "sample.jpg", cropped=True),
    ]
    for sample in samples:
        if not sample.path.is_file():
            raise InputError(
                str(sample.path),
                expected="the embedded sample picture",
                got="no such file",
                action="Run from a checkout, or name pictures with --images",
            )
    return samples


def find_samples(paths: Sequence[Path], *, cropped: bool = False) -> list[Sample]:
    """List the pictures in files and folders, folders sorted by name.

    Raises:
        InputError: a path that is not there, a folder without pictures, or no path at all.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise _nothing(path, "a folder without any")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise _nothing(path, "no such file or folder")
    if not found:
        raise _nothing("--images", "none")
    return [Sample(name=path.name, path=path, cropped=cropped) for path in found]


def _nothing(where: Path | str, got: str) -> InputError:
    return InputError(
        str(where),
        expected=f"pictures ({', '.join(SUFFIXES)})",
        got=got,
        action="Name picture files, or a folder that holds some",
    )
