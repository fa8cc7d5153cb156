"""Limits by the arithmetic of both sides, and what each kind of fault does to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from recordings import recording_of, shifted, with_header

from parity.judging.expected import ROUNDING, arithmetic_of
from parity.judging.verdict import Limits
from parity.recording.recording import Recording
from parity.report import Report, as_text, make_report

HALF = 128
# Between two true fp32 engines, and between the reference's chip and its CPU: crop px, photo px.
FP32_MEAN_PX, CHIP_MEAN_PX, CHIP_MAX_PX = 7e-6, 0.0537, 0.4636


def pair(rng: np.random.Generator, **headers: Any) -> tuple[Recording, Recording]:
    """Two sides in fp32 on the CPU, a candidate's header changed."""
    here = with_header(recording_of(rng, pictures=4), arithmetic="fp32")
    noise = rng.normal(0, FP32_MEAN_PX / 0.8, here.landmarks.shape) / HALF
    return here, with_header(shifted(here, noise), **headers)


def judged(here: Recording, there: Recording, **limits: Any) -> Report:
    return make_report(here, there, limits)


def test_two_fp32_sides_are_held_to_rounding(rng: np.random.Generator) -> None:
    """True ones pass; a thousandth of the reference's promise does not."""
    here, there = pair(rng)
    found = judged(here, there)
    assert (found.verdict.passed, found.verdict.basis) == (True, "rounding")
    assert found.verdict.limits.unit == "crop"
    off = judged(here, shifted(there, 1e-4 / HALF))
    assert not off.verdict.passed
    # also where it fails, it is told what is promised of a device
    text = as_text(off)
    assert "limits: fp32 on the CPU on both sides: rounding alone (arithmetic: fp32 against" in text
    assert "the reference's promise is kept: mean " in text


@pytest.mark.parametrize(
    ("header", "basis"),
    [
        ({"device": "npu:0"}, "promise"),  # another order of sums, also in fp32
        ({"device": "npu:0", "arithmetic": "precision_mode_v2=fp16"}, "promise"),
        ({"device": "rehearse/fp16", "arithmetic": "fp16"}, "promise"),
        ({"device": "rehearse/fp32", "arithmetic": "fp32"}, "rounding"),
        ({"arithmetic": "bf16"}, "promise"),
        ({"arithmetic": "int8"}, "budget"),
        # a recording made before its arithmetic was kept
        ({"arithmetic": "", "engine": "numbers 1.0"}, "promise"),
        ({"arithmetic": "", "engine": "torch 2.13.0 cpu"}, "rounding"),
        ({"arithmetic": "", "engine": "openvino 2026.4.1 CPU fp32"}, "rounding"),
        ({"arithmetic": "", "engine": "openvino 2026.4.1 CPU bf16+fp32"}, "promise"),
        # its graph may have been int8
        ({"arithmetic": "", "engine": "onnxruntime 1.32.0 CPUExecutionProvider"}, "promise"),
    ],
)
def test_arithmetic_decides(rng: np.random.Generator, header: dict[str, str], basis: str) -> None:
    here, there = pair(rng, **header)
    assert judged(here, there).verdict.basis == judged(there, here).verdict.basis == basis
    if header["device" if "device" in header else "arithmetic"].startswith("rehearse"):
        assert arithmetic_of(with_header(there, arithmetic="").header) == header["arithmetic"]


def test_the_chips_own_figures_pass_as_what_they_are(rng: np.random.Generator) -> None:
    """The reference's record of its NPU; the same figures from a CPU are another network's."""
    here = with_header(recording_of(rng), arithmetic="fp32")
    photo = np.abs(rng.normal(0, CHIP_MEAN_PX, here.landmarks.shape)).clip(0, CHIP_MAX_PX)
    photo[0, 0, 0] = CHIP_MAX_PX
    photo[0, 1:] *= (CHIP_MEAN_PX * photo.size - CHIP_MAX_PX) / (photo.sum() - CHIP_MAX_PX)
    off = photo / [4, 3] / HALF  # what a pixel of these crops is in the photo
    chip = with_header(shifted(here, off), engine="torch 2.1.0 npu:0 HF32", device="npu:0")
    found = judged(here, with_header(chip, arithmetic=""))
    assert found.verdict.passed
    assert found.photo_px.axis.max == pytest.approx(CHIP_MAX_PX, rel=1e-3)
    assert not judged(here, shifted(here, off)).verdict.passed


def test_a_recording_of_other_weights_is_stale(rng: np.random.Generator) -> None:
    """On a device, too, whose limits could hide them; limits that are given are as they say."""
    here, there = pair(rng, device="npu:0", checkpoint_sha256="b")
    here = with_header(here, checkpoint_sha256="a")
    assert judged(here, there).verdict.exceeded == ("made from different checkpoints",)
    assert not judged(here, there).verdict.passed
    assert judged(here, there, max_mean_px=0.1).verdict.passed
    assert judged(here, with_header(there, checkpoint_sha256="a")).verdict.passed


