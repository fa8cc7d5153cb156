"""The steps in order, skipping what is up to date; the last one judges before the rename."""

from __future__ import annotations

import logging
import shlex
import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from export.atc.plan import NO_OM
from export.bundle.folder import (
    PARITY_NAME,
    PARITY_PAGE_NAME,
    check_output,
    discard_leftovers,
    replace_folder,
    staged,
)
from export.bundle.freshness import (
    GRAPH_PACKAGES,
    JUDGE_PACKAGES,
    PAGE_PACKAGES,
    STEPS,
    carried_over,
    graph_key,
    judge_keys,
    old_manifest,
    om_key,
    up_to_date,
    versions_of,
)
from export.config import config_facts
from export.graph.reference import Reference
from export.job import GraphFacts, Job, model_spec
from export.steps.om import make_oms
from parity.comparison import judged_comparison
from parity.html.page import as_html
from parity.judging.verdict import Limits
from parity.report import Report, as_text
from parity.report.text import passing_options
from parity.samples import Sample
from parity.selftest.__main__ import make_selftest
from runtime.backends import Backend
from runtime.cli.command_line import step
from runtime.detector import Detector
from runtime.errors import one_line
from runtime.files import json_text, sha256_file, shown, write_text_whole
from runtime.model.manifest import (
    ONNX_NAME,
    SELFTEST_NAME,
    ErrorFact,
    Manifest,
    OmFact,
    ParityFact,
    check_file,
    file_fact,
    save_manifest,
)
from runtime.model.source import Source, find_artifact
from runtime.model.spec import InputSpec

logger = logging.getLogger("starmark")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an export came to.

    Attributes:
        folder: where the bundle is, or the rejected one.
        passed: the verdict; None where parity was skipped.
        text: the comparison, for people; empty where nothing was compared now.
    """

    folder: Path
    manifest: Manifest
    passed: bool | None
    text: str


def run(job: Job) -> Outcome:
    """Make, judge and place the bundle; do only what is not up to date.

    Raises:
        ArtifactError, ConfigError, ExportError, InferenceError: a step's own fault; the old bundle
            stays as it was.
        OSError: the disk is full or cannot be written to; likewise.
    """
    check_output(job.output)
    old = old_manifest(job)
    if old is not None and all(up_to_date(job, old).values()):
        logger.info("up to date: %s", ", ".join(STEPS))
        discard_leftovers(job.output)
        return Outcome(folder=job.output, manifest=old, passed=old.parity.passed, text="")
    with staged(job.output) as staging, Reference(job.weights) as reference:
        old = old_manifest(job)  # another export may have ended while this one waited
        made = _make_graph(job, old, staging, reference)
        checkpoint = made.checkpoint
        keys = {"onnx": graph_key(job), **judge_keys(job, sha256_file(staging / ONNX_NAME))}
        verification = made.verification or _verify(job, old, keys, staging / ONNX_NAME, reference)
        spec = model_spec(job, checkpoint.architecture)
        findings = _preflight(job, old, keys, staging, spec.input)
        parity, report = _judge(job, old, keys, staging, reference)
        _make_selftest(job, old, keys, staging, reference)
        oms = _convert(job, old, keys, staging, spec.input) if parity.passed is not False else ()
        manifest = Manifest(
            name=job.config.name,
            spec=spec,
            checkpoint=checkpoint,
            onnx=made.onnx,
            quantisation=made.quantisation,
            verification=verification,
            preflight=findings,
            parity=parity,
            om=oms,
            files={path.name: file_fact(path) for path in sorted(staging.iterdir())},
            config=config_facts(job.config),
            versions=versions_of((*GRAPH_PACKAGES, *JUDGE_PACKAGES, *PAGE_PACKAGES)),
            steps=keys,
            created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        save_manifest(staging, manifest)
        find_artifact(Source(text=str(staging), path=staging))  # as its users will open it
        folder = job.output if parity.passed is not False else _rejected(job.output)
        replace_folder(staging, folder)
    text = as_text(report) if report else ""
    return Outcome(folder=folder, manifest=manifest, passed=parity.passed, text=text)


def _make_graph(job: Job, old: Manifest | None, staging: Path, reference: Reference) -> GraphFacts:
    if old is not None and old.steps.get("onnx") == graph_key(job):
        logger.info("up to date: onnx")
        shutil.copyfile(check_file(job.output, old, ONNX_NAME), staging / ONNX_NAME)
        # the same bytes may come under another name
        checkpoint = msgspec.structs.replace(old.checkpoint, file=shown(job.weights.name))
        return GraphFacts(checkpoint=checkpoint, onnx=old.onnx, quantisation=old.quantisation)

    # here and not above: an export with nothing to do must not pay for torch and onnx
    from export.steps.onnx import make_graph

    return make_graph(job, staging, reference)


def _verify(
    job: Job, old: Manifest | None, keys: dict[str, str], graph: Path, reference: Reference
) -> dict[str, ErrorFact]:
    if old is not None and old.steps.get("verify") == keys["verify"]:
        logger.info("up to date: verify")
        return old.verification

    from export.graph.verify import verify  # as above: imports no engine before it is needed

    return verify(reference, graph, job.samples)


def _preflight(
    job: Job, old: Manifest | None, keys: dict[str, str], staging: Path, spec: InputSpec
) -> tuple[str, ...]:
    """What ATC would refuse or change, in a line each; it never sees a quantised graph."""
    if job.int8 is not None:
        return ()
    if old is not None and old.steps.get("preflight") == keys["preflight"] and not old.preflight:
        logger.info("up to date: preflight")
        return old.preflight

    from export.steps.preflight import check_for_atc  # as above: onnx and onnxruntime

    found = check_for_atc(job, staging / ONNX_NAME, spec)
    return tuple(one_line(f"{f.severity}: {f.rule}: {f.node}: {f.found}") for f in found)


def _judge(
    job: Job, old: Manifest | None, keys: dict[str, str], staging: Path, reference: Reference
) -> tuple[ParityFact, Report | None]:
    if not job.parity:
        logger.warning("WARNING: parity was skipped by request; the manifest says so")
        return ParityFact(passed=None), None
    if old is not None and old.steps.get("parity") == keys["parity"]:
        logger.info("up to date: parity")
        for name in (PARITY_NAME, PARITY_PAGE_NAME):
            shutil.copyfile(check_file(job.output, old, name), staging / name)
        return old.parity, None
    samples, limits = _judged_on(job)
    candidate = Source(text=f"{ONNX_NAME}@cpu", path=staging / ONNX_NAME, device="cpu")
    with step("judge parity", turning=False):
        compared = judged_comparison(
            (reference.source, candidate), samples, limits, reference=reference.open()
        )
    report = compared.report
    write_text_whole(staging / PARITY_NAME, json_text(report))
    sources = shlex.join([reference.source.text, candidate.text])
    page = as_html(
        compared,
        language="en",
        command=f"python -m parity.compare {sources} {passing_options(limits)}",
        timed=False,  # the same inputs give the same bytes
    )
    write_text_whole(staging / PARITY_PAGE_NAME, page)
    pictures = len(report.pictures)
    photo, crop = (
        ErrorFact(pictures=pictures, mean_px=found.axis.mean, max_px=found.axis.max)
        for found in (report.photo_px, report.crop_px)
    )
    fact = ParityFact(
        passed=report.verdict.passed,
        reference=reference.source.text,
        candidate=candidate.text,
        photo=photo,
        crop=crop,
        max_mean_px=limits.max_mean_px,
        max_error_px=limits.max_error_px,
    )
    return fact, report


def _judged_on(job: Job) -> tuple[tuple[Sample, ...], Limits]:
    """A float graph is held to the reference's promises, a quantised one to its budget."""
    if job.int8 is None:
        return job.samples, job.config.parity
    return job.int8.validation, job.config.int8.limits


