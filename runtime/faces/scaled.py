"""A picture at the size at which its faces are looked for, and the way back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ConfigError

# YuNet was trained on faces of 10 to 300 px (OpenCV's face_detection_yunet): in a picture whose
# longer side is this, these are all but the closest portraits and the rear rows of a stadium.
LONGEST_SIDE_PX = 1280
# Smaller ones are no picture of a face, and some releases of OpenCV fail on them.
SHORTEST_SIDE_PX = 8


def check_longest_side(longest_side_px: int) -> None:
    """Refuse a side that no face could be found in.

    Raises:
        ConfigError: it is too short.
    """
    if longest_side_px < SHORTEST_SIDE_PX:
        raise ConfigError(
            "longest_side_px",
            expected=f"at least {SHORTEST_SIDE_PX}",
            got=repr(longest_side_px),
            action="Correct it",
        )


def scaled(
    image: NDArray[np.uint8], longest_side_px: int, most: float = 1.0
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Resize a picture for the search.

    Args:
        image: uint8 (H, W, 3).
        longest_side_px: of the result, at most.
        most: how many times its size it may become.

    Returns:
        uint8 (h, w, 3), and (4,) what its boxes x1, y1, x2, y2 are multiplied by on the way back.
    """
    import cv2

    height, width = image.shape[:2]
    scale = min(most, longest_side_px / max(height, width))
    # each axis by what it really became: a side of 3 px cannot become 1.2
    size_wh = tuple(max(SHORTEST_SIDE_PX, round(side * scale)) for side in (width, height))
    if size_wh != (width, height):
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, size_wh, interpolation=how), np.uint8)
    return image, np.array([width / size_wh[0], height / size_wh[1]] * 2)


def in_picture(
    found: NDArray[np.float64], ratio: NDArray[np.float64], size_wh: tuple[int, int]
) -> NDArray[np.float64]:
    """Map boxes back into the picture, without those of no area or outside of it.

    Args:
        found: (N, 4 or more) x1, y1, x2, y2 in the scaled picture, and what else there is.
        ratio: of `scaled`.
        size_wh: of the picture.
    """
    boxes = np.array(found, np.float64)
    # pixel centres are integers, and OpenCV's resize keeps corners at corners
    boxes[:, :4] = (boxes[:, :4] + 0.5) * ratio - 0.5
    return seen(boxes, size_wh)


def seen(found: NDArray[np.float64], size_wh: tuple[int, int]) -> NDArray[np.float64]:
    """Without boxes of no area or outside the picture, which a network may well predict."""
    x1, y1, x2, y2 = found[:, :4].T
    inside = (x2 > 0) & (y2 > 0) & (x1 < size_wh[0] - 1) & (y1 < size_wh[1] - 1)
    kept: NDArray[np.float64] = found[inside & (x2 - x1 >= 1) & (y2 - y1 >= 1)]
    return kept
