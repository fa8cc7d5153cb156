"""Statistics against slow oracles, and the reference's way of counting."""

from __future__ import annotations

import dataclasses
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import recording_of, shifted

from parity.judging.differences import ErrorTable, error_table, frame_statistics, statistics
from parity.judging.digits import px, signed, told_apart
from parity.judging.verdict import Limits, judge
from parity.report import as_text, make_report, text
from runtime.errors import ConfigError
from runtime.image.landmarks import spread_of


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
    # a share is of what is under its limit
    table[0, :4] = np.array([(0.1, 0), (0, -0.25), (-0.5, 0), (0, 1)])
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


def test_differences_are_carried_by_the_crops_own_map(rng: np.random.Generator) -> None:
    """A place that turns: dx and dy go the way its matrix says, and not its transpose's.

    Each picture has its own; where both eyes lie in one place, there is nothing to divide by.
    """
    turned = np.array([[[0.0, -2, 5], [3, 0, 7], [0, 0, 1]], [[4.0, 0, 9], [0, 3, 2], [0, 0, 1]]])
    here = dataclasses.replace(recording_of(rng), image_from_crop=turned)
    here.landmarks[0, 36] = here.landmarks[0, 45]
    there = dataclasses.replace(shifted(here, 1 / 128), covariance=here.covariance * 4)
    table = error_table(here, there)
    part = table.of(1, [3, 40])
    eyes = np.linalg.norm(here.points_px[1, 36] - here.points_px[1, 45])

    np.testing.assert_allclose(table.crop_px, 1, atol=1e-4)
    np.testing.assert_allclose(table.photo_px[0], np.tile([-2, 3], (68, 1)), atol=1e-3)
    np.testing.assert_allclose(table.photo_px[1], np.tile([4, 3], (68, 1)), atol=1e-3)
    np.testing.assert_allclose(table.percent[1, 0, 0], 4 / eyes * 100, rtol=1e-3)
    np.testing.assert_array_equal(table.points_px, here.points_px)
    spread_px = spread_of(here.covariance) * 128
    np.testing.assert_allclose(table.reference_spread_px, spread_px, rtol=1e-5)
    np.testing.assert_allclose(table.spread_px[..., 0], spread_px, rtol=1e-5)  # twice as unsure
    assert np.isnan(table.interocular_px).tolist() == [True, False]
    assert (part.names, part.interocular_px) == (("1.jpg",), table.interocular_px[1])
    for name in {field.name for field in dataclasses.fields(table)} - {"names", "interocular_px"}:
        np.testing.assert_array_equal(getattr(part, name), getattr(table, name)[1:, [3, 40]])


def table_of(photo_px: np.ndarray) -> ErrorTable:
    return ErrorTable(
        names=tuple(f"{n}.jpg" for n in range(len(photo_px))),
        photo_px=photo_px,
        crop_px=photo_px / [4, 3],
        points_px=np.broadcast_to([100.0, 200.0], photo_px.shape),
        spread_px=np.zeros(photo_px.shape),
        axis_deg=np.full(photo_px.shape[:2], np.nan),
        reference_spread_px=np.ones(photo_px.shape[:2]),
        interocular_px=np.full(len(photo_px), 50.0),
    )


def test_verdict_names_the_worst_case_and_the_smallest_limits() -> None:
    """Picture, point, axis and both coordinates; the limits named would have passed."""
    photo = np.full((3, 68, 2), 0.01)
    photo[2, 41, 1] = -0.7
    photo[1, 5, 0] = 0.65  # less in the photo; in the crop, too: its pixels are four wide
    verdict = judge(table_of(photo), Limits())

    assert not verdict.passed
    assert verdict.exceeded == ("max 0.7000 > 0.5 photo px",)
    worst = verdict.worst
    assert (worst.picture, worst.point, worst.axis) == ("2.jpg", 41, "y")
    assert worst.error_px == pytest.approx(0.7)
    assert list(worst.reference_xy_px) == [100, 200]
    assert list(worst.candidate_xy_px) == pytest.approx([100.01, 199.3])
    photo[1, 5, 0] = 0.8
    in_crop = judge(table_of(photo), Limits(unit="crop")).worst
    in_photo = judge(table_of(photo), Limits()).worst
    assert (in_photo.picture, in_crop.picture) == ("1.jpg", "2.jpg")
    assert in_crop.error_px == pytest.approx(0.7 / 3)
    assert in_crop.candidate_xy_px == worst.candidate_xy_px


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


