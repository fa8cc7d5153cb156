"""Rules about versions, domains and operators: what ATC's parser knows at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from export.atc.options import FIRST_OPSET, LAST_OPSET
from export.preflight.finding import GRAPH, Hit, rule
from export.preflight.graph import DEFAULT_DOMAINS, Graph, label, nodes_of
from export.preflight.operators import (
    ASCEND_OWN,
    BRANCH,
    DATA_SHAPED,
    LOOPS,
    NEWER,
    QUANTIZED,
    SUPPORTED,
)

LISTED = "[V: hiascend.com, CANN 8.0.0, list of supported ONNX operators]"
PLUGINS = "[V: ops-nn, ops-cv, ops-math, *_onnx_plugin.cpp]"
PARSED = "[V: ge docs, --framework]"


@rule(
    "opset",
    "refused",
    source=f"11 to 18: {PARSED}; others give E16002: [V: ge parser/onnx/onnx_parser.cc]",
    remedy="Export at opset 13 (--exporter torchscript) or 18 (--exporter dynamo)",
)
def opset(graph: Graph) -> Iterator[Hit]:
    """An opset that no operator is registered for."""
    if not FIRST_OPSET <= graph.opset <= LAST_OPSET:
        yield Hit(-1, GRAPH, f"opset {graph.opset or 'none'}")


@rule(
    "domain-versions",
    "refused",
    source="E16005: [V: ge docs, error codes]; newer CANN takes the last: [V: onnx_parser.cc]",
    remedy="Keep one opset_import of each domain",
)
def several_versions(graph: Graph) -> Iterator[Hit]:
    """One domain imported twice."""
    names = [entry.domain or "ai.onnx" for entry in graph.model.opset_import]
    for name, count in Counter(names).items():
        if count > 1:
            yield Hit(-1, GRAPH, f"{count} versions of the domain {name}")


@rule(
    "foreign-domain",
    "refused",
    source="E16002, as DOMAIN::VERSION::TYPE: [V: ge parser/onnx/onnx_parser.cc, AdapterOpType]",
    remedy="Export with ONNX's own operators",
)
def foreign_domain(graph: Graph) -> Iterator[Hit]:
    """Nodes of other domains than ONNX's own."""
    for position, node in enumerate(graph.nodes):
        if node.domain not in DEFAULT_DOMAINS:
            yield Hit(position, label(node, position), f"operator {node.domain}::{node.op_type}")


@rule(
    "foreign-import",
    "risk",
    source="E16005 of CANN before 7: [V: ge docs, error codes]; today's parser takes it:"
    " [V: ge parser/onnx/onnx_parser.cc]",
    remedy="Drop imports that no node needs",
)
def foreign_import(graph: Graph) -> Iterator[Hit]:
    """Imports of other domains than ONNX's own, which older parsers refuse beside it."""
    for entry in graph.model.opset_import:
        if entry.domain not in DEFAULT_DOMAINS:
            yield Hit(-1, GRAPH, f"an import of the domain {entry.domain}")


@rule(
    "unsupported-operator",
    "refused",
    source=f"E16002 (older: E19010): {LISTED}, and no plugin: {PLUGINS}",
    remedy="Write it with other operators, or keep it outside the graph",
)
def unsupported(graph: Graph) -> Iterator[Hit]:
    """Operators without a parser."""
    known = SUPPORTED | NEWER | ASCEND_OWN | QUANTIZED | BRANCH | LOOPS
    for position, node in enumerate(graph.nodes):
        if node.domain in DEFAULT_DOMAINS and node.op_type not in known:
            yield Hit(position, label(node, position), f"operator {node.op_type}")


@rule(
    "newer-operator",
    "risk",
    source=f"not in CANN 8.0: {LISTED}; in its successors: {PLUGINS}",
    remedy="Convert with a newer CANN, or write it with other operators",
)
def newer(graph: Graph) -> Iterator[Hit]:
    """Operators that only newer CANN has a parser for."""
    for position, name, node in nodes_of(graph, *sorted(NEWER)):
        yield Hit(position, name, f"operator {node.op_type}")


@rule(
    "quantized",
    "refused",
    source=f"not on the list: {LISTED}",
    remedy="Convert the float graph, with AIPP for uint8 input; AMCT quantises for Ascend",
)
def quantized(graph: Graph) -> Iterator[Hit]:
    """Graphs quantised for other engines."""
    for position, name, node in nodes_of(graph, *QUANTIZED):
        yield Hit(position, name, f"operator {node.op_type} of a quantised graph")


@rule(
    "loop",
    "refused",
    source=f"not on the list: {LISTED}",
    remedy="Unroll it when the model is exported",
)
def loop(graph: Graph) -> Iterator[Hit]:
    """Control flow without a parser."""
    for position, name, node in nodes_of(graph, *sorted(LOOPS)):
        yield Hit(position, name, f"operator {node.op_type}")


@rule(
    "branch",
    "risk",
    source=f"control flow is limited: {PARSED}",
    remedy="Fold the branch with onnxsim, or export the one that is taken",
)
def branch(graph: Graph) -> Iterator[Hit]:
    """Control flow that ATC takes with limits."""
    for position, name, _ in nodes_of(graph, *sorted(BRANCH)):
        yield Hit(position, name, "operator If")


@rule(
    "data-shaped",
    "refused",
    source="[V: ge docs, --dynamic_batch_size]",
    remedy="Convert for single batches instead of gears",
)
def data_shaped(graph: Graph) -> Iterator[Hit]:
    """Shapes that depend on numbers, where gears need all shapes beforehand."""
    if not graph.plan.gears:
        return
    for position, name, node in nodes_of(graph, *sorted(DATA_SHAPED), "Where"):
        if node.op_type != "Where" or len(node.input) == 1:
            yield Hit(position, name, f"{node.op_type}, whose output's shape depends on numbers")


RULES = (
    opset,
    several_versions,
    foreign_domain,
    foreign_import,
    unsupported,
    newer,
    quantized,
    loop,
    branch,
    data_shaped,
)
