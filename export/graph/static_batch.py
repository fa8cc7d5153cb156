"""An exported graph for one batch size, for converters that take no symbolic dimension."""

from __future__ import annotations

import onnx


def with_static_batch(graph: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Fix the batch of an exported graph, and compute every tensor's shape anew.

    Args:
        graph: with one symbolic batch; left as it is.
        batch: pictures a call, 1 or more.

    Returns:
        The same operators and weights, with no symbolic dimension left.
    """
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del made.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)
