"""From a checked command line to an OM: parse, prepare, write. Sources: hicann/ge api/atc."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cann.atc_simulator import settings
from cann.ge_format import INOUT_INFO, WEIGHTS_DATA
from cann.om_writer import ITEM_BYTES, inout_info, write_om

if TYPE_CHECKING:  # onnx takes half a second: only a run that converts pays it
    import onnx

GEARS_INPUT = "ascend_mbatch_shape_data"
NCHW, NHWC, ND = 0, 1, 2
UINT8, INT32 = 4, 3
# numbers of ONNX's element types -> of acl's
ACL_TYPES = {1: 0, 10: 1, 3: 2, 6: 3, 2: 4, 7: 9, 9: 12}
OUTPUT_TYPES = {"FP32": 1, "FP16": 10}
# of the real path of what is read, and of what is written as it was given
# (hicann/ge base/common/util.cc, CheckInputPathValid and CheckOutputPathValid)
_PATH = re.compile(r"[\u4e00-\u9fa5A-Za-z0-9/_.-]+")
Shapes = dict[str, list[int]]


class AtcError(Exception):
    """What ends a run, by its code."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Flags(dict[str, str]):
    """The command line; "" where an option was not given."""

    def __missing__(self, _: str) -> str:
        return ""


def build(flags: Flags, command_line: str, release: str) -> None:
    """Build one OM."""
    from cann.atc_simulator import graph

    _check(flags)
    model = graph.load(flags["model"])
    half = graph.make_inputs_half(model.graph, flags["input_fp16_nodes"])
    gears = sorted({int(one) for one in flags["dynamic_batch_size"].split(",") if one})
    shapes = graph.shapes_of(model.graph, _asked(flags["input_shape"]))
    if any(dim < 0 for dims in shapes.values() for dim in dims) != bool(gears):
        raise AtcError("E10001", f"shapes {shapes} with gears {gears}")
    try:
        precision, kept = settings.arithmetic(flags, model.graph.node)
        aipp = settings.aipp(flags["insert_op_conf"], next(iter(shapes.values())))
    except (OSError, ValueError, LookupError) as error:
        raise AtcError("E10001", f"a file of an option: {error}") from error
    if aipp and half:
        raise AtcError("E10034", "Nodes connected to AIPP must not be of type fp16.")
    names = graph.output_names(model.graph)
    if flags["output_type"]:
        graph.cast_outputs(model.graph, OUTPUT_TYPES[flags["output_type"]])
    stored = graph.infer(model, shapes)
    largest = {n: [max(gears) if d < 0 else d for d in dims] for n, dims in shapes.items()}
    inputs = [_port(value, value.name) for value in graph.inputs_of(stored.graph)]
    outputs = [_port(v, names[v.name]) for v in graph.infer(model, largest).graph.output]
    memory = sum(
        ITEM_BYTES[one["dtype"]] * math.prod(map(abs, one["dims"])) for one in (*inputs, *outputs)
    )
    if aipp:
        dims = [inputs[0]["dims"][0], *inputs[0]["dims"][2:], 3]
        inputs[0] |= {"dims": dims, "dtype": UINT8, "format": NHWC}
    if gears:
        inputs.append({"name": GEARS_INPUT, "dims": [1], "dtype": INT32, "format": ND})
    described = {
        "inputs": inputs,
        "outputs": [one | {"format": ND} for one in outputs],
        "gears": gears,
        "precision": precision,
        "keep_fp32": kept,
        "aipp": aipp,
    }
    _write(flags, stored, described, memory, (command_line, release))


def _check(flags: Flags) -> None:
    for name in ("soc_version", "output", "model"):
        if not flags[name]:
            raise AtcError("E10054", f"The required parameter --{name} is empty.")
    if flags["framework"] != "5":
        raise AtcError("E10007", "--framework is required. The value must be 5(Onnx).")
    # a slice is the device's affair: no chip is called so
    if not re.fullmatch(r"Ascend\d\w*(-1)?", flags["soc_version"]) or "vir" in flags["soc_version"]:
        raise AtcError("EE1011", f"Value {flags['soc_version']} for soc_version is invalid.")
    for option, path in (("model", Path(flags["model"]).resolve()), ("output", flags["output"])):
        if not _PATH.fullmatch(str(path)):
            raise AtcError("E10001", f"Value {path} for parameter --{option} is invalid.")
    for name in ("customize_dtypes", "modify_mixlist"):
        if flags[name]:
            raise AtcError("E10055", f"the simulator has no --{name}")
    if flags["fusion_switch_file"] and not Path(flags["fusion_switch_file"]).is_file():
        raise AtcError("E10001", "--fusion_switch_file does not exist")


def _asked(text: str) -> Shapes:
    """`name:1,3,8,8;other:2`: split at the last colon, for names may hold colons."""
    parts = [item.rpartition(":") for item in text.split(";") if item]
    return {name: [int(dim) for dim in dims.split(",")] for name, _, dims in parts}


def _port(value: onnx.ValueInfoProto, name: str) -> dict[str, Any]:
    kind = value.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
    layout = NCHW if len(dims) == 4 else ND
    return {"name": name, "dims": dims, "dtype": ACL_TYPES[kind.elem_type], "format": layout}


def _write(
    flags: Flags,
    model: onnx.ModelProto,
    described: dict[str, Any],
    memory_bytes: int,
    origin: Sequence[str],
) -> None:
    """The file, and what operator compilation litters its folder with."""
    base = Path(os.environ.get("ASCEND_WORK_PATH") or ".")
    (Path(flags["debug_dir"] or base) / "kernel_meta").mkdir(parents=True, exist_ok=True)
    (base / "fusion_result.json").write_text('{"simulated": true}\n')
    path = Path(f"{flags['output']}.om")
    attributes: dict[str, str | int | float | bool] = {
        "soc_version": flags["soc_version"],
        "arch_type": "2",  # as a file for Ascend310B4 has it; text, and not the NpuArch
        "atc_version": f"{origin[1]}.simulated",
        "atc_cmdline": origin[0],
        "framework_type": "Onnx",
        "memory_size": memory_bytes,
        "weight_size": sum(len(one.raw_data) for one in model.graph.initializer),
        "stream_num": 1,
        "event_num": 0,
        "simulator": json.dumps(described),
    }
    inout = inout_info(described["inputs"], described["outputs"], described["gears"])
    content = model.SerializeToString(deterministic=True)
    partitions = {WEIGHTS_DATA: content, INOUT_INFO: inout}
    write_om(path, name=path.stem, attributes=attributes, partitions=partitions)
