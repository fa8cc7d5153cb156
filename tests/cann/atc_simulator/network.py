"""The graph of the OM: its shapes fixed, inferred and checked."""

from __future__ import annotations

from math import prod

import onnx
from cann.atc_simulator.messages import bad, fail
from cann.atc_simulator.onnx_parser import input_names
from cann.atc_simulator.plugins import attributes
from cann.atc_simulator.shapes import Shapes
from onnx import shape_inference

_WITH_CHANNELS = 2


def declared_shapes(graph: onnx.GraphProto) -> Shapes:
    """The inputs' dims as the file has them; -1 where it names or omits a dim."""
    wanted = set(input_names(graph))
    return {
        value.name: [
            dim.dim_value if dim.HasField("dim_value") else -1
            for dim in value.type.tensor_type.shape.dim
        ]
        for value in graph.input
        if value.name in wanted
    }


def effective_shapes(graph: onnx.GraphProto, asked: Shapes, *, may_be_unknown: bool) -> Shapes:
    """The inputs' dims after --input_shape.

    Raises:
        AtcError: E10001, E10016, E10017, E10049 or E10011.
    """
    shapes = declared_shapes(graph)
    for name, dims in asked.items():
        if name in shapes and len(dims) != len(shapes[name]):
            raise fail("E10049", shape_range_size=len(dims), cur_dim_size=len(shapes[name]))
    merged = {name: asked.get(name, dims) for name, dims in shapes.items()}
    if not may_be_unknown and any(dim < 0 for dims in merged.values() for dim in dims):
        reason = (
            "The shapes of inputs contain -1 in the model. You may need to set input shape to "
            "specify its shape."
        )
        raise bad("--input_shape", "NULL", reason)
    nodes = {node.name for node in graph.node}
    for name in asked:
        if name not in shapes:
            code = "E10017" if name in nodes else "E10016"
            raise fail(code, opname=name, parameter="input_shape")
    for name, dims in merged.items():
        if 0 in dims:
            raise fail("E10011", shape=name, result=0)
    return merged


def infer(model: onnx.ModelProto, shapes: Shapes) -> onnx.ModelProto:
    """The same model with these input dims and every other shape inferred anew.

    Raises:
        AtcError: E19999: some operator does not fit its inputs.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        if value.name in shapes:
            _set_dims(value, shapes[value.name])
    del fixed.graph.value_info[:]
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        return shape_inference.infer_shapes(
            fixed, check_type=True, strict_mode=True, data_prop=True
        )
    except Exception as error:  # noqa: BLE001  # onnx raises several kinds here
        raise fail("E19999", reason=f"InferShape failed: {error}") from None


def _set_dims(value: onnx.ValueInfoProto, dims: list[int]) -> None:
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    for index, dim in enumerate(dims):
        entry = shape.dim.add()
        if dim < 0:
            entry.dim_param = f"unknown_{value.name}_{index}"
        else:
            entry.dim_value = dim


def check_fit(graph: onnx.GraphProto) -> None:
    """What ONNX's shape inference lets pass and atc's does not.

    Conv's channels, Reshape's element counts; Resize works on images with constant sizes.

    Raises:
        AtcError: E19999.
    """
    values = (*graph.value_info, *graph.input, *graph.output)
    dims = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values
    }
    dims |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    for node in graph.node:
        fault = ""
        if node.op_type == "Conv":
            fault = _conv_fault(node, dims)
        elif node.op_type == "Reshape":
            fault = _reshape_fault(node, dims)
        elif node.op_type == "Resize":
            fault = _resize_fault(node, dims, constants)
        if fault:
            raise fail("E19999", reason=f"{node.op_type} [{node.name}]: {fault}")


def _conv_fault(node: onnx.NodeProto, dims: Shapes) -> str:
    image, weights = dims.get(node.input[0], []), dims.get(node.input[1], [])
    if min(len(image), len(weights)) < _WITH_CHANNELS or not image[1]:
        return ""
    groups = attributes(node).get("group", 1)
    if image[1] == weights[1] * groups:
        return ""
    return f"{image[1]} channels come in, the weights have {weights[1]} in {groups} groups"


def _reshape_fault(node: onnx.NodeProto, dims: Shapes) -> str:
    before, after = dims.get(node.input[0], []), dims.get(node.output[0], [])
    if not all(before) or not all(after) or not before or prod(before) == prod(after):
        return ""
    return f"{before} does not fit into {after}"


def _resize_fault(node: onnx.NodeProto, dims: Shapes, constants: set[str]) -> str:
    if len(dims.get(node.input[0], [1] * 4)) not in (4, 5):
        return "the input must have 4 dims"
    if any(tensor and tensor not in constants for tensor in list(node.input)[2:]):
        return "scales and sizes must be constants"
    return ""
