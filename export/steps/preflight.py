"""The step that looks at model.onnx with ATC's eyes, before a conversion that may take an hour."""

from __future__ import annotations

import logging
from pathlib import Path

from export.atc.to_om import conversions
from export.graph.verify import real_crops
from export.job import Job
from export.preflight import Finding, fatal, preflight
from runtime.cli.command_line import step
from runtime.errors import EXIT_FOUND_WANTING, ConfigError, ExportError, one_line
from runtime.model.manifest import ONNX_NAME
from runtime.model.spec import InputSpec

logger = logging.getLogger("starmark")

QUANTISED = ("quantized", "byte-input")


class PreflightError(ExportError):
    """ATC would refuse the graph, or convert it to something else; nothing was converted."""

    exit_code = EXIT_FOUND_WANTING


def check_for_atc(job: Job, graph: Path, spec: InputSpec) -> tuple[Finding, ...]:
    """List every finding; stop where a conversion is about to meet one that ATC refuses.

    Findings of `--ignore-preflight` are listed, and stop nothing.

    Raises:
        ConfigError: the graph is quantised, which ATC does not read.
        PreflightError: another finding that refuses or changes the graph, and a conversion.
    """
    plan = job.om
    named = plan.table.precision_mode or plan.table.precision_mode_v2
    precision = plan.table.precision if named else ""
    asked = conversions(plan.table, plan.soc, spec) if plan.soc else ()
    batches = tuple(sorted({size for one in asked for size in one.batches})) or (1,)
    with step("preflight for ATC"):
        found = preflight(
            graph,
            soc_version=plan.soc.as_option if plan.soc else None,
            batches=batches,
            gears=bool(plan.table.gears),
            precision=precision,
            crops=real_crops(job.samples, spec),
        )
    for one in found:
        place = f"{one.severity}: {one.rule}: {one.node}: {one.found}"
        logger.warning("  %s. %s. %s", one_line(place), one.remedy, one.source)
    stopping = tuple(one for one in found if one.rule not in plan.table.ignore_preflight)
    if plan.converts and fatal(stopping):
        refuse(stopping)
    return found


def refuse(found: tuple[Finding, ...]) -> None:
    """Say why nothing is converted; every finding has been logged already."""
    quantised = [one for one in found if one.rule in QUANTISED]
    if quantised:
        raise ConfigError(
            f"{ONNX_NAME}: {quantised[0].node}",
            expected="the float graph: ATC reads no quantised one",
            got=quantised[0].found,
            action="Convert the float bundle, with --aipp for uint8 input, or quantise with AMCT;"
            f" to convert all the same, --ignore-preflight {quantised[0].rule}",
        )
    severe = [one for one in found if one.severity != "risk"]
    rules = " ".join(f"--ignore-preflight {rule}" for rule in sorted({one.rule for one in severe}))
    raise PreflightError(
        f"preflight of {ONNX_NAME}",
        expected="a graph that ATC converts to what it computes",
        got=f"{len(severe)} findings, the first: {severe[0].rule} at {severe[0].node}",
        action="Follow the remedies above, or leave the .om out with --om never; to convert all"
        f" the same, {rules}",
    )
