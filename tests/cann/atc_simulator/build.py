"""From a checked command line to an OM: parse, prepare, compile, write.

The order is atc's: chip, static shapes, model file, parser, shapes against the model, precision
files, AIPP, gears, operators. Sources: hicann/ge api/atc/main_impl.cc, omg.cc.
"""

from __future__ import annotations

import json
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
from cann.atc_simulator.paths import check_folder, check_input
from cann.atc_simulator.socs import Chip, chip_of
from cann.om_writer import INOUT_INFO, WEIGHTS_DATA, inout_info, write_om

if TYPE_CHECKING:  # onnx takes half a second: only a run that reaches the parser pays it
    import onnx
    from cann.atc_simulator.terminals import Port

HIDDEN_INPUT = "ascend_mbatch_shape_data"
ITEM_BYTES = {0: 4, 1: 2, 2: 1, 3: 4, 4: 1, 9: 8, 12: 1}
NCHW, NHWC, ND = 0, 1, 2
UINT8, INT32 = 4, 3
_DOT_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Built:
    """What goes into the file."""

    model: onnx.ModelProto
    description: dict[str, Any]
    is_dynamic: bool
    memory_bytes: int


def build(flags: Flags, command_line: str, journal: Journal, fault: frozenset[str]) -> Path:
    """Build one OM; gives its path, which may carry a suffix.

    Raises:
        AtcError: whatever atc refuses.
    """
    chip = chip_of(flags["soc_version"], flags.release)
    _check_work_places(flags)
    plan = shape_options.check_early(flags)
    if plan.unknown and not chip.dynamic_shapes:
        raise fail("E10055", reason=f"{chip.name} does not support models of dynamic shape")
    if not plan.gear_flag and not plan.unknown and flags["input_shape"]:
        fixed = shape_options.static_shapes(flags["input_shape"])
        plan = shape_options.ShapePlan(shapes=fixed, gear_flag="", gears=[], unknown=False)
    built = _model(flags, chip, plan, journal)
    _compile(flags, fault)
    return _write(flags, built, chip, command_line, fault)


def _check_work_places(flags: Flags) -> None:
    """Folders that must be there, checked when the compiler starts (inferred: E10001)."""
    if flags["debug_dir"]:
        check_folder(flags["debug_dir"], "--debug_dir")
    if flags["op_compiler_cache_dir"]:
        check_folder(flags["op_compiler_cache_dir"], "--op_compiler_cache_dir")
    for name in ("fusion_switch_file", "customize_dtypes", "modify_mixlist"):
        if flags[name]:
            check_input(flags[name], f"--{name}")
    for name in ("compression_optimize_conf", "input_hint_shape", "singleop"):
        if flags[name]:
            raise fail("E10055", reason=f"the simulator has no --{name}")
    if flags["external_weight"] != "0" or flags["save_original_model"] == "true":
        raise fail("E10055", reason="the simulator writes one .om and nothing beside it")


def _model(flags: Flags, chip: Chip, plan: shape_options.ShapePlan, journal: Journal) -> Built:
    from cann.atc_simulator import network, onnx_parser, plugins, terminals

    model = onnx_parser.load(flags["model"])
    onnx_parser.parse(model, flags.release)
    half = terminals.make_inputs_half(model.graph, flags["input_fp16_nodes"])
    flexible = plan.unknown or bool(plan.gear_flag)
    shapes = network.effective_shapes(model.graph, plan.shapes, may_be_unknown=flexible)
    terminals.choose_outputs(model.graph, flags["out_nodes"])
    terminals.check_output_type(flags["output_type"], flags["out_nodes"])
    opset = next(e.version for e in model.opset_import if e.domain in ("", "ai.onnx"))
    nodes = list(onnx_parser.every_node(model.graph))
    renamed = {node.name for node in nodes if plugins.expands(node, opset)}
    precision = precisions.resolve(flags, chip, nodes, renamed)
    aipp = _aipp(flags, shapes, half)
    gears = _gears(flags, plan, shapes)
    plugins.rewrite(model.graph, journal)
    names = terminals.output_names(model.graph)
    terminals.change_output_types(model.graph, flags["output_type"])
    if flags["is_weight_clip"] == "1":
        network.clip_weights(model.graph, precision.arithmetic)
    stored = network.infer(model, shapes)
    network.check_fit(stored.graph)
    network.warn_of_slow_operators(stored.graph, journal)
    inputs, outputs = terminals.ports(stored.graph, names)
    for gear in gears:  # atc compiles every gear: each must fit
        sized = {name: [gear if dim < 0 else dim for dim in dims] for name, dims in shapes.items()}
        at_gear = network.infer(model, sized).graph
        network.check_fit(at_gear)
        _, outputs = terminals.ports(at_gear, names)
    if (gears or not plan.unknown) and any(-1 in port.dims for port in outputs):
        if gears or network.has_data_dependent_shapes(model.graph):
            raise fail("E19999", reason="a network whose operators have dynamic shapes: no gears")
        raise fail("E19999", reason=f"the shape of an output is unknown: {outputs}")
    return Built(
        model=stored,
        is_dynamic=plan.unknown,
        memory_bytes=_bytes(outputs) + _bytes(inputs),
        description={
            "inputs": _described_inputs(inputs, aipp, hidden=bool(gears)),
            "outputs": [_described(port, ND) for port in outputs],
            "gears": gears,
            "precision": precision.arithmetic,
            "keep_fp32": precision.keep_fp32,
            "aipp": aipp.payload() if aipp else None,
            "opset": opset,
        },
    )


