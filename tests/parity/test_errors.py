"""Statistics against slow oracles, and the reference's way of counting."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import recording_of

from parity.errors import ErrorTable, error_table, frame_statistics
from parity.recording import Recording
from parity.report import text
from parity.verdict import Limits, judge, told_apart
from runtime.errors import ConfigError


def percentile(values: list[float], q: float) -> float:
    """Linear interpolation between order statistics."""
    ordered = sorted(values)
    at = (len(ordered) - 1) * q / 100
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


@pytest.mark.parametrize("pictures", [1, 2, 7])
def test_statistics_agree_with_the_oracle(rng: np.random.Generator, pictures: int) -> None:
    """Over |dx| and |dy|, and over distances: every figure by loops."""
    table = rng.normal(0, 0.7, (pictures, 68, 2))
    distances = [math.hypot(dx, dy) for dx, dy in table.reshape(-1, 2)]
    both = frame_statistics(table)
    for found, values in (
        (both.axis, [abs(float(v)) for v in table.ravel()]),
        (both.distance, distances),
    ):
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        assert found.count == len(values)
        assert found.mean == pytest.approx(mean)
        assert found.std == pytest.approx(math.sqrt(variance))
        assert found.max == pytest.approx(max(values))
        for name, q in (("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99)):
            assert getattr(found, name) == pytest.approx(percentile(values, q))
        for limit in (0.1, 0.25, 0.5, 1.0):
            share = sum(v < limit for v in values) / len(values)
            assert found.share_under[f"{limit:g}"] == pytest.approx(share)


def shifted(recording: Recording, by: float) -> Recording:
    return dataclasses.replace(recording, landmarks=recording.landmarks + np.float32(by))


def test_photo_pixels_carry_the_crops_unequal_axes(rng: np.random.Generator) -> None:
    """A shift of one crop px is four photo px in x and three in y; percent goes by the eyes."""
    here = recording_of(rng)
    table = error_table(here, shifted(here, 1 / 128))
    eyes = np.linalg.norm(here.points_px[:, 36] - here.points_px[:, 45], axis=1)

    np.testing.assert_allclose(table.crop_px, 1, atol=1e-4)
    np.testing.assert_allclose(table.photo_px, np.tile([4, 3], (2, 68, 1)), atol=1e-3)
    np.testing.assert_allclose(table.percent[:, 0, 0], 4 / eyes * 100, rtol=1e-3)


def test_differences_are_carried_by_the_crops_own_map(rng: np.random.Generator) -> None:
    """A place that turns: dx and dy go the way its matrix says, and not its transpose's."""
    turned = np.tile([[0.0, -2.0, 5], [3.0, 0.0, 7], [0, 0, 1]], (2, 1, 1))
    here = dataclasses.replace(recording_of(rng), image_from_crop=turned)
    moved = here.landmarks + np.array([1 / 128, 0], np.float32)
    table = error_table(here, dataclasses.replace(here, landmarks=moved))

    np.testing.assert_allclose(table.photo_px, np.tile([0, 3], (2, 68, 1)), atol=1e-3)


def table_of(photo_px: np.ndarray) -> ErrorTable:
    return ErrorTable(
        names=tuple(f"{n}.jpg" for n in range(len(photo_px))),
        photo_px=photo_px,
        crop_px=photo_px / 4,
        points_px=np.full(photo_px.shape, 100.0),
        spread_px=np.zeros(photo_px.shape[:2]),
        reference_spread_px=np.ones(photo_px.shape[:2]),
        interocular_px=np.full(len(photo_px), 50.0),
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


@settings(max_examples=300)
@given(st.floats(1e-9, 1e3))
def test_limits_that_are_printed_pass(value: float) -> None:
    """Rounded up, never down, and said with digits that do not contradict the verdict."""
    assert float(text._rounded_up(value)) >= value
    for limit in (value, np.nextafter(value, 0), np.nextafter(value, np.inf)):
        assert (float(told_apart(value, float(limit))) <= limit) == (value <= limit)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_limits_that_cannot_be_meant_are_refused(value: float) -> None:
    """Negative, NaN, infinite."""
    with pytest.raises(ConfigError, match="max_mean: expected a finite number of px"):
        Limits(max_mean_px=value).check()
    with pytest.raises(ConfigError, match="max_error"):
        Limits(max_error_px=value).check()


def test_percentiles_and_crop_pixels_are_judged_where_they_are_given() -> None:
    """P95 and P99 only on request; --unit crop judges the other frame."""
    photo = np.full((1, 68, 2), 0.04)
    photo[0, :2] = 0.4
    table = table_of(photo)

    assert judge(table, Limits()).passed
    verdict = judge(table, Limits(max_p99_px=0.3))
    assert verdict.exceeded == ("p99 0.4 px > 0.3 px",)
    assert judge(table, Limits(max_p99_px=0.3, unit="crop")).passed
    assert judge(table, verdict.smallest_passing).passed