def _make_selftest(
    job: Job, old: Manifest | None, keys: dict[str, str], staging: Path, reference: Reference
) -> None:
    if old is not None and old.steps.get("selftest") == keys["selftest"]:
        logger.info("up to date: selftest")
        shutil.copyfile(check_file(job.output, old, SELFTEST_NAME), staging / SELFTEST_NAME)
        return
    source: Source = reference.source
    asked: Source | Backend = reference.open()
    if job.int8 is not None:
        # how far int8 is from the checkpoint is judged; that another processor rounds as this one
        # did is what its self-test can tell
        asked = source = Source(text=f"{ONNX_NAME}@cpu", path=staging / ONNX_NAME, device="cpu")
    with step("record the self-test"), Detector(asked) as detector:
        limits = job.config.parity
        make_selftest(staging / SELFTEST_NAME, source.text, detector, job.samples, limits)


def _convert(
    job: Job, old: Manifest | None, keys: dict[str, str], staging: Path, spec: InputSpec
) -> tuple[OmFact, ...]:
    """The .om files, with what they were made by noted among the steps."""
    onnx_sha256 = sha256_file(staging / ONNX_NAME)
    key = om_key(job, onnx_sha256, spec)
    oms = make_oms(job, old, key, staging, spec)
    if not oms:
        keys["om"] = NO_OM
    elif old is not None and carried_over(job.om, old, onnx_sha256, key):
        keys |= {name: old.steps[name] for name in ("om", "atc")}
    else:
        keys |= {"om": key, "atc": job.om.tool_key()}
    return oms


def _rejected(output: Path) -> Path:
    """Where a bundle goes that was found wanting: under another name, beside the good one."""
    folder = output.with_name(f"{output.name}.rejected")
    check_output(folder)
    return folder
