"""Drawing: on a copy, where the points are, and nothing but what was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.draw import CONTOUR_BGR, POINT_BGR, draw_landmarks_with_contours
from runtime.errors import InputError
from runtime.landmarks import Landmarks

CANVAS = np.zeros((256, 256, 3), np.uint8)


def landmarks() -> Landmarks:
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = 128 + 90 * np.stack([np.cos(angle), np.sin(angle)], 1)
    covariance = np.tile(np.array([16, 0, 4], np.float32), (68, 1))
    return Landmarks(points_px=points.astype(np.float32), covariance_px2=covariance)


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=2).any())


def test_points_are_drawn_where_they_are_on_a_copy() -> None:
    """Each point's own pixel has its colour; the picture given is untouched."""
    found = landmarks()
    drawn = draw_landmarks_with_contours(CANVAS, found, contours=False)

    assert CANVAS.max() == 0
    for x, y in np.rint(found.points_px).astype(int):
        assert tuple(drawn[y, x]) == POINT_BGR
    assert not has(drawn, CONTOUR_BGR)
    assert drawn[..., 2].max() == 0


def test_contours_and_ellipses_on_request() -> None:
    """Contours join jaw points halfway; an ellipse reaches two sigmas out."""
    found = landmarks()
    drawn = draw_landmarks_with_contours(CANVAS, found, ellipses=True)
    x, y = np.rint(found.points_px[3:5].mean(axis=0)).astype(int)

    assert drawn[y - 1 : y + 2, x - 1 : x + 2].any()
    x, y = np.rint(found.points_px[0]).astype(int)  # its neighbours are above and below
    red = drawn[..., 2]  # of the three colours, only the ellipse's has any
    assert red[y, x + 7 : x + 10].max() > 100
    assert red[y, x + 11 :].max() == 0


def test_points_outside_the_picture_are_harmless() -> None:
    """Far away or negative, in a picture of any format."""
    points = np.full((68, 2), 1e12)
    points[0] = -50

    assert draw_landmarks_with_contours(np.zeros((8, 8), np.uint8), points).shape == (8, 8, 3)


@pytest.mark.parametrize("points", [np.zeros((68, 3)), np.full((68, 2), np.nan), "points", None])
def test_what_is_no_points_is_refused(points: object) -> None:
    """Wrong shape, NaN, or not numbers."""
    with pytest.raises(InputError, match="landmarks: expected finite points"):
        draw_landmarks_with_contours(CANVAS, points)


def test_ellipses_need_a_covariance() -> None:
    """Bare points have none."""
    with pytest.raises(InputError, match="Landmarks with a covariance"):
        draw_landmarks_with_contours(CANVAS, landmarks().points_px, ellipses=True)


def test_marks_of_a_small_face_in_a_large_picture_are_small() -> None:
    """Else the faces of a group would be covered by their own points."""
    canvas = np.zeros((2000, 2000, 3), np.uint8)
    points_px = np.array([[1000.0, 1000.0], [1040.0, 1040.0]])
    drawn = draw_landmarks_with_contours(canvas, points_px, contours=False)
    rows = np.flatnonzero(drawn.any(axis=(1, 2)))
    assert rows.min() > 990
    assert rows.max() < 1050
    far_apart = draw_landmarks_with_contours(canvas, points_px * 1.8 - 900, contours=False)
    assert far_apart.any(axis=2).sum() >= drawn.any(axis=2).sum()
