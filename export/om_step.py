"""The step from model.onnx to the bundle's .om files, or the loud word that there are none."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

from export.aipp import aipp_error
from export.atc_files import check_setting_files
from export.freshness import carried_over
from export.job import Job
from export.om_plan import OmPlan
from export.to_om import (
    Conversion,
    command_text,
    conversions,
    convert,
    om_fact,
    setting_files,
)
from export.verify import real_crops, with_mirrored
from runtime.files import sha256_file, write_text_whole
from runtime.manifest import ONNX_NAME, ErrorFact, Manifest, OmFact, check_file
from runtime.spec import InputSpec

logger = logging.getLogger("starmark")


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
    from parity.rehearse_graph import types_by_node  # reads with onnx: only where it is needed

    check_setting_files(plan.table, types_by_node((staging / ONNX_NAME).read_bytes()), plan.soc)
    rounding = _rounding(job, staging, spec)
    wanted = conversions(plan.table, plan.soc, spec)
    return tuple(_one(job, one, plan.atc, staging, rounding) for one in wanted)


def commands(plan: OmPlan, spec: InputSpec) -> list[str]:
    """The atc commands of a plan, to be run in the bundle's folder; a chip must be named."""
    if plan.soc is None:
        return []
    return [command_text(one) for one in conversions(plan.table, plan.soc, spec)]


def _one(
    job: Job, conversion: Conversion, atc: Path, staging: Path, rounding: ErrorFact | None
) -> OmFact:
    # where a failure leaves it: the staging folder will be gone
    log = job.output.with_name(f"{job.output.name}.atc.log")
    log.unlink(missing_ok=True)
    # inside the staging folder: what a killed export leaves there, the next one removes
    with tempfile.TemporaryDirectory(dir=staging) as scratch:
        file, said = convert(conversion, atc, staging / ONNX_NAME, Path(scratch), log)
        shutil.move(file, staging / file.name)
    shutil.move(log, staging / f"{conversion.stem}.log")
    for name, text in setting_files(conversion).items():
        write_text_whole(staging / name, text)
    logger.info(
        "%s: %s, batch %s, %s, atc %s",
        file.name,
        said.soc_version,
        "-".join(map(str, conversion.batches)),
        conversion.table.precision,
        said.atc_version or "of an unnamed version",
    )
    return om_fact(conversion, file.name, said, rounding)


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
