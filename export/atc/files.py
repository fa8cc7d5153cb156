"""The files that ATC's precision options name, held to the grammar ATC reads and to the graph.

ATC passes over a name that the graph does not have, and the precision asked for is then not there
[V: ge keep_dtype_option.cc, KeepDtypeReportError, which only logs it].
Source: ge docs, keep_dtype, customize_dtypes, op_precision_mode, modify_mixlist [V].
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from export.atc.nodes import Expanded
from export.atc.options import FILE_OPTIONS, AtcTable, doubt_of_float32
from parity.rehearsal.arithmetic import CUBE_OPERATORS
from parity.rehearsal.keep_list import (
    OF_TYPE,
    check_node,
    check_type,
    named_lines,
    read_setting,
    refused,
)
from runtime.errors import one_line
from runtime.machine.soc import FP16_CUBE_FAMILIES, Soc

# [V: ge op_impl_mode_config_parser.cc, kSupportImpyType]
OP_PRECISIONS = (
    "high_precision",
    "high_performance",
    "enable_float_32_execution",
    "enable_hi_float_32_execution",
    "support_out_of_bound_index",
    "keep_fp16",
    "super_performance",
    "norm_class",
)
# ONNX operators and Ascend types that the cube unit computes.
CUBE_TYPES = CUBE_OPERATORS | {"Conv2D", "MatMulV2"}
BY_TYPE, BY_NAME = SECTIONS = ("[ByOpType]", "[ByNodeName]")
# a dtype may be left out; ATC checks the names of dtypes [V: ge op_cust_dtypes_config_parser.cc]
CUSTOM = re.compile(r"(InputDtype|OutputDtype):\s*\w*(\s*,\s*\w*)*")


class _Lists(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    to_add: list[str] = []
    to_remove: list[str] = []


class _MixList(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    black_list: _Lists = msgspec.field(default_factory=_Lists)
    white_list: _Lists = msgspec.field(default_factory=_Lists)
    gray_list: _Lists = msgspec.field(default_factory=_Lists)


def check_setting_files(
    table: AtcTable,
    types_by_node: Mapping[str, str] | None = None,
    soc: Soc | None = None,
    *,
    expanded: Mapping[str, Expanded] | None = None,
) -> tuple[str, ...]:
    """Check every file that the table names.

    Args:
        table: the [atc] table.
        types_by_node: the graph's nodes and their ONNX operators; None checks the grammar alone.
        soc: the chip; None checks nothing of it.
        expanded: those of them that ATC's parser expands.

    Returns:
        Warnings: a line that may change nothing, or that the chip may not have.

    Raises:
        ConfigError: names the file, the line, and what is expected.
    """
    checks: dict[str, Any] = {
        "keep_dtype": _check_keep,
        "customize_dtypes": _check_customize,
        "op_precision_mode": _check_op_precision,
        "modify_mixlist": _check_mixlist,
        "fusion_switch_file": _check_switches,
    }
    for option in FILE_OPTIONS:
        path = getattr(table, option)
        if path:
            checks[option](path, read_setting(path, option), types_by_node)
    warnings = list(_vain_names(table, expanded or {}))
    if soc is not None and soc.family in FP16_CUBE_FAMILIES:
        for where, name in _kept_fp32(table):
            kind = (types_by_node or {}).get(name, name.removeprefix(OF_TYPE))
            if kind in CUBE_TYPES:
                warnings.append(f"{where}: {name}: {doubt_of_float32(soc)}")
    return tuple(warnings)


def _vain_names(table: AtcTable, expanded: Mapping[str, Expanded]) -> Iterator[str]:
    """Lines that name a node which ATC's own graph has not, with what to write instead."""
    for where, name, instead in _named_nodes(table):
        one = expanded.get(name)
        if one is not None:
            yield (
                f"{where}: ATC expands {name} ({one.operator}) into nodes of other names, so that"
                f" this line changes nothing: write {instead.format(one.ascend_type)}"
            )


def _named_nodes(table: AtcTable) -> Iterator[tuple[str, str, str]]:
    """Nodes that are looked for by ATC's own names: where, name, the form of a type instead."""
    if table.customize_dtypes:
        text = read_setting(table.customize_dtypes, "customize_dtypes")
        for where, line in named_lines(table.customize_dtypes, text):
            name, mark, _ = line.partition("::")
            if mark and name != "OpType":
                yield where, name, "OpType::{}:..., or name the node with --keep_dtype"
    for where, section, name, _ in _op_precisions(table.op_precision_mode):
        if section == BY_NAME:
            yield where, name, f"{{}}=... under {BY_TYPE}"


