"""Decoders that tell damage: pixels of a picture file, or why there are none."""

from __future__ import annotations

import functools
import logging
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.image.header import (
    BITS,
    COMPRESSION,
    JPEG_END,
    JPEG_START,
    JPEG_TABLES,
    PIECES,
    SAMPLE_FORMAT,
    Header,
    Tags,
)
from runtime.machine.packages import install_extra

logger = logging.getLogger("starmark")

PLAIN, DEFLATE, JPEG = 1, (8, 32946), 7
# Whole blocks of 8x8 px, in any usual Huffman code.
HOLE = bytes(64)
INFLATED_AT_ONCE = 1 << 20
# EXIF's orientation -> how the stored picture is made upright
TURNS: dict[int, Callable[[Any], Any]] = {
    2: lambda stored: cv2.flip(stored, 1),
    3: lambda stored: cv2.rotate(stored, cv2.ROTATE_180),
    4: lambda stored: cv2.flip(stored, 0),
    5: cv2.transpose,
    6: lambda stored: cv2.rotate(stored, cv2.ROTATE_90_CLOCKWISE),
    7: lambda stored: cv2.flip(cv2.transpose(stored), -1),
    8: lambda stored: cv2.rotate(stored, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def decode(encoded: bytes, header: Header) -> NDArray[np.uint8]:
    """Decode a picture file: 8-bit BGR, upright.

    Raises:
        ValueError: damaged; or a format whose decoder is not installed.
        cv2.error, MemoryError: as OpenCV.
    """
    if header.kind == "HEIF":
        return _heif(encoded)
    if header.kind == "JPEG":
        stored = _jpeg(encoded, header)
        upright: NDArray[np.uint8] = TURNS.get(header.orientation, lambda whole: whole)(stored)
        return upright
    if header.kind == "TIFF":
        _check_tiff(encoded, header)
    return _by_opencv(encoded, cv2.IMREAD_COLOR)


@functools.cache
def strict_jpeg() -> Any | None:
    """The JPEG decoder whose warnings are errors; None, and a line in the log, without it.

    OpenCV's is the same libjpeg-turbo, and fills what is missing with grey. Its warnings go to
    stderr, where no caller can tell whose they are.
    """
    try:
        import simplejpeg
    except (ImportError, OSError) as error:
        logger.warning("JPEG files are only checked for their end and for holes: %s", error)
        return None
    return functools.partial(simplejpeg.decode_jpeg, colorspace="BGR", strict=True)


def _jpeg(encoded: bytes, header: Header) -> NDArray[np.uint8]:
    end = encoded.find(JPEG_END, header.data_at)
    if end < 0:
        raise ValueError("a truncated file")
    if header.has_no_zeros and encoded.find(HOLE, header.data_at, end) >= 0:
        raise ValueError("a JPEG with a hole of zeros")
    if encoded.find(JPEG_START, header.data_at, end) >= 0:
        raise ValueError("a truncated JPEG, and another one behind it")
    strict = strict_jpeg()
    if strict is None or header.channels == 4:  # OpenCV converts CMYK in its own way
        if strict is not None:
            strict(encoded, colorspace="CMYK")
        return _by_opencv(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if encoded[6:11] == b"JFIF\0":
        # libjpeg warns of JFIF 2, which some cameras write; the pixels are the same
        encoded = encoded[:11] + b"\1" + encoded[12:] if encoded[11] != 1 else encoded
    picture: NDArray[np.uint8] = strict(encoded)
    return picture


def _by_opencv(encoded: bytes, flags: int) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    if picture is None:
        raise ValueError(f"{len(encoded)} bytes that no decoder takes")
    return picture.astype(np.uint8, copy=False)


def _heif(encoded: bytes) -> NDArray[np.uint8]:
    """HEIC and AVIF by Pillow: OpenCV has no HEIC, and leaves a turned AVIF as it lies."""
    brands = encoded[8 : int.from_bytes(encoded[:4], "big")]
    try:  # not by Image.open, which has a limit of its own
        from PIL.ImageOps import exif_transpose

        if b"avif" in brands:
            from PIL.AvifImagePlugin import AvifImageFile

            stored: Any = AvifImageFile(BytesIO(encoded))
        else:
            from pillow_heif import HeifImageFile

            stored = HeifImageFile(BytesIO(encoded))
        picture = exif_transpose(stored).convert("RGB")
    except ImportError as error:
        raise ValueError(
            f"HEIC or AVIF, which needs {install_extra('pictures')} ({error})"
        ) from error
    except (OSError, RuntimeError, SyntaxError, EOFError) as error:
        raise ValueError(str(error)) from error
    return np.ascontiguousarray(np.asarray(picture, np.uint8)[..., ::-1])


def _check_tiff(encoded: bytes, header: Header) -> None:
    """Check what OpenCV leaves unchecked: numbers that it would cast, sums, JPEG inside."""
    tags = header.tags
    # 1: unsigned, which is the default, 4: nothing known
    if max(tags.get(BITS, (1,))) > 16 or not {1, 4}.issuperset(tags.get(SAMPLE_FORMAT, (1,))):
        raise ValueError("a TIFF of float, signed or 32-bit numbers, whose range nobody knows")
    compression = tags.get(COMPRESSION, (PLAIN,))[0]
    strict = strict_jpeg() if compression == JPEG else None
    if compression in DEFLATE:
        most = 16 * header.width * header.height + INFLATED_AT_ONCE
        for piece in _pieces(encoded, tags):
            _check_sum(piece, most)
    elif strict is not None:
        tables = bytes(tags.get(JPEG_TABLES, b"\xff\xd8\xff\xd9"))[:-2]
        for piece in _pieces(encoded, tags):
            strict(tables + piece[2:])
    elif compression not in (PLAIN, JPEG):
        _check_by_pillow(encoded)


def _check_by_pillow(encoded: bytes) -> None:
    """LZW and PackBits: OpenCV has libtiff go on after an error, Pillow has not."""
    try:
        from PIL.TiffImagePlugin import TiffImageFile
    except ImportError:
        _log_unchecked_tiff()
        return
    try:
        picture = TiffImageFile(BytesIO(encoded))
    except (SyntaxError, ValueError, KeyError):  # a kind that Pillow has no name for
        return
    try:
        picture.load()
    except OSError as error:
        raise ValueError(f"a TIFF whose data are damaged: {error}") from error


@functools.cache
def _log_unchecked_tiff() -> None:
    logger.warning("LZW and PackBits in TIFF files are not checked for damage: no Pillow")


def _pieces(encoded: bytes, tags: Tags) -> list[bytes]:
    """A TIFF's strips or tiles."""
    return [
        encoded[at : at + length]
        for places, lengths in PIECES
        for at, length in zip(tags.get(places, ()), tags.get(lengths, ()), strict=False)
    ]


def _check_sum(piece: bytes, most: int) -> None:
    """Inflate to the checksum at the end, which libtiff does not read."""
    stream = zlib.decompressobj()
    while not stream.eof:
        try:
            most -= len(out := stream.decompress(piece, INFLATED_AT_ONCE))
        except zlib.error as error:
            raise ValueError(f"a TIFF whose data are damaged: {error}") from error
        piece = stream.unconsumed_tail
        if most < 0 or not (out or piece):
            raise ValueError("a TIFF whose data are not as long as its size")
