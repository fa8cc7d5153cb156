"""From a checked command line to an OM: parse, prepare, compile, write.

The order is atc's: chip, static shapes, model file, parser, shapes against the model, precision
files, AIPP, gears, operators. Sources: hicann/ge api/atc/main_impl.cc, omg.cc.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cann.atc_simulator import aipp as aipp_file
from cann.atc_simulator import faults as injected
from cann.atc_simulator import precision as precisions
from cann.atc_simulator import shapes as shape_options
from cann.atc_simulator.flags import Flags
from cann.atc_simulator.messages import AtcError, Journal, bad, fail, injected_message
from cann.atc_simulator.socs import Chip, chip_of
from cann.om_writer import INOUT_INFO, ITEM_BYTES, WEIGHTS_DATA, inout_info, write_om

if TYPE_CHECKING:  # onnx takes half a second: only a run that reaches the parser pays it
    import onnx
    from cann.atc_simulator.terminals import Port

HIDDEN_INPUT = "ascend_mbatch_shape_data"
NCHW, NHWC, ND = 0, 1, 2
UINT8, INT32 = 4, 3
_DOT_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Built:
    """The file's content."""

    model: onnx.ModelProto
    description: dict[str, Any]
    memory_bytes: int


def build(flags: Flags, command_line: str, journal: Journal, fault: str) -> None:
    """Build one OM.

    Raises:
        AtcError: whatever atc refuses.
    """
    chip = chip_of(flags["soc_version"], flags.release)
    _check_work_places(flags)
    plan = shape_options.gears_and_shapes(flags)
    if not plan.gears and flags["input_shape"]:
        plan = shape_options.static_shapes(flags["input_shape"])
    built = _model(flags, chip, plan, journal)
    _compile(flags, fault)
    _write(flags, built, chip, command_line, fault)


def _check_work_places(flags: Flags) -> None:
    """Places that must be there, checked when the compiler starts (inferred: E10001)."""
    folders = ("debug_dir", "op_compiler_cache_dir")
    for name in (*folders, "fusion_switch_file", "customize_dtypes", "modify_mixlist"):
        there = Path(flags[name]).is_dir() if name in folders else Path(flags[name]).is_file()
        if flags[name] and not there:
            raise bad(f"--{name}", flags[name], "it does not exist")
    for name in ("compression_optimize_conf", "input_hint_shape", "singleop", "out_nodes"):
        if flags[name]:
            raise fail("E10055", reason=f"the simulator has no --{name}")
    if flags["external_weight"] != "0" or flags["save_original_model"] == "true":
        raise fail("E10055", reason="the simulator writes one .om and nothing beside it")


def _model(flags: Flags, chip: Chip, plan: shape_options.ShapePlan, journal: Journal) -> Built:
    from cann.atc_simulator import network, onnx_parser, plugins, terminals

    model = onnx_parser.load(flags["model"])
    onnx_parser.parse(model, flags.release)
    half = terminals.make_inputs_half(model.graph, flags["input_fp16_nodes"])
    shapes = network.effective_shapes(model.graph, plan.shapes, may_be_unknown=bool(plan.gears))
    opset = next(e.version for e in model.opset_import if e.domain in ("", "ai.onnx"))
    nodes = list(onnx_parser.every_node(model.graph))
    renamed = {node.name for node in nodes if plugins.expands(node, opset)}
    precision = precisions.resolve(flags, chip, nodes, renamed)
    aipp = _aipp(flags, shapes, half)
    if plan.gears:
        shape_options.check_gears(plan.gears, soc_version=flags["soc_version"])
    plugins.rewrite(model.graph, journal)
    names = terminals.output_names(model.graph)
    terminals.change_output_types(model.graph, flags["output_type"])
    stored = network.infer(model, shapes)
    network.check_fit(stored.graph)
    inputs, outputs = terminals.ports(stored.graph, names)
    for gear in sorted(plan.gears):  # atc compiles every gear: each must fit
        sized = {name: [gear if dim < 0 else dim for dim in dims] for name, dims in shapes.items()}
        at_gear = network.infer(model, sized).graph
        network.check_fit(at_gear)
        _, outputs = terminals.ports(at_gear, names)
    if any(-1 in port.dims for port in outputs):
        raise fail("E19999", reason=f"the shape of an output is unknown: {outputs}")
    return Built(
        model=stored,
        memory_bytes=sum(_bytes(port) for port in (*inputs, *outputs)),
        description={
            "inputs": _described_inputs(inputs, aipp, hidden=bool(plan.gears)),
            "outputs": [_described(port, ND) for port in outputs],
            "gears": sorted(plan.gears),
            "precision": precision.arithmetic,
            "keep_fp32": precision.keep_fp32,
            "aipp": aipp.payload() if aipp else None,
        },
    )


