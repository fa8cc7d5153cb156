"""What a graph costs to run: nodes, parameters, arithmetic and the bytes that its maps move."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import onnx

from parity.npu_bound import Work
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
# Vector instructions for each number of the output, the least there can be: a sigmoid negates,
# exponentiates, adds and divides; an instance norm sums, sums squares and scales. Copies have none.
INSTRUCTIONS = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Relu", "Greater", "Where"), 1),
    "BatchNormalization": 1,
    "Clip": 2,
    "InstanceNormalization": 3,
    "Sigmoid": 4,
}


def graph_cost(graph: onnx.ModelProto) -> GraphCost:
    """Count.

    Args:
        graph: with a symbolic batch or a batch of 1; other sizes must be known or inferable.
    """
    work = [one for _, one in _counted(graph)]
    return GraphCost(
        nodes=len(work),
        parameters=sum(math.prod(tensor.dims) for tensor in graph.graph.initializer),
        gflop=2 * sum(one.macs for one in work) / 1e9,
        activation_bytes=BYTES * sum(one.moved for one in work),
    )


def kernels(graph: onnx.ModelProto) -> list[tuple[onnx.NodeProto, Work]]:
    """Each operator with its work for one picture, in order.

    A ReLU that alone reads a convolution is that kernel's own and costs nothing.
    """
    readers = Counter(name for node in graph.graph.node for name in node.input)
    made = {node.output[0]: node.op_type for node in graph.graph.node}
    return [
        (node, Work())
        if node.op_type == "Relu"
        and made.get(node.input[0]) == "Conv"
        and readers[node.input[0]] == 1
        else (node, work)
        for node, work in _counted(graph)
    ]


def map_numbers(graph: onnx.ModelProto) -> dict[str, int]:
    """How many numbers each tensor holds for one picture."""
    return {name: math.prod(shape) for name, shape in _shapes(graph).items()}


def _counted(graph: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, Work]]:
    shapes = _shapes(graph)
    constants = {tensor.name for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        weights = WEIGHTS.get(node.op_type, ())
        constant = {node.input[place] for place in weights if place < len(node.input)} & constants
        maps = [name for name in (*node.input, *node.output) if name and name not in constant]
        yield (
            node,
            Work(
                macs=_multiply_adds(node, shapes),
                vector=_vector_numbers(node, shapes),
                moved=sum(math.prod(shapes.get(name, ())) for name in maps),
                weights=sum(math.prod(shapes[name]) for name in constant),
            ),
        )


def _vector_numbers(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """What the vector units take at the least; 0 of what the cube does, and of a copy."""
    if node.op_type == "ReduceSum":
        return math.prod(shapes[node.input[0]])
    each = INSTRUCTIONS.get(node.op_type, 0)
    if node.op_type == "MaxPool":
        each = math.prod(next(a.ints for a in node.attribute if a.name == "kernel_shape")) - 1
    return each * math.prod(shapes[node.output[0]]) if each else 0


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
