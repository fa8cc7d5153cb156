"""Pictures: files in and out, with damage reported instead of decoded, and lists of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError, one_line
from runtime.files import shown, written_whole

JPEG_START = b"\xff\xd8"
JPEG_END = b"\xff\xd9"
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_END = b"IEND"
# JPEG markers that carry no length: fill bytes, TEM, and the restart markers
BARE_MARKERS = (0xFF, 0x01, *range(0xD0, 0xD8))
START_OF_SCAN = 0xDA

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Only these: what else OpenCV opens (.pfm, .hdr, .exr) is float, and would be cast to bytes.
KNOWN_STARTS = (JPEG_START, PNG_START, b"RIFF", b"BM", b"GIF8", *TIFF_STARTS)

# Of the files in a folder that are taken for pictures.
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

READABLE = "a whole JPEG, PNG, WebP, BMP or TIFF picture"


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Decode a picture file as the reference does: 8-bit BGR, turned upright by its EXIF tag.

    Raises:
        InputError: missing, empty, truncated, not a picture, or too large for the decoder.
    """
    # a pipe or a device may never end
    if path.exists() and not path.is_file():
        raise unreadable(path, "a folder" if path.is_dir() else "a pipe or device")
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error
    return decode_picture(encoded, path)


def decode_picture(encoded: bytes, name: object) -> NDArray[np.uint8]:
    """Decode what a picture file holds, as `read_picture`.

    Args:
        encoded: the file's bytes.
        name: what errors call it.

    Raises:
        InputError: empty, truncated, not a picture, or too large for the decoder.
    """
    import cv2  # here: recordings are compared without it

    if not encoded:
        raise unreadable(name, "an empty file")
    if _is_truncated(encoded):
        raise unreadable(name, "a truncated file")
    if not encoded.startswith(KNOWN_STARTS):
        raise unreadable(name, f"{len(encoded)} bytes that no decoder takes")
    try:
        picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
        if encoded.startswith(TIFF_STARTS):
            _refuse_float(name, encoded)
    except cv2.error as error:
        raise unreadable(name, one_line(error, 200)) from error
    except MemoryError as error:
        raise unreadable(name, "a picture larger than this machine's memory") from error
    if picture is None:
        raise unreadable(name, f"{len(encoded)} bytes that no decoder takes")
    return picture.astype(np.uint8, copy=False)


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


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Encode a picture by its suffix and write it, whole or not at all.

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
    with written_whole(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _refuse_float(name: object, encoded: bytes) -> None:
    """A float TIFF would be cast to bytes, which turns 0..1 into black."""
    import cv2

    deep = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is not None and deep.dtype not in (np.uint8, np.uint16):
        raise unreadable(name, f"a TIFF of {deep.dtype}, whose range nobody knows")


def unreadable(name: object, got: str) -> InputError:
    """The error of a picture that cannot be read."""
    return InputError(
        shown(name), expected=READABLE, got=got, action="Check the path, or copy the file again"
    )


def _is_truncated(encoded: bytes) -> bool:
    """OpenCV fills what is missing of a JPEG or PNG with grey and says nothing to the caller."""
    if encoded.startswith(JPEG_START):
        return _is_truncated_jpeg(encoded)
    if encoded.startswith(PNG_START):
        return PNG_END not in encoded
    return False


def _is_truncated_jpeg(encoded: bytes) -> bool:
    """Walk the segments to the scan; an end marker before it is an embedded thumbnail's."""
    at = len(JPEG_START)
    while at + 4 <= len(encoded) and encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if marker == START_OF_SCAN:
            return encoded.find(JPEG_END, at) < 0
        at += 1 if marker == 0xFF else 2
        if marker not in BARE_MARKERS:
            at += int.from_bytes(encoded[at : at + 2], "big")
    return True


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
