"""The step that makes model.onnx, and counts what the rewrites changed."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from export.graph.byte_input import with_byte_input
from export.graph.cost import graph_cost
from export.graph.reference import Reference
from export.graph.simplify import check_graph, fold, operator_counts, simplifier, simplify
from export.graph.to_onnx import OpenNetwork, export_network, open_network
from export.graph.verify import verify
from export.job import GraphFacts, Job, model_spec
from runtime.cli.command_line import step
from runtime.errors import ConfigError
from runtime.model.manifest import ONNX_NAME, CheckpointFact, GraphCost, OnnxFact, cost_changes
from runtime.model.spec import InputSpec

logger = logging.getLogger("starmark")

# Of an int8 export, while it is made.
FLOAT_NAME = "model_fp32.onnx"


def make_graph(job: Job, staging: Path, reference: Reference) -> GraphFacts:
    """Export, simplify and write model.onnx; quantised where that is asked for.

    Raises:
        ArtifactError, BackendUnavailable, ExportError: as `export_graph`, `simplify` and
            `quantise_graph`.
        ConfigError: the checkpoint is not the one that the configuration describes.
    """
    checkpoint, fact = _float_graph(job, staging / ONNX_NAME)
    if job.int8 is None:
        return GraphFacts(checkpoint=checkpoint, onnx=fact)

    from export.steps.int8 import of_quantised, quantise_graph  # nncf's friends: only for int8

    source, target = staging / FLOAT_NAME, staging / ONNX_NAME
    target.rename(source)
    # first: quantising takes minutes, and a float graph that is wrong makes them worthless
    verification = verify(reference, source, job.samples)
    spec = model_spec(job, checkpoint.architecture).input
    quantisation = quantise_graph(
        source, target, job.int8, job.config.int8, spec, checkpoint.architecture
    )
    source.unlink()
    return GraphFacts(
        checkpoint=checkpoint,
        onnx=of_quantised(fact, target),
        quantisation=quantisation,
        verification=verification,
    )


def _float_graph(job: Job, target: Path) -> tuple[CheckpointFact, OnnxFact]:
    """Export, simplify and write the float graph.

    Raises:
        ArtifactError, ExportError: as `open_network`, `export_network` and `simplify`.
        ConfigError: the checkpoint is not the one that the configuration describes.
    """
    asked = job.config.onnx
    with step(f"export {job.weights.name}"):
        opened = open_network(job.weights)
        exported = export_network(opened, asked)
    checkpoint = opened.checkpoint
    logger.info(
        "%s: %s parameters, 0 missing, 0 unexpected keys",
        checkpoint.file,
        f"{checkpoint.parameters:,}",
    )
    _check_model(job, checkpoint)
    with step(f"simplify ({simplifier()})"):
        graph = simplify(exported, taps_out=job.taps)
        if asked.input == "uint8":
            graph = with_byte_input(graph, InputSpec(size=checkpoint.architecture.size))
            check_graph(graph, checkpoint.architecture, taps_out=job.taps)
        target.write_bytes(graph.SerializeToString(deterministic=True))
    cost = plain = graph_cost(graph)
    if asked.rewrites:
        with step("count the plain form"):
            plain = _plain_cost(opened, job)
    counts = operator_counts(graph)
    fact = OnnxFact(
        exporter=exported.exporter,
        opset=exported.opset,
        simplifier=simplifier(),
        nodes=sum(counts.values()),
        operators=counts,
        rewrites=asked.rewrites,
        cost=cost,
        plain=plain,
    )
    logger.info("%s: opset %d by %s, %d nodes", ONNX_NAME, fact.opset, fact.exporter, fact.nodes)
    logger.info("  rewrites: %s", ", ".join(fact.rewrites) or "none, the published form")
    for name, change in cost_changes(fact).items():
        logger.info("  %-22s %s", name, change)
    return checkpoint, fact


def _plain_cost(opened: OpenNetwork, job: Job) -> GraphCost:
    """Of the graph that the rewrites are held against, made in the same way."""
    settings = msgspec.structs.replace(job.config.onnx, rewrites=())
    graph = fold(export_network(opened, settings), taps_out=job.taps)
    if settings.input == "uint8":
        graph = with_byte_input(graph, InputSpec(size=opened.checkpoint.architecture.size))
    return graph_cost(graph)


def _check_model(job: Job, checkpoint: CheckpointFact) -> None:
    wanted = job.config.model
    found = (checkpoint.architecture.points, checkpoint.parameters)
    if found != (wanted.points, wanted.parameters):
        raise ConfigError(
            str(job.weights),
            expected=f"{wanted.points} points and {wanted.parameters:,} parameters,"
            f" as the configuration of {job.config.name} says",
            got=f"{found[0]} points and {found[1]:,} parameters",
            action="Choose the configuration of this checkpoint, or correct its [model] table",
        )
