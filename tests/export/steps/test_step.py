"""When a step is up to date, and when it runs all the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from builders import ROOT
from kits import empty_bundle

from export.config import read_config
from export.graph.reference import Reference
from export.job import prepare
from export.pipeline import LAST_STEP, STEPS
from export.steps.judge import Parity
from export.steps.preflight import Preflight
from export.steps.step import Inputs, Work
from runtime.model.manifest import Manifest, read_manifest


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    job = prepare(read_config(ROOT / "configs/starter68.toml"), tmp_path / "out")
    return Inputs(job=job, onnx_sha256="of a graph")


@pytest.fixture
def old(inputs: Inputs, tmp_path: Path) -> Manifest:
    """A bundle in place in which every step is up to date, and nothing was found."""
    manifest = read_manifest(empty_bundle(tmp_path / "out", om=()))
    keys = {step.name: step.key(inputs) for step in STEPS}
    return msgspec.structs.replace(manifest, steps=keys)


def test_steps_depend_on_the_weights_and_on_the_graph_before_them(
    inputs: Inputs, old: Manifest
) -> None:
    weights = replace(inputs, job=replace(inputs.job, weights_sha256="others"))
    graph = replace(inputs, onnx_sha256="of another graph")

    def stale(now: Inputs) -> list[str]:
        return [step.name for step in STEPS if not step.is_fresh(now, old)]

    assert stale(inputs) == []
    assert stale(weights) == [step.name for step in STEPS]
    assert stale(graph) == [step.name for step in STEPS[1:]]
    assert LAST_STEP.is_fresh(graph, old)  # without atc, no .om is all there can be


def test_steps_that_have_something_to_tell_run_again(inputs: Inputs, old: Manifest) -> None:
    """Findings of preflight, which may stop a conversion, and a judgement that is left out."""
    work = Work(inputs=inputs, old=old, staging=Path(), reference=Reference(Path("w.pkl")))
    assert Preflight().carries_over(work)
    assert Parity().carries_over(work)
    work.old = msgspec.structs.replace(old, preflight=("risk: opset: n: f",))
    assert not Preflight().carries_over(work)

    skipped = replace(inputs, job=replace(inputs.job, parity=False))
    keys = old.steps | {"parity": Parity().key(skipped)}
    work.inputs, work.old = skipped, msgspec.structs.replace(old, steps=keys)
    assert Parity().is_fresh(skipped, work.old)
    assert not Parity().carries_over(work)
