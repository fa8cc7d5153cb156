"""The way home against oracles, and landmarks as an array."""

from __future__ import annotations

import numpy as np
import oracles

from runtime.backends.base import Outputs
from runtime.image.crop import Crop
from runtime.image.landmarks import Landmarks, spread_of, to_image
from runtime.tracing import _warnings


def landmarks_of(points: int = 5) -> Landmarks:
    return Landmarks(
        points_px=np.arange(2.0 * points, dtype=np.float32).reshape(points, 2),
        covariance_px2=np.tile(np.array([4, 0, 9], np.float32), (points, 1)),
    )


def test_points_and_covariance_come_home_like_the_oracle(rng: np.random.Generator) -> None:
    """With unequal axes, to a thousandth of a pixel."""
    image_from_crop = np.array([[4.0, 0, 1.5], [0, 3.0, 1.0], [0, 0, 1]])
    crop = Crop(pixels=np.zeros((256, 256, 3), np.uint8), image_from_crop=image_from_crop)
    points = rng.uniform(-1, 1, (7, 2)).astype(np.float32)
    half = rng.normal(0, 0.05, (7, 2, 2))
    full = half @ half.transpose(0, 2, 1)
    covariance = np.stack([full[:, 0, 0], full[:, 0, 1], full[:, 1, 1]], 1).astype(np.float32)
    found = to_image(points, covariance, crop)

    for index in range(7):
        point, moments = oracles.home(
            points[index].astype(float), covariance[index].astype(float), image_from_crop, 256
        )
        np.testing.assert_allclose(found.points_px[index], point, atol=1e-3)
        np.testing.assert_allclose(found.covariance_px2[index], moments, rtol=1e-5, atol=1e-3)
        spread = np.sqrt(np.linalg.eigvalsh(full[index] * 128**2))
        assert spread.max() * 3 <= found.spread_px[index] * 1.0001 <= spread.max() * 4.001


def test_sigma_is_the_scaled_area_of_the_ellipse() -> None:
    """Round: root of the factor times the root of the determinant; without a factor it is None."""
    moments = np.array([[4, 0, 9], [5, -2, 5], [1, 1.1, 1]], np.float32)
    points = np.zeros((3, 2), np.float32)
    scale = np.array([0.5, 2, 1], np.float32)
    raw = Landmarks(points_px=points, covariance_px2=moments)

    assert raw.sigma_px is None
    scaled = Landmarks(points_px=points, covariance_px2=moments, error_scale=scale)
    assert scaled.sigma_px is not None
    np.testing.assert_allclose(scaled.sigma_px, [3**0.5, (2 * 21**0.5) ** 0.5, 0], atol=1e-6)
    np.testing.assert_array_equal(scaled.spread_px, raw.spread_px)


def test_spread_is_the_larger_axis() -> None:
    """A point unsure by 2 px along x and 3 px along y is unsure by 3 px; aslant, too.

    What rounding leaves below zero is no spread.
    """
    moments = np.array([[4, 0, 9], [9, 0, 4], [5, -2, 5], [-1e-9, 0, -1e-9]], np.float32)
    np.testing.assert_allclose(spread_of(moments), [3, 3, 7**0.5, 0], rtol=1e-6)
    np.testing.assert_allclose(landmarks_of().spread_px, 3)


def test_landmarks_are_their_points_where_an_array_is_expected() -> None:
    """asarray, len, indexing, iteration and shape see the points."""
    landmarks = landmarks_of()

    np.testing.assert_array_equal(np.asarray(landmarks), landmarks.points_px)
    assert np.asarray(landmarks, dtype=np.float64).dtype == np.float64
    assert (len(landmarks), landmarks.shape) == (5, (5, 2))
    np.testing.assert_array_equal(landmarks[:2], [[0, 1], [2, 3]])
    assert [tuple(point) for point in landmarks][4] == (8, 9)
    for result in (landmarks * 2, 2 * landmarks, landmarks + np.asarray(landmarks)):
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, landmarks.points_px * 2)
    assert np.abs(landmarks - landmarks[0]).max() == np.hypot(landmarks - landmarks[0], 0).max()
    doubled = landmarks
    doubled *= 2
    np.testing.assert_array_equal(doubled, landmarks_of() * 2)
    assert np.mean(landmarks) == landmarks.points_px.mean()
    copied = np.array(landmarks, copy=True)
    copied[0] = -1
    assert landmarks.points_px[0, 0] == 0


def outputs_with(spread: float, extent: float, wide: int = 20) -> Outputs:
    points = np.zeros((1, 20, 2), np.float32)
    points[0, :, 0] = np.linspace(-extent / 2, extent / 2, 20)
    covariance = np.tile(np.array([spread**2, 0, spread**2], np.float32), (1, 20, 1))
    covariance[0, wide:] = 1e-6
    return Outputs(landmarks=points, covariance=covariance)


def test_unsure_points_are_said() -> None:
    """A spread that is large beside the face's extent; a small one says nothing."""
    assert _warnings(outputs_with(0.05, 1.0)) == ()
    assert _warnings(outputs_with(0.2, 1.0, wide=1)) == ()
    assert _warnings(outputs_with(0.2, 1.0, wide=3))  # more than a tenth: few go wrong alone
    (warning,) = _warnings(outputs_with(0.12, 1.0))
    assert "too small in the crop, or absent" in warning
    assert _warnings(outputs_with(0.01, 0.0))
