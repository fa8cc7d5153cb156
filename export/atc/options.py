"""ATC's options that this project has under the same names, and what ATC would refuse of them.

They are checked before the export, of which the conversion is the last step; what follows "--" on
the command line goes to ATC unchecked, except for options that this project sets itself. Sources:
Huawei's open GE, api/atc (flags, value sets, checks), and its documentation of the command line
[V].
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from export.atc.precision import DEFAULT_MODE, DEFAULT_OPTION, MODES, PrecisionMode
from runtime.errors import ConfigError
from runtime.machine.soc import Soc

# ATC reads opsets 11 to 18 [V: ge docs, --framework]; opset 19 makes every operator unknown to it.
FIRST_OPSET, LAST_OPSET = 11, 18
DEFAULT_PRECISION = f"{DEFAULT_MODE} (ATC's default)"


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
        """As in the manifest."""
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
    def gears(self) -> tuple[int, ...]:
        """Ascending; empty for static batches."""
        return tuple(sorted(int(size) for size in self.dynamic_batch_size.split(",") if size))


# Options that name a file, and its name beside the model.
FILE_OPTIONS = {
    "keep_dtype": "keep_dtype.txt",
    "customize_dtypes": "customize_dtypes.txt",
    "op_precision_mode": "op_precision.ini",
    "modify_mixlist": "mixlist.json",
    "fusion_switch_file": "fusion_switch.cfg",
}
VIRTUAL_TYPE = "virtual_type"
# What this project sets, and how it is chosen instead.
RESERVED = {
    "model": "it is always the bundle's model.onnx",
    "framework": "it is always 5, ONNX",
    "output": "the file is named after its batch and chip; choose the folder with --output of"
    " python -m export",
    "mode": "only mode 0 makes an .om",
    "input_shape": "use --batch_sizes or --dynamic_batch_size",
    "input_format": "it is always NCHW",
    "insert_op_conf": "use --aipp, which derives it from the model",
    "out_nodes": "the outputs are landmarks and covariance",
    "external_weight": "a bundle carries the weights inside the .om",
}


def check_atc(table: AtcTable, where: str) -> None:
    """Refuse a table that cannot be converted, whatever the graph and chip.

    ATC checks the values of its own options before it compiles anything: only those that this
    project reads, too, are checked here.

    Raises:
        ConfigError: names the option, its value, what is expected.
    """
    _check_batches(table, where)
    for option, modes in MODES.items():
        among(f"{where}: {option}", getattr(table, option), list(modes))
    among(f"{where}: output_type", table.output_type, ("FP32", "FP16"))
    for name in FILE_OPTIONS:
        path = getattr(table, name)
        if path and not Path(path).is_file():
            raise refused(f"{where}: {name}", "a file", repr(path), "Check its path")
    passed_on(table.passed_on)
    if not 1 <= table.timeout_s <= 7 * 86400:
        raise refused(f"{where}: timeout_s", "1 s to a week", repr(table.timeout_s), "Correct it")


def check_for_chip(table: AtcTable, soc: Soc, where: str) -> tuple[str, ...]:
    """Refuse what this chip has no arithmetic for.

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
    if table.mode.doubtful_on(soc):
        return (f"{where}: {table.precision}: {doubt_of_float32(soc)}",)
    return ()


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
    return table.mode.brings == "fp32" and not table.op_precision_mode and soc.runs_hf32


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
            f"{where}: batch_sizes",
            "different batches of 1 or more",
            str(sizes),
            "Correct it",
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


def passed_on(tokens: Sequence[str]) -> dict[str, str]:
    """Read what follows "--" by ATC's own grammar; of an option given twice the last one counts.

    Source: GE api/atc/cmd_flag_info.cc [V].

    Raises:
        ConfigError: no option, one without a value, or one that this project sets itself.
    """
    found: dict[str, str] = {}
    left = list(tokens)
    while left:
        token = left.pop(0)
        match = re.fullmatch(r"--?([A-Za-z][A-Za-z0-9_-]*)(?:=(.*))?", token, re.DOTALL)
        if match is None:
            raise refused("after --", "ATC's options, --name=value", repr(token), "Correct it")
        name, value = match.group(1).replace("-", "_"), match.group(2)
        if value is None:
            if not left:
                raise refused(f"after --: --{name}", "a value", "none", f"Write --{name}=VALUE")
            value = left.pop(0)
        _check_free(name, value)
        found[name] = value
    return found


def whole_chip_for_slice(tokens: Sequence[str], soc: Soc) -> tuple[str, ...]:
    """The warning where a slice's model is converted for whole chips, which ATC lets pass.

    Such a model is for no virtual device [V: ge docs, --virtual_type]; a beginning of the option's
    name is the option [V: cmd_flag_info.cc].
    """
    return tuple(
        f"after --: --{name}={value}, and {soc.slice} is a slice: a model for whole chips fails"
        " there with 507009. Leave it out, or take --virtual_type=1"
        for name, value in passed_on(tokens).items()
        if soc.slice and VIRTUAL_TYPE.startswith(name) and value != "1"
    )


def _check_free(name: str, value: str) -> None:
    """Refuse an option that has its place before the "--", or none."""
    where = f"after --: --{name}"
    if name in RESERVED:
        raise refused(where, "an option that may be chosen", "this one", RESERVED[name])
    if name in AtcTable.__struct_fields__:
        raise refused(where, "it before the --", "it after", f"Write --{name} {value} before --")
    for ours in (*RESERVED, *AtcTable.__struct_fields__):
        if ours.startswith(name):
            # ATC accepts the beginning of a name for the whole
            raise refused(where, "an option's whole name", f"the beginning of {ours}", "Write it")


def among(where: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a value that is given and not one of these."""
    if value and value not in allowed:
        near = difflib.get_close_matches(value, list(allowed), n=1)
        action = f"Did you mean {near[0]}" if near else "Choose one of them"
        raise refused(where, f"one of {', '.join(allowed)}", repr(value), action)


def refused(where: str, expected: str, got: str, action: str) -> ConfigError:
    """An option that cannot be taken as it is."""
    return ConfigError(where, expected=expected, got=got, action=action)
