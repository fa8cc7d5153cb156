"""Nodes of an ONNX graph that ATC's parser expands into several of other names.

`--customize_dtypes` and `[ByNodeName]` look for a node by the name it has in ATC's own graph
[V: ge format_dtype_setter.cc:296, op_setter.cc:270]. A node that the parser replaces by several
leaves `PartitionedCall_NAME_TYPE_N`; one that it replaces by a single node, constants of its own
included, keeps its name [V: ge parser_utils.cc:30-104]. `--keep_dtype` looks for the ONNX name,
too [V: keep_dtype_option.cc:106].

Source: the plugins of the operators our graphs are made of. Conv, MaxPool, Clip and Concat become
one node each, and so does Slice from opset 10 on [V: ops-nn conv_onnx_plugin.cpp,
max_pool_onnx_plugin.cpp; ops-math clip_onnx_plugin.cpp, concat_onnx_plugin.cpp,
slice_onnx_plugin.cpp]; ATC's own fusions may rename any.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_DOMAINS = ("", "ai.onnx")
# ONNX operator -> Ascend's type of the node that computes it, and the opset that ended it.
# Resize: sizes are computed by nodes of its own [V: ops-nn resize_onnx_plugin.cpp]. Split and, with
# axes as an attribute, the reductions: a constant of their own [V: ops-math split_onnx_plugin.cpp,
# reduce_sum_onnx_plugin.cpp, reduce_mean_onnx_plugin.cpp].
_NEVER = 1 << 30
_EXPANDED = {
    "Resize": ("ResizeNearestNeighborV2", _NEVER),
    "Split": ("SplitV", _NEVER),
    "ReduceSum": ("ReduceSum", 13),
    "ReduceMean": ("ReduceMean", 13),
}


@dataclass(frozen=True, kw_only=True)
class Expanded:
    """A node that ATC replaces by several: its ONNX operator, and Ascend's type for it."""

    operator: str
    ascend_type: str


def expanded_nodes(graph: bytes) -> dict[str, Expanded]:
    """The nodes whose names ATC's own graph does not have, by their names in the ONNX graph."""
    import onnx  # only where it is needed: an export that is up to date reads no graph

    model = onnx.load_model_from_string(graph)
    opset = max((o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS), default=0)
    found = {}
    for node in model.graph.node:
        ascend_type, ended = _EXPANDED.get(node.op_type, ("", 0))
        if opset < ended:
            found[node.name] = Expanded(operator=node.op_type, ascend_type=ascend_type)
    return found
