"""The table of rules, in the order in which findings about the same place are listed."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from export.preflight import (
    chip_rules,
    file_rules,
    fp16_rules,
    input_rules,
    resize_rules,
    value_rules,
    version_rules,
    window_rules,
)
from export.preflight.finding import GRAPH, Hit, Rule, rule
from export.preflight.graph import Graph
from export.preflight.operators import ASCEND_OWN
from runtime.errors import one_line

RULES: tuple[Rule, ...] = (
    *version_rules.RULES,
    *input_rules.RULES,
    *file_rules.RULES,
    *chip_rules.RULES,
    *window_rules.RULES,
    *value_rules.RULES,
    *resize_rules.RULES,
    *fp16_rules.RULES,
)


@rule(
    "invalid-graph",
    "risk",
    source="[I] the ONNX checker refuses it; ATC does not use it",
    remedy="Export the model again",
)
def invalid_graph(graph: Graph) -> Iterator[Hit]:
    """A graph that is none by ONNX's own rules."""
    if any(node.op_type in ASCEND_OWN for node in graph.nodes):
        return  # ATC has them, ONNX has not
    try:
        # by path where there is one: external data lies beside it
        onnx.checker.check_model(graph.model if graph.path is None else str(graph.path))
    # a C++ library over what a stranger wrote
    except Exception as error:  # noqa: BLE001
        yield Hit(-1, GRAPH, one_line(error, 200))


@rule(
    "unmeasured",
    "risk",
    source="[I] a tensor beyond 65504 shows only when the graph runs",
    remedy="Compare the converted model with its reference (python -m parity.compare)",
)
def unmeasured(graph: Graph) -> Iterator[Hit]:
    """Activations that nobody has seen."""
    if graph.activations.reason:
        yield Hit(-1, GRAPH, f"activations not measured: {graph.activations.reason}")


# For graphs that nothing above refuses, and the first that finds something is enough: a refused
# graph is often invalid, an invalid one does not run, and why has been said better.
LAST_RULES: tuple[Rule, ...] = (invalid_graph, unmeasured)
