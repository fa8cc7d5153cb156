"""From a picture to the square the network sees, with the way home attached."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.image import geometry
from runtime.image.geometry import F64, Box, Numbers
from runtime.machine.buffers import Scratch

# OpenCV's warp keeps source coordinates in int16, see imgwarp.cpp and its SHRT_MAX checks.
LONGEST_WARP_SIDE_PX = 32_766
SHORTEST_WHOLE_SIDE_PX = 2
# OpenCV's linear warp is twice as fast over four channels as over three, in the same bytes; up to
# about this area of the cut that pays for widening it (measured on OpenCV 4.14 and 5.0).
LARGEST_WIDENED_PX = 450 * 450

_WIDE, _SQUARE = Scratch(), Scratch()

# A decoded picture as callers give it: `PICTURE_CONTRACT`, which is checked when it is used.
Picture = Numbers
PICTURE_CONTRACT = (
    "a decoded picture: uint8 (H, W, 3) BGR; (H, W) grey, (H, W, 4) BGRA and uint16 are converted"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Crop:
    """What the network sees, and how its points get home.

    Attributes:
        pixels: uint8 (S, S, 3) BGR.
        image_from_crop: (3, 3) float64, crop px to image px.
    """

    pixels: NDArray[np.uint8]
    image_from_crop: F64


def check_picture(image: Any, where: str = "image") -> NDArray[Any]:
    """Refuse what is not a decoded picture; conversion waits until the crop is small.

    Raises:
        InputError: not an array, wrong rank or channels, float or other dtype, or empty.
    """
    if not isinstance(image, np.ndarray):
        raise InputError(
            where,
            expected=PICTURE_CONTRACT,
            got=type(image).__name__,
            action="Decode the file first, for example with cv2.imread",
        )
    picture: NDArray[Any] = np.asarray(
        image
    )  # np.matrix and other subclasses have rules of their own
    channels = picture.shape[2] if picture.ndim == 3 else 1
    good_shape = picture.ndim in (2, 3) and channels in (1, 3, 4) and picture.size > 0
    if not good_shape or picture.dtype not in (np.uint8, np.uint16):
        raise InputError(
            where,
            expected=PICTURE_CONTRACT,
            got=f"{picture.dtype} {picture.shape}",
            action="Pass the decoded picture itself, not a normalised tensor",
        )
    return picture


def crop_as(image: Picture, face_bbox: Box | None, size: int, *, cropped: bool = False) -> Crop:
    """Cut out a face's box, take the whole picture, or take it as the crop it already is.

    Args:
        image: the picture.
        face_bbox: x1, y1, x2, y2 in image px; None for the whole picture.
        size: side of the network's square input.
        cropped: the picture already is the crop.

    Raises:
        InputError: the picture or the box cannot be used.
    """
    if cropped:
        return crop_straight(image, size)
    if face_bbox is None:
        return crop_whole(image, size)
    return crop_face(image, face_bbox, size)


def crop_face(image: Picture, face_bbox: Box, size: int) -> Crop:
    """Cut the square around a face box, bilinear, black outside the picture.

    Only the part of the picture under the square is read, so neither the picture's size nor its
    format costs anything: grey, BGRA and 16-bit are converted after the warp, on the crop.

    Args:
        image: see `PICTURE_CONTRACT`.
        face_bbox: x1, y1, x2, y2 in image px.
        size: side of the crop in px.

    Raises:
        InputError: the picture or the box cannot be used.
    """
    picture = check_picture(image)
    height, width = picture.shape[:2]
    box_xyxy = geometry.check_box(face_bbox, size_wh=(width, height))
    image_from_crop = geometry.image_from_crop_of_box(box_xyxy, size)

    (across, _, left), (_, down, top), _ = image_from_crop.tolist()
    x0, x1 = _span(left, left + across * (size - 1), width)
    y0, y1 = _span(top, top + down * (size - 1), height)
    if max(x1 - x0, y1 - y0) > LONGEST_WARP_SIDE_PX:
        raise InputError(
            "face box",
            expected=f"a face of at most {LONGEST_WARP_SIDE_PX} px a side",
            got=f"a cut of {x1 - x0}x{y1 - y0} px",
            action="Shrink the picture and the box together first",
        )
    matrix = image_from_crop[:2].copy()
    matrix[:, 2] -= (x0, y0)
    pixels = _warped(picture[y0:y1, x0:x1], matrix, size)
    return Crop(pixels=pixels, image_from_crop=image_from_crop)


def crop_whole(image: Picture, size: int) -> Crop:
    """Resize the whole picture to the square, each axis on its own, bilinear.

    Raises:
        InputError: the picture cannot be used, or has a side of 1 px.
    """
    import cv2

    picture = check_picture(image)
    height, width = picture.shape[:2]
    if min(height, width) < SHORTEST_WHOLE_SIDE_PX:
        raise InputError(
            "image",
            expected=f"at least {SHORTEST_WHOLE_SIDE_PX} px a side for the whole-picture mode",
            got=f"{width}x{height} px",
            action="Pass a face box",
        )
    pixels = cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR)
    return Crop(
        pixels=to_bgr8(pixels),
        image_from_crop=geometry.image_from_crop_of_whole((width, height), size),
    )


def crop_straight(image: Picture, size: int) -> Crop:
    """Take a picture that already is the crop.

    Raises:
        InputError: it is not a picture of exactly size x size px.
    """
    picture = check_picture(image, "crop")
    if picture.shape[:2] != (size, size):
        height, width = picture.shape[:2]
        raise InputError(
            "crop",
            expected=f"exactly {size}x{size} px",
            got=f"{width}x{height} px",
            action="Use detect() with a face box, or without one for the whole picture",
        )
    return Crop(pixels=to_bgr8(picture), image_from_crop=np.eye(3))


def _span(first: float, last: float, length: int) -> tuple[int, int]:
    """Pixels [start, stop) of an axis that sampling from `first` to `last` px may touch.

    One more than bilinear sampling touches, so that the cut's own border is never seen.
    """
    start = min(max(math.floor(first) - 1, 0), length - 1)
    stop = min(max(math.ceil(last) + 2, 1), length)
    return start, max(stop, start + 1)


def _warped(cut: NDArray[Any], matrix: F64, size: int) -> NDArray[np.uint8]:
    """Warp a cut onto the square, as BGR; three channels as four, see `LARGEST_WIDENED_PX`."""
    import cv2  # here: recordings are compared without it

    def warp(source: NDArray[Any], square: NDArray[Any] | None = None) -> NDArray[Any]:
        return cv2.warpAffine(
            source,
            matrix,
            (size, size),
            dst=square,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(0, 0, 0, 0),
        )

    three = cut.dtype == np.uint8 and cut.ndim == 3 and cut.shape[2] == 3
    if not three or cut.shape[0] * cut.shape[1] > LARGEST_WIDENED_PX:
        return to_bgr8(warp(cut))
    with (
        _WIDE.lent((*cut.shape[:2], 4), np.uint8) as wide,
        _SQUARE.lent((size, size, 4), np.uint8) as square,
    ):
        # what leaves this function is new: crops are kept in traces
        return to_bgr8(warp(cv2.cvtColor(cut, cv2.COLOR_BGR2BGRA, dst=wide), square))


def to_bgr8(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """The written rule: 16-bit is divided by 257, grey is repeated, alpha is dropped."""
    import cv2

    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if channels == 3:
        return np.ascontiguousarray(pixels)
    wide = cv2.COLOR_GRAY2BGR if channels == 1 else cv2.COLOR_BGRA2BGR
    return cv2.cvtColor(pixels, wide).astype(np.uint8, copy=False)
