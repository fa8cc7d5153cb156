"""ATC's options: which this project sets, which may be passed on, and what ATC would refuse.

Everything is checked here, before a conversion that may take an hour. Sources: Huawei's open GE,
api/atc (flags, value sets, checks), and its documentation of the command line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from runtime.errors import ConfigError
from runtime.soc import BF16_FAMILIES, FP16_CUBE_FAMILIES, Soc

# mode -> whether a mixed-precision list applies to it. [V: ge docs, precision_mode, _v2]
PRECISION_MODES = {
    "force_fp16": False,
    "must_keep_origin_dtype": False,
    "force_fp32": False,
    "cube_fp16in_fp32out": False,
    "allow_fp32_to_fp16": False,
    "allow_mix_precision": True,
    "allow_mix_precision_fp16": True,
    "allow_mix_precision_bf16": True,
    "allow_fp32_to_bf16": False,
}
PRECISION_MODES_V2 = {
    "fp16": False,
    "origin": False,
    "cube_fp16in_fp32out": False,
    "mixed_float16": True,
    "mixed_bfloat16": True,
    "cube_hif8": False,
    "mixed_hif8": True,
}
ORIGIN_MODES = ("origin", "must_keep_origin_dtype")
DEFAULT_PRECISION = "force_fp16 (ATC's default)"

IMPL_MODES = (
    "high_precision",
    "high_performance",
    "high_precision_for_all",
    "high_performance_for_all",
)
TRUTH = ("true", "false")
SWITCH = ("0", "1")
# Passed on as they are: the values ATC takes; None for any text, "file" and "folder" must exist.
PASSED_ON: dict[str, tuple[str, ...] | str | None] = {
    "log": ("debug", "info", "warning", "error", "null"),
    "op_compiler_cache_mode": ("enable", "disable", "force"),
    "op_compiler_cache_dir": "folder",
    "buffer_optimize": ("l1_optimize", "l2_optimize", "off_optimize"),
    "core_type": ("AiCore", "VectorCore"),
    "op_debug_level": ("0", "1", "2", "3", "4"),
    "debug_dir": "folder",
    "deterministic": SWITCH,
    "display_model_info": SWITCH,
    "disable_reuse_memory": SWITCH,
    "enable_small_channel": SWITCH,
    "is_weight_clip": SWITCH,
    "jit_compile": SWITCH,
    "sparsity": SWITCH,
    "status_check": SWITCH,
    "virtual_type": SWITCH,
    "enable_compress_weight": TRUTH,
    "enable_attr_compression": TRUTH,
    "fusion_switch_file": "file",
    "compress_weight_conf": "file",
    "oo_level": ("O1", "O3"),
}
# What is refused, and what to do instead.
REFUSED = {
    "model": "it is always the bundle's model.onnx",
    "framework": "it is always 5, ONNX",
    "output": "the file's name says batch and chip; choose the folder with python -m export's own"
    " --output",
    "mode": "only mode 0 makes an .om",
    "input_shape": "use --batch_sizes or --dynamic_batch_size",
    "input_shape_range": "ATC has deprecated it: use --dynamic_batch_size",
    "input_format": "it is always NCHW",
    "dynamic_image_size": "the network's size is fixed: use --dynamic_batch_size",
    "dynamic_dims": "the network's size is fixed: use --dynamic_batch_size",
    "insert_op_conf": "use --aipp, which derives it from the model",
    "input_fp16_nodes": "use --aipp: it halves the copy again",
    "out_nodes": "the outputs are landmarks and covariance",
    "auto_tune_mode": "ATC refuses it now: tune with AOE",
    "allow_hf32": "ATC reserves it: choose --precision_mode_v2",
    "external_weight": "a bundle carries the weights inside the .om",
    "check_report": "use python -m export.preflight",
}


class AtcTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The [atc] table of a configuration: ATC's own names, and four of ours.

    Attributes:
        soc_version: the exact chip, "auto" for this machine's, or "" where nothing is converted.
        batch_sizes: (ours) one static .om for each.
        dynamic_batch_size: gears, for example "1,2,4,8": one .om for all of them.
        aipp: (ours) the chip normalises; the .om then takes uint8 crops.
        timeout_s: (ours) seconds one conversion may take.
        passed_on: (ours) what follows "--" on the command line, or --name=value here.
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
    op_select_implmode: str = ""
    optypelist_for_implmode: str = ""
    output_type: str = ""
    aipp: bool = False
    timeout_s: float = 7200.0
    passed_on: tuple[str, ...] = ()

    @property
    def precision(self) -> str:
        """As the manifest says it."""
        if self.precision_mode_v2:
            return f"precision_mode_v2={self.precision_mode_v2}"
        if self.precision_mode:
            return f"precision_mode={self.precision_mode}"
        return DEFAULT_PRECISION

    @property
    def keeps_float32(self) -> bool:
        """Whether every operator is to keep the graph's own dtype."""
        return self.precision_mode in ORIGIN_MODES or self.precision_mode_v2 in ORIGIN_MODES

    @property
    def gears(self) -> tuple[int, ...]:
        """Ascending; empty for static batches."""
        tokens = self.dynamic_batch_size.split(",") if self.dynamic_batch_size else []
        return tuple(sorted(int(token) for token in tokens))