def test_figures_are_written_one_way() -> None:
    """Four decimals or a power of ten, and no negative zero."""
    figures = (0.05371, 2.13e-6, -2.13e-6, -0.0, 0.00096, -0.0052, 12.0)
    shown = ["0.0537", "2.1e-06", "-2.1e-06", "0.0000", "9.6e-04", "-0.0052", "12.0000"]
    assert [px(value) for value in figures] == shown
    assert [signed(value) for value in (0.01, -0.0, -2e-6)] == ["+0.0100", "+0.0000", "-2.0e-06"]


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("max_mean_px", "max_mean: expected a finite number of px"),
        ("max_error_px", "max_error: expected a finite number of px"),
        ("max_nme_increase_points", "max_nme_increase: expected a finite number of percent"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused(field: str, says: str, value: float) -> None:
    with pytest.raises(ConfigError, match=says):
        msgspec.structs.replace(Limits(), **{field: value}).check()
    msgspec.structs.replace(Limits(), **{field: 0.0}).check()


def test_percentiles_and_crop_pixels_are_judged_where_they_are_given() -> None:
    """P95 and P99 only on request; --unit crop judges the other frame."""
    table = table_of(0.4 * np.linspace(0, 1, 136).reshape(1, 68, 2) ** 6)
    asked = Limits(max_p95_px=0.2, max_p99_px=0.3)

    assert judge(table, Limits()).passed
    assert judge(table, Limits(max_p95_px=0.3)).passed
    verdict = judge(table, asked)
    assert verdict.exceeded == ("p95 0.2941 > 0.2 photo px", "p99 0.3767 > 0.3 photo px")
    in_crop = judge(table, msgspec.structs.replace(asked, unit="crop"))
    assert in_crop.passed
    for found, off_px in ((verdict, table.photo_px), (in_crop, table.crop_px)):
        least, told = found.smallest_passing, statistics(off_px)
        assert least.unit == found.limits.unit
        assert [px for _, _, px in least.named()] == [told.mean, told.max, told.p95, told.p99]
        assert judge(table, least).passed


def test_the_references_own_figures_give_its_own_line(rng: np.random.Generator) -> None:
    """Mean 0.0537, max 0.4636, 100 % < 0.5 px over 272 coordinates: printed, and within limits."""
    values = np.abs(np.random.default_rng(0).normal(0, 1, 270))
    values = np.minimum(values * (0.0537 * 272 - 0.4636) / values.sum(), 0.46)
    rest = 0.0537 * 272 - 0.4636 - values.sum()
    photo = np.concatenate([values, [rest, 0.4636]]).reshape(2, 68, 2)
    assert math.isclose(photo.mean(), 0.0537, abs_tol=1e-9)
    recording = recording_of(rng)
    report = msgspec.structs.replace(
        make_report(recording, recording, Limits()),
        photo_px=frame_statistics(photo),
        verdict=judge(table_of(photo), Limits()),
    )
    shown = as_text(report)

    assert shown.startswith("PASSED: mean 0.0537 <= 0.1 photo px, max 0.4636 <= 0.5 photo px, ")
    assert "2 pictures x 68 points x 2 = 272 coordinates" in shown
    rows = {line.split("  ")[0]: line.split()[-5:] for line in shown.splitlines() if line}
    assert [rows[name][0] for name in ("mean", "max", "< 0.5 px")] == [
        "0.0537",
        "0.4636",
        "100.00%",
    ]
