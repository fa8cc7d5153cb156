"""Which pixel a nearest Resize takes: as ONNX defines it, and as the chip's operator does.

The plugin hands over two flags (align_corners, half_pixel_centers) and drops `nearest_mode`, so a
graph is right on the chip only where both give the same pixels. [V: resize_onnx_plugin.cpp]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import onnx

from export.preflight.graph import Graph, given, integers, text

HALF = Fraction(1, 2)
# Stands in for a side that nobody knows; whole scales repeat themselves from pixel to pixel.
UNKNOWN_SIDE = 64
IMAGE_RANK = 4
# Enough to tell, and a bound on what a stranger's numbers may cost.
LONGEST_SIDE = 1 << 16

SCALES, SIZES = 2, 3

ROUNDINGS: dict[str, Callable[[Fraction], int]] = {
    "round_prefer_floor": lambda x: math.ceil(x - HALF),
    "round_prefer_ceil": lambda x: math.floor(x + HALF),
    "floor": math.floor,
    "ceil": math.ceil,
}
# output px, px of the input, px of the output, scale -> input px, not yet rounded
COORDINATES: dict[str, Callable[[Fraction, int, int, Fraction], Fraction]] = {
    "half_pixel": lambda o, _before, _after, scale: (o + HALF) / scale - HALF,
    "pytorch_half_pixel": lambda o, _before, after, scale: (
        (o + HALF) / scale - HALF if after > 1 else Fraction(0)
    ),
    "align_corners": lambda o, before, after, _scale: o * (before - 1) / max(after - 1, 1),
    "asymmetric": lambda o, _before, _after, scale: o / scale,
    "tf_half_pixel_for_nn": lambda o, _before, _after, scale: (o + HALF) / scale,
}


def onnx_pixels(mode: str, rounding: str, sides: tuple[int, int], scale: Fraction) -> list[int]:
    """Source pixel of each output pixel along one axis.

    Args:
        mode: `coordinate_transformation_mode`.
        rounding: `nearest_mode`.
        sides: px of input and output.
        scale: output px per input px.

    Returns:
        As many indices as the output has px; empty where the mode takes a region of interest.

    Source: the ONNX specification of Resize.
    """
    before, after = sides
    if mode not in COORDINATES or rounding not in ROUNDINGS:
        return []
    where, step = COORDINATES[mode], ROUNDINGS[rounding]
    pixels = (step(where(Fraction(o), before, after, scale)) for o in range(after))
    return [min(max(pixel, 0), before - 1) for pixel in pixels]


def npu_pixels(mode: str, sides: tuple[int, int]) -> list[int]:
    """Source pixel of each output pixel as ResizeNearestNeighborV2 takes it, in its fp32.

    A tie under align_corners is -1: which way it falls is not written anywhere.

    Source: [V: ops-cv image/resize_nearest_neighbor_v2/op_kernel] floor((o + bias) * scale), and
    round for align_corners.
    """
    before, after = sides
    steps = np.arange(after, dtype=np.float32)
    if mode == "align_corners":
        scaled = steps * np.float32((before - 1) / max(after - 1, 1))
        nearest = np.where(scaled % 1 == np.float32(0.5), -1, np.rint(scaled))
    else:
        bias = np.float32(0.5 if mode in ("half_pixel", "pytorch_half_pixel") else 0)
        nearest = np.floor((steps + bias) * np.float32(before / after))
    return [int(index) for index in np.minimum(nearest, before - 1)]


def nearest_fault(graph: Graph, node: onnx.NodeProto) -> str:
    """What a nearest Resize would compute otherwise on the chip; empty where nothing."""
    mode = text(node, "coordinate_transformation_mode", "half_pixel")
    rounding = text(node, "nearest_mode", "round_prefer_floor")
    axes = _axes(graph, node)
    if axes is None:
        return ""  # of an unknown size: another rule says so
    for axis, (sides, scale) in enumerate(axes):
        if axis < 2:  # batch and channels, which the plugin cuts off
            if scale != 1:
                return f"axis {axis} scaled by {float(scale):g}, which is left as it is"
        elif onnx_pixels(mode, rounding, sides, scale) != npu_pixels(mode, sides):
            return (
                f"nearest with {mode} and {rounding} from {sides[0]} to {sides[1]} px, where"
                " the chip takes other pixels"
            )
    return ""


def _axes(graph: Graph, node: onnx.NodeProto) -> list[tuple[tuple[int, int], Fraction]] | None:
    """Input and output px and the scale of each axis; None where that is no 4-D resize."""
    wanted = graph.value(given(node, SIZES))
    factors = graph.value(given(node, SCALES))
    by_sizes = wanted is not None and wanted.size > 0
    numbers = wanted if by_sizes else factors
    if numbers is None or numbers.size != IMAGE_RANK or integers(node, "axes") is not None:
        return None
    before = graph.shape(given(node, 0)) or (None,) * IMAGE_RANK
    if len(before) != IMAGE_RANK:
        return None
    found: list[tuple[tuple[int, int], Fraction]] = []
    for side, number in zip(before, numbers.reshape(-1).tolist(), strict=True):
        if not math.isfinite(number) or number <= 0:
            return None
        # an axis of unknown size that is given a size cannot be judged; taken for unchanged
        known = side or (int(number) if by_sizes else UNKNOWN_SIDE)
        scale = Fraction(number) / known if by_sizes else Fraction(number)
        after = math.floor(known * scale)
        if not 1 <= after <= LONGEST_SIDE or not 1 <= known <= LONGEST_SIDE:
            return None
        found.append(((known, after), scale))
    return found
