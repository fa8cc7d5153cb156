"""Matrices against the published ones and against a float64 oracle."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InputError
from runtime.image import geometry

coordinates = st.floats(-5_000, 5_000, allow_nan=False)
sides = st.floats(1, 5_000, allow_nan=False)


def test_published_matrices_and_points_are_reproduced(shared: Path) -> None:
    """Crop matrices and all three frames agree with the published code, which rounds to float32."""
    golden = json.loads((shared / "golden/geometry_golden.json").read_text())
    assert len(golden["cases"]) == 12
    for case in golden["cases"]:
        box_xyxy = geometry.check_box(case["box_xyxy"])
        image_from_crop = geometry.image_from_crop_of_box(box_xyxy, 256)
        crop_px = geometry.crop_px_from_normalised(np.array(case["points_normalised"]), 256)

        np.testing.assert_allclose(
            np.linalg.inv(image_from_crop), case["crop_from_image"], rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(crop_px, case["points_crop_px"], atol=1e-6)
        np.testing.assert_allclose(
            geometry.apply(image_from_crop, crop_px), case["points_image_px"], atol=1e-3
        )


@given(coordinates, coordinates, sides, sides)
def test_box_matrix_agrees_with_the_oracle(x: float, y: float, width: float, height: float) -> None:
    """To 1e-9, both ways, for any box."""
    box = (x, y, x + width, y + height)
    image_from_crop = geometry.image_from_crop_of_box(np.array(box), 256)
    crop_from_image = oracles.crop_from_image(box)

    np.testing.assert_allclose(
        np.linalg.inv(image_from_crop), crop_from_image, rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(
        image_from_crop, np.linalg.inv(crop_from_image), rtol=1e-9, atol=1e-9
    )


@given(coordinates, coordinates, sides, st.floats(-1, 1), st.floats(-1, 1))
def test_way_home_is_the_exact_inverse(
    x: float, y: float, side: float, px: float, py: float
) -> None:
    """A point taken into the crop and home again is where it was."""
    image_from_crop = geometry.image_from_crop_of_box(np.array([x, y, x + side, y + side]), 256)
    there = np.array([x + px * side, y + py * side])
    crop_from_image = np.linalg.inv(image_from_crop).astype(np.float64)
    back = geometry.apply(image_from_crop, geometry.apply(crop_from_image, there))

    np.testing.assert_allclose(back, there, rtol=1e-12, atol=1e-9)


@given(st.integers(2, 30_000), st.integers(2, 30_000), st.floats(-0.5, 255.5))
def test_whole_picture_uses_half_pixel_centres(width: int, height: int, at: float) -> None:
    """Edges map to edges: crop -0.5 is picture -0.5, crop 255.5 is picture width - 0.5."""
    matrix = geometry.image_from_crop_of_whole((width, height), 256)
    x, y = geometry.apply(matrix, np.array([at, at]))

    assert x == pytest.approx((at + 0.5) * width / 256 - 0.5, abs=1e-9)
    assert y == pytest.approx((at + 0.5) * height / 256 - 0.5, abs=1e-9)


def test_normalised_corners_are_pixel_edges() -> None:
    """align_corners=False: -1 is the left edge of pixel 0, +1 the right edge of the last."""
    corners = geometry.crop_px_from_normalised(np.array([[-1.0, 1.0], [0.0, 0.0]]), 256)

    np.testing.assert_array_equal(corners, [[-0.5, 255.5], [127.5, 127.5]])


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ((1, 2, 3), "four finite numbers"),
        ((1, 2, 3, 4, 5), "four finite numbers"),
        ((1, 2, math.nan, 4), "nan"),
        ((1, 2, math.inf, 4), "inf"),
        ("10,20,30,40", "four finite numbers"),
        (None, "four finite numbers"),
        (((1, 2), (3, 4)), "four finite numbers"),
        ((1, 2, 10**400, 4), "four finite numbers"),
        ((1, 2, 3j, 4), "four finite numbers"),
        ((True, False, True, True), "four finite numbers"),
        (
            np.ma.masked_array([1, 2, 30, 40], mask=[False, False, True, False]),
            "four finite numbers",
        ),
        ((50, 50, 10, 80), "x1 < x2"),
        ((10, 80, 50, 20), "y1 < y2"),
        ((10, 10, 10, 40), "x1 < x2"),
        ((10, 10, 40, 10), "y1 < y2"),
        ((0.1, 0.1, 0.9, 0.9), "fractions"),
        ((0, 0, 2e6, 2e6), "1,000,000"),
        ((1e6, 10, 2e6, 20), "1,000,000"),
        ((-2e6, 10, 20, 20), "1,000,000"),
        ((99.5, 10, 300, 40), "overlaps the picture of 100x50"),
        ((10, 49.5, 90, 90), "overlaps the picture of 100x50"),
        ((-50, 10, -0.5, 40), "overlaps the picture of 100x50"),
        ((10, -50, 90, -0.5), "overlaps the picture of 100x50"),
    ],
)
def test_impossible_boxes_are_refused_in_one_line(box: object, says: str) -> None:
    """Count, finiteness, order, area, units and place are each named."""
    with pytest.raises(InputError, match="face box: expected") as caught:
        geometry.check_box(box, size_wh=(100, 50))  # type: ignore[arg-type]  # on purpose

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "box",
    [
        (99.4, 10, 300, 40),
        (10, 49.4, 90, 90),
        (-50, 10, -0.4, 40),
        (10, -50, 90, -0.4),
        (10, 10, 11, 10.1),
        (-1e6, 10, 1e6, 20),
    ],
)
def test_boxes_at_the_limit_are_taken(box: tuple[float, ...]) -> None:
    """Half a pixel's overlap, one px along the longer side, a million px away."""
    np.testing.assert_array_equal(geometry.check_box(box, size_wh=(100, 50)), box)


def test_box_around_points_is_their_least_and_largest() -> None:
    points_px = np.array([[3.0, 40], [9, 20], [5, 90]], np.float32)
    assert geometry.box_around(points_px).tolist() == [3, 20, 9, 90]


def test_points_and_covariance_are_carried_like_the_oracle() -> None:
    """A p + b and A C A^T for a map that turns and shears, where nothing is like its transpose."""
    image_from_crop = np.array([[4.0, -1.5, 7], [0.5, 3.0, -2], [0, 0, 1]])
    covariance = np.array([2.0, -0.5, 1.0]) * 1e-3
    point, expected = oracles.home(np.array([0.3, -0.2]), covariance, image_from_crop, 256)
    linear = image_from_crop[:2, :2] * 128
    crop_px = geometry.crop_px_from_normalised(np.array([0.3, -0.2]), 256)

    np.testing.assert_allclose(geometry.apply(image_from_crop, crop_px), point, rtol=1e-12)
    np.testing.assert_allclose(geometry.carry_covariance(linear, covariance), expected, rtol=1e-12)
