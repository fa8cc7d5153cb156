"""Precision: the modes, the files that override them, and the arithmetic that comes out.

Source: ATC manual --precision_mode, --precision_mode_v2, --op_precision_mode, --modify_mixlist,
--keep_dtype, --customize_dtypes; default force_fp16 for inference: hicann/ge nn_engine
fe_context_utils.cc. The files: hicann/ge nn_engine utils/common/config_parser (three parsers),
keep_dtype_option.cc. A name that nothing bears is passed over, and only the log has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cann.atc_simulator.flags import Flags
from cann.atc_simulator.messages import bad, fail
from cann.atc_simulator.socs import Chip

if TYPE_CHECKING:
    from onnx import NodeProto

V1_TO_V2 = {
    "force_fp16": "fp16",
    "must_keep_origin_dtype": "origin",
    "force_fp32": "cube_fp16in_fp32out",
    "cube_fp16in_fp32out": "cube_fp16in_fp32out",
    "allow_fp32_to_fp16": "cube_fp16in_fp32out",  # inferred: vector operators stay fp32
    "allow_mix_precision": "mixed_float16",
    "allow_mix_precision_fp16": "mixed_float16",
    "allow_mix_precision_bf16": "mixed_bfloat16",
    "allow_fp32_to_bf16": "mixed_bfloat16",
}
MIXED_V1 = ("allow_mix_precision", "allow_mix_precision_fp16", "allow_mix_precision_bf16")
MIXED_V2 = ("mixed_float16", "mixed_bfloat16", "mixed_hif8")
_OP_VALUES = """
high_precision high_performance enable_float_32_execution enable_hi_float_32_execution
support_out_of_bound_index keep_fp16 super_performance norm_class
"""
OP_VALUES = set(_OP_VALUES.split())
# float32: so the manual's examples; GE's own names are float and bf16
DTYPES = {"float16", "float32", "float", "bf16", "int8", "uint8", "int32", "int64", "bool", ""}
# Ascend's operator types, where their names differ from ONNX's
ASCEND_TYPES = {
    "Conv2D": ("Conv",),
    "Conv3D": ("Conv",),
    "Conv2DTransposeD": ("ConvTranspose",),
    "MatMulV2": ("MatMul", "Gemm"),
    "BatchMatMulV2": ("MatMul",),
    "InstanceNorm": ("InstanceNormalization",),
    "BatchNorm": ("BatchNormalization",),
    "BNInfer": ("BatchNormalization",),
    "MaxPoolV3": ("MaxPool",),
    "RealDiv": ("Div",),
    "ReduceSumD": ("ReduceSum",),
    "ReduceMeanD": ("ReduceMean",),
    "SoftmaxV2": ("Softmax",),
    "ResizeNearestNeighborV2": ("Resize",),
    "ConcatD": ("Concat",),
    "StridedSliceV2": ("Slice",),
    "ClipByValue": ("Clip",),
}
MATRIX_TYPES = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_CUSTOM_LINE = re.compile(
    r"(?:OpType::(?P<type>\w+):|(?P<name>[^:]+)::?)"
    r"(?:InputDtype:(?P<in>[\w,]*?))?(?:,?OutputDtype:(?P<out>[\w,]*))?"
)


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The arithmetic an OM stands for: as rehearsed, and the nodes kept in fp32."""

    arithmetic: str  # "fp16", "fp32", "hf32" or "mixed"
    keep_fp32: list[str] = field(default_factory=list)


def check_early(flags: Flags) -> None:
    """The checks made before the model is read, in atc's order.

    Raises:
        AtcError: E10001, E10006 or E10056.
    """
    if flags["is_weight_clip"] not in ("0", "1"):
        raise fail("E10006", parameter="is_weight_clip", value=flags["is_weight_clip"])
    v1, v2 = flags["precision_mode"], flags["precision_mode_v2"]
    if v1 and v2:
        raise fail("E10056", parameter1="--precision_mode", parameter2="--precision_mode_v2")
    if flags["modify_mixlist"] and v1 not in MIXED_V1 and v2 not in MIXED_V2:
        raise bad(
            "--modify_mixlist",
            flags["modify_mixlist"],
            "Modify_mixlist is set. Please ensure that the precision mode is a mixed one.",
        )


def mode_of(flags: Flags, chip: Chip) -> str:
    """The mode under its newer name; force_fp16 on every chip unless told otherwise.

    Raises:
        AtcError: E10001: the chip has no bf16 or hif8 (inferred).
    """
    asked = flags["precision_mode_v2"] or flags["precision_mode"] or "fp16"
    mode = V1_TO_V2.get(asked, asked)
    option = "--precision_mode_v2" if flags["precision_mode_v2"] else "--precision_mode"
    if mode == "mixed_bfloat16" and not chip.bf16:
        raise bad(option, asked, f"{chip.name} does not support bfloat16.")
    if mode in ("cube_hif8", "mixed_hif8") and not chip.hif8:
        raise bad(option, asked, f"{chip.name} does not support hifloat8.")
    return mode