def _kept_fp32(table: AtcTable) -> Iterator[tuple[str, str]]:
    """Nodes and types that the files ask to have in fp32, with where it says so."""
    if table.keep_dtype:
        yield from named_lines(table.keep_dtype, read_setting(table.keep_dtype, "keep_dtype"))
    if table.customize_dtypes:
        text = read_setting(table.customize_dtypes, "customize_dtypes")
        for where, line in named_lines(table.customize_dtypes, text):
            name, _, rest = line.partition("::")
            kind, _, dtypes = rest.partition(":")
            if "InputDtype:float32" in line or "InputDtype:float," in f"{line},":
                yield where, kind if name == "OpType" and dtypes else name
    if table.modify_mixlist:
        lists = msgspec.json.decode(
            read_setting(table.modify_mixlist, "modify_mixlist"), type=_MixList
        )
        for name in lists.black_list.to_add:
            yield f"{table.modify_mixlist}: black-list", name
    for where, _, name, value in _op_precisions(table.op_precision_mode):
        if value == "enable_float_32_execution":
            yield where, name


def _check_keep(path: str, text: str, nodes: Collection[str] | None) -> None:
    lines = list(named_lines(path, text))
    if not lines:
        expected = f"a node's name or {OF_TYPE}TYPE on each line"
        raise refused(path, expected, "nothing", "Leave --keep_dtype out to keep nothing")
    for where, line in lines:
        if line.startswith(OF_TYPE):
            check_type(where, line.removeprefix(OF_TYPE))
        else:
            check_node(where, line, nodes)


def _check_customize(path: str, text: str, nodes: Collection[str] | None) -> None:
    for where, line in named_lines(path, text):
        name, mark, rest = line.partition("::")
        if name == "OpType" and mark:
            kind, mark, rest = rest.partition(":")
            check_type(where, kind)
        elif mark:
            check_node(where, name, nodes)
        parts = re.split(r",(?=Output)", rest)
        if not mark or not all(CUSTOM.fullmatch(part) for part in parts):
            raise refused(
                where,
                "NAME::InputDtype:float16,OutputDtype:float32, or OpType::TYPE:InputDtype:...",
                repr(line),
                "Correct it",
            )


def _check_op_precision(path: str, _: str, nodes: Collection[str] | None) -> None:
    lines = list(_op_precisions(path))
    if not lines:
        raise refused(path, f"Conv2D=high_precision or the like, under {BY_TYPE}", "nothing", "Add")
    for where, section, name, value in lines:
        if value not in OP_PRECISIONS:
            # which ATC passes over [V]
            raise refused(where, f"one of {', '.join(OP_PRECISIONS)}", repr(value), "Correct")
        if section == BY_NAME:
            check_node(where, name, nodes)
        else:
            check_type(where, name)


def _op_precisions(path: str) -> Iterator[tuple[str, str, str, str]]:
    """The lines of an op_precision_mode file: where, section, name, value.

    Source: ge op_impl_mode_config_parser.cc, GetOpPrecisonModeStrFromConfigFile [V].

    Raises:
        ConfigError: a section that ATC passes over, taking its lines for those of the one before.
    """
    if not path:
        return
    section = BY_TYPE  # until another is named
    for where, line in named_lines(path, read_setting(path, "op_precision_mode")):
        if line.startswith("#"):
            continue
        name, mark, value = (part.strip() for part in line.partition("="))
        if mark:
            yield where, section, name, value
        elif name in SECTIONS:
            section = name
        else:
            raise refused(where, f"NAME=VALUE, or {', '.join(SECTIONS)}", repr(line), "Correct it")


def _check_switches(path: str, text: str, _: Collection[str] | None) -> None:
    """Lines `PassName:off`, or JSON."""
    if text.lstrip().startswith("{"):
        try:
            msgspec.json.decode(text)
        except msgspec.MsgspecError as error:
            raise refused(path, "JSON", one_line(error), "Correct it") from error
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not re.fullmatch(r"\w+\s*:\s*(on|off)", line.strip()):
            raise refused(f"{path}, line {number}", "PassName:off", repr(line), "Correct it")


def _check_mixlist(path: str, text: str, _: Collection[str] | None) -> None:
    try:
        msgspec.json.decode(text, type=_MixList)
    except msgspec.MsgspecError as error:
        raise refused(
            path,
            '{"black-list": {"to-add": [...], "to-remove": [...]}, "white-list": {...}}',
            one_line(error),
            "Correct it",
        ) from error
