"""Frames as players show them: turned and mirrored by their display matrix."""

from __future__ import annotations

import math
import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def upright(picture: Any) -> tuple[NDArray[np.uint8], bool]:
    """Decode a frame, turn and mirror it as its display matrix asks.

    Args:
        picture: a decoded frame of PyAV.

    Returns:
        uint8 (H, W, 3) BGR, and whether its sides have changed places.

    Source: `av_display_rotation_get` and ffmpeg's autorotation (fftools/ffmpeg_filter.c): quarter
    turns, mirrored or not, exactly; other angles about the centre, the size kept.
    """
    image: NDArray[np.uint8] = picture.to_ndarray(format="bgr24")
    matrix = next((s for s in picture.side_data if s.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return image, False
    # a point's new x is a * x + c * y, its new y is b * x + d * y
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    angle = math.degrees(math.atan2(b, a)) if (a or b) and (c or d) else 0.0
    turns = round(angle / 90)
    if abs(angle - 90 * turns) >= 1:
        height, width = image.shape[:2]
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -angle, 1)
        return np.asarray(cv2.warpAffine(image, turn, (width, height)), np.uint8), False
    turned = bool(turns % 2)
    across, down = (c, b) if turned else (a, d)
    image = image.swapaxes(0, 1) if turned else image
    image = image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
    return np.ascontiguousarray(image), turned
