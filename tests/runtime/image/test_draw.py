"""Drawing: on a copy, where the points are, and nothing but what was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.errors import InputError
from runtime.image.draw import CONTOUR_BGR, POINT_BGR, draw_faces, draw_landmarks_with_contours
from runtime.image.landmarks import Landmarks

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


@pytest.mark.parametrize(
    ("first", "last", "joined"),
    [(0, 1, True), (15, 16, True), (16, 17, False), (0, 16, False), (48, 59, True)],
)
def test_contours_join_neighbours_and_a_closed_ones_ends(
    first: int, last: int, *, joined: bool
) -> None:
    """Seen halfway: the jaw is open from 0 to 16, the outer lip closed from 48 to 59."""
    found = landmarks()
    drawn = draw_landmarks_with_contours(CANVAS, found)
    x, y = np.rint(found.points_px[[first, last]].mean(axis=0)).astype(int)

    assert drawn[y, x].any() == joined


@pytest.mark.parametrize(
    ("one", "other", "joined"), [(0, 4, True), (5, 0, True), (11, 15, True), (0, 1, False)]
)
def test_contours_of_29_points_join_them_in_their_order(
    one: int, other: int, *, joined: bool
) -> None:
    """COFW's are no runs: a brow is 0, 4, 2, 5 and closed."""
    angle = np.linspace(0, 2 * np.pi, 29, endpoint=False)
    points = 128 + 90 * np.stack([np.cos(angle), np.sin(angle)], 1)
    points[4:] += (3, 7)  # no chord lies on another's middle
    drawn = draw_landmarks_with_contours(CANVAS, points)
    x, y = np.rint(points[[one, other]].mean(axis=0)).astype(int)

    assert drawn[y, x].any() == joined


def test_an_ellipse_lies_along_its_points_own_axes() -> None:
    """Two sigmas out, 20 degrees down to the right: eight px along, four across."""
    along = np.array([np.cos(np.radians(20)), np.sin(np.radians(20))])
    across = along[::-1] * [-1, 1]
    (xx, xy), (_, yy) = 16 * np.outer(along, along) + 4 * np.outer(across, across)
    one = Landmarks(
        points_px=np.array([[100, 90]], np.float32),
        covariance_px2=np.array([[xx, xy, yy]], np.float32),
    )
    red = draw_landmarks_with_contours(CANVAS, one, ellipses=True)[..., 2]  # only the ellipse's
    rows, columns = np.nonzero(red > 100)

    from_point_px = np.stack([columns - 100, rows - 90], axis=1)
    assert np.abs(from_point_px @ along).max() == pytest.approx(8, abs=1)
    assert np.abs(from_point_px @ across).max() == pytest.approx(4, abs=1)


def test_every_face_is_drawn_as_asked() -> None:
    found = landmarks()
    other = Landmarks(
        points_px=found.points_px * np.float32(0.5), covariance_px2=found.covariance_px2
    )
    once = draw_landmarks_with_contours(CANVAS, found, contours=False, ellipses=True)
    twice = draw_landmarks_with_contours(once, other, contours=False, ellipses=True)
    drawn = draw_faces(CANVAS, [found, other], contours=False, ellipses=True)

    np.testing.assert_array_equal(drawn, twice)


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

    def marked(height: int, points_px: list[list[int]]) -> int:
        canvas = np.zeros((height, 2000, 3), np.uint8)
        drawn = draw_landmarks_with_contours(canvas, points_px, contours=False)
        return int(drawn.any(axis=2).sum())

    near, far = [[1000, 100], [1040, 140]], [[200, 100], [1800, 140]]
    assert 0 < marked(2000, near) <= 50
    assert marked(2000, far) > 10 * marked(2000, near)
    assert marked(300, far) == marked(2000, near)  # a flat picture is small, too
