"""Landmarks onto a copy of the picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.image.crop import Picture, check_picture, to_bgr8
from runtime.image.landmarks import Landmarks, Points
from runtime.model.topology import topology_of

POINT_BGR = (0, 255, 0)
CONTOUR_BGR = (255, 200, 0)
ELLIPSE_BGR = (0, 160, 255)
EDGE_BGR = (0, 0, 0)
# cv2's drawing takes coordinates as integers with this many bits after the point
SHIFT = 4
# Beyond this a coordinate no longer fits cv2's int32 with SHIFT bits.
FARTHEST_PX = 1e7
ELLIPSE_SIGMAS = 2.0
# Sizes as shares of the points' extent, so that a face looks alike at any size, and the least that
# is still seen. An eye is a fifth of a face's extent wide.
RADIUS, LEAST_RADIUS_PX = 0.009, 0.9
LINE, LEAST_LINE_PX = 0.005, 0.6
# Where ellipses are drawn, they are thinner than contours, and a point is a dot in its own.
THIN, DOT = 0.6, 0.6
# The dark edge of a mark, as a share of a line: it is seen on light skin and on white, too.
EDGE, EDGE_ALPHA = 0.5, 0.6
# cv2 draws whole px: a thinner line is drawn enlarged, to this thickness, and made smaller again.
DRAWN_PX, MOST_ENLARGED, MOST_DRAWN_PX = 4.0, 8, 2000**2


def draw_landmarks_with_contours(
    image: Picture,
    landmarks: Points,
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
    _draw(canvas, landmarks, contours=contours, ellipses=ellipses)
    return canvas


def draw_faces(
    image: NDArray[np.uint8],
    faces: Iterable[Landmarks],
    *,
    contours: bool = True,
    ellipses: bool = False,
) -> NDArray[np.uint8]:
    """Draw every face of a picture; arguments as for `draw_landmarks_with_contours`."""
    canvas = image.copy()
    for landmarks in faces:
        _draw(canvas, landmarks, contours=contours, ellipses=ellipses)
    return canvas


def _draw(canvas: NDArray[np.uint8], landmarks: Points, *, contours: bool, ellipses: bool) -> None:
    points_px = _check_points(landmarks)
    if not len(points_px):
        return
    extent_px = min(float(np.ptp(points_px, axis=0).max()), max(canvas.shape))
    radius_px, line_px = (
        max(RADIUS * extent_px, LEAST_RADIUS_PX),
        max(LINE * extent_px, LEAST_LINE_PX),
    )
    largest_px = 0.0
    if ellipses:
        covariance_px2 = _check_covariance(landmarks).covariance_px2
        largest_px = ELLIPSE_SIGMAS * float(np.sqrt(covariance_px2[:, [0, 2]].max()))
    marks = _Marks(canvas, points_px, largest_px + 2 * radius_px, line_px)
    if contours:
        for contour in topology_of(len(points_px)).contours:
            marks.polyline(points_px[[*contour.indices]], closed=contour.closed)
        marks.paint(CONTOUR_BGR)
    marks.discs(points_px, radius_px * DOT if ellipses else radius_px)
    marks.paint(POINT_BGR)
    if ellipses:  # on top: a sure point's is smaller than its dot
        marks.ellipses(points_px, covariance_px2)
        marks.paint(ELLIPSE_BGR)


class _Marks:
    """Marks of one colour at a time, smooth however thin: drawn enlarged, made smaller, blended in.

    Args:
        canvas: uint8 (H, W, 3) BGR, painted on: where the points are, and around them.
        points_px: (P, 2) image px.
        around_px: how far marks reach beyond the points' bounding box.
        line_px: thickness of lines.
    """

    def __init__(
        self,
        canvas: NDArray[np.uint8],
        points_px: NDArray[np.float64],
        around_px: float,
        line_px: float,
    ) -> None:
        size_wh = canvas.shape[1::-1]
        low = np.clip(np.floor(points_px.min(axis=0) - around_px), 0, size_wh).astype(int)
        high = np.clip(np.ceil(points_px.max(axis=0) + around_px) + 1, low, size_wh).astype(int)
        self._part = canvas[low[1] : high[1], low[0] : high[0]]
        self._origin_px = low
        pixels = max(1, self._part.shape[0] * self._part.shape[1])
        enlarged = min(DRAWN_PX / line_px, MOST_ENLARGED, (MOST_DRAWN_PX / pixels) ** 0.5)
        self._scale = max(1, int(np.ceil(enlarged)))
        self._line = line_px * self._scale
        height, width = self._part.shape[:2]
        self._masks = np.zeros((2, height * self._scale, width * self._scale), np.uint8)

    def polyline(self, points_px: NDArray[np.float64], *, closed: bool) -> None:
        """Add a line along points (P, 2)."""
        places = fixed(self._places(points_px))
        for mask, thickness in self._lines(1.0):
            cv2.polylines(mask, [places], closed, 255, thickness, cv2.LINE_AA, SHIFT)

    def ellipses(
        self, points_px: NDArray[np.float64], covariances_px2: NDArray[np.floating]
    ) -> None:
        """Add each point's ellipse; covariances (P, 3) xx, xy, yy."""
        moments = covariances_px2 * float(self._scale**2)
        for mask, thickness in self._lines(THIN):
            for place, moment in zip(self._places(points_px), moments, strict=True):
                draw_ellipse(mask, place, moment, ELLIPSE_SIGMAS, (255, 0, 0), thickness)

    def discs(self, points_px: NDArray[np.float64], radius_px: float) -> None:
        """Add a filled circle at each point."""
        radius = radius_px * self._scale
        for mask, wider in zip(self._masks, (EDGE * self._line, 0.0), strict=True):
            for x, y in fixed(self._places(points_px)):
                centre, drawn = (int(x), int(y)), round((radius + wider) * 2**SHIFT)
                cv2.circle(mask, centre, drawn, 255, -1, cv2.LINE_AA, SHIFT)

    def paint(self, colour_bgr: tuple[int, int, int]) -> None:
        """Paint what was added, its edge dark, and begin anew."""
        if not self._part.size:
            return
        size_wh = self._part.shape[1::-1]
        for mask, colour, alpha in zip(
            self._masks, (EDGE_BGR, colour_bgr), (EDGE_ALPHA, 1.0), strict=True
        ):
            share = (
                mask if self._scale == 1 else cv2.resize(mask, size_wh, None, 0, 0, cv2.INTER_AREA)
            )
            where = np.nonzero(share)
            opacity = share[where].astype(np.float32)[:, None] * np.float32(alpha / 255)
            behind = self._part[where].astype(np.float32)
            behind += (np.array(colour, np.float32) - behind) * opacity
            self._part[where] = np.rint(behind, out=behind)
        self._masks[:] = 0

    def _places(self, points_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """In the enlarged masks; pixel centres are integers in both."""
        places: NDArray[np.float64] = (points_px - self._origin_px + 0.5) * self._scale - 0.5
        return places

    def _lines(self, share: float) -> Iterator[tuple[NDArray[np.uint8], int]]:
        """Each mask, and the thickness of a line in it."""
        for mask, width in zip(self._masks, (1 + 2 * EDGE, 1.0), strict=True):
            yield mask, max(1, round(share * width * self._line))


def _check_covariance(landmarks: Points) -> Landmarks:
    if not isinstance(landmarks, Landmarks):
        raise InputError(
            "landmarks",
            expected="Landmarks with a covariance, to draw ellipses",
            got=type(landmarks).__name__,
            action="Pass what detect() returned",
        )
    return landmarks


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
        canvas: uint8 (H, W, 3) BGR or (H, W) grey, drawn on.
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


def _check_points(landmarks: Points) -> NDArray[np.float64]:
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
