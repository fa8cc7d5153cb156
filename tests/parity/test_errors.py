"""Statistics against slow oracles, and the reference's way of counting."""

from __future__ import annotations

import math

import numpy as np
import pytest

from parity.errors import ErrorTable, error_row, stack_rows, statistics
from parity.verdict import Limits, judge
from runtime.backends.base import Outputs
from runtime.crop import Crop
from runtime.detector import Trace
from runtime.errors import ConfigError, InputError
from runtime.landmarks import bring_home


def percentile(values: list[float], q: float) -> float:
    """Linear interpolation between order statistics."""
    ordered = sorted(values)
    at = (len(ordered) - 1) * q / 100
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


@pytest.mark.parametrize("pictures", [1, 2, 7])
def test_statistics_agree_with_the_oracle(rng: np.random.Generator, pictures: int) -> None:
    """Over |dx| and |dy|: 68 x 2 x pictures coordinates."""
    table = rng.normal(0, 0.7, (pictures, 68, 2))
    values = [abs(float(v)) for v in table.ravel()]
    mean = sum(values) / len(values)
    found = statistics(table)

    assert found.coordinates == 68 * 2 * pictures
    assert found.mean_px == pytest.approx(mean)
    assert found.max_px == pytest.approx(max(values))
    assert found.std_px == pytest.approx(
        math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
    )
    assert found.p95_px == pytest.approx(percentile(values, 95))
    assert found.p99_px == pytest.approx(percentile(values, 99))
    assert found.share_under_0_5 == pytest.approx(sum(v < 0.5 for v in values) / len(values))
    assert found.share_under_1 == pytest.approx(sum(v < 1 for v in values) / len(values))


def trace_of(landmarks: np.ndarray, across: float, down: float) -> Trace:
    crop = Crop(
        pixels=np.zeros((256, 256, 3), np.uint8), image_from_crop=np.diag([across, down, 1])
    )
    outputs = Outputs(
        landmarks=landmarks[None].astype(np.float32),
        covariance=np.zeros((1, len(landmarks), 3), np.float32),
    )
    home = bring_home(outputs.landmarks[0], outputs.covariance[0], crop)
    return Trace(crop=crop, outputs=outputs, landmarks=home, timings={})


def test_photo_pixels_carry_the_crops_unequal_axes(rng: np.random.Generator) -> None:
    """A shift of one crop px is four photo px in x and three in y."""
    points = rng.uniform(-0.5, 0.5, (68, 2))
    shifted = points + 1 / 128
    photo, crop = error_row(trace_of(points, 4, 3), trace_of(shifted, 4, 3), 256)

    np.testing.assert_allclose(crop, 1, atol=1e-4)
    np.testing.assert_allclose(photo, np.tile([4, 3], (68, 1)), atol=1e-3)


def test_sources_that_cannot_be_compared_are_refused(rng: np.random.Generator) -> None:
    """Another number of points; another crop; no picture at all."""
    points = rng.uniform(-0.5, 0.5, (68, 2))
    with pytest.raises(InputError, match="68 points in the same crop, got 98 points"):
        error_row(trace_of(points, 1, 1), trace_of(np.zeros((98, 2)), 1, 1), 256)
    with pytest.raises(InputError, match="crops that differ"):
        error_row(trace_of(points, 1, 1), trace_of(points, 1, 2), 256)
    with pytest.raises(InputError, match="at least one picture"):
        stack_rows([], [], [])


def table_of(photo_px: np.ndarray) -> ErrorTable:
    return ErrorTable(
        names=tuple(f"{n}.jpg" for n in range(len(photo_px))),
        photo_px=photo_px,
        crop_px=photo_px / 4,
        points_px=np.full(photo_px.shape, 100.0),
    )


def test_verdict_names_the_worst_case_and_the_smallest_limits() -> None:
    """Picture, point, axis and both coordinates; the limits named would have passed."""
    photo = np.full((3, 68, 2), 0.01)
    photo[2, 41, 1] = -0.7
    verdict = judge(table_of(photo), Limits())

    assert not verdict.passed
    assert verdict.exceeded == ("max 0.7 px > 0.5 px",)
    worst = verdict.worst
    assert (worst.picture, worst.point, worst.axis) == ("2.jpg", 41, "y")
    assert worst.error_px == pytest.approx(0.7)
    assert worst.candidate_xy_px == pytest.approx((100.01, 99.3))
    assert judge(table_of(photo), verdict.smallest_passing).passed


@pytest.mark.parametrize(
    ("value", "passed"),
    [(0.0, True), (0.1, True), (0.1001, False), (np.nan, False), (np.inf, False)],
)
def test_limit_is_inclusive_and_nan_never_passes(value: float, passed: bool) -> None:
    """Exactly at the limit passes; what is not a number does not."""
    assert judge(table_of(np.full((1, 68, 2), value)), Limits()).passed is passed


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_limits_that_cannot_be_meant_are_refused(value: float) -> None:
    """Negative, NaN, infinite."""
    with pytest.raises(ConfigError, match="max_mean: expected a finite number of px"):
        Limits(max_mean_px=value).check()
    with pytest.raises(ConfigError, match="max_error"):
        Limits(max_error_px=value).check()
