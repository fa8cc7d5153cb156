"""From an opened checkpoint to the float model.onnx, and what the rewrites changed in it."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import onnx
from msgspec import UNSET

from export.config import OnnxTable
from export.graph.byte_input import with_byte_input
from export.graph.cost import graph_cost
from export.graph.metadata import describe
from export.graph.simplify import check_graph, fold, operator_counts, simplifier, simplify
from export.graph.static_batch import with_static_batch
from export.graph.to_onnx import OpenNetwork, export_network
from runtime.cli.command_line import step
from runtime.model.manifest import ONNX_NAME, GraphCost, OnnxFact, cost_changes
from runtime.model.spec import InputSpec, ModelSpec

logger = logging.getLogger("starmark")


def make_float_graph(
    opened: OpenNetwork,
    settings: OnnxTable,
    spec: ModelSpec,
    target: Path,
    *,
    license_name: str = "",
) -> OnnxFact:
    """Export, simplify, describe and write one file.

    Args:
        opened: the network.
        settings: how the graph is made.
        spec: of the graph; with taps for a debug bundle.
        target: the file.
        license_name: of the weights, for the graph's metadata.

    Raises:
        ExportError: as `export_network` and `simplify`.
    """
    architecture, taps_out = opened.checkpoint.architecture, bool(spec.taps)
    with step(f"export {opened.checkpoint.file}"):
        exported = export_network(opened, settings)
    with step(f"simplify ({simplifier()})"):
        graph = simplify(exported, taps_out=taps_out)
        if settings.input == "uint8":
            graph = with_byte_input(graph, InputSpec(size=architecture.size))
        cost = graph_cost(graph)  # of one picture
        if settings.batch is not None:
            graph = with_static_batch(graph, settings.batch)
        check_graph(graph, architecture, taps_out=taps_out)
    counts = operator_counts(graph)
    fact = OnnxFact(
        exporter=exported.exporter,
        opset=exported.opset,
        simplifier=simplifier(),
        nodes=sum(counts.values()),
        operators=counts,
        rewrites=settings.rewrites,
        cost=cost,
        static_batch=UNSET if settings.batch is None else settings.batch,
    )
    describe(graph, spec, opened.checkpoint, fact, license_name=license_name)
    target.write_bytes(graph.SerializeToString(deterministic=True))
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
