"""The graph of the OM: read, its ends changed as options ask, its shapes inferred."""

from __future__ import annotations

import onnx
from cann.atc_simulator.build import AtcError, Shapes
from onnx import TensorProto, helper, shape_inference


def load(path: str) -> onnx.ModelProto:
    """Read the file, its external data beside it; nodes without a name get one."""
    try:
        model = onnx.load(path)
    except Exception as error:  # noqa: BLE001  # whatever onnx says of a file that is not right
        raise AtcError("E13005", f"Failed to parse file {path}: {error}") from None
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    return model


def inputs_of(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that are no initialisers with a default."""
    initialised = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in initialised]


def shapes_of(graph: onnx.GraphProto, asked: Shapes) -> Shapes:
    """The inputs' dims after --input_shape; -1 where they are open."""
    shapes = {
        value.name: [
            dim.dim_value if dim.HasField("dim_value") else -1
            for dim in value.type.tensor_type.shape.dim
        ]
        for value in inputs_of(graph)
    }
    if unknown := set(asked) - set(shapes):
        raise AtcError("E10016", f"Opname {min(unknown)} specified in --input_shape is not found")
    return shapes | asked


def output_names(graph: onnx.GraphProto) -> dict[str, str]:
    """Tensor -> `<node>:<index>:<tensor>` (hicann/ge api/atc/omg.cc, CreateOutputNodesInfo)."""
    return {
        tensor: f"{node.name}:{index}:{tensor}"
        for node in graph.node
        for index, tensor in enumerate(node.output)
    }


def infer(model: onnx.ModelProto, shapes: Shapes) -> onnx.ModelProto:
    """The same model with these input dims and every other shape inferred anew."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in inputs_of(fixed.graph):
        dims = [f"open_{n}" if dim < 0 else dim for n, dim in enumerate(shapes[value.name])]
        kind = value.type.tensor_type.elem_type
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, dims))
    del fixed.graph.value_info[:]
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        return shape_inference.infer_shapes(
            fixed, check_type=True, strict_mode=True, data_prop=True
        )
    except Exception as error:  # noqa: BLE001  # onnx raises several kinds here
        raise AtcError("E19999", f"InferShape failed: {error}") from None


def cast_outputs(graph: onnx.GraphProto, kind: int) -> None:
    """--output_type, one for all: cast the outputs, keeping their names."""
    for value in graph.output:
        inside = f"{value.name}__uncast"
        for node in graph.node:
            _rename(node.input, value.name, inside)
            _rename(node.output, value.name, inside)
        cast = f"{value.name}_trans_cast"
        graph.node.append(helper.make_node("Cast", [inside], [value.name], cast, to=kind))
        value.type.tensor_type.elem_type = kind


def make_inputs_half(graph: onnx.GraphProto, text: str) -> list[str]:
    """--input_fp16_nodes: the named inputs become FLOAT16."""
    inputs = {value.name: value for value in inputs_of(graph)}
    names = [name for name in text.split(";") if name]
    for name in names:
        if name not in inputs:
            raise AtcError("E10016", f"Opname {name} in --input_fp16_nodes is not found")
        inside = f"{name}__float"
        for node in graph.node:
            _rename(node.input, name, inside)
        inputs[name].type.tensor_type.elem_type = TensorProto.FLOAT16
        cast, to = f"{name}_trans_cast", TensorProto.FLOAT
        graph.node.insert(0, helper.make_node("Cast", [name], [inside], cast, to=to))
    return names


def _rename(tensors: list[str], old: str, new: str) -> None:
    for index, tensor in enumerate(tensors):
        if tensor == old:
            tensors[index] = new