FILE_OPTIONS = ("keep_dtype", "customize_dtypes", "op_precision_mode", "modify_mixlist")
LARGEST_BATCH = 2048
MOST_GEARS, MOST_GEARS_950 = 100, 256


def check_atc(table: AtcTable, where: str) -> None:
    """Refuse what ATC would refuse for any graph and chip.

    Raises:
        ConfigError: names the option, its value, what is expected.
    """
    _check_batches(table, where)
    _check_precision(table, where)
    _among(f"{where}: op_select_implmode", table.op_select_implmode, IMPL_MODES)
    if table.optypelist_for_implmode and not table.op_select_implmode:
        raise _refused(
            f"{where}: optypelist_for_implmode",
            "op_select_implmode beside it",
            "none",
            "Name both, or write an op_precision_mode file",
        )
    if table.output_type not in ("", "FP32", "FP16"):
        raise _refused(
            f"{where}: output_type", "FP32 or FP16", repr(table.output_type), "Leave it out"
        )
    for name in FILE_OPTIONS:
        _check_file(f"{where}: {name}", getattr(table, name))
    if not 1 <= table.timeout_s <= 7 * 86400:
        raise _refused(f"{where}: timeout_s", "1 s to a week", repr(table.timeout_s), "Correct it")
    passed_on(table.passed_on)


def check_for_chip(table: AtcTable, soc: Soc, where: str) -> None:
    """Refuse what this chip has no arithmetic or no room for.

    Raises:
        ConfigError: names mode and chip.
    """
    mode = table.precision_mode or table.precision_mode_v2
    if ("bf16" in mode or "bfloat16" in mode) and soc.family not in BF16_FAMILIES:
        raise _refused(
            f"{where}: {table.precision}",
            f"a mode that {soc.name} has: it lacks bf16",
            repr(mode),
            "Take precision_mode_v2 = mixed_float16",
        )
    if "hif8" in mode and soc.family != "Ascend950":
        raise _refused(
            f"{where}: {table.precision}", "an Ascend950 chip", soc.name, "Take another mode"
        )
    if table.keeps_float32 and soc.family in FP16_CUBE_FAMILIES:
        # inferred: no fp32 convolution is listed for these chips
        raise _refused(
            f"{where}: {table.precision}",
            f"a mode that {soc.name} has: its convolutions are fp16 only",
            repr(mode),
            "Take allow_fp32_to_fp16 (convolutions in fp16, the rest in fp32)",
        )
    most = MOST_GEARS_950 if soc.family == "Ascend950" else MOST_GEARS
    if len(table.gears) > most:
        raise _refused(
            f"{where}: dynamic_batch_size", f"at most {most} gears", str(len(table.gears)), "Drop"
        )


def passed_on(tokens: Sequence[str]) -> dict[str, str]:
    """Read what follows "--" as ATC's own parser would, and check each value.

    Raises:
        ConfigError: not an option, unknown, refused here, without a value, or with a wrong one.
    """
    found: dict[str, str] = {}
    left = list(tokens)
    while left:
        token = left.pop(0)
        match = re.fullmatch(r"--?([A-Za-z][A-Za-z0-9_-]*)(?:=(.*))?", token, re.DOTALL)
        if match is None:
            raise _refused("after --", "ATC's options, --name=value", repr(token), "Correct it")
        name, value = match.group(1).replace("-", "_"), match.group(2)
        if value is None:
            if not left:
                raise _refused(f"after --: --{name}", "a value", "none", f"Write --{name}=VALUE")
            value = left.pop(0)
        if name in found:
            raise _refused(f"after --: --{name}", "each option once", "it twice", "Drop one")
        _check_passed_on(name, value)
        found[name] = value
    if "compress_weight_conf" in found and "enable_compress_weight" in found:
        raise _refused(
            "after --",
            "one of --enable_compress_weight and --compress_weight_conf",
            "both",
            "Drop one",
        )
    return found


