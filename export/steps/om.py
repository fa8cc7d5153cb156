"""The step from model.onnx to the bundle's .om files, or the loud word that there are none."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from pathlib import Path

from export.atc.aipp import aipp_error
from export.atc.files import check_setting_files
from export.atc.nodes import expanded_nodes
from export.atc.plan import OmPlan
from export.atc.to_om import (
    Conversion,
    atc_arguments,
    command_text,
    conversions,
    convert,
    om_fact,
    setting_files,
)
from export.bundle.freshness import carried_over
from export.graph.verify import real_crops, with_mirrored
from export.job import Job
from runtime.files import sha256_file, shown, write_text_whole
from runtime.machine.soc import Soc
from runtime.model.manifest import ONNX_NAME, ErrorFact, Manifest, OmFact, check_file
from runtime.model.om_file import OmFile
from runtime.model.spec import InputSpec

logger = logging.getLogger("starmark")

ATCS_PATH = re.compile(r"[A-Za-z0-9./_\u4e00-\u9fa5-]+")


def make_oms(
    job: Job, old: Manifest | None, key: str, staging: Path, spec: InputSpec
) -> tuple[OmFact, ...]:
    """Convert, or carry over what is there; the files go into the staging folder.

    Raises:
        ConfigError: a file of the [atc] table names what the graph does not have.
        ExportError: atc failed; its log lies beside the bundle's folder.
    """
    plan = job.om
    if old is not None and carried_over(plan, old, sha256_file(staging / ONNX_NAME), key):
        logger.info("up to date: om (%s)", ", ".join(om.file for om in old.om))
        for name in _files_of(old):
            shutil.copyfile(check_file(job.output, old, name), staging / name)
        return old.om
    if plan.soc is None or plan.atc is None:
        return ()
    _check_files(plan, plan.soc, staging)
    rounding = _rounding(job, staging, spec)
    wanted = conversions(plan.table, plan.soc, spec)
    if plan.soc.slice and "--virtual_type=1" in atc_arguments(wanted[0]):
        logger.info("%s is a slice: converting with --virtual_type", plan.soc.slice)
    return tuple(_one(job, one, plan.atc, staging, rounding) for one in wanted)


def commands(plan: OmPlan, spec: InputSpec) -> list[str]:
    """The atc commands of a plan, to be run in the bundle's folder; a chip must be named."""
    if plan.soc is None:
        return []
    return [command_text(one) for one in conversions(plan.table, plan.soc, spec)]


def _check_files(plan: OmPlan, soc: Soc, staging: Path) -> None:
    """Hold the files of the [atc] table to the graph; what was said of the chip is not repeated."""
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
        logger.info("atc runs in %s: it takes no path such as %s", elsewhere, shown(staging))
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
    """Why the chip of a file is not known: it names none, or what could not be read of it."""
    reasons = (*said.unread, *said.remarks)
    return (
        f"no chip was read in the file: {'; '.join(reasons)}"
        if reasons
        else "the file names no chip"
    )


def _rounding(job: Job, staging: Path, spec: InputSpec) -> ErrorFact | None:
    if not job.om.table.aipp:
        return None
    found = aipp_error(staging / ONNX_NAME, with_mirrored(real_crops(job.samples, spec)))
    logger.info("AIPP's rounding: mean %.2g, max %.2g crop px", found.mean_px, found.max_px)
    return found


def _files_of(manifest: Manifest) -> list[str]:
    """The .om files, and what lies beside them because of them."""
    stems = [om.file for om in manifest.om]
    settings = {value for om in manifest.om for value in om.options.values()}
    logs = [name for name in manifest.files if name.endswith(".log")]
    beside = [n for n in manifest.files if n in settings and n != ONNX_NAME]
    return [*stems, *logs, *beside]