def test_other_crops_are_more_than_rounding(rng: np.random.Generator) -> None:
    """Two versions of OpenCV, and no crops to be run again on: fp32 is not what differs."""
    here, there = pair(rng)
    pictures = tuple(
        msgspec.structs.replace(p, sha256_crop="f" * 64) for p in there.header.pictures
    )
    assert judged(here, with_header(there, pictures=pictures)).verdict.basis == "promise"


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (lambda c: c * 1.002, "spread"),  # 1.5e-3 is the room
        (lambda c: c[..., ::-1], "axis"),  # x for y: both spreads stay
        (lambda c: c * [1, -1, 1], "axis"),
        (lambda c: np.where(np.arange(68)[:, None] == 5, c * 4, c), "spread"),  # of one landmark
    ],
)
@pytest.mark.parametrize("device", ["cpu", "npu:0"])
def test_the_covariance_is_judged(
    rng: np.random.Generator, fault: Any, found: str, device: str
) -> None:
    """On a device, too, where a larger part of it has to be wrong."""
    here, there = pair(rng, device=device)
    covariance = fault(there.covariance.astype(np.float64))
    if device != "cpu" and np.allclose(covariance, there.covariance, rtol=0.01):
        covariance = covariance * 1.1
    report = judged(here, replace(there, covariance=covariance.astype(np.float32)))
    assert any(said.startswith(found) for said in report.verdict.exceeded)
    assert not any(said.startswith(("mean", "max")) for said in report.verdict.exceeded)


def test_round_ellipses_have_no_axis(rng: np.random.Generator) -> None:
    """Their angle is noise: none is judged, and the spread is."""
    here, there = pair(rng)
    round_one, turned = (np.array(c, np.float32) for c in ((1e-2, 0, 1e-2), (1e-2, 1e-9, 1e-2)))
    here, there = (
        replace(side, covariance=np.broadcast_to(c, side.covariance.shape).copy())
        for side, c in ((here, round_one), (there, turned))
    )
    report = judged(here, there)
    assert report.verdict.passed
    assert report.axis_degrees is None
    assert {one.field for one in report.verdict.judged}.isdisjoint({"max_axis_deg"})


def test_rounding_grows_with_the_maps_and_never_with_one_sides(rng: np.random.Generator) -> None:
    """A wide map's centre is less certain; a covariance that one side blows up buys no room."""
    here, there = pair(rng)
    wide = [replace(side, covariance=side.covariance * 25) for side in (here, there)]
    limits = judged(wide[0], wide[1]).verdict.limits
    assert limits.max_mean_px is not None
    assert limits.max_mean_px > 2e-4
    assert limits.max_error_px == ROUNDING.max_error_px
    for one, other in ((here, wide[1]), (wide[0], there)):
        assert judged(one, other).verdict.limits.max_mean_px == ROUNDING.max_mean_px


def test_limits_that_are_given_replace_the_tables(rng: np.random.Generator) -> None:
    """One of the landmarks' all of theirs, in its unit; the covariance's stay, and likewise."""
    here, there = pair(rng)
    off = shifted(there, 0.01 / HALF)
    given = judged(here, off, max_p99_px=0.2)
    assert (given.verdict.passed, given.verdict.basis) == (True, "given")
    asked = given.verdict.limits
    assert (asked.max_mean_px, asked.max_error_px, asked.unit) == (0.1, 0.5, "photo")
    assert asked.max_spread_px == ROUNDING.max_spread_px
    unsure = judged(here, replace(there, covariance=there.covariance * 1.1), max_spread_px=1.0)
    assert "spread mean" not in " ".join(unsure.verdict.exceeded)
    # a unit alone loosens nothing
    assert not judged(here, off, unit="photo").verdict.passed


def test_a_bundles_own_limits_hold_beside_rounding(rng: np.random.Generator) -> None:
    """Stricter ones are not forgotten, and on a device they are what counts."""
    here, there = pair(rng)
    strict = Limits(max_mean_px=1e-9)
    assert not make_report(here, there, {}, bound=strict).verdict.passed
    assert make_report(here, there, {}, bound=Limits(max_mean_px=1.0)).verdict.passed
    chip = with_header(shifted(there, 0.5 / HALF), device="npu:0")
    assert not make_report(here, chip, {}, bound=Limits()).verdict.passed
    loose = Limits(max_mean_px=9.0, max_error_px=9.0)
    assert make_report(here, chip, {}, bound=loose).verdict.passed
