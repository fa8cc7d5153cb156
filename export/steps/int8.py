"""The step that makes model.onnx of an int8 bundle out of its float graph."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import msgspec
import onnx

from export.graph.simplify import check_graph, operator_counts, without_traces
from export.int8.pictures import Int8Pictures, crops_of
from export.int8.quantise import quantise
from export.int8.scope import convolutions, kept_facts, quantised_convolutions
from export.int8.table import Int8Table
from export.int8.tool import quantiser
from parity.plan.search import Budget
from parity.samples import sample_facts
from runtime.cli.command_line import step
from runtime.files import sha256_file
from runtime.model.manifest import OnnxFact
from runtime.model.quantisation import QuantisationFact
from runtime.model.spec import CHECKPOINT_KEY, Architecture, InputSpec

logger = logging.getLogger("starmark")


def quantise_graph(
    float_graph: Path,
    target: Path,
    pictures: Int8Pictures,
    table: Int8Table,
    spec: InputSpec,
    architecture: Architecture,
) -> QuantisationFact:
    """Quantise one file into another, and say what was done.

    Args:
        float_graph: the simplified graph.
        target: where the quantised one goes.
        pictures: to calibrate with and to judge by.
        table: the budget.
        spec: of the graph's input.
        architecture: whose taps both graphs hold.

    Raises:
        BackendUnavailable, ExportError: see `quantise`; or the result fails a check.
        InputError: a picture that cannot be read.
    """
    graph = onnx.load(float_graph)
    budget = table.budget
    with step(f"int8 ({quantiser()})", turning=False):
        made = quantise(
            graph,
            crops_of(pictures.calibration, spec.size),
            crops_of(pictures.validation, spec.size),
            budget,
            spec,
        )
    clean = without_traces(made.graph)
    sha256 = next(p.value for p in graph.metadata_props if p.key == CHECKPOINT_KEY)
    clean.metadata_props.add(key=CHECKPOINT_KEY, value=sha256)
    check_graph(clean, architecture)
    target.write_bytes(clean.SerializeToString(deterministic=True))
    fact = QuantisationFact(
        tool=quantiser(),
        float_sha256=sha256_file(float_graph),
        budget_px=dict(budget.limits_px),
        found_px={name: getattr(made.found, name) for name in ("mean", "p95", "p99", "max")},
        calibration_pictures=len(pictures.calibration),
        validation_pictures=len(pictures.validation),
        pictures_sha256=_digest(pictures),
        embedded=pictures.embedded,
        equalised=len(made.equalised),
        evaluations=made.evaluations,
        convolutions=len(convolutions(graph)),
        int8_convolutions=len(quantised_convolutions(clean)),
        kept=tuple(kept_facts(graph, clean, made.left, made.at_first)),
    )
    _say(fact, budget)
    return fact


def of_quantised(fact: OnnxFact, path: Path) -> OnnxFact:
    """The facts of a quantised graph, which has other nodes than the float one it was made from."""
    counts = operator_counts(onnx.load(path))
    return msgspec.structs.replace(fact, nodes=sum(counts.values()), operators=counts)


def _say(fact: QuantisationFact, budget: Budget) -> None:
    found = ", ".join(f"{name} {px:.3f}" for name, px in fact.found_px.items())
    limits = ", ".join(f"{name} {px:g}" for name, px in budget.limits_px.items())
    logger.info(
        "int8: %d of %d convolutions, %s crop px on %d pictures (budget %s), %d candidates",
        fact.int8_convolutions,
        fact.convolutions,
        found,
        fact.validation_pictures,
        limits,
        fact.evaluations,
    )


def _digest(pictures: Int8Pictures) -> str:
    facts = [sample_facts(samples) for samples in (pictures.calibration, pictures.validation)]
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()