def _aipp(flags: Flags, shapes: shape_options.Shapes, half: list[str]) -> aipp_file.Aipp | None:
    if not flags["insert_op_conf"]:
        return None
    name, shape = next(iter(shapes.items()))
    fields = aipp_file.read(flags["insert_op_conf"])
    aipp = aipp_file.understand(fields, shape, flags["input_format"])
    if name in half:
        raise fail("E10034", opname=name)
    return aipp


def _described_inputs(
    inputs: list[Port], aipp: aipp_file.Aipp | None, *, hidden: bool
) -> list[dict[str, object]]:
    described = [_described(port, NCHW if len(port.dims) == 4 else ND) for port in inputs]
    if aipp:
        dims = [inputs[0].dims[0], aipp.height, aipp.width, 3]
        described[0] |= {"dims": dims, "dtype": UINT8, "format": NHWC}
    if hidden:
        described.append({"name": HIDDEN_INPUT, "dims": [1], "dtype": INT32, "format": ND})
    return described


def _described(port: Port, layout: int) -> dict[str, object]:
    return {"name": port.name, "dims": port.dims, "dtype": port.dtype, "format": layout}


def _bytes(port: Port) -> int:
    return ITEM_BYTES[port.dtype] * math.prod(abs(dim) for dim in port.dims)


def _compile(flags: Flags, fault: str) -> None:
    """What operator compilation does to the outside: time, dots, and litter in the folder."""
    base = Path(os.environ.get("ASCEND_WORK_PATH") or ".")
    folder = Path(flags["debug_dir"] or base)
    try:
        (folder / "kernel_meta").mkdir(parents=True, exist_ok=True)
        (folder / "kernel_meta" / f"kernel_meta_{os.getpid()}_simulated.json").write_text("{}\n")
        (base / "fusion_result.json").write_text('{"simulated": true}\n')
    except OSError as error:
        raise fail("E13004", file=str(error.filename), errmsg=error.strerror) from None
    injected.show_processes(os.getpid())
    until = time.monotonic() + float(os.environ.get("CANNSIM_ATC_SECONDS") or 0)
    while time.monotonic() < until:
        print(".", end="", flush=True)  # as the operator compiler does: no newline
        time.sleep(_DOT_S)
    if fault == "oom":
        injected.die()
    if fault == "hang":
        injected.hang()
    if fault.startswith("E"):
        raise AtcError(injected_message(fault))
    if fault == "silent-failure":
        raise fail("E19999", reason="injected: a failure whose exit code is 0")


def _write(flags: Flags, built: Built, chip: Chip, command_line: str, fault: str) -> None:
    path = Path(flags["output"] + ".om")
    if os.environ.get("CANNSIM_SUFFIX") == "1":  # of models that hold code of the host
        path = Path(f"{flags['output']}_linux_{platform.machine()}.om")
    soc = chip.name
    if fault == "wrong-soc":
        soc = "Ascend310P3" if chip.name != "Ascend310P3" else "Ascend910B3"
    attributes: dict[str, str | int | float | bool] = {
        "soc_version": soc,
        "arch_type": "2",  # as a file for Ascend310B4 has it; text, and not the NpuArch
        "atc_version": f"{flags.release.name}.simulated",
        "atc_cmdline": command_line.encode(errors="replace").decode(),
        "framework_type": "Onnx",
        "memory_size": built.memory_bytes,
        "weight_size": sum(len(one.raw_data) for one in built.model.graph.initializer),
        "stream_num": 1,
        "event_num": 0,
        "simulator": json.dumps(built.description),
    }
    about = built.description
    partitions = {
        WEIGHTS_DATA: built.model.SerializeToString(deterministic=True),
        INOUT_INFO: inout_info(about["inputs"], about["outputs"], about["gears"]),
    }
    if fault == "success-without-file":
        return
    try:
        write_om(path, name=path.stem, attributes=attributes, partitions=partitions)
    except OSError as error:
        raise fail("E13004", file=path, errmsg=error.strerror) from None
    if fault in ("truncated-file", "partial-then-die"):
        os.truncate(path, path.stat().st_size // 2)
    if fault == "partial-then-die":
        injected.die()
