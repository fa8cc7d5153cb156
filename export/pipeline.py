"""The steps in order, skipping what is up to date; judged before the bundle is put in place."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from msgspec import UNSET

from export.bundle import bundle_in_place, check_output, replace_folder, staged
from export.config import config_facts
from export.graph.reference import Reference
from export.job import Job
from export.steps.judge import Parity, SelfTest
from export.steps.om import Om
from export.steps.onnx import Onnx, Verify
from export.steps.preflight import Preflight
from export.steps.step import (
    GRAPH_PACKAGES,
    JUDGE_PACKAGES,
    PAGE_PACKAGES,
    Inputs,
    Step,
    Work,
    versions_of,
)
from parity.html.options import check_packages
from parity.report import as_text
from runtime.model.manifest import (
    ONNX_NAME,
    Manifest,
    file_fact,
    read_manifest,
    save_manifest,
)

STEPS: tuple[Step, ...] = (Onnx(), Verify(), Preflight(), Parity(), SelfTest())
# Not for a bundle that failed its judgement.
LAST_STEP = Om()

logger = logging.getLogger("starmark")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of an export.

    Attributes:
        folder: where the bundle is, or the rejected one.
        text: the comparison, for people; empty where nothing was compared now.
    """

    folder: Path
    manifest: Manifest
    text: str = ""


def up_to_date(job: Job, old: Manifest | None) -> dict[str, bool]:
    """For each step by name, whether the bundle in place already has its result."""
    steps = (*STEPS, LAST_STEP)
    if old is None:
        return {step.name: False for step in steps}
    sha256 = old.files[ONNX_NAME].sha256
    inputs = Inputs(job=job, onnx_sha256=sha256, input=old.spec.input)
    return {step.name: step.is_fresh(inputs, old) for step in steps}


def check_tools(job: Job, fresh: Mapping[str, bool]) -> None:
    """Import what the report is drawn with, if one is to be drawn, before anything slow starts.

    Raises:
        BackendUnavailable: one is missing or cannot be imported.
    """
    if job.parity and not fresh[Parity.name]:
        check_packages("the bundle's parity.html")


def run(job: Job) -> Outcome:
    """Make, judge and place the bundle; do only what is not up to date.

    Raises:
        ArtifactError, ConfigError, ExportError, InferenceError: a step's own fault; the old bundle
            stays as it was.
        BackendUnavailable: as `check_tools`.
        OSError: the disk is full or cannot be written to; likewise.
    """
    check_output(job.output)
    with staged(job.output) as staging, Reference(job.weights, job.settings) as reference:
        old = bundle_in_place(job.output)
        fresh = up_to_date(job, old)
        if old is not None and all(fresh.values()):
            logger.info("up to date: %s", ", ".join(fresh))
            return Outcome(folder=job.output, manifest=old)
        check_tools(job, fresh)
        work = Work(inputs=Inputs(job=job), old=old, staging=staging, reference=reference)
        for step in STEPS:
            step.run(work)
        folder = job.output
        if work.fields["parity"].passed is False:
            # beside the good one, under another name
            folder = folder.with_name(f"{folder.name}.rejected")
            check_output(folder)
        else:
            LAST_STEP.run(work)
        save_manifest(staging, _manifest(work))
        manifest = read_manifest(staging)  # as its users will
        replace_folder(staging, folder)
    text = as_text(work.report) if work.report else ""
    return Outcome(folder=folder, manifest=manifest, text=text)


def _manifest(work: Work) -> Manifest:
    paths, old = sorted(work.staging.iterdir()), work.old
    files = {path.name: work.files.get(path.name) or file_fact(path) for path in paths}
    same = old is not None and old.files[ONNX_NAME] == files[ONNX_NAME]
    return Manifest(
        name=work.job.config.name,
        files=files,
        error_scale=old.error_scale if old is not None and same else UNSET,
        config=config_facts(work.job.config),
        versions=versions_of((*GRAPH_PACKAGES, *JUDGE_PACKAGES, *PAGE_PACKAGES)),
        steps=work.keys,
        created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **work.fields,
    )
