"""Landmarks onto a copy of the picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.image.crop import check_picture, to_bgr8
from runtime.image.landmarks import Landmarks
from runtime.model.topology import topology_of

POINT_BGR = (0, 255, 0)
CONTOUR_BGR = (255, 200, 0)
ELLIPSE_BGR = (0, 160, 255)
OUTLINE_BGR = (0, 0, 0)
# cv2's drawing takes coordinates as integers with this many bits after the point
SHIFT = 4
# Beyond this a coordinate no longer fits cv2's int32 with SHIFT bits.
FARTHEST_PX = 1e7
ELLIPSE_SIGMAS = 2.0
# A picture of so many times the points' extent is the largest whose size the marks go by.
SIDES_OF_A_FACE = 2.5


def draw_landmarks_with_contours(
    image: Any,
    landmarks: Any,
    *,
    contours: bool = True,
    ellipses: bool = False,
) -> NDArray[np.uint8]:
    """Draw the points and their contours on a copy of the picture.

    Args:
        image: uint8 (H, W, 3) BGR; grey, BGRA and 16-bit are converted.
        landmarks: `Landmarks`, or points (P, 2) in image px.
        contours: join the points along the mark-up's contours, where it is known.
        ellipses: draw each point's two-sigma covariance ellipse; needs `Landmarks`.

    Returns:
        uint8 (H, W, 3) BGR, a new array.

    Raises:
        InputError: not a picture, not points, or ellipses without a covariance.
    """
    canvas = to_bgr8(check_picture(image)).copy()
    points_px = _check_points(landmarks)
    # marks look alike in a thumbnail and in a photo, and do not cover the small faces of a group
    extent_px = float(np.ptp(points_px, axis=0).max()) if len(points_px) else 0.0
    unit = max(1, round(min(*canvas.shape[:2], SIDES_OF_A_FACE * extent_px) / 256))
    if ellipses:
        _draw_ellipses(canvas, landmarks, points_px, unit)
    if contours:
        for contour in topology_of(len(points_px)).contours:
            line = fixed(points_px[[*contour.indices]])
            cv2.polylines(
                canvas, [line], contour.closed, CONTOUR_BGR, unit, cv2.LINE_AA, shift=SHIFT
            )
    for x, y in fixed(points_px):
        centre = (int(x), int(y))
        radius = int(1.6 * unit * 2**SHIFT)
        cv2.circle(canvas, centre, radius + 2**SHIFT, OUTLINE_BGR, -1, cv2.LINE_AA, SHIFT)
        cv2.circle(canvas, centre, radius, POINT_BGR, -1, cv2.LINE_AA, SHIFT)
    return canvas


def draw_faces(
    image: NDArray[np.uint8],
    faces: Iterable[Landmarks],
    *,
    contours: bool = True,
    ellipses: bool = False,
) -> NDArray[np.uint8]:
    """Draw every face of a picture; arguments as for `draw_landmarks_with_contours`."""
    for landmarks in faces:
        image = draw_landmarks_with_contours(image, landmarks, contours=contours, ellipses=ellipses)
    return image


def _draw_ellipses(
    canvas: NDArray[np.uint8], landmarks: Any, points_px: NDArray[np.float64], unit: int
) -> None:
    if not isinstance(landmarks, Landmarks):
        raise InputError(
            "landmarks",
            expected="Landmarks with a covariance, to draw ellipses",
            got=type(landmarks).__name__,
            action="Pass what detect() returned",
        )
    for point_px, moments_px2 in zip(points_px, landmarks.covariance_px2, strict=True):
        draw_ellipse(canvas, point_px, moments_px2, ELLIPSE_SIGMAS, ELLIPSE_BGR, max(1, unit // 2))


def draw_ellipse(
    canvas: NDArray[np.uint8],
    point_px: NDArray[np.floating],
    covariance_px2: NDArray[np.floating],
    sigmas: float,
    colour_bgr: tuple[int, int, int],
    thickness: int,
) -> None:
    """Draw one point's covariance onto a picture.

    Args:
        canvas: uint8 (H, W, 3) BGR, drawn on.
        point_px: (2,) in the canvas's px.
        covariance_px2: (3,) xx, xy, yy in the canvas's px squared.
        sigmas: how many standard deviations the ellipse is away from the point.
        colour_bgr: of the line.
        thickness: of the line in px.
    """
    xx, xy, yy = covariance_px2.astype(np.float64)
    moments, axes = np.linalg.eigh(np.array([[xx, xy], [xy, yy]]))
    smaller, larger = sigmas * np.sqrt(np.clip(moments, 0, FARTHEST_PX)) * 2**SHIFT
    angle = float(np.degrees(np.arctan2(axes[1, 1], axes[0, 1])))
    x, y = (int(v) for v in fixed(point_px))
    cv2.ellipse(
        canvas,
        (x, y),
        (int(larger), int(smaller)),
        angle,
        0,
        360,
        colour_bgr,
        thickness,
        cv2.LINE_AA,
        SHIFT,
    )


def _check_points(landmarks: Any) -> NDArray[np.float64]:
    try:
        points_px = np.asarray(landmarks, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        points_px = np.empty(0)
    if points_px.ndim != 2 or points_px.shape[1] != 2 or not np.isfinite(points_px).all():
        raise InputError(
            "landmarks",
            expected="finite points (P, 2) in image px",
            got=f"{type(landmarks).__name__} of shape {points_px.shape}",
            action="Pass what detect() returned, or its points_px",
        )
    return points_px


def fixed(points_px: NDArray[np.floating]) -> NDArray[np.int32]:
    """Points (..., 2) in px as cv2's drawing takes them: integers with `SHIFT` binary places."""
    clipped = np.clip(points_px, -FARTHEST_PX, FARTHEST_PX)
    places: NDArray[np.int32] = np.rint(clipped * 2**SHIFT).astype(np.int32)
    return places
