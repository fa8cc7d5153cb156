"""AIPP's configuration, and what its rounding in fp16 costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from export.atc.aipp import aipp_config, aipp_error, normalised_by_aipp
from runtime.model.manifest import ONNX_NAME
from runtime.model.spec import InputSpec


def test_aipp_is_derived_from_the_network() -> None:
    """BGR to BGR: no swap; 127 and a half as AIPP's whole mean and its minimum."""
    text = aipp_config(InputSpec(size=64))
    for line in (
        "aipp_mode: static",
        "input_format: RGB888_U8",
        "rbuv_swap_switch: false",
        "src_image_size_w: 64",
        "mean_chn_2: 127",
        "min_chn_0: 0.5",
        "var_reci_chn_1: 0.00784313725490196",
    ):
        assert f"    {line}\n" in text


def test_aipps_rounding_is_what_fp16_makes_of_it() -> None:
    """Every grey level: off by 1.5e-5 relative from the reciprocal, and half an fp16 step."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    spec = InputSpec(size=16)
    exact, rounded = spec.pack(levels), normalised_by_aipp(levels, spec)
    slow = (levels.astype(np.float64) - 127 - 0.5) * float(np.float16(1 / 127.5))
    expected = slow.astype(np.float16).astype(np.float32).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(rounded, expected)
    relative = np.abs(rounded - exact) / np.abs(exact)
    assert 1.4e-5 < abs(float(np.float16(1 / 127.5)) * 127.5 - 1) < 1.6e-5
    assert relative.max() < 2**-11 + 2e-5


def test_the_error_stated_of_aipp_is_in_crop_px(
    starter_bundle: Path, rng: np.random.Generator
) -> None:
    """Landmarks lie in -1 to 1 over a crop of 256 px."""
    crops = rng.integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
    fact = aipp_error(starter_bundle / ONNX_NAME, crops)
    session = onnxruntime.InferenceSession(starter_bundle / ONNX_NAME)
    spec = InputSpec()
    here, there = (
        session.run(["landmarks"], {"image": image})[0]
        for image in (spec.pack(crops), normalised_by_aipp(crops, spec))
    )
    moved = np.abs(here - there) * 128
    assert fact.pictures == 3
    assert (fact.mean_px, fact.max_px) == pytest.approx((moved.mean(), moved.max()), rel=0.1)
