"""The step that looks at model.onnx with ATC's eyes, before a conversion that may take an hour."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from export.atc.to_om import conversions
from export.graph.verify import real_crops
from export.steps.onnx import judged
from export.steps.step import Inputs, Step, Work, key_of
from runtime.cli.command_line import step
from runtime.errors import EXIT_FOUND_WANTING, ConfigError, ExportError, one_line
from runtime.model.manifest import ONNX_NAME

if TYPE_CHECKING:
    from export.preflight import Finding  # which imports onnx

logger = logging.getLogger("starmark")

QUANTISED = ("quantized", "byte-input")


class PreflightError(ExportError):
    """ATC would refuse the graph, or convert it to something else; nothing was converted."""

    exit_code = EXIT_FOUND_WANTING
    code = "preflight"


class Preflight(Step):
    """List what ATC would refuse or change; it never sees a quantised graph."""

    name = "preflight"
    makes_fields = ("preflight",)

    def key(self, inputs: Inputs) -> str:
        """The graph, and the conversion as preflight sees it."""
        return key_of(*judged(inputs), inputs.job.om.facts())

    def carries_over(self, work: Work) -> bool:
        """Only where nothing was found: findings are logged again, and may stop a conversion."""
        found_nothing = work.old is not None and not work.old.preflight
        return found_nothing and super().carries_over(work)

    def make(self, work: Work) -> None:
        """List the findings; those that are not ignored stop a conversion."""
        work.fields["preflight"] = ()
        if work.job.int8 is None:
            found = _look(work)
            work.fields["preflight"] = tuple(_line(one) for one in found)

            from export.preflight import fatal

            ignored = work.job.om.table.ignore_preflight
            stopping = tuple(one for one in found if one.rule not in ignored)
            if work.job.om.converts and fatal(stopping):
                refuse(stopping)


def _look(work: Work) -> tuple[Finding, ...]:
    from export.preflight import preflight  # onnx and onnxruntime: when they are needed

    plan, spec = work.job.om, work.inputs.input
    named = plan.table.precision_mode or plan.table.precision_mode_v2
    asked = conversions(plan.table, plan.soc, spec) if plan.soc else ()
    with step("preflight for ATC"):
        found = preflight(
            work.staging / ONNX_NAME,
            soc_version=plan.soc.as_option if plan.soc else None,
            batches=tuple(sorted({size for one in asked for size in one.batches})) or (1,),
            gears=bool(plan.table.gears),
            precision=plan.table.precision if named else "",
            crops=real_crops(work.job.samples, spec),
        )
    for one in found:
        logger.warning("  %s. %s. %s", _line(one), one.remedy, one.source)
    return found


def _line(one: Finding) -> str:
    return one_line(f"{one.severity}: {one.rule}: {one.node}: {one.found}")


def refuse(found: tuple[Finding, ...]) -> None:
    """Raise why nothing is converted; every finding has been logged already."""
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
