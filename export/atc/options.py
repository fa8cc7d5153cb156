"""ATC's options that this project has under the same names, and what ATC would refuse of them.

They are checked before the export, of which the conversion is the last step. Sources: Huawei's
open GE, api/atc (flags, value sets, checks), and its documentation of the command line [V].
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from export.atc.precision import DEFAULT_MODE, DEFAULT_OPTION, MODES, PrecisionMode
from runtime.errors import ConfigError
from runtime.machine.soc import Soc

# ATC reads opsets 11 to 18 [V: ge docs, --framework]; opset 19 makes every operator unknown to it.
FIRST_OPSET, LAST_OPSET = 11, 18
DEFAULT_PRECISION = f"{DEFAULT_MODE} (ATC's default)"

IMPL_MODES = (
    "high_precision",
    "high_performance",
    "high_precision_for_all",
    "high_performance_for_all",
)


class AtcTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The [atc] table of a configuration: ATC's own names, and five of ours.

    Attributes:
        soc_version: the exact chip, "auto" for this machine's, or "" where nothing is converted.
        batch_sizes: (ours) one static .om for each.
        dynamic_batch_size: gears, for example "1,2,4,8": one .om for all of them.
        aipp: (ours) the chip normalises; the .om then takes uint8 crops.
        timeout_s: (ours) seconds one conversion may take.
        passed_on: (ours) what follows "--" on the command line, or --name=value here.
        ignore_preflight: (ours) rules of preflight whose findings do not stop a conversion.
    """

    soc_version: str = ""
    batch_sizes: tuple[int, ...] = ()
    dynamic_batch_size: str = ""
    precision_mode: str = ""
    precision_mode_v2: str = ""
    keep_dtype: str = ""
    customize_dtypes: str = ""
    op_precision_mode: str = ""
    modify_mixlist: str = ""
    fusion_switch_file: str = ""
    op_select_implmode: str = ""
    optypelist_for_implmode: str = ""
    output_type: str = ""
    aipp: bool = False
    timeout_s: float = 7200.0
    passed_on: tuple[str, ...] = ()
    ignore_preflight: tuple[str, ...] = ()

    @property
    def precision(self) -> str:
        """As the manifest says it."""
        if self.precision_mode_v2:
            return f"precision_mode_v2={self.precision_mode_v2}"
        if self.precision_mode:
            return f"precision_mode={self.precision_mode}"
        return DEFAULT_PRECISION

    @property
    def mode(self) -> PrecisionMode:
        """The precision mode that is named, or ATC's own."""
        for option, modes in MODES.items():
            if getattr(self, option):
                return modes[getattr(self, option)]
        return MODES[DEFAULT_OPTION][DEFAULT_MODE]

    @property
    def keeps_float32(self) -> bool:
        """Whether every operator is to keep the graph's own dtype."""
        return self.mode.brings == "fp32"

    @property
    def gears(self) -> tuple[int, ...]:
        """Ascending; empty for static batches."""
        tokens = self.dynamic_batch_size.split(",") if self.dynamic_batch_size else []
        return tuple(sorted(int(token) for token in tokens))


FILE_OPTIONS = (
    "keep_dtype",
    "customize_dtypes",
    "op_precision_mode",
    "modify_mixlist",
    "fusion_switch_file",
)
# Documented, and refused with E10036 until 2022 at least [V: ge docs, --dynamic_batch_size;
# graphengine r1.11, multi_batch_options.cc:502].
MOST_GEARS, MOST_GEARS_950 = 100, 256
# Recommended only [V: ge docs, --dynamic_batch_size].
LARGEST_BATCH = 2048


def check_atc(table: AtcTable, where: str) -> None:
    """Refuse what ATC would refuse for any graph and chip.

    Raises:
        ConfigError: names the option, its value, what is expected.
    """
    _check_batches(table, where)
    _check_precision(table, where)
    among(f"{where}: op_select_implmode", table.op_select_implmode, IMPL_MODES)
    if table.optypelist_for_implmode and not table.op_select_implmode:
        raise refused(
            f"{where}: optypelist_for_implmode",
            "op_select_implmode beside it",
            "none",
            "Name both, or write an op_precision_mode file",
        )
    if table.output_type not in ("", "FP32", "FP16"):
        raise refused(
            f"{where}: output_type", "FP32 or FP16", repr(table.output_type), "Leave it out"
        )
    for name in FILE_OPTIONS:
        check_file(f"{where}: {name}", getattr(table, name))
    if not 1 <= table.timeout_s <= 7 * 86400:
        raise refused(f"{where}: timeout_s", "1 s to a week", repr(table.timeout_s), "Correct it")


