"""Whether an export converts to .om, for which chip and with what: decided before anything slow."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from export.atc.files import check_setting_files
from export.atc.options import AtcTable, check_for_chip, whole_chip_for_slice
from export.atc.to_om import conversions
from export.atc.tool import check_tool, find_atc
from runtime.errors import BackendUnavailable, ConfigError
from runtime.machine.npu_smi import chosen_soc
from runtime.machine.soc import Soc, is_old_generation, note_on_unknown
from runtime.model.spec import InputSpec

Policy = Literal["auto", "require", "never"]

NO_OM = "none"
VERSION_FILES = ("version.cfg", "version.info", "compiler/version.info")


# Graphs that ATC does not read, by the dtype of their input: the setting that makes them, what ATC
# reads instead, and the options that export it.
NOT_FOR_ATC = {
    "uint8": (
        'onnx.input = "uint8"',
        "the float32 graph: ATC takes bytes through AIPP alone",
        "--input float32 --aipp",
    ),
    "int8": (
        'precision = "int8"',
        "the float graph: ATC reads no quantised one",
        "--precision fp32",
    ),
}


@dataclass(frozen=True, kw_only=True)
class OmPlan:
    """What is to be done about an .om.

    Attributes:
        table: the [atc] table.
        soc: the chip; None where none is named.
        atc: the converter; None where it is not to be used.
        why_not: why nothing is converted; empty where it is.
        keeps: whether the .om files in place stay, because no chip is named.
        warnings: what the user should know before it starts.
    """

    table: AtcTable
    soc: Soc | None
    atc: Path | None
    why_not: str
    keeps: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def converts(self) -> bool:
        """Whether this export runs atc."""
        return self.soc is not None and self.atc is not None

    def facts(self) -> object:
        """The conversion as preflight sees it: chip, batches, precision."""
        batches = self.table.gears or self.table.batch_sizes
        return self.soc.name if self.soc else "", batches, self.table.precision

    def tool_key(self) -> str:
        """Which converter this is: its own bytes, and the version file of its CANN."""
        if self.atc is None:
            return ""
        real = self.atc.resolve()
        digest = hashlib.sha256(real.read_bytes())
        versions = [real.parent.parent / name for name in VERSION_FILES]
        if "ASCEND_OPP_PATH" in os.environ:
            # the operators' package is installed by itself, and compiled into the file
            versions.append(Path(os.environ["ASCEND_OPP_PATH"]) / "version.info")
        for path in versions:
            if path.is_file():
                digest.update(path.read_bytes())
        return digest.hexdigest()


def plan_om(table: AtcTable, policy: Policy, *, takes: str = "float32") -> OmPlan:
    """Find chip and converter, and check everything that can be checked without the graph.

    Args:
        table: the [atc] table.
        policy: whether to convert.
        takes: dtype of the graph's input; int8 where all of it is quantised.

    Raises:
        ConfigError: no chip named where an .om is required, a wrong name, or options that this
            chip or this atc does not have; or a graph that atc does not read: one that takes
            uint8, or a quantised one.
        BackendUnavailable: an .om is required and atc is not there, or npu-smi does not answer.
        ExportError: atc is there and does not start.
    """
    if policy == "never":
        return OmPlan(table=table, soc=None, atc=None, why_not="--om never")
    if takes in NOT_FOR_ATC:
        return _not_for_atc(table, policy, takes)
    soc = chosen_soc(table.soc_version) if table.soc_version else None
    warnings = list(check_setting_files(table, soc=soc))
    atc = find_atc()
    if policy == "require":
        _require(soc, atc)
    missing = [] if atc else ["atc, CANN's converter, is not on PATH"]
    if soc is None:
        missing.append("no chip is named (--soc_version, for example Ascend910B3)")
        return OmPlan(table=table, soc=None, atc=None, why_not="; ".join(missing), keeps=True)
    warnings += check_for_chip(table, soc, "[atc]")
    warnings += whole_chip_for_slice(table.passed_on, soc)
    if is_old_generation(soc.name):
        warnings.append(
            "Ascend910B is the old generation's name; an Atlas A2's is Ascend910B1 to Ascend910B4"
        )
    if not soc.is_known:
        warnings.append(
            f"nothing is checked for {soc.name}, and whether its convolutions run in HF32 is not"
            f" known: {note_on_unknown(soc)}"
        )
    if atc is not None:
        warnings += check_tool(atc, conversions(table, soc, InputSpec())[0])
    return OmPlan(
        table=table, soc=soc, atc=atc, why_not="; ".join(missing), warnings=tuple(warnings)
    )


def _not_for_atc(table: AtcTable, policy: Policy, takes: str) -> OmPlan:
    """No conversion; an error with the remedy where one is asked for."""
    setting, expected, options = NOT_FOR_ATC[takes]
    if policy == "require" or table.soc_version:
        asked = "--om require" if policy == "require" else f"--soc_version {table.soc_version}"
        raise ConfigError(
            f"a conversion with {setting}",
            expected=expected,
            got=asked,
            action=f"Export with {options} for the .om, or with --om never",
        )
    why_not = f"with {setting} atc does not read its graph (export it with {options})"
    return OmPlan(table=table, soc=None, atc=None, why_not=why_not)


def _require(soc: Soc | None, atc: Path | None) -> None:
    if soc is None:
        raise ConfigError(
            "--om require",
            expected="--soc_version, the exact chip",
            got="none",
            action="Take its name from npu-smi info on the box, or --soc_version auto there",
        )
    if atc is None:
        raise BackendUnavailable(
            "--om require",
            expected="atc, CANN's converter, on PATH",
            got="no such program",
            action="Source CANN's set_env.sh (it needs no NPU), or leave --om auto and convert"
            " elsewhere",
        )
