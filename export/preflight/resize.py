"""Rules about Resize, above all which pixel a nearest one takes on the chip.

The plugin hands over two flags (align_corners, half_pixel_centers) and drops `nearest_mode`, so a
graph is right on the chip only where both give the same pixels. [V: resize_onnx_plugin.cpp]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import onnx

from export.preflight.finding import node_rule
from export.preflight.graph import Graph, given, integer, integers, text

PLUGIN = "[V: ops-nn resize_onnx_plugin.cpp]"
KERNEL = "[V: ops-cv resize_nearest_neighbor_v2/op_kernel, of Ascend950; of other chips: I]"
DOCS = "[V: hiascend.com, ONNX operator Resize, CANN 8.0 to 9.1]"

HALF = Fraction(1, 2)
# Stands in for an unknown side; whole scales repeat themselves from pixel to pixel.
UNKNOWN_SIDE_PX = 64
IMAGE_RANK = 4
# Enough to tell, and a bound on what a stranger's numbers may cost.
LONGEST_SIDE_PX = 1 << 16
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


@node_rule(
    "resize-size",
    "refused",
    "Resize",
    source=f"{PLUGIN}; constant: {DOCS}",
    remedy="Fold it with onnxsim, or give it as a constant",
)
def resize_size(graph: Graph, node: onnx.NodeProto) -> str:
    """Resizes without a size, or with one that is computed."""
    size = given(node, SIZES) or given(node, SCALES)
    if not size:
        return "neither scales nor sizes"
    return f"a computed size, {size}" if graph.value(size) is None else ""


@node_rule(
    "resize-mode",
    "refused",
    "Resize",
    source=f"{PLUGIN}; no cubic: {DOCS}",
    remedy="Interpolate by nearest or linear",
)
def resize_mode(_: Graph, node: onnx.NodeProto) -> str:
    """Interpolations ATC does not have."""
    mode = text(node, "mode", "nearest")
    return "" if mode in ("nearest", "linear") else f"mode {mode}"


@node_rule(
    "resize-pixels",
    "changed",
    "Resize",
    source=f"nearest_mode is ignored: {PLUGIN}; the chip's pixels: {KERNEL}",
    remedy="Upsample by a whole factor with asymmetric and floor, as torch does",
)
def resize_pixels(graph: Graph, node: onnx.NodeProto) -> str:
    """Nearest Resizes that take other pixels on the chip."""
    if text(node, "mode", "nearest") != "nearest":
        return ""
    mode = text(node, "coordinate_transformation_mode", "half_pixel")
    rounding = text(node, "nearest_mode", "round_prefer_floor")
    for axis, (sides, scale) in enumerate(_axes(graph, node)):
        if axis < 2:  # batch and channels, which the plugin cuts off
            if scale != 1:
                return f"axis {axis} scaled by {float(scale):g}, which is left as it is"
        elif onnx_pixels(mode, rounding, sides, scale) != npu_pixels(mode, sides):
            return (
                f"nearest with {mode} and {rounding} from {sides[0]} to {sides[1]} px, where"
                " the chip takes other pixels"
            )
    return ""


@node_rule(
    "resize-ignored",
    "changed",
    "Resize",
    source=PLUGIN,
    remedy="Export without them: one scale for each of the four axes, no antialias",
)
def resize_ignored(_: Graph, node: onnx.NodeProto) -> str:
    """Attributes of opset 18 that the plugin reads over."""
    found = ["antialias 1"] if integer(node, "antialias") else []
    if integers(node, "axes") is not None:
        found.append("axes")
    policy = text(node, "keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        found.append(f"keep_aspect_ratio_policy {policy}")
    return f"{', '.join(found)}, not computed" if found else ""


def _axes(graph: Graph, node: onnx.NodeProto) -> list[tuple[tuple[int, int], Fraction]]:
    """Input and output px and the scale of each axis; empty where that is no known 4-D resize."""
    sizes = graph.value(given(node, SIZES))
    by_sizes = sizes is not None and sizes.size > 0
    numbers = sizes if by_sizes else graph.value(given(node, SCALES))
    before = graph.shape(given(node, 0)) or (None,) * IMAGE_RANK
    if numbers is None or not numbers.size == len(before) == IMAGE_RANK:
        return []
    found: list[tuple[tuple[int, int], Fraction]] = []
    for side, number in zip(before, numbers.reshape(-1).tolist(), strict=True):
        if not math.isfinite(number) or number <= 0:
            return []
        # an axis of unknown size that is given a size cannot be judged; taken for unchanged
        known = side or (int(number) if by_sizes else UNKNOWN_SIDE_PX)
        scale = Fraction(number) / known if by_sizes else Fraction(number)
        after = math.floor(known * scale)
        if not 1 <= after <= LONGEST_SIDE_PX or not 1 <= known <= LONGEST_SIDE_PX:
            return []
        found.append(((known, after), scale))
    return found


RESIZE_RULES = (resize_size, resize_mode, resize_pixels, resize_ignored)