def check_for_chip(table: AtcTable, soc: Soc, where: str) -> tuple[str, ...]:
    """Refuse what this chip has no arithmetic or no room for.

    Returns:
        Warnings: what it may have none for.

    Raises:
        ConfigError: names mode and chip.
    """
    missing = table.mode.missing_on(soc)
    if missing:
        raise refused(
            f"{where}: {table.precision}",
            f"a mode that {soc.name} has: it has no {missing} arithmetic",
            "this one",
            "Take precision_mode_v2 = mixed_float16, or no mode for fp16",
        )
    if table.op_select_implmode and (table.op_precision_mode or wants_float32(table, soc)):
        own = "a file of yours" if table.op_precision_mode else "true fp32 is asked for"
        raise refused(
            f"{where}: op_select_implmode",
            f"no op_precision_mode beside it, which overrides it ({own})",
            repr(table.op_select_implmode),
            "Write both into one op_precision_mode file",
        )
    most = MOST_GEARS_950 if soc.family == "Ascend950" else MOST_GEARS
    if soc.is_known and len(table.gears) > most:
        raise refused(
            f"{where}: dynamic_batch_size",
            f"at most {most} gears",
            str(len(table.gears)),
            "Drop some",
        )
    warnings = []
    if table.mode.doubtful_on(soc):
        warnings.append(f"{where}: {table.precision}: {doubt_of_float32(soc)}")
    largest = max((*table.gears, *table.batch_sizes), default=1)
    if largest > LARGEST_BATCH:
        warnings.append(f"{where}: batch {largest}: Huawei recommends {LARGEST_BATCH} at most")
    return tuple(warnings)


def doubt_of_float32(soc: Soc) -> str:
    """What may become of convolutions that are to stay in fp32 on an fp16 cube unit.

    The unit has no fp32 of its own (see `runtime.machine.soc`); which kernels the chip's ops
    package has for it is in no public source. Where AI Core has none, the AI CPU's is taken, and
    without one ATC fails [V: ge docs, --precision_mode_v2].
    """
    return (
        f"fp32 convolutions may be missing on {soc.name}: expect them on the slow AI CPU, or an"
        " error of ATC's; without a mode they are fp16"
    )


def wants_float32(table: AtcTable, soc: Soc) -> bool:
    """Whether real fp32 convolutions need a file that asks for them."""
    return table.keeps_float32 and not table.op_precision_mode and soc.runs_hf32


def _check_batches(table: AtcTable, where: str) -> None:
    if table.batch_sizes and table.dynamic_batch_size:
        raise refused(
            f"{where}: batch_sizes and dynamic_batch_size",
            "one of the two",
            "both",
            "Static batches run faster, gears need one file",
        )
    sizes = table.batch_sizes
    if len(set(sizes)) < len(sizes) or not all(size >= 1 for size in sizes):
        raise refused(
            f"{where}: batch_sizes", "different batches of 1 or more", str(sizes), "Correct it"
        )
    text = table.dynamic_batch_size
    if not text:
        return
    tokens = text.split(",")
    # ATC's newest source takes a gear of 0 [V: multi_batch_options.cc:638]; no picture is no batch
    good = all(t.isascii() and t.isdecimal() and int(t) >= 1 for t in tokens)
    if not good or len({int(t) for t in tokens}) != len(tokens) or len(tokens) < 2:
        raise refused(
            f"{where}: dynamic_batch_size",
            "2 or more different batches of 1 or more, for example 1,2,4,8",
            repr(text),
            "One batch alone is batch_sizes",
        )


def _check_precision(table: AtcTable, where: str) -> None:
    if table.precision_mode and table.precision_mode_v2:
        raise refused(
            f"{where}: precision_mode and precision_mode_v2",
            "one of the two",
            "both",
            "Keep precision_mode_v2, unless this CANN is older than it",
        )
    for option, modes in MODES.items():
        among(f"{where}: {option}", getattr(table, option), list(modes))
    if table.modify_mixlist and not table.mode.mixed:
        raise refused(
            f"{where}: modify_mixlist",
            "a mixed precision mode beside it, for example precision_mode_v2 = mixed_float16",
            table.precision,
            "Choose one, or leave the list out",
        )


def among(where: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a value that is given and not one of these."""
    if value and value not in allowed:
        near = difflib.get_close_matches(value, list(allowed), n=1)
        action = f"Did you mean {near[0]}" if near else "Choose one of them"
        raise refused(where, f"one of {', '.join(allowed)}", repr(value), action)


def check_file(where: str, value: str, *, required: bool = False) -> None:
    """Refuse a file that is named and not there."""
    if (value or required) and not Path(value).is_file():
        raise refused(where, "a file", repr(value), "Check its path")


def refused(where: str, expected: str, got: str, action: str) -> ConfigError:
    """An option that cannot be taken as it is."""
    return ConfigError(where, expected=expected, got=got, action=action)
