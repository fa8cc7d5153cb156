"""Which operators an int8 export leaves in fp32, and why."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from runtime.model.manifest import KeptFact

# What NNCF may put between quantisers. Sums are no member: they cost next to nothing, and a
# residual stream that is rounded at every block moves points (docs/int8.md has the figures).
QUANTISABLE = frozenset({"Conv", "BatchNormalization", "Relu", "MaxPool", "Resize", "Concat"})
# Xx, yy, rr and the two boundary planes.
MOST_PLANES = 5

STREAM = "reads the picture or a sum: 8 bits there move points, and few of the products are there"
DECODER = "the decoder: its sums over whole maps need more than 8 bits"
PLANES = "coordinates: 8 bits would place every point on a grid of half a map's pixel"
NOT_QUANTISABLE = "sums, gates, normalisations and products: little to gain, and much to lose"
NO_QUANTISER = "left alone by the quantiser, which found no place for its quantisers"
RESTORED = "restored by the accuracy control, because the budget did not hold without it"


def left_in_fp32(graph: onnx.ModelProto) -> dict[str, str]:
    """Reasons not to quantise, by the node's name, in the graph's order.

    Args:
        graph: as `export.graph.simplify` gives it: float, taps and nodes named.
    """
    decoder = _after_last_maps(graph)
    channels = {w.name: w.dims[1] for w in graph.graph.initializer if len(w.dims) == 4}
    makers = {name: node.op_type for node in graph.graph.node for name in node.output}
    reasons: dict[str, str] = {}
    for node in graph.graph.node:
        if node.name in decoder:
            reasons[node.name] = DECODER
        elif node.op_type not in QUANTISABLE:
            reasons[node.name] = NOT_QUANTISABLE
        elif node.op_type == "Conv":
            few = channels.get(node.input[1], MOST_PLANES + 1) <= MOST_PLANES
            if few and not _is_first(node):
                reasons[node.name] = PLANES
            elif makers.get(node.input[0]) != "Relu":
                reasons[node.name] = STREAM
    return reasons


def kept_facts(
    graph: onnx.ModelProto,
    quantised: onnx.ModelProto,
    left: Mapping[str, str],
    at_first: frozenset[str],
) -> list[KeptFact]:
    """Every operator that computes in fp32 after all, by reason; see `Quantised`."""
    int8 = quantised_convolutions(quantised)
    found: dict[str, list[str]] = {}
    for node in graph.graph.node:
        why = left.get(node.name)
        if why is None and node.op_type == "Conv" and node.name not in int8:
            why = RESTORED if node.name in at_first else NO_QUANTISER
        if why is not None and node.op_type != "Constant":  # which computes nothing
            found.setdefault(why, []).append(node.name)
    return [KeptFact(why=why, operators=tuple(names)) for why, names in found.items()]


def quantised_convolutions(graph: onnx.ModelProto) -> set[str]:
    """Names of the convolutions whose input and weights both come out of a quantiser."""
    made_by = {name: node.op_type for node in graph.graph.node for name in node.output}
    return {
        node.name
        for node in graph.graph.node
        if node.op_type == "Conv"
        and all(made_by.get(name) == "DequantizeLinear" for name in node.input[:2])
    }


def convolutions(graph: onnx.ModelProto) -> list[str]:
    """Names of all convolutions."""
    return [node.name for node in graph.graph.node if node.op_type == "Conv"]


def _is_first(node: onnx.NodeProto) -> bool:
    """The stem's convolution of the picture itself: 7x7, where planes are convolved by 1x1."""
    kernel = next((a.ints for a in node.attribute if a.name == "kernel_shape"), (1, 1))
    return max(kernel) > 1


def _after_last_maps(graph: onnx.ModelProto) -> set[str]:
    """Names of the nodes that work on the maps that are decoded: the last stack's."""
    made = [name for node in graph.graph.node for name in node.output]
    maps = [name for name in made if name.endswith(".fused")]
    maps = maps or [name for name in made if name.endswith(".heatmaps")]
    reached = {maps[-1]} if maps else set()
    found: set[str] = set()
    for node in graph.graph.node:  # a graph lists a tensor's maker before its readers
        if reached.intersection(node.input):
            found.add(node.name)
            reached.update(node.output)
    return found
