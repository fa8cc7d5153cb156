"""Nearest Resize: our reading of ONNX's pixels is onnxruntime's, and only exact cases pass."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_graphs import model, node, resize, value

from export.preflight import preflight
from export.preflight.resize import COORDINATES, ROUNDINGS, npu_pixels, onnx_pixels


def ort_pixels(mode: str, rounding: str, before: int, after: int) -> list[int]:
    """Which pixel onnxruntime takes: a row of numbers that are their own places."""
    resizing = node(
        "Resize",
        ["image", "", "", "sizes"],
        ["y"],
        mode="nearest",
        coordinate_transformation_mode=mode,
        nearest_mode=rounding,
    )
    graph = model(
        [resizing],
        constants={"sizes": np.array([1, 1, 1, after])},
        inputs=[value("image", [1, 1, 1, before])],
    )
    session: Any = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    row = np.arange(before, dtype=np.float32).reshape(1, 1, 1, before)
    return [int(pixel) for pixel in session.run(None, {"image": row})[0].reshape(-1)]


@settings(max_examples=60, deadline=None)
@given(
    mode=st.sampled_from(sorted(COORDINATES)),
    rounding=st.sampled_from(sorted(ROUNDINGS)),
    before=st.integers(1, 12),
    factor=st.sampled_from([2, 4]),
)
def test_onnx_pixels_are_onnxruntimes(mode: str, rounding: str, before: int, factor: int) -> None:
    """Where fp32 is exact: factors that are powers of two."""
    after = before * factor
    if mode == "align_corners" and not math.log2(max(after - 1, 1)).is_integer():
        return  # onnxruntime rounds the quotient in fp32, we do not
    ours = onnx_pixels(mode, rounding, (before, after), Fraction(factor))

    assert ours == ort_pixels(mode, rounding, before, after)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
@pytest.mark.parametrize(
    ("mode", "rounding"),
    [
        ("asymmetric", "floor"),
        ("half_pixel", "round_prefer_floor"),
        ("half_pixel", "round_prefer_ceil"),
        ("pytorch_half_pixel", "round_prefer_floor"),
    ],
)
def test_whole_factors_pass(factor: int, mode: str, rounding: str) -> None:
    """Given as scales or as sizes."""
    chosen: dict[str, Any] = {"coordinate_transformation_mode": mode, "nearest_mode": rounding}

    assert preflight(resize((1, 1, factor, factor), **chosen)) == ()
    sizes = (1, 3, 16 * factor, 16 * factor)
    assert preflight(resize(None, sizes, **chosen)) == ()


@pytest.mark.parametrize(
    ("mode", "rounding", "scale"),
    [
        ("asymmetric", "ceil", 2),
        ("asymmetric", "round_prefer_ceil", 2),
        ("asymmetric", "round_prefer_floor", 4),
        ("half_pixel", "floor", 2),
        ("half_pixel", "ceil", 2),
        ("align_corners", "floor", 2),
        ("tf_half_pixel_for_nn", "ceil", 2),
        ("tf_crop_and_resize", "floor", 2),
        ("half_pixel", "round_prefer_floor", 1.3),
        ("half_pixel", "round_prefer_floor", 0.5),
    ],
)
def test_other_pixels_are_found(mode: str, rounding: str, scale: float) -> None:
    """The plugin ignores nearest_mode: what is right in ONNX is computed otherwise."""
    findings = preflight(
        resize((1, 1, scale, scale), coordinate_transformation_mode=mode, nearest_mode=rounding)
    )

    assert [(each.severity, each.rule) for each in findings][:1] == [("changed", "resize-pixels")]


def test_opset_10_default_is_read_from_opset_11_on() -> None:
    """Without attributes ONNX means half_pixel and round_prefer_floor."""
    graph = resize()
    del graph.graph.node[0].attribute[:]
    assert preflight(graph) == ()
    odd = resize((1, 1, 1.3, 1.3))
    del odd.graph.node[0].attribute[:]

    assert "half_pixel and round_prefer_floor from 16 to 20" in preflight(odd)[0].found


def test_chip_has_no_pixel_for_a_tie() -> None:
    """How ties fall under align_corners is not written: -1 agrees with nothing."""
    assert npu_pixels("align_corners", (2, 3)) == [0, -1, 1]


@pytest.mark.parametrize("mode", ["half_pixel", "align_corners", "asymmetric"])
def test_linear_passes(mode: str) -> None:
    graph = resize((1, 1, 1.5, 1.5), mode="linear", coordinate_transformation_mode=mode)
    assert preflight(graph) == ()
