"""The step that makes model.onnx of an int8 bundle out of its float graph."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import msgspec
import onnx
from msgspec import UNSET

from export.graph.metadata import describe
from export.graph.simplify import check_graph, operator_counts, without_traces
from export.graph.static_batch import with_static_batch
from export.int8.pictures import crops_of
from export.int8.quantise import quantise
from export.int8.scope import convolutions, kept_facts, quantised_convolutions
from export.int8.table import quantiser
from export.job import Job
from parity.samples import sample_facts
from runtime.cli.command_line import step
from runtime.files import sha256_file
from runtime.model.manifest import CheckpointFact, OnnxFact, QuantisationFact
from runtime.model.spec import ModelSpec

logger = logging.getLogger("starmark")


def quantise_graph(
    float_graph: Path,
    target: Path,
    job: Job,
    fact: OnnxFact,
    spec: ModelSpec,
    checkpoint: CheckpointFact,
) -> dict[str, object]:
    """Quantise one file into another within the job's budget.

    Returns:
        `quantisation` and `onnx` of the manifest.
    """
    pictures, budget = job.int8, job.config.int8.budget
    assert pictures is not None  # noqa: S101  # an int8 export
    graph = onnx.load(float_graph)
    with step(f"int8 ({quantiser()})", turning=False):
        made = quantise(
            graph,
            crops_of(pictures.calibration, spec.input.size),
            crops_of(pictures.validation, spec.input.size),
            budget,
            spec.input,
        )
    clean = without_traces(made.graph)
    batch = job.config.onnx.batch
    if batch is not None:
        clean = with_static_batch(clean, batch)
    check_graph(clean, checkpoint.architecture)
    counts = operator_counts(clean)
    onnx_fact = msgspec.structs.replace(
        fact,
        nodes=sum(counts.values()),
        operators=counts,
        static_batch=UNSET if batch is None else batch,
    )
    described = {"precision": "int8", "license_name": job.config.weights_license}
    describe(clean, spec, checkpoint, onnx_fact, **described)
    target.write_bytes(clean.SerializeToString(deterministic=True))
    facts = [sample_facts(samples) for samples in (pictures.calibration, pictures.validation)]
    quantisation = QuantisationFact(
        tool=quantiser(),
        float_sha256=sha256_file(float_graph),
        budget_px=dict(budget.limits_px),
        found_px={name: getattr(made.found, name) for name in ("mean", "p95", "p99", "max")},
        calibration_pictures=len(pictures.calibration),
        validation_pictures=len(pictures.validation),
        pictures_sha256=hashlib.sha256(msgspec.json.encode(facts)).hexdigest(),
        embedded=pictures.embedded,
        equalised=len(made.equalised),
        evaluations=made.evaluations,
        convolutions=len(convolutions(graph)),
        int8_convolutions=len(quantised_convolutions(clean)),
        kept=tuple(kept_facts(graph, clean, made.left, made.at_first)),
    )
    _log(quantisation)
    return {"quantisation": quantisation, "onnx": onnx_fact}


def _log(quantisation: QuantisationFact) -> None:
    logger.info(
        "int8: %d of %d convolutions, %s crop px on %d pictures (budget %s), %d candidates",
        quantisation.int8_convolutions,
        quantisation.convolutions,
        ", ".join(f"{name} {px:.3f}" for name, px in quantisation.found_px.items()),
        quantisation.validation_pictures,
        ", ".join(f"{name} {px:g}" for name, px in quantisation.budget_px.items()),
        quantisation.evaluations,
    )
