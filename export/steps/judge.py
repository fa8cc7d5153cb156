"""The steps that judge model.onnx against the checkpoint, and record the box's self-test."""

from __future__ import annotations

import logging
import shlex

import msgspec

from export.config import config_facts
from export.steps.onnx import judged
from export.steps.step import PAGE_PACKAGES, Inputs, Step, Work, key_of, versions_of
from parity.comparison import judged_comparison
from parity.report.text import passing_options
from parity.samples import sample_facts
from parity.selftest.__main__ import make_selftest
from runtime.backends import Backend
from runtime.cli.command_line import step
from runtime.detector import Detector
from runtime.files import json_text, write_text_whole
from runtime.model.manifest import ONNX_NAME, SELFTEST_NAME, ErrorFact, ParityFact
from runtime.model.source import Source

PARITY_NAME = "parity.json"
PARITY_PAGE_NAME = "parity.html"

logger = logging.getLogger("starmark")


class Parity(Step):
    """Judge the graph in pixels: a float one by the limits, a quantised one by its budget."""

    name = "parity"
    makes_files = (PARITY_NAME, PARITY_PAGE_NAME)
    makes_fields = ("parity",)

    def key(self, inputs: Inputs) -> str:
        """The whole configuration, because the manifest repeats it."""
        job = inputs.job
        pictures = sample_facts(job.int8.validation) if job.int8 else []
        asked = (config_facts(job.config), job.parity, pictures)
        return key_of(*judged(inputs), *asked, versions_of(PAGE_PACKAGES))

    def carries_over(self, work: Work) -> bool:
        """A skipped judgement is never carried over: the warning comes every time."""
        return work.job.parity and super().carries_over(work)

    def make(self, work: Work) -> None:
        """Compare, and write the report and its page."""
        job, reference, staging = work.job, work.reference, work.staging
        if not job.parity:
            logger.warning("WARNING: parity was skipped by request; the manifest records it")
            work.fields["parity"] = ParityFact(passed=None)
            return
        from parity.html.page import as_html  # drawing: when there is something to draw

        samples, bound, limits = job.samples, job.config.parity, None
        if job.int8 is not None:
            samples, bound = job.int8.validation, job.config.int8.limits
            limits = bound
        candidate = _candidate(work)
        with step("judge parity", turning=False):
            compared = judged_comparison(
                (reference.source, candidate),
                samples,
                limits or {},
                bound=bound,
                reference=reference.open(),
            )
        report = work.report = compared.report
        write_text_whole(staging / PARITY_NAME, json_text(report))
        sources = shlex.join([reference.source.text, candidate.text])
        options = f" {passing_options(limits)}" if limits else ""
        options += "".join(f" --{name} {value}" for name, value in job.settings.of_weights.items())
        page = as_html(
            compared,
            language="en",
            command=f"python -m parity.compare {sources}{options}",
            timed=False,  # the same inputs give the same bytes
        )
        write_text_whole(staging / PARITY_PAGE_NAME, page)
        pictures = len(report.pictures)
        photo, crop = (
            ErrorFact(pictures=pictures, mean_px=found.axis.mean, max_px=found.axis.max)
            for found in (report.photo_px, report.crop_px)
        )
        work.fields["parity"] = ParityFact(
            passed=report.verdict.passed,
            reference=reference.source.text,
            candidate=candidate.text,
            photo=photo,
            crop=crop,
            max_mean_px=bound.max_mean_px,
            max_error_px=bound.max_error_px,
        )


class SelfTest(Step):
    """Record the answers that the box's own are compared with."""

    name = "selftest"
    makes_files = (SELFTEST_NAME,)

    def key(self, inputs: Inputs) -> str:
        """The limits are recorded, too."""
        return key_of(*judged(inputs), msgspec.to_builtins(inputs.job.config.parity))

    def make(self, work: Work) -> None:
        """Run the checkpoint on the samples; of an int8 bundle, the graph.

        How far int8 is from the checkpoint is judged already; a self-test can tell that another
        processor rounds as this one does.
        """
        job = work.job
        source = work.reference.source if job.int8 is None else _candidate(work)
        opened: Source | Backend = work.reference.open() if job.int8 is None else source
        with step("record the self-test"), Detector(opened) as detector:
            path = work.staging / SELFTEST_NAME
            make_selftest(path, source.text, detector, job.samples, job.config.parity)


def _candidate(work: Work) -> Source:
    return Source(text=f"{ONNX_NAME}@cpu", path=work.staging / ONNX_NAME, device="cpu")
