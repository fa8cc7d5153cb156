"""The steps that make model.onnx and hold it against the checkpoint."""

from __future__ import annotations

import logging

import msgspec

from export.config import config_facts
from export.job import Job
from export.steps.step import (
    GRAPH_PACKAGES,
    JUDGE_PACKAGES,
    Inputs,
    Step,
    Work,
    key_of,
    own_code,
    versions_of,
)
from parity.samples import sample_facts
from runtime.files import shown
from runtime.model.manifest import ONNX_NAME, CheckpointFact, Manifest, file_fact
from runtime.model.spec import ModelSpec, spec_of
from runtime.model.stages import tap_shapes

INT8_PACKAGES = ("nncf", "scipy", "scikit-learn")
# Of an int8 export, while it is made.
FLOAT_NAME = "model_fp32.onnx"

logger = logging.getLogger("starmark")


class Onnx(Step):
    """Export, simplify, and quantise where that is asked for."""

    name = "onnx"
    makes_files = (ONNX_NAME,)
    makes_fields = ("checkpoint", "onnx", "quantisation", "spec")

    def key(self, inputs: Inputs) -> str:
        """Weights, configuration and tools."""
        job = inputs.job
        quantised: list[object] = []
        if job.int8 is not None:
            # pictures and whatever runs candidates on them decide what stays in fp32; the
            # verification of the float graph belongs to this step, too
            quantised = [
                config_facts(job.config)["int8"],
                sample_facts((*job.samples, *job.int8.calibration)),
                sample_facts(job.int8.validation),
                versions_of((*INT8_PACKAGES, *JUDGE_PACKAGES)),
            ]
        return key_of(
            quantised,
            job.weights_sha256,
            job.settings.of_weights,
            msgspec.to_builtins((job.config.onnx, job.config.model)),
            job.config.weights_license,
            job.taps,
            versions_of(GRAPH_PACKAGES),
            own_code(),
        )

    def make(self, work: Work) -> None:
        """Write model.onnx."""
        # here: an export with nothing to do must not import torch and onnx
        from export.graph.float_graph import make_float_graph
        from export.graph.to_onnx import open_checkpoint

        job, target = work.job, work.staging / ONNX_NAME
        opened = open_checkpoint(work.reference)
        checkpoint = opened.checkpoint
        count = f"{checkpoint.parameters:,}"
        logger.info("%s: %s parameters, 0 missing, 0 unexpected keys", checkpoint.file, count)
        spec = _spec(job, checkpoint)
        settings = job.config.onnx
        if job.int8 is not None:  # its graph is quantised for any batch, and fixed afterwards
            settings = msgspec.structs.replace(settings, batch=None)
        licensed = job.config.weights_license
        fact = make_float_graph(opened, settings, spec, target, license_name=licensed)
        work.fields |= {"checkpoint": checkpoint, "onnx": fact, "quantisation": None, "spec": spec}
        if job.int8 is not None:
            from export.graph.verify import verify
            from export.steps.int8 import quantise_graph  # nncf's friends: only for int8

            source = target.rename(work.staging / FLOAT_NAME)
            # first: quantising takes minutes, and a float graph that is wrong makes them worthless
            work.fields["verification"] = verify(work.reference, source, job.samples)
            work.fields |= quantise_graph(source, target, job, fact, spec, checkpoint)
            source.unlink()
        work.files[ONNX_NAME] = file_fact(target)
        self._note(work)

    def carry_over(self, work: Work, old: Manifest) -> None:
        """As the base does; the same checkpoint may come under another name."""
        super().carry_over(work, old)
        file = shown(work.job.weights.name)
        work.fields["checkpoint"] = msgspec.structs.replace(old.checkpoint, file=file)
        self._note(work)

    def _note(self, work: Work) -> None:
        """Let the steps that follow depend on the graph."""
        spec: ModelSpec = work.fields["spec"]
        work.inputs = Inputs(
            job=work.job, onnx_sha256=work.files[ONNX_NAME].sha256, input=spec.input
        )


class Verify(Step):
    """Compare the float graph's outputs with the checkpoint's, as the first step wrote it."""

    name = "verify"
    makes_fields = ("verification",)

    def key(self, inputs: Inputs) -> str:
        """What every figure about the graph depends on."""
        return key_of(*judged(inputs))

    def make(self, work: Work) -> None:
        """Run both on the samples; ExportError where they differ by more than rounding."""
        if "verification" in work.fields:
            return  # the float graph was verified before it was quantised

        from export.graph.verify import verify  # an engine: when it is needed

        graph = work.staging / ONNX_NAME
        work.fields["verification"] = verify(work.reference, graph, work.job.samples)


def judged(inputs: Inputs) -> tuple[object, ...]:
    """What every figure about a model.onnx depends on, for `key_of`."""
    return (
        inputs.job.weights_sha256,
        inputs.job.settings.of_weights,
        inputs.onnx_sha256,
        sample_facts(inputs.job.samples),
        versions_of(JUDGE_PACKAGES),
        own_code(),
    )


def _spec(job: Job, checkpoint: CheckpointFact) -> ModelSpec:
    found = checkpoint.architecture
    return spec_of(
        points=found.points,
        size=found.size,
        taps=tap_shapes(found) if job.taps else None,
        bytes_in=job.config.onnx.input == "uint8",
    )
