"""What a graph costs to run: nodes, parameters, arithmetic and the bytes that its maps move."""

from __future__ import annotations

import math

import onnx

from parity.onnx_weights import without_weights
from runtime.model.manifest import GraphCost

# Operator -> places of its weights. What else is constant is read as a map is.
WEIGHTS = {
    "Conv": (1, 2),
    "MatMul": (1,),
    "Gemm": (1, 2),
    "BatchNormalization": (1, 2, 3, 4),
    "InstanceNormalization": (1, 2),
}
BYTES = 4  # float32, of masks and indices, too


def graph_cost(graph: onnx.ModelProto) -> GraphCost:
    """Count.

    Args:
        graph: with a symbolic batch or a batch of 1; other sizes must be known or inferable.
    """
    shapes = _shapes(graph)
    constants = {tensor.name for tensor in graph.graph.initializer}
    multiplied = moved = 0
    for node in graph.graph.node:
        weights = WEIGHTS.get(node.op_type, ())
        maps = [
            name
            for place, name in enumerate(node.input)
            if name and not (place in weights and name in constants)
        ]
        moved += sum(math.prod(shapes.get(name, ())) for name in (*maps, *node.output) if name)
        multiplied += _multiply_adds(node, shapes)
    return GraphCost(
        nodes=len(graph.graph.node),
        parameters=sum(math.prod(tensor.dims) for tensor in graph.graph.initializer),
        gflop=2 * multiplied / 1e9,
        activation_bytes=BYTES * moved,
    )


def _multiply_adds(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """Of a convolution or a matrix product; 0 of any other node."""
    if node.op_type == "Conv":
        # weight (out, in / group, kernel, kernel)
        return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type == "MatMul":
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    if node.op_type == "Gemm":
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else 1]
    return 0


def _shapes(graph: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Of every tensor; a symbolic size counts as 1, one picture."""
    found = onnx.shape_inference.infer_shapes(without_weights(graph)).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.graph.initializer}
    for value in (*found.input, *found.value_info, *found.output):
        sizes = value.type.tensor_type.shape.dim
        shapes[value.name] = tuple(size.dim_value or 1 for size in sizes)
    return shapes
