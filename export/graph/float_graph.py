"""From an opened checkpoint to the float model.onnx, and what the rewrites changed in it."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import onnx

from export.config import OnnxTable
from export.graph.byte_input import with_byte_input
from export.graph.cost import graph_cost
from export.graph.simplify import check_graph, fold, operator_counts, simplifier, simplify
from export.graph.to_onnx import OpenNetwork, export_network
from runtime.cli.command_line import step
from runtime.model.manifest import ONNX_NAME, GraphCost, OnnxFact, cost_changes
from runtime.model.spec import InputSpec

logger = logging.getLogger("starmark")


def make_float_graph(
    opened: OpenNetwork, settings: OnnxTable, target: Path, *, taps_out: bool
) -> OnnxFact:
    """Export, simplify and write one file.

    Raises:
        ExportError: as `export_network` and `simplify`.
    """
    architecture = opened.checkpoint.architecture
    with step(f"export {opened.checkpoint.file}"):
        exported = export_network(opened, settings)
    with step(f"simplify ({simplifier()})"):
        graph = simplify(exported, taps_out=taps_out)
        if settings.input == "uint8":
            graph = with_byte_input(graph, InputSpec(size=architecture.size))
            check_graph(graph, architecture, taps_out=taps_out)
        target.write_bytes(graph.SerializeToString(deterministic=True))
    counts = operator_counts(graph)
    fact = OnnxFact(
        exporter=exported.exporter,
        opset=exported.opset,
        simplifier=simplifier(),
        nodes=sum(counts.values()),
        operators=counts,
        rewrites=settings.rewrites,
        cost=graph_cost(graph),
    )
    logger.info("%s: opset %d by %s, %d nodes", ONNX_NAME, fact.opset, fact.exporter, fact.nodes)
    logger.info("  rewrites: %s", ", ".join(fact.rewrites) or "none, the published form")
    compared = fact
    if settings.rewrites and logger.isEnabledFor(logging.DEBUG):
        with step("count the plain form"):  # which exports the network a second time
            plain = _plain_cost(opened, settings, taps_out=taps_out)
        compared = msgspec.structs.replace(fact, plain=plain)
    for name, change in cost_changes(compared).items():
        logger.info("  %-22s %s", name, change)
    return fact


def _plain_cost(opened: OpenNetwork, settings: OnnxTable, *, taps_out: bool) -> GraphCost:
    """Of the graph that the rewrites are held against, made in the same way."""
    plain = export_network(opened, msgspec.structs.replace(settings, rewrites=()))
    graph: onnx.ModelProto = fold(plain, taps_out=taps_out)
    if settings.input == "uint8":
        graph = with_byte_input(graph, InputSpec(size=opened.checkpoint.architecture.size))
    return graph_cost(graph)