def _check_passed_on(name: str, value: str) -> None:
    where = f"after --: --{name}"
    if name in REFUSED:
        raise _refused(where, "an option that may be chosen", "this one", REFUSED[name])
    if name in AtcTable.__struct_fields__:
        raise _refused(where, "it before the --", "it after", f"Write --{name} {value} before --")
    if name not in PASSED_ON:
        near = difflib.get_close_matches(name, [*PASSED_ON, *AtcTable.__struct_fields__], n=1)
        raise _refused(
            where,
            f"one of {', '.join(PASSED_ON)}",
            "an option this version does not know",
            f"Did you mean --{near[0]}" if near else "Leave it out",
        )
    kind = PASSED_ON[name]
    if isinstance(kind, tuple):
        _among(where, value, kind)
        if not value:
            raise _refused(where, f"one of {', '.join(kind)}", "nothing", "Name one")
    elif kind == "file":
        _check_file(where, value, required=True)
    elif kind == "folder" and not Path(value).is_dir():
        raise _refused(where, "a folder that exists", repr(value), "Make it first")


def _check_batches(table: AtcTable, where: str) -> None:
    if table.batch_sizes and table.dynamic_batch_size:
        raise _refused(
            f"{where}: batch_sizes and dynamic_batch_size",
            "one of the two",
            "both",
            "Static batches run faster, gears need one file",
        )
    sizes = table.batch_sizes
    if len(set(sizes)) < len(sizes) or not all(1 <= size <= LARGEST_BATCH for size in sizes):
        raise _refused(
            f"{where}: batch_sizes",
            f"different batches of 1 to {LARGEST_BATCH}",
            str(sizes),
            "Correct it",
        )
    text = table.dynamic_batch_size
    if not text:
        return
    tokens = text.split(",")
    good = all(t.isascii() and t.isdecimal() and 1 <= int(t) <= LARGEST_BATCH for t in tokens)
    if not good or len({int(t) for t in tokens}) != len(tokens) or len(tokens) < 2:
        raise _refused(
            f"{where}: dynamic_batch_size",
            f"2 or more different batches of 1 to {LARGEST_BATCH}, for example 1,2,4,8",
            repr(text),
            "One batch alone is batch_sizes",
        )


def _check_precision(table: AtcTable, where: str) -> None:
    if table.precision_mode and table.precision_mode_v2:
        raise _refused(
            f"{where}: precision_mode and precision_mode_v2",
            "one of the two",
            "both",
            "Keep precision_mode_v2, unless this CANN is older than it",
        )
    _among(f"{where}: precision_mode", table.precision_mode, PRECISION_MODES)
    _among(f"{where}: precision_mode_v2", table.precision_mode_v2, PRECISION_MODES_V2)
    mixed = PRECISION_MODES.get(table.precision_mode) or PRECISION_MODES_V2.get(
        table.precision_mode_v2
    )
    if table.modify_mixlist and not mixed:
        raise _refused(
            f"{where}: modify_mixlist",
            "a mixed precision mode beside it, for example precision_mode_v2 = mixed_float16",
            table.precision,
            "Choose one, or leave the list out",
        )


def _among(where: str, value: str, allowed: Sequence[str] | dict[str, bool]) -> None:
    if value and value not in allowed:
        near = difflib.get_close_matches(value, list(allowed), n=1)
        action = f"Did you mean {near[0]}" if near else "Choose one of them"
        raise _refused(where, f"one of {', '.join(allowed)}", repr(value), action)


def _check_file(where: str, value: str, *, required: bool = False) -> None:
    if (value or required) and not Path(value).is_file():
        raise _refused(where, "a file", repr(value), "Check its path")


def _refused(where: str, expected: str, got: str, action: str) -> ConfigError:
    return ConfigError(where, expected=expected, got=got, action=action)
