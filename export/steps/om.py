"""The step from model.onnx to the bundle's .om files."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from pathlib import Path

from export.atc.aipp import aipp_error
from export.atc.files import check_setting_files, expanded_nodes
from export.atc.plan import NO_OM, OmPlan
from export.atc.to_om import (
    Conversion,
    atc_arguments,
    command_text,
    conversions,
    convert,
    om_fact,
    setting_files,
)
from export.graph.verify import real_crops, with_mirrored
from export.job import Job
from export.steps.step import (
    JUDGE_PACKAGES,
    Inputs,
    Step,
    Work,
    copy_files,
    key_of,
    versions_of,
)
from parity.samples import sample_facts
from runtime.files import shown, write_text_whole
from runtime.machine.soc import Soc
from runtime.model.manifest import ONNX_NAME, ErrorFact, Manifest, OmFact
from runtime.model.om_file import OmFile
from runtime.model.spec import InputSpec

logger = logging.getLogger("starmark")

ATCS_PATH = re.compile(r"[A-Za-z0-9./_\u4e00-\u9fa5-]+")


class Om(Step):
    """Convert with atc, or keep what was converted here or elsewhere."""

    name = "om"
    makes_fields = ("om",)

    def key(self, inputs: Inputs) -> str:
        """Graph, options and setting files; the converter has a key of its own."""
        plan = inputs.job.om
        if plan.soc is None:
            return NO_OM
        asked = [
            (atc_arguments(one), setting_files(one))
            for one in conversions(plan.table, plan.soc, inputs.input)
        ]
        # what AIPP's rounding moves is measured on the samples
        samples = [sample_facts(inputs.job.samples), versions_of(JUDGE_PACKAGES)]
        return key_of(inputs.onnx_sha256, asked, samples if plan.table.aipp else [])

    def is_fresh(self, inputs: Inputs, old: Manifest) -> bool:
        """Without atc, a bundle without .om is all there can be."""
        return (inputs.job.om.atc is None and not old.om) or self._keeps(inputs, old)

    def carries_over(self, work: Work) -> bool:
        """Only where there are files."""
        return work.old is not None and self._keeps(work.inputs, work.old)

    def _keeps(self, inputs: Inputs, old: Manifest) -> bool:
        """Whether the .om files of a bundle are those of the new one.

        Without atc here, files made elsewhere from the same graph and options are kept; so are all
        of the same graph where nobody names a chip.
        """
        plan = inputs.job.om
        if not old.om or old.files[ONNX_NAME].sha256 != inputs.onnx_sha256:
            return False
        if plan.keeps:
            return True
        same = old.steps.get("om") == self.key(inputs)
        return same and (plan.atc is None or old.steps.get("atc") == plan.tool_key())

    def carry_over(self, work: Work, old: Manifest) -> None:
        """Copy the .om files, their settings and logs, and the keys they were made by."""
        files = [om.file for om in old.om]
        logger.info("up to date: om (%s)", ", ".join(files))
        # with the settings that atc was given, and its logs
        settings = {value for om in old.om for value in om.options.values()} - {ONNX_NAME}
        beside = [name for name in old.files if name in settings or name.endswith(".log")]
        copy_files(work, old, [*files, *beside])
        work.fields["om"] = old.om
        work.keys |= {name: old.steps[name] for name in ("om", "atc")}

    def make(self, work: Work) -> None:
        """Convert; where atc fails, its log stays beside the bundle's folder."""
        plan, spec = work.job.om, work.inputs.input
        if plan.soc is None or plan.atc is None:
            work.fields["om"], work.keys["om"] = (), NO_OM
            return
        _check_files(plan, plan.soc, work.staging)
        rounding = _rounding(work.job, work.staging, spec)
        wanted = conversions(plan.table, plan.soc, spec)
        if plan.soc.slice and "--virtual_type=1" in atc_arguments(wanted[0]):
            logger.info("%s is a slice: converting with --virtual_type", plan.soc.slice)
        work.fields["om"] = tuple(
            _one(work.job, one, plan.atc, work.staging, rounding) for one in wanted
        )
        work.keys["atc"] = plan.tool_key()


def commands(plan: OmPlan, spec: InputSpec) -> list[str]:
    """The atc commands of a plan, to be run in the bundle's folder; a chip must be named."""
    if plan.soc is None:
        return []
    return [command_text(one) for one in conversions(plan.table, plan.soc, spec)]


def _check_files(plan: OmPlan, soc: Soc, staging: Path) -> None:
    """Check the files of the [atc] table against the graph; repeat no warning of the plan."""
    from parity.rehearsal.graph import types_by_node  # imports onnx: only where it is needed

    graph = (staging / ONNX_NAME).read_bytes()
    nodes, expanded = types_by_node(graph), expanded_nodes(graph)
    for warning in check_setting_files(plan.table, nodes, soc, expanded=expanded):
        if warning not in plan.warnings:
            logger.warning("WARNING: %s", warning)


def _scratch_place(staging: Path) -> Path | None:
    """Where atc runs: inside the staging folder, whose remains the next export removes.

    ATC refuses a model whose real path holds other signs than these, also where it is named
    without its folder [V: ge base/common/util.cc, CheckInputPathValid; so since 2020]. The
    system's folder for temporary files is taken then.
    """
    if ATCS_PATH.fullmatch(str(staging.resolve())):
        return staging
    elsewhere = Path(tempfile.gettempdir()).resolve()
    if ATCS_PATH.fullmatch(str(elsewhere)):
        logger.info("atc runs in %s: it refuses a path such as %s", elsewhere, shown(staging))
        return None
    return staging


def _one(
    job: Job, conversion: Conversion, atc: Path, staging: Path, rounding: ErrorFact | None
) -> OmFact:
    # where a failure leaves it: the staging folder will be gone
    log = job.output.with_name(f"{job.output.name}.atc.log")
    log.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=_scratch_place(staging)) as scratch:
        file, said = convert(conversion, atc, staging / ONNX_NAME, Path(scratch), log)
        shutil.move(file, staging / file.name)
    shutil.move(log, staging / f"{conversion.stem}.log")
    for name, text in setting_files(conversion).items():
        write_text_whole(staging / name, text)
    logger.info(
        "%s: %s, batch %s, %s, atc %s",
        file.name,
        said.soc_version or f"{conversion.soc.name} ({_why_no_chip(said)})",
        "-".join(map(str, conversion.batches)),
        conversion.table.precision,
        said.atc_version or "of an unnamed version",
    )
    return om_fact(conversion, file.name, said, rounding)


def _why_no_chip(said: OmFile) -> str:
    reasons = "; ".join((*said.unread, *said.remarks))
    return f"no chip was read in the file: {reasons}" if reasons else "the file names no chip"


def _rounding(job: Job, staging: Path, spec: InputSpec) -> ErrorFact | None:
    if not job.om.table.aipp:
        return None
    found = aipp_error(staging / ONNX_NAME, with_mirrored(real_crops(job.samples, spec)))
    logger.info("AIPP's rounding: mean %.2g, max %.2g crop px", found.mean_px, found.max_px)
    return found
