"""Maps between the picture, the crop and the network's normalised frame.

Pixel centres are integers, x runs right, y runs down, in every pixel frame. A matrix is named
`to_from`: `image_from_crop` takes crop px to image px. All matrices are float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError

F64 = NDArray[np.float64]
Numbers = NDArray[np.integer[Any] | np.floating[Any]]
# A face box as callers give it: x1, y1, x2, y2 in image px; the far corner lies outside the face.
Box = Sequence[float | np.number[Any]] | Numbers

# Source: crop rule of the published pipeline (ModelScope, facial_68ldk_detection): the box's longer
# side over 180 is the scale, and the crop shows 200 of such units.
BOX_UNITS = 180.0
CROP_UNITS = 200.0

# Beyond these a box is a mistake in the caller's units, and float32 stops resolving a pixel.
SMALLEST_BOX_SIDE_PX = 1.0
LARGEST_COORDINATE_PX = 1e6

BOX_CONTRACT = "four finite numbers x1, y1, x2, y2 in image px with x1 < x2 and y1 < y2"


def check_box(box: Box, *, size_wh: tuple[int, int] | None = None) -> F64:
    """Read a face box, refusing whatever cannot be one.

    Args:
        box: x1, y1, x2, y2 in image px; may leave the picture, but not lie outside it.
        size_wh: the picture's width and height, where known.

    Returns:
        (4,) float64.

    Raises:
        InputError: wrong count, not finite, inverted, without area, or outside the picture.
    """
    try:
        given = np.asarray(box)
    except (TypeError, ValueError, RuntimeError):  # ragged, or a tensor that cannot be read
        given = np.empty(0)
    # not bool, complex, text or dates, which would be cast into something
    numbers = given.dtype.kind in "iuf" and not isinstance(box, np.ma.MaskedArray)
    box_xyxy = given.astype(np.float64) if numbers else np.empty(0)
    if box_xyxy.shape != (4,) or not np.isfinite(box_xyxy).all():
        raise InputError(
            "face box", expected=BOX_CONTRACT, got=repr(box), action="Pass x1, y1, x2, y2"
        )
    x1, y1, x2, y2 = box_xyxy
    if x2 <= x1 or y2 <= y1:
        raise InputError(
            "face box",
            expected=BOX_CONTRACT,
            got=f"({x1:g}, {y1:g}, {x2:g}, {y2:g})",
            action="Order the corners; from x, y, width, height pass (x, y, x + width, y + height)",
        )
    if max(x2 - x1, y2 - y1) < SMALLEST_BOX_SIDE_PX or abs(box_xyxy).max() > LARGEST_COORDINATE_PX:
        raise InputError(
            "face box",
            expected="a box at least 1 px long, with coordinates within 1,000,000 px",
            got=f"({x1:g}, {y1:g}, {x2:g}, {y2:g})",
            action="Pass image pixels, not fractions of the picture",
        )
    if size_wh is not None:
        _check_overlap(box_xyxy, size_wh)
    return box_xyxy


def read_box(text: str) -> tuple[float, ...]:
    """Take what stands behind --bbox apart; `check_box` has the last word on it.

    Raises:
        InputError: not numbers.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            "--bbox", expected=BOX_CONTRACT, got=repr(text), action="Write --bbox x1,y1,x2,y2"
        ) from error


def box_around(points_px: NDArray[np.floating]) -> F64:
    """The smallest box around points, as the network was trained with: x1, y1, x2, y2."""
    corners: F64 = np.concatenate([points_px.min(axis=0), points_px.max(axis=0)]).astype(np.float64)
    return corners


def _check_overlap(box_xyxy: F64, size_wh: tuple[int, int]) -> None:
    x1, y1, x2, y2 = box_xyxy
    width, height = size_wh
    if x2 <= -0.5 or y2 <= -0.5 or x1 >= width - 0.5 or y1 >= height - 0.5:
        raise InputError(
            "face box",
            expected=f"a box that overlaps the picture of {width}x{height} px",
            got=f"({x1:g}, {y1:g}, {x2:g}, {y2:g})",
            action="Pass the box in this picture's own pixels",
        )


def image_from_crop_of_box(box_xyxy: F64, size: int) -> F64:
    """Map crop px onto image px for a face box.

    Args:
        box_xyxy: (4,) image px.
        size: side of the square crop in px.

    Returns:
        (3, 3): the box's centre lands on the crop's centre (size - 1) / 2, and the crop's side
        shows 200 / 180 of the box's longer side.

    Source: GetCropMatrix of the published pipeline.
    """
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    scale = max(x2 - x1, y2 - y1) / BOX_UNITS * CROP_UNITS / size
    middle = (size - 1) / 2
    return np.array(
        [
            [scale, 0.0, (x1 + x2) / 2 - scale * middle],
            [0.0, scale, (y1 + y2) / 2 - scale * middle],
            [0.0, 0.0, 1.0],
        ]
    )


def image_from_crop_of_whole(size_wh: tuple[int, int], size: int) -> F64:
    """Map crop px onto image px where the whole picture was resized, each axis on its own.

    The exact inverse of a resize with half-pixel centres: x * W / S + (W / S - 1) / 2. Plain
    scaling x * W / S would be a constant (W / S - 1) / 2 off.
    """
    across, down = size_wh[0] / size, size_wh[1] / size
    return np.array(
        [
            [across, 0.0, (across - 1) / 2],
            [0.0, down, (down - 1) / 2],
            [0.0, 0.0, 1.0],
        ]
    )


def apply(matrix: F64, points: NDArray[np.floating]) -> F64:
    """Map points (..., 2) by a (3, 3) affine matrix."""
    return np.asarray(points, dtype=np.float64) @ matrix[:2, :2].T + matrix[:2, 2]


def crop_px_from_normalised(points: NDArray[np.floating], size: int) -> F64:
    """From [-1, 1] to crop px: ((p + 1) * size - 1) / 2, the align_corners=False convention."""
    return ((np.asarray(points, dtype=np.float64) + 1) * size - 1) / 2


def carry_covariance(linear: F64, covariance: NDArray[np.floating]) -> F64:
    """Take second moments along with a linear map: A C A^T.

    Args:
        linear: (2, 2).
        covariance: (..., 3) as xx, xy, yy.

    Returns:
        (..., 3) as xx, xy, yy, in the map's target unit squared.
    """
    (a, b), (c, d) = linear.tolist()
    # the product written out for the three moments: one small matrix for all points
    moments = np.array(
        [
            [a * a, 2 * a * b, b * b],
            [a * c, a * d + b * c, b * d],
            [c * c, 2 * c * d, d * d],
        ]
    )
    carried: F64 = np.asarray(covariance, dtype=np.float64) @ moments.T
    return carried
