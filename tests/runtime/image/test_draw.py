"""Drawing: on a copy, where the points are, and nothing but what was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from builders import ROOT
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.image.draw import (
    CONTOUR_BGR,
    ELLIPSE_BGR,
    POINT_BGR,
    draw_faces,
    draw_landmarks_with_contours,
)
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
def test_what_is_no_points_is_refused(points: Any) -> None:
    """Wrong shape, NaN, or not numbers."""
    with pytest.raises(InputError, match="landmarks: expected finite points"):
        draw_landmarks_with_contours(CANVAS, points)


def test_ellipses_need_a_covariance() -> None:
    """Bare points have none."""
    with pytest.raises(InputError, match="Landmarks with a covariance"):
        draw_landmarks_with_contours(CANVAS, landmarks().points_px, ellipses=True)


def face(extent_px: float, at_px: float) -> NDArray[np.float64]:
    """The points of the sample photo's face, that large, its corner at (at_px, at_px)."""
    text = (ROOT / "assets/test.pts").read_text().splitlines()[3:71]
    points = np.array([line.split() for line in text], np.float64)
    placed: NDArray[np.float64] = points - points.min(axis=0)
    placed *= extent_px / placed.max()
    placed += at_px
    return placed


def marked(height: int, width: int, points_px: Any, *, contours: bool) -> NDArray[np.float64]:
    """How much each pixel changes, 0 to 1, on grey: dark edges are seen, too."""
    canvas = np.full((height, width, 3), 128, np.uint8)
    drawn = draw_landmarks_with_contours(canvas, points_px, contours=contours)
    found: NDArray[np.float64] = np.abs(drawn.astype(np.float64) - 128).max(axis=2) / 128
    return found


@pytest.mark.parametrize("contours", [True, False])
def test_marks_are_as_large_as_their_face_whatever_the_picture(*, contours: bool) -> None:
    """A thumbnail of a large face looks as a small face: what is marked is the same share of it."""
    shares = {
        extent: marked(size, size, face(extent, 20), contours=contours).sum() / extent**2
        for extent, size in ((250, 300), (250, 2000), (2000, 2100))
    }
    same = marked(300, 300, face(250, 20), contours=contours)
    in_large = marked(300, 2000, face(250, 20), contours=contours)

    assert shares[250] == pytest.approx(shares[2000], rel=0.1)
    np.testing.assert_array_equal(in_large[:, :300], same)
    assert not in_large[:, 300:].any()


def test_eyes_and_lips_of_a_small_face_stay_visible() -> None:
    """60 px wide: the points cover a tenth of it, and the middle of no eye and no mouth."""
    points = face(60, 20)
    seen = marked(100, 100, points, contours=False)

    assert 0.02 < seen.sum() / 60**2 < 0.1
    for part in (points[36:42], points[42:48]):
        x, y = np.rint(part.mean(axis=0)).astype(int)
        assert seen[y, x] < 0.5
    assert ((seen > 0.1) & (seen < 0.9)).sum() > 100  # no stairs: edges are smooth


def test_an_ellipse_smaller_than_its_point_is_seen() -> None:
    """On top of its dot, in its own colour: green has no red in it."""
    points = face(400, 50)
    covariance = np.tile(np.array([1, 0, 1], np.float32), (68, 1))
    sure = Landmarks(points_px=points.astype(np.float32), covariance_px2=covariance)
    canvas = np.zeros((500, 500, 3), np.uint8)

    red = draw_landmarks_with_contours(canvas, sure, ellipses=True)[..., 2]
    assert (red > 0.7 * ELLIPSE_BGR[2]).sum() > 5 * 68
