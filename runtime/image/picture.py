"""Pictures: files in and out, with damage reported instead of decoded, and lists of them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError, one_line
from runtime.files import Writing, shown, written_whole
from runtime.files.kind import no_file
from runtime.image.header import Header, read_header

# 100 MP are 300 MB decoded, and a PNG of some kilobytes can state 4,000.
MAX_PIXELS = 100_000_000

# Of the files in a folder that are taken for pictures.
SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"),
    *(".heic", ".heif", ".avif"),
)

READABLE = "a whole JPEG, PNG, WebP, BMP, TIFF, HEIC or AVIF picture"


def read_picture(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode a picture file as the reference does: 8-bit BGR, turned upright by its EXIF tag.

    Raises:
        InputError: missing, empty, damaged, not a picture, or of more than `max_pixels`.
    """
    return decode_picture(_bytes_of(Path(path)), path, max_pixels)


def decode_picture(encoded: bytes, name: object, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode what a picture file holds, as `read_picture`.

    Args:
        encoded: the file's bytes.
        name: what errors call it.
        max_pixels: refused beyond, by its header.

    Raises:
        InputError: empty, damaged, not a picture, or of more than `max_pixels`.
    """
    import cv2  # here: recordings are compared without it

    from runtime.image.decoders import decode

    header = _header_of(encoded, name)
    if header.width * header.height > max_pixels:
        raise InputError(
            shown(name),
            expected=f"a picture of at most {max_pixels:,} px",
            got=f"{header.width}x{header.height}",
            action="Raise --max-pixels, if it is meant to be that large",
        )
    try:
        return decode(encoded, header)
    except (ValueError, cv2.error) as error:
        raise unreadable(name, one_line(error, 200)) from error
    except MemoryError as error:
        raise unreadable(name, "a picture larger than this machine's memory") from error


def is_turned(path: Path) -> bool:
    """Whether a picture is stored turned or mirrored, by its EXIF tag or TIFF's.

    Raises:
        InputError: no picture, or one without a whole header.
    """
    return _header_of(_bytes_of(path), path).orientation != 1


def _bytes_of(path: Path) -> bytes:
    # a pipe or a device may never end
    if path.exists() and not path.is_file():
        locked = path.is_dir() and not os.access(path, os.R_OK | os.X_OK)
        raise unreadable(path, "a folder that this user may not list" if locked else no_file(path))
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error


def _header_of(encoded: bytes, name: object) -> Header:
    if not encoded:
        raise unreadable(name, "an empty file")
    try:
        header = read_header(encoded)
    except (ValueError, LookupError, struct.error) as error:
        raise unreadable(name, "a truncated file, or one with a damaged header") from error
    if header is None:
        raise unreadable(name, f"{len(encoded)} bytes that no decoder takes")
    return header


def check_encoder(path: Path) -> None:
    """Find out that a picture cannot be encoded before there is one.

    Raises:
        InputError: no encoder for the suffix.
    """
    import cv2

    if not path.suffix or not cv2.haveImageWriter(f"x{path.suffix}"):
        raise InputError(
            shown(path),
            expected="a name that ends in .png, .jpg, .webp or .bmp",
            got=repr(path.suffix),
            action="Change the suffix",
        )


def write_picture(
    path: Path, picture: NDArray[np.uint8], *, writing: Writing = written_whole
) -> None:
    """Encode a picture by its suffix and write it, whole or not at all.

    Args:
        path: of the picture.
        picture: BGR.
        writing: as `written_whole`.

    Raises:
        InputError: no encoder for the suffix, or a picture that is too large for it.
        OSError: the folder cannot be written to.
    """
    import cv2

    check_encoder(path)
    try:
        fine, encoded = cv2.imencode(path.suffix, picture)
    except cv2.error:
        fine = False
    if not fine:
        raise InputError(
            shown(path),
            expected=f"a picture that {path.suffix} can hold",
            got=f"{size_text(picture)} px",
            action="Write a .png, or cut the picture",
        )
    with writing(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def unreadable(name: object, got: str) -> InputError:
    """The error of a picture that cannot be read."""
    return InputError(
        shown(name), expected=READABLE, got=got, action="Check the path, or copy the file again"
    )


def size_text(picture: NDArray[Any]) -> str:
    """Width and height as people write them."""
    return f"{picture.shape[1]}x{picture.shape[0]}"


def as_lists(images: Any, boxes: Any) -> tuple[list[Any], list[Any] | None]:
    """Lists of any iterables; a single picture would be taken for its rows."""
    if isinstance(images, np.ndarray) and images.ndim != 4:
        raise InputError(
            "detect_batch",
            expected="a list of pictures, or an array (N, H, W, 3)",
            got=f"an array {images.shape}",
            action="Use detect() for one picture",
        )
    try:
        return list(images), None if boxes is None else list(boxes)
    except TypeError as error:
        raise InputError(
            "detect_batch",
            expected="a list of pictures, and a list of boxes or None",
            got=f"{type(images).__name__} and {type(boxes).__name__}",
            action="Pass lists",
        ) from error


@contextmanager
def naming_picture(index: int) -> Iterator[None]:
    """Name the picture of a batch in its error."""
    try:
        yield
    except InputError as error:
        raise InputError(
            f"picture {index}: {error.where}",
            expected=error.expected,
            got=error.got,
            action=error.action,
        ) from error
