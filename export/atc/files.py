"""The files that ATC's precision options name, held to the grammar ATC reads and to the graph.

Today's ATC passes over a name that the graph does not have, and the precision asked for is then not
there [V: ge keep_dtype_option.cc, KeepDtypeReportError, which only logs it]; older ones refuse it.

`--customize_dtypes` and `[ByNodeName]` look for a node by the name it has in ATC's own graph
[V: ge format_dtype_setter.cc:296, op_setter.cc:270]. A node that the parser replaces by several
leaves `PartitionedCall_NAME_TYPE_N`; one that it replaces by a single node, constants of its own
included, keeps its name [V: ge parser_utils.cc:30-104]. `--keep_dtype` looks for the ONNX name,
too [V: keep_dtype_option.cc:106]. Of the operators our graphs are made of, Conv, MaxPool, Clip and
Concat become one node each, and so does Slice from opset 10 on [V: ops-nn conv_onnx_plugin.cpp,
max_pool_onnx_plugin.cpp; ops-math clip_onnx_plugin.cpp, concat_onnx_plugin.cpp,
slice_onnx_plugin.cpp]; ATC's own fusions may rename any.

Source: ge docs, keep_dtype, customize_dtypes, op_precision_mode [V].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

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
from runtime.machine.soc import FP16_CUBE_FAMILIES, Soc

# Other values ATC passes over [V: ge op_impl_mode_config_parser.cc, kSupportImpyType].
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
# A line of each file whose lines name nodes and types.
EXAMPLES = {
    "keep_dtype": f"a node's name or {OF_TYPE}TYPE on each line",
    "customize_dtypes": "NAME::InputDtype:float16,OutputDtype:float32, or"
    " OpType::TYPE:InputDtype:...",
    "op_precision_mode": f"Conv2D=high_precision or the like, under {BY_TYPE}",
}
DEFAULT_DOMAINS = ("", "ai.onnx")
_NEVER = 1 << 30
# ONNX operator -> Ascend's type of the node that computes it, and the opset that ended it.
# Resize: sizes are computed by nodes of its own [V: ops-nn resize_onnx_plugin.cpp]. Split and, with
# axes as an attribute, the reductions: a constant of their own [V: ops-math split_onnx_plugin.cpp,
# reduce_sum_onnx_plugin.cpp, reduce_mean_onnx_plugin.cpp].
_EXPANDED = {
    "Resize": ("ResizeNearestNeighborV2", _NEVER),
    "Split": ("SplitV", _NEVER),
    "ReduceSum": ("ReduceSum", 13),
    "ReduceMean": ("ReduceMean", 13),
}


class Expanded(NamedTuple):
    """A node that ATC replaces by several: its ONNX operator, and Ascend's type for it."""

    operator: str
    ascend_type: str


def expanded_nodes(graph: bytes) -> dict[str, Expanded]:
    """The nodes whose names ATC's own graph does not have, by their names in the ONNX graph."""
    import onnx  # only where it is needed: an export that is up to date reads no graph

    model = onnx.load_model_from_string(graph)
    opset = max((o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS), default=0)
    found = {}
    for node in model.graph.node:
        ascend_type, ended = _EXPANDED.get(node.op_type, ("", 0))
        if opset < ended:
            found[node.name] = Expanded(node.op_type, ascend_type)
    return found


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A line of a setting file: the node or type it names, and the value it sets."""

    where: str
    name: str
    of_type: bool
    value: str = ""

    @property
    def keeps_fp32(self) -> bool:
        """Whether it asks for fp32."""
        if self.value in ("float32", "enable_float_32_execution"):
            return True
        return "InputDtype:float32" in self.value or "InputDtype:float," in f"{self.value},"


def check_setting_files(
    table: AtcTable,
    types_by_node: Mapping[str, str] | None = None,
    soc: Soc | None = None,
    *,
    expanded: Mapping[str, Expanded] | None = None,
) -> tuple[str, ...]:
    """Check every file that the table names, and the lines that name nodes or types.

    Args:
        table: the [atc] table.
        types_by_node: the graph's nodes and their ONNX operators; None checks the grammar alone.
        soc: the chip; None checks nothing of it.
        expanded: those of the nodes that ATC's parser expands.

    Returns:
        Warnings: a line that may change nothing, or that the chip may not have.

    Raises:
        ConfigError: names the file, the line, and what is expected.
    """
    warnings: list[str] = []
    for option in FILE_OPTIONS:
        path = getattr(table, option)
        if not path:
            continue
        text = read_setting(path, option)
        if option not in EXAMPLES:
            continue  # ATC checks it before it compiles
        lines = list(_lines(option, path, text))
        if not lines:
            raise refused(path, EXAMPLES[option], "nothing", f"Leave --{option} out")
        for line in lines:
            if line.of_type:
                check_type(line.where, line.name)
            else:
                check_node(line.where, line.name, types_by_node)
            if option != "keep_dtype":
                warnings += _vain_name(option, line, expanded or {})
            kind = (types_by_node or {}).get(line.name, line.name)
            if line.keeps_fp32 and kind in CUBE_TYPES and soc and soc.family in FP16_CUBE_FAMILIES:
                warnings.append(f"{line.where}: {line.name}: {doubt_of_float32(soc)}")
    return tuple(warnings)


def _vain_name(option: str, line: _Line, expanded: Mapping[str, Expanded]) -> Iterator[str]:
    """The warning where ATC's own graph does not have the node, with what to write instead."""
    one = expanded.get(line.name)
    if one is None or line.of_type:
        return
    instead = f"{one.ascend_type}=... under {BY_TYPE}"
    if option == "customize_dtypes":
        instead = f"{OF_TYPE}{one.ascend_type}:..., or name the node with --keep_dtype"
    yield (
        f"{line.where}: ATC expands {line.name} ({one.operator}) into nodes of other names, so that"
        f" this line changes nothing: write {instead}"
    )


def _lines(option: str, path: str, text: str) -> Iterator[_Line]:
    if option == "op_precision_mode":
        yield from _op_precisions(path, text)
        return
    for where, line in named_lines(path, text):
        of_type = line.startswith(OF_TYPE)
        if option == "keep_dtype":
            yield _Line(
                where=where, name=line.removeprefix(OF_TYPE), of_type=of_type, value="float32"
            )
            continue
        name, mark, value = line.removeprefix(OF_TYPE).partition(":" if of_type else "::")
        if not mark:
            raise refused(where, EXAMPLES[option], repr(line), "Correct it")
        yield _Line(where=where, name=name, of_type=of_type, value=value)


def _op_precisions(path: str, text: str) -> Iterator[_Line]:
    """The lines of an op_precision_mode file.

    Source: ge op_impl_mode_config_parser.cc, GetOpPrecisonModeStrFromConfigFile [V].

    Raises:
        ConfigError: a section that ATC passes over, taking its lines for those of the one before,
            or a value that it passes over.
    """
    section = BY_TYPE  # until another is named
    for where, line in named_lines(path, text):
        name, mark, value = (part.strip() for part in line.partition("="))
        if line.startswith("#"):
            continue
        if not mark and name in SECTIONS:
            section = name
        elif not mark:
            raise refused(where, f"NAME=VALUE, or {', '.join(SECTIONS)}", repr(line), "Correct it")
        elif value not in OP_PRECISIONS:
            raise refused(where, f"one of {', '.join(OP_PRECISIONS)}", repr(value), "Correct it")
        else:
            yield _Line(where=where, name=name, of_type=section == BY_TYPE, value=value)
