"""Rules about Conv, MaxPool and BatchNormalization, each as its plugin has it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from export.preflight.finding import Hit, rule
from export.preflight.graph import Graph, given, integer, integers, nodes_of, text

POOL = "[V: ops-nn max_pool_onnx_plugin.cpp]"
SAME = ("SAME_UPPER", "SAME_LOWER")
# MaxPoolV3's limits; larger windows go to an operator on the AI CPU.
LARGEST_POOL_AREA_PX2 = 255
LARGEST_POOL_STRIDE_PX = 63
# Ascend950 has no such limits.
UNLIMITED_POOL_FAMILY = "Ascend950"


@rule(
    "conv-attributes",
    "refused",
    source="[V: ops-nn conv_onnx_plugin.cpp]",
    remedy="Write kernel_shape and pads explicitly, for 1 to 3 axes",
)
def conv_attributes(graph: Graph) -> Iterator[Hit]:
    """Convolutions the plugin cannot read."""
    for position, name, node in nodes_of(graph, "Conv"):
        windows = ("kernel_shape", "strides", "pads", "dilations")
        kernel = integers(node, "kernel_shape") or ()
        pads = integers(node, "pads") or ()
        weight = graph.shape(given(node, 1)) or ()
        dims = len(kernel) or max(len(weight) - 2, 0)
        auto_pad = text(node, "auto_pad", "NOTSET")
        found = ""
        if not any(integers(node, one) for one in windows):
            found = f"none of {', '.join(windows)}"
        elif len(pads) % 2:
            found = f"{len(pads)} pads"
        elif dims > 3:
            found = f"a convolution over {dims} axes"
        elif dims == 3 and auto_pad not in ("NOTSET", "VALID"):
            found = f"auto_pad {auto_pad} over 3 axes"
        if found:
            yield Hit(position, name, found)


@rule(
    "batch-norm-training",
    "risk",
    source="today's plugin passes it on: [V: ops-nn batch_normalization_onnx_plugin.cpp]",
    remedy="Export the model in eval mode",
)
def batch_norm_training(graph: Graph) -> Iterator[Hit]:
    """Normalisation by the batch's own statistics: a face's points depend on its neighbours."""
    for position, name, node in nodes_of(graph, "BatchNormalization"):
        if integer(node, "training_mode", 0):
            yield Hit(position, name, "training_mode 1")


@rule(
    "pool-indices",
    "refused",
    source=POOL,
    remedy="Take MaxPool's first output alone, in the default order",
)
def pool_indices(graph: Graph) -> Iterator[Hit]:
    """The second output of MaxPool, and the attribute that orders it."""
    for position, name, node in nodes_of(graph, "MaxPool"):
        if len(node.output) > 1:
            yield Hit(position, name, "the output Indices")
        elif integer(node, "storage_order", 0) == 1:
            yield Hit(position, name, "storage_order 1")


@rule(
    "pool-window",
    "refused",
    source=POOL,
    remedy="Write kernel_shape for 1 to 3 axes, and two pads for each",
)
def pool_window(graph: Graph) -> Iterator[Hit]:
    """MaxPool windows the plugin cannot read."""
    for position, name, node in nodes_of(graph, "MaxPool"):
        kernel = integers(node, "kernel_shape") or ()
        pads = integers(node, "pads") or ()
        if not 1 <= len(kernel) <= 3:
            yield Hit(position, name, f"a window over {len(kernel)} axes")
        elif len(pads) % 2:
            yield Hit(position, name, f"{len(pads)} pads")


@rule(
    "pool-dilation",
    "changed",
    source=f"MaxPoolV3 has no dilation: {POOL}",
    remedy="Pool without dilation",
)
def pool_dilation(graph: Graph) -> Iterator[Hit]:
    """Dilations of MaxPoolV3, which has none."""
    for position, name, node in nodes_of(graph, "MaxPool"):
        dilations = integers(node, "dilations") or ()
        if len(dilations) in (1, 2) and any(step != 1 for step in dilations):
            yield Hit(position, name, f"dilations {list(dilations)}, computed as 1")


@rule(
    "pool-padding",
    "changed",
    source=POOL,
    remedy="Write the pads explicitly",
)
def pool_padding(graph: Graph) -> Iterator[Hit]:
    """SAME_LOWER, for which SAME is taken: the odd pixel goes to the other side."""
    for position, name, node in nodes_of(graph, "MaxPool"):
        if text(node, "auto_pad", "NOTSET") == "SAME_LOWER":
            yield Hit(position, name, "auto_pad SAME_LOWER, computed as SAME_UPPER")


@rule(
    "pool-slow",
    "risk",
    source=f"above 255 px or stride 63: {POOL}",
    remedy="Pool in two steps, or by GlobalMaxPool or ReduceMax",
)
def pool_slow(graph: Graph) -> Iterator[Hit]:
    """Windows that are left to the AI CPU."""
    for position, name, found, lost in _large_pools(graph):
        if not lost:
            yield Hit(position, name, found)


@rule(
    "pool-slow-edges",
    "changed",
    source=f"the AI CPU's pooling is given neither ceil_mode nor auto_pad: {POOL}",
    remedy="Pad explicitly, with ceil_mode 0, or pool in two steps",
)
def pool_slow_edges(graph: Graph) -> Iterator[Hit]:
    """Windows that are left to the AI CPU, which treats their edges otherwise."""
    for position, name, found, lost in _large_pools(graph):
        if lost:
            yield Hit(position, name, f"{found} with {lost}")


def _large_pools(graph: Graph) -> Iterator[tuple[int, str, str, str]]:
    """Position, name, window, and what is said about the edges in vain."""
    soc = graph.plan.soc
    if soc is not None and (soc.family == UNLIMITED_POOL_FAMILY or not soc.is_known):
        return
    for position, name, node in nodes_of(graph, "MaxPool"):
        kernel = integers(node, "kernel_shape") or ()
        strides = integers(node, "strides") or ()
        if len(kernel) not in (1, 2):
            continue
        area = math.prod(kernel)
        if area > LARGEST_POOL_AREA_PX2 or max(strides, default=1) > LARGEST_POOL_STRIDE_PX:
            auto_pad = text(node, "auto_pad", "NOTSET")
            lost = "ceil_mode 1" if integer(node, "ceil_mode", 0) else ""
            if auto_pad in SAME:
                lost = f"auto_pad {auto_pad}"
            yield position, name, f"a window of {list(kernel)}, strides {list(strides)}", lost


RULES = (
    conv_attributes,
    batch_norm_training,
    pool_indices,
    pool_window,
    pool_dilation,
    pool_padding,
    pool_slow,
    pool_slow_edges,
)
