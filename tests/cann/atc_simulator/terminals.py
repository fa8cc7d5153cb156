"""The model's ends: inputs and outputs, their data types, their names.

Output names are `<node>:<index>:<tensor>` (hicann/ge api/atc/omg.cc CreateOutputNodesInfo).
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from cann.atc_simulator.messages import bad, fail
from cann.atc_simulator.onnx_parser import input_names
from onnx import TensorProto, helper

ACL_TYPES: dict[int, int] = {
    TensorProto.FLOAT: 0,
    TensorProto.FLOAT16: 1,
    TensorProto.INT8: 2,
    TensorProto.INT32: 3,
    TensorProto.UINT8: 4,
    TensorProto.INT64: 9,
    TensorProto.BOOL: 12,
}
OUTPUT_TYPES = {
    "FP32": TensorProto.FLOAT,
    "FP16": TensorProto.FLOAT16,
    "UINT8": TensorProto.UINT8,
    "INT8": TensorProto.INT8,
}


@dataclass(frozen=True, kw_only=True)
class Port:
    """One input or output of the model: dims, and acl's number of its data type."""

    name: str
    dims: list[int]
    dtype: int


def output_names(graph: onnx.GraphProto) -> dict[str, str]:
    """Tensor -> `<node>:<index>:<tensor>`, for every tensor that a node makes."""
    return {
        tensor: f"{node.name}:{index}:{tensor}"
        for node in graph.node
        for index, tensor in enumerate(node.output)
    }


def ports(graph: onnx.GraphProto, names: dict[str, str]) -> tuple[list[Port], list[Port]]:
    """Inputs and outputs as acl reports them, before AIPP.

    Args:
        graph: with its shapes inferred.
        names: `output_names` of the graph before casts were put behind its outputs.

    Raises:
        AtcError: E19999 for a data type that acl has no number for here.
    """
    wanted = set(input_names(graph))
    inputs = [_port(value, value.name) for value in graph.input if value.name in wanted]
    outputs = [_port(value, names[value.name]) for value in graph.output]
    return inputs, outputs


def change_output_types(graph: onnx.GraphProto, kind: str) -> None:
    """--output_type, one for all: cast the outputs, keeping their names.

    Raises:
        AtcError: E10001.
    """
    if kind and kind not in OUTPUT_TYPES:
        raise bad("--output_type", kind, "The value must be FP32, FP16, UINT8, INT8.")
    for value in graph.output if kind else ():
        inside = f"{value.name}__uncast"
        for node in graph.node:
            for tensors in (node.input, node.output):
                _rename(tensors, value.name, inside)
        to = OUTPUT_TYPES[kind]
        graph.node.append(
            helper.make_node("Cast", [inside], [value.name], f"{value.name}_trans_cast", to=to)
        )
        value.type.tensor_type.elem_type = to


def make_inputs_half(graph: onnx.GraphProto, text: str) -> list[str]:
    """--input_fp16_nodes: the named inputs become FLOAT16.

    Raises:
        AtcError: E10016 or E10017.
    """
    names = text.split(";") if text else []
    inputs = {value.name: value for value in graph.input if value.name in input_names(graph)}
    nodes = {node.name for node in graph.node}
    for name in names:
        if name not in inputs:
            code = "E10017" if name in nodes else "E10016"
            raise fail(code, opname=name, parameter="input_fp16_nodes")
        inside = f"{name}__float"
        for node in graph.node:
            _rename(node.input, name, inside)
        inputs[name].type.tensor_type.elem_type = TensorProto.FLOAT16
        cast = helper.make_node(
            "Cast", [name], [inside], f"{name}_trans_cast", to=TensorProto.FLOAT
        )
        graph.node.insert(0, cast)
    return names


def _rename(tensors: list[str], old: str, new: str) -> None:
    for index, tensor in enumerate(tensors):
        if tensor == old:
            tensors[index] = new


def _port(value: onnx.ValueInfoProto, name: str) -> Port:
    kind = value.type.tensor_type.elem_type
    if kind not in ACL_TYPES:
        raise fail("E19999", reason=f"the data type {kind} of [{value.name}] is not supported")
    dims = [
        dim.dim_value if dim.HasField("dim_value") else -1
        for dim in value.type.tensor_type.shape.dim
    ]
    return Port(name=name, dims=dims, dtype=ACL_TYPES[kind])