def resolve(
    flags: Flags, chip: Chip, nodes: Iterable[NodeProto], renamed: Collection[str]
) -> Precision:
    """Decide the arithmetic for a graph.

    Args:
        flags: the command line.
        chip: what it is for.
        nodes: of the ONNX graph.
        renamed: those that bear other names after parsing.

    Raises:
        AtcError: E10001, E20003, E20101 or E21002 for a wrong file; EZ3002 where the cube unit
            lacks fp32.
    """
    nodes = list(nodes)
    own = {node.name for node in nodes} - set(renamed)
    mode = mode_of(flags, chip)
    modes_of_ops = _op_modes(flags["op_precision_mode"], nodes, own)
    black = _black_listed(flags["modify_mixlist"])
    kept = _of_types(nodes, black)
    kept |= _kept(flags["keep_dtype"], nodes)
    forced_up, forced_down = _customized(flags["customize_dtypes"], nodes, own)
    kept = (kept | forced_up) - forced_down
    ordered = [node.name for node in nodes if node.name in kept]
    if mode == "origin":
        if forced_down:
            raise fail(
                "E10055", reason="the simulator cannot put single nodes into fp16 under origin"
            )
        return Precision(arithmetic=_origin(chip, nodes, modes_of_ops))
    if not chip.cube_fp32:
        _refuse_fp32_cube(chip, [node for node in nodes if node.name in kept])
    mixed = mode in ("cube_fp16in_fp32out", "mixed_bfloat16", "cube_hif8", "mixed_hif8")
    return Precision(arithmetic="mixed" if mixed else "fp16", keep_fp32=ordered)


def _origin(chip: Chip, nodes: list[NodeProto], modes_of_ops: dict[str, str]) -> str:
    if not chip.cube_fp32:
        _refuse_fp32_cube(chip, nodes)
    if not chip.hf32:
        return "fp32"
    convolutions = [node.name for node in nodes if node.op_type == "Conv"]
    full = all(modes_of_ops.get(name) == "enable_float_32_execution" for name in convolutions)
    return "fp32" if full else "hf32"


def _refuse_fp32_cube(chip: Chip, nodes: list[NodeProto]) -> None:
    for node in nodes:
        if node.op_type in MATRIX_TYPES:
            optype = "Conv2D" if node.op_type == "Conv" else node.op_type
            raise fail(
                "EZ3002",
                optype=optype,
                reason=f"data type DT_FLOAT of input [x] of [{node.name}] is not supported by the "
                f"cube unit of {chip.name}. All supported data types are: DT_FLOAT16, DT_INT8",
            )


def _op_modes(path: str, nodes: list[NodeProto], own: set[str]) -> dict[str, str]:
    """Node name -> value of --op_precision_mode's file; names win over types.

    Lines are of types until [ByNodeName]; other sections and unknown values are passed over.
    """
    by_type: dict[str, str] = {}
    by_name: dict[str, str] = {}
    current = by_type
    for line in _lines(path, "--op_precision_mode"):
        name, equals, value = (part.strip() for part in line.partition("="))
        if line.startswith("#"):
            continue
        if not equals:
            current = {"[ByOpType]": by_type, "[ByNodeName]": by_name}.get(name, current)
        elif value in OP_VALUES:
            current.setdefault(name, value)
    modes: dict[str, str] = {}
    for name, value in by_type.items():
        modes.update(dict.fromkeys(_of_types(nodes, {name}), value))
    return modes | {name: value for name, value in by_name.items() if name in own}


def _of_types(nodes: list[NodeProto], types: Iterable[str]) -> set[str]:
    """Names of the nodes that become operators of these Ascend types."""
    wanted = {onnx for one in types for onnx in ASCEND_TYPES.get(one, (one,))}
    return {node.name for node in nodes if node.op_type in wanted}


def _black_listed(path: str) -> set[str]:
    if not path:
        return set()

    lists = {"black-list", "white-list", "gray-list"}
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        assert set(document) <= lists, "a list of another name"
        for changes in document.values():
            assert set(changes) <= {"to-add", "to-remove"}, "a change of another name"
            assert all(isinstance(types, list) for types in changes.values()), "no list of types"
        return set(document.get("black-list", {}).get("to-add", []))
    except (OSError, ValueError, TypeError, AttributeError, AssertionError) as error:
        raise fail("E21002", file=path, reason=str(error)) from None


def _kept(path: str, nodes: list[NodeProto]) -> set[str]:
    """--keep_dtype: one node name or OpType::Type a line; names are ONNX's, too."""
    kept: set[str] = set()
    for line in _lines(path, "--keep_dtype"):
        kind, _, rest = line.partition("::")
        kept |= (
            _of_types(nodes, {rest})
            if kind == "OpType"
            else {node.name for node in nodes if node.name == line}
        )
    return kept


def _customized(path: str, nodes: list[NodeProto], own: set[str]) -> tuple[set[str], set[str]]:
    """--customize_dtypes: the nodes put into fp32, and those taken out of it."""
    up: set[str] = set()
    down: set[str] = set()
    for line in _lines(path, "--customize_dtypes", blanks=True):
        parts = _CUSTOM_LINE.fullmatch(line)
        if not parts or (parts["in"] is None and parts["out"] is None):
            reason = "The content format of the file is incorrect"
            raise fail("E20101", value=path, parameter="--customize_dtypes", reason=reason)
        dtypes = [one for one in f"{parts['in'] or ''},{parts['out'] or ''}".split(",") if one]
        if unknown := set(dtypes) - DTYPES:
            raise fail("E20003", file=path, parameter="customize_dtypes", reason=min(unknown))
        found = _of_types(nodes, {parts["type"]}) if parts["type"] else {parts["name"]} & own
        if set(dtypes) <= {"float32", "float"}:
            up |= found
        else:
            down |= found
    return up - down, down


def _lines(path: str, option: str, *, blanks: bool = False) -> list[str]:
    if not path:
        return []
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise bad(option, path, f"the file cannot be read: {error!r}") from None
    return [line.strip() for line in text.splitlines() if blanks or line.strip()]
