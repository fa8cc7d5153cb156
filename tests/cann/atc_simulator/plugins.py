"""What single operators' parser plugins refuse, and what they silently drop or change.

Source: hicann/ops-nn conv_onnx_plugin.cpp, max_pool_onnx_plugin.cpp, resize_onnx_plugin.cpp;
ops-math clip, reduce plugins; ops-cv resize_nearest_neighbor_v2 (the kernel's rounding).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
from cann.atc_simulator.messages import Journal
from onnx import helper

LARGEST_KERNEL_AREA = 255
LARGEST_STRIDE = 63
_INPUTS_OF_RESIZE = 3
_CLIP_WITH_INPUTS = 11
_RESIZE_WITH_ROI = 11
_AXES_AS_INPUT = 13


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values."""
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def check_node(node: onnx.NodeProto, opset: int) -> str:
    """Why the plugin refuses this node; "" where it does not."""
    check = _CHECKS.get(node.op_type)
    return check(node, attributes(node), opset) if check else ""


def rewrite(graph: onnx.GraphProto, journal: Journal) -> None:
    """Change the graph into what the NPU will compute; the caller hears little or nothing.

    2-D MaxPool loses its dilation; Resize's nearest_mode becomes what the kernel does.
    """
    for node in graph.node:
        if node.op_type == "MaxPool":
            _rewrite_max_pool(node, journal)
        elif node.op_type == "Resize":
            _rewrite_resize(node, journal)


def expands(node: onnx.NodeProto, opset: int) -> bool:
    """Whether the parser replaces it by several nodes, none of which keeps its name.

    Source: hicann/ge parser/common/parser_utils.cc, HasOneNonDataNode; the operators' plugins.
    """
    if node.op_type in ("Resize", "Split"):
        return True
    return node.op_type in ("ReduceSum", "ReduceMean") and opset < _AXES_AS_INPUT


def _conv(node: onnx.NodeProto, given: dict[str, Any], opset: int) -> str:  # noqa: ARG001
    shaped = ("kernel_shape", "pads", "strides", "dilations")
    if not any(name in given for name in shaped):
        return "node must have attr (kernel_shape,pads,strides,dilations) at least one"
    if len(given.get("pads", ())) % 2:
        return "The value length of pads is odd"
    if len(node.input) not in (2, 3):
        return "the num of inputs is incorrect"
    return ""


def _max_pool(node: onnx.NodeProto, given: dict[str, Any], opset: int) -> str:  # noqa: ARG001
    if len([name for name in node.output if name]) != 1:
        return "The output of Indices is not support"
    if "kernel_shape" not in given:
        return "kernel_shape is required attribute"
    if len(given.get("pads", ())) % 2:
        return "the length of pads must be even"
    if given.get("storage_order", 0) == 1:
        return "only support storage_order=0"
    if len(given["kernel_shape"]) not in (1, 2, 3):
        return f"Only support 2D/3D, but the length of kernel_shape is {len(given['kernel_shape'])}"
    return ""


def _resize(node: onnx.NodeProto, given: dict[str, Any], opset: int) -> str:
    if opset >= _RESIZE_WITH_ROI and len(node.input) < _INPUTS_OF_RESIZE:
        return "the number of inputs must be at least 3"
    mode = given.get("mode", b"nearest")
    if mode not in (b"nearest", b"linear", b"cubic"):
        return f"Unsupported interpolation mode {mode!r}"
    return ""


def _clip(node: onnx.NodeProto, given: dict[str, Any], opset: int) -> str:
    bounds = [name for name in list(node.input)[1:] if name]
    if opset >= _CLIP_WITH_INPUTS and not bounds:
        return "at least one of min and max must be given"
    if opset < _CLIP_WITH_INPUTS and not {"min", "max"} & set(given):
        return "at least one of min and max must be given"
    return ""


_CHECKS: dict[str, Callable[[onnx.NodeProto, dict[str, Any], int], str]] = {
    "Conv": _conv,
    "MaxPool": _max_pool,
    "Resize": _resize,
    "Clip": _clip,
}


def _rewrite_max_pool(node: onnx.NodeProto, journal: Journal) -> None:
    given = attributes(node)
    kernel = given["kernel_shape"]
    if len(kernel) == 2:
        _drop(node, "dilations")  # MaxPoolV3 has no such attribute, and nobody says so
        area = kernel[0] * kernel[1]
        if area > LARGEST_KERNEL_AREA or max(given.get("strides", [1])) > LARGEST_STRIDE:
            journal.warn("W11001", opname=node.name)


def _rewrite_resize(node: onnx.NodeProto, journal: Journal) -> None:
    given = attributes(node)
    for name, harmless in (
        ("antialias", 0),
        ("axes", None),
        ("keep_aspect_ratio_policy", b"stretch"),
    ):
        if name in given:
            _drop(node, name)
            if given[name] != harmless:
                journal.warn("W11003", optype=f"Resize {node.name}", what=name)
    if given.get("mode", b"nearest") != b"nearest" or not _has_modes(node, given):
        return
    asked = given.get("coordinate_transformation_mode", b"half_pixel")
    for name in ("coordinate_transformation_mode", "nearest_mode"):
        _drop(node, name)
    if asked in (b"half_pixel", b"pytorch_half_pixel"):
        # floor((o + 0.5) * scale) is ONNX's half_pixel with halves rounded up
        done = ("half_pixel", "round_prefer_ceil")
    elif asked == b"align_corners":
        done = ("align_corners", "round_prefer_ceil")
    else:
        done = ("asymmetric", "floor")
    node.attribute.append(helper.make_attribute("coordinate_transformation_mode", done[0]))
    node.attribute.append(helper.make_attribute("nearest_mode", done[1]))


def _has_modes(node: onnx.NodeProto, given: dict[str, Any]) -> bool:
    """Resize of opset 10 (two inputs) has neither mode; it is asymmetric with floor."""
    return len(node.input) >= _INPUTS_OF_RESIZE or "coordinate_transformation_mode" in given


def _drop(node: onnx.NodeProto, name: str) -> None:
    kept = [one for one in node.attribute if one.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
