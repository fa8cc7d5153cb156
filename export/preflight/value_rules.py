"""Rules about Clip, Cast, Slice and the reductions, each as its plugin has it."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from export.preflight.finding import Hit, rule
from export.preflight.graph import Graph, given, integer, nodes_of, type_name

# onnx2om_dtype_map: ONNX's numbers 1 to 16; of any other ATC makes the type "undefined".
CAST_TYPES = range(onnx.TensorProto.FLOAT, onnx.TensorProto.BFLOAT16 + 1)
AXES_INPUT_OPSET = 13


@rule(
    "clip-bounds",
    "refused",
    source="[V: ops-math clip_onnx_plugin.cpp]",
    remedy="Give min or max, or remove the Clip",
)
def clip_bounds(graph: Graph) -> Iterator[Hit]:
    """Clip that clips nothing."""
    for position, name, node in nodes_of(graph, "Clip"):
        if not given(node, 1) and not given(node, 2):
            yield Hit(position, name, "neither min nor max")


@rule(
    "cast-type",
    "refused",
    source="[V: ops-math cast_onnx_plugin.cpp, onnx_common.h:92]",
    remedy="Cast to float32, float16, int32 or bool",
)
def cast_type(graph: Graph) -> Iterator[Hit]:
    """Casts to a type ATC has no number for."""
    for position, name, node in nodes_of(graph, "Cast"):
        to = integer(node, "to", 0)
        if to not in CAST_TYPES:
            yield Hit(position, name, f"a cast to {type_name(to)}")


@rule(
    "slice-bounds",
    "refused",
    source="StridedSliceV2 has both for inputs: [V: ops-math slice_onnx_plugin.cpp]",
    remedy="Give starts and ends",
)
def slice_bounds(graph: Graph) -> Iterator[Hit]:
    """Slices without bounds."""
    for position, name, node in nodes_of(graph, "Slice"):
        if not given(node, 1) or not given(node, 2):
            yield Hit(position, name, "no starts or no ends")


@rule(
    "slice-computed",
    "risk",
    source="[I] StridedSliceV2 with computed bounds has no fixed shape",
    remedy="Fold it with onnxsim, or give it as a constant",
)
def slice_computed(graph: Graph) -> Iterator[Hit]:
    """Slices whose bounds come out of the graph."""
    for position, name, node in nodes_of(graph, "Slice"):
        computed = [bound for bound in node.input[1:] if bound and bound not in graph.fixed]
        if computed and given(node, 1) and given(node, 2):
            yield Hit(position, name, f"bounds that are computed: {', '.join(computed)}")


@rule(
    "mean-noop",
    "changed",
    source="[V: ops-math reduce_mean_onnx_plugin.cpp]",
    remedy="Remove the node: it does nothing",
)
def mean_noop(graph: Graph) -> Iterator[Hit]:
    """ReduceMean that should do nothing, and reduces everything."""
    for position, name, node in nodes_of(graph, "ReduceMean"):
        if graph.opset < AXES_INPUT_OPSET and integer(node, "noop_with_empty_axes", 0) == 1:
            yield Hit(position, name, f"noop_with_empty_axes 1 at opset {graph.opset}")


@rule(
    "sum-noop",
    "risk",
    source="today's plugin passes it on: [V: ops-math reduce_sum_onnx_plugin.cpp]; older: [I] not",
    remedy="Remove the node: it does nothing",
)
def sum_noop(graph: Graph) -> Iterator[Hit]:
    """ReduceSum that should do nothing, and reduces everything where that is not known."""
    for position, name, node in nodes_of(graph, "ReduceSum"):
        noop = integer(node, "noop_with_empty_axes", 0) == 1
        if graph.opset >= AXES_INPUT_OPSET and noop and len(node.input) == 1:
            yield Hit(position, name, "noop_with_empty_axes 1 without axes")


RULES = (
    clip_bounds,
    cast_type,
    slice_bounds,
    slice_computed,
    mean_noop,
    sum_noop,
)
