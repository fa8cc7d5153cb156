"""The model's ends: which outputs, of which data types, under which names.

Output names are `<node>:<index>:<tensor>` (hicann/ge api/atc/omg.cc CreateOutputNodesInfo).
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from cann.atc_simulator.messages import bad, fail
from cann.atc_simulator.onnx_parser import input_names
from onnx import TensorProto, helper

ND = 2
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
    outputs = [
        _port(value, names.get(value.name, f"{value.name}:0:{value.name}"))
        for value in graph.output
    ]
    return inputs, outputs


def choose_outputs(graph: onnx.GraphProto, text: str) -> None:
    """--out_nodes: `node:0;node2:1`, or tensors' names, not both.

    Raises:
        AtcError: E10001, E10003, E10016 or E11017.
    """
    if not text:
        return
    nodes = {node.name: node for node in graph.node}
    tensors = {tensor for node in graph.node for tensor in node.output}
    chosen = []
    for item in text.split(";"):
        name, colon, index = item.rpartition(":")
        if not colon:
            if item not in tensors:
                raise fail("E11017", opname=item)
            chosen.append(item)
            continue
        if not index.isdigit():
            raise bad("--out_nodes", text, "The index is not a positive integer.")
        if name not in nodes:
            raise fail("E10016", opname=name, parameter="out_nodes")
        if int(index) >= len(nodes[name].output):
            reason = f'Output index:"{index}" must be smaller than output size.'
            raise fail("E10003", parameter="out_nodes", value=name, reason=reason)
        chosen.append(nodes[name].output[int(index)])
    if len({":" in item for item in text.split(";")}) > 1:
        raise bad("--out_nodes", text, "Only one of index, top_name and output_name can be used.")
    types = {value.name: value for value in (*graph.value_info, *graph.output)}
    kept = [
        types.get(name) or helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in chosen
    ]
    del graph.output[:]
    graph.output.extend(kept)


def check_output_type(text: str, out_nodes: str) -> None:
    """--output_type: one for all, or `node:0:FP16;...` where --out_nodes names the node.

    Raises:
        AtcError: E10001.
    """
    if not text:
        return
    for item in text.split(";") if ":" in text else [text]:
        node, _, kind = item.rpartition(":")
        if node and item.count(":") != 2:
            raise bad(
                "--output_type",
                item,
                'The parameter is invalid. Valid format "opname:index:dtype".',
            )
        if kind.strip() not in OUTPUT_TYPES:
            raise bad("--output_type", kind, "The value must be FP32, FP16, UINT8, INT8.")
        if node and node not in out_nodes.split(";"):
            reason = "The nodes set in --output_type must be found in --out_nodes."
            raise bad("--output_type", item, reason)


def change_output_types(graph: onnx.GraphProto, text: str) -> None:
    """Cast the outputs to what --output_type says, keeping their names."""
    if not text:
        return
    producers = {
        tensor: f"{node.name}:{index}"
        for node in graph.node
        for index, tensor in enumerate(node.output)
    }
    for value in graph.output:
        wanted = text if ":" not in text else ""
        for item in text.split(";") if ":" in text else []:
            node, _, kind = item.rpartition(":")
            if producers.get(value.name) == node:
                wanted = kind.strip()
        if wanted:
            _cast_output(graph, value, OUTPUT_TYPES[wanted])


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
            for index, tensor in enumerate(node.input):
                if tensor == name:
                    node.input[index] = inside
        inputs[name].type.tensor_type.elem_type = TensorProto.FLOAT16
        cast = helper.make_node(
            "Cast", [name], [inside], f"{name}_trans_cast", to=TensorProto.FLOAT
        )
        graph.node.insert(0, cast)
    return names


def _cast_output(graph: onnx.GraphProto, value: onnx.ValueInfoProto, kind: int) -> None:
    inside = f"{value.name}__uncast"
    producer = None
    for node in graph.node:
        for index, tensor in enumerate(node.output):
            if tensor == value.name:
                node.output[index] = inside
                producer = node
        for index, tensor in enumerate(node.input):
            if tensor == value.name:
                node.input[index] = inside
    if producer is None:
        return
    graph.node.append(
        helper.make_node("Cast", [inside], [value.name], f"{value.name}_trans_cast", to=kind)
    )
    value.type.tensor_type.elem_type = kind


def _port(value: onnx.ValueInfoProto, name: str) -> Port:
    kind = value.type.tensor_type.elem_type
    if kind not in ACL_TYPES:
        raise fail("E19999", reason=f"the data type {kind} of [{value.name}] is not supported")
    dims = [
        dim.dim_value if dim.HasField("dim_value") else -1
        for dim in value.type.tensor_type.shape.dim
    ]
    return Port(name=name, dims=dims, dtype=ACL_TYPES[kind])