def _aipp(flags: Flags, shapes: shape_options.Shapes, half: list[str]) -> aipp_file.Aipp | None:
    if not flags["insert_op_conf"]:
        return None
    blocks = aipp_file.read(flags["insert_op_conf"])
    aipp = aipp_file.understand(blocks, list(shapes.values()), flags["input_format"])
    name = list(shapes)[aipp.input_index]
    if name in half:
        raise fail("E10034", opname=name)
    return aipp


def _gears(flags: Flags, plan: shape_options.ShapePlan, shapes: shape_options.Shapes) -> list[int]:
    if not plan.gear_flag:
        return []
    shape_options.check_gears(plan.gears, soc_version=flags["soc_version"])
    left = [
        name for name, dims in shapes.items() if -1 in dims and -1 not in plan.shapes.get(name, [])
    ]
    if left:
        raise bad("--input_shape", "NULL", f"the shape of input {left[0]} is unknown")
    if plan.gear_flag != "dynamic_batch_size":
        raise fail("E10055", reason=f"the simulated device has no --{plan.gear_flag}")
    return sorted(gear[0] for gear in plan.gears)


def _described_inputs(
    inputs: list[Port], aipp: aipp_file.Aipp | None, *, hidden: bool
) -> list[dict[str, object]]:
    described = []
    for index, port in enumerate(inputs):
        if aipp and index == aipp.input_index:
            dims = [port.dims[0], aipp.height, aipp.width, 3]
            entry: dict[str, object] = {"name": port.name, "dims": dims}
            described.append({**entry, "dtype": UINT8, "format": NHWC})
        else:
            described.append(_described(port, NCHW if len(port.dims) == 4 else ND))
    if hidden:
        described.append({"name": HIDDEN_INPUT, "dims": [1], "dtype": INT32, "format": ND})
    return described


def _described(port: Port, layout: int) -> dict[str, object]:
    return {"name": port.name, "dims": port.dims, "dtype": port.dtype, "format": layout}


def _bytes(ports: list[Port]) -> int:
    total = 0
    for port in ports:
        size = ITEM_BYTES[port.dtype]
        for dim in port.dims:
            size *= abs(dim)
        total += size
    return total


def _compile(flags: Flags, fault: frozenset[str]) -> None:
    """What operator compilation does to the outside: time, dots, and litter in the folder."""
    base = Path(os.environ.get("ASCEND_WORK_PATH") or ".")
    folder = Path(flags["debug_dir"]) if flags["debug_dir"] else base
    try:
        (folder / "kernel_meta").mkdir(parents=True, exist_ok=True)
        (folder / "kernel_meta" / f"kernel_meta_{os.getpid()}_simulated.json").write_text("{}\n")
        (base / "fusion_result.json").write_text('{"simulated": true}\n')
        if flags["op_compiler_cache_mode"] != "disable":
            cache = Path(flags["op_compiler_cache_dir"] or Path.home() / "atc_data")
            (cache / "kernel_cache").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise fail("E13004", file=str(error.filename), errmsg=error.strerror) from None
    injected.show_processes(os.getpid())
    until = time.monotonic() + float(os.environ.get("CANNSIM_ATC_SECONDS") or 0)
    while time.monotonic() < until:
        print(".", end="", flush=True)  # as the operator compiler does: no newline
        time.sleep(_DOT_S)
    injected.while_compiling(fault)
    if code := injected.error_code(fault):
        raise AtcError(injected_message(code))
    if "silent-failure" in fault:
        raise fail("E19999", reason="injected: a failure whose exit code is 0")


def _write(
    flags: Flags, built: Built, chip: Chip, command_line: str, fault: frozenset[str]
) -> Path:
    path = Path(flags["output"] + ".om")
    if built.is_dynamic or os.environ.get("CANNSIM_SUFFIX") == "1":
        path = Path(f"{flags['output']}_linux_{platform.machine()}.om")
    weights = built.model.SerializeToString(deterministic=True)
    soc = chip.name
    if "wrong-soc" in fault:
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
    described = inout_info(about["inputs"], about["outputs"], about["gears"])
    if "success-without-file" in fault:
        return path
    try:
        write_om(
            path,
            name=path.name.removesuffix(".om"),
            attributes=attributes,
            partitions={WEIGHTS_DATA: weights, INOUT_INFO: described},
            is_dynamic=built.is_dynamic,
        )
    except OSError as error:
        raise fail("E13004", file=path, errmsg=error.strerror) from None
    if fault & {"truncated-file", "partial-then-die"}:
        os.truncate(path, path.stat().st_size // 2)
    if "partial-then-die" in fault:
        injected.die()
    return path
