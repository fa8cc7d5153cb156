"""atc's main: what it prints, in which order it checks, and how it exits.

Source: hicann/ge api/atc/main_impl.cc; for --help and unknown flags before it, gflags.
"""

from __future__ import annotations

import io
import sys

from cann.atc_simulator import faults, model_info, precision, shapes
from cann.atc_simulator.build import build
from cann.atc_simulator.flag_table import FRAMEWORKS
from cann.atc_simulator.flags import Flags, HelpWanted, UsageError, parse, usage
from cann.atc_simulator.messages import AtcError, Journal, bad, block, fail, headline
from cann.atc_simulator.paths import check_input, check_output
from cann.atc_simulator.release import Release, release
from cann.atc_simulator.socs import NANO

STARTS = "ATC start working now, please wait for a moment."
SUCCEEDED = "ATC run success, welcome to the next use."
FAILED = "ATC run failed, Please check the detail log, Try 'atc --help' for more information"
EXIT_FAILED = 255
EXIT_GFLAGS = 1  # also after help
ONNX = 5
FORMATS = ("NCHW", "ND", "NCDHW")
_SWITCHES = {
    "E10005": ("save_original_model", "enable_single_stream", "allow_hf32"),
    "E10006": ("ac_parallel_enable", "tiling_schedule_optimize", "quant_dumpable"),
}


def main(argv: list[str]) -> int:
    """Run atc; gives its exit status.

    Args:
        argv: the command line, the program's name first.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        fault, this = faults.asked(), release()
    except ValueError as error:
        print(f"the simulator of atc is misused: {error}", file=sys.stderr)
        return 99
    if (code := faults.exit_code(fault)) is not None:
        return code
    print(STARTS)
    try:
        flags = parse(argv[1:], this)
    except HelpWanted:
        print(usage(this))
        return EXIT_GFLAGS if this.parses_with_gflags else 0
    except UsageError as error:
        print(error, file=sys.stderr)
        if this.parses_with_gflags:
            return EXIT_GFLAGS
        return _failed(AtcError(*fail("E19999", reason="Unknown error occurred.").messages), this)
    except AtcError as error:
        return _failed(error, this)
    return _finish(flags, " ".join(argv), fault)


def _finish(flags: Flags, command_line: str, fault: frozenset[str]) -> int:
    journal = Journal()
    try:
        shown = _run(flags, command_line, journal, fault)
    except AtcError as error:
        print("...")
        code = _failed(error, flags.release)
        return 0 if "silent-failure" in fault else code
    if shown:
        print(shown)
    print("...")
    print(SUCCEEDED)
    for warning in journal.warnings:
        print(headline(warning, flags.release))
    print("(simulated: no CANN was involved)")
    return 0


def _failed(error: AtcError, this: Release) -> int:
    print(FAILED)
    print(block(error.messages, this))
    return EXIT_FAILED


def _run(flags: Flags, command_line: str, journal: Journal, fault: frozenset[str]) -> str:
    """Do what --mode asks for; gives what is to be shown."""
    mode = flags.number("mode")
    if flags["auto_tune_mode"]:
        reason = "The Auto Tune function has been discarded. Please use the AOE tool for tuning."
        raise bad("--auto_tune_mode", flags["auto_tune_mode"], reason)
    if flags["weight"]:
        check_input(flags["weight"], "--weight")
    if mode in (0, 3, 30):
        _check_framework(flags)
    _check_chip_and_mode(flags, mode)
    if mode == 6:  # as the manual counts them
        return _display(flags)
    if mode == 1:
        _check_json(flags)
    if mode != 0:
        raise fail("E10055", reason=f"the simulator builds (mode 0) and displays (6), not {mode}")
    _check_flags(flags)
    path = build(flags, command_line, journal, fault)
    return model_info.display(str(path)) if flags["display_model_info"] == "1" else ""


def _check_framework(flags: Flags) -> None:
    framework = flags.number("framework")
    if framework == -1:
        raise fail("E10007", parameter="framework", support=FRAMEWORKS)
    if framework == 0 and not flags["weight"]:
        raise fail("E10008")
    if framework != ONNX:
        raise fail("E10055", reason=f"the simulator reads ONNX (5), not framework {framework}")


def _check_chip_and_mode(flags: Flags, mode: int) -> None:
    nano = flags["soc_version"] in NANO
    if (mode == 30) != nano and (mode == 30 or nano):
        reason = f"option soc_version[{' '.join(NANO)}] and mode[30] must be set together"
        raise fail("E10055", reason=reason)


def _check_json(flags: Flags) -> None:
    for name in ("om", "json"):
        if not flags[name]:
            raise fail("E10004", parameter=name)


def _display(flags: Flags) -> str:
    if not flags["om"]:
        raise fail("E10004", parameter="om")
    check_input(flags["om"], "--om")
    if flags.number("framework") != -1:
        raise fail("E10057", parameter0="om", parameter1="model")
    return model_info.display(flags["om"])


def _check_flags(flags: Flags) -> None:
    """Everything that is checked before the compiler starts, in atc's order."""
    if not flags["input_format"]:
        flags.values["input_format"] = "NCHW"
    if flags["input_format"] not in FORMATS:
        reason = "only support NCHW, ND, NCDHW in ONNX model, you must choose one of them"
        raise bad("--input_format", flags["input_format"], reason)
    for name in ("soc_version", "output", "model"):
        if not flags[name]:
            raise fail("E10054", parameter=f"--{name}")
    check_input(flags["model"], "--model")
    check_output(flags["output"], "--output")
    if flags["optypelist_for_implmode"] and not flags["op_select_implmode"]:
        reason = (
            "Parameters --op_select_implmode and --optypelist_for_implmode must be set at the "
            "same time."
        )
        raise bad("--op_select_implmode", "", reason)
    if flags["op_precision_mode"]:
        check_input(flags["op_precision_mode"], "--op_precision_mode")
    precision.check_early(flags)
    if flags["input_shape_range"]:
        print("WARNING: Option input_shape_range is deprecated (simulated)")
    shapes.check_early(flags)
    if flags["insert_op_conf"] and flags["dynamic_dims"]:
        reason = "dynamic dims function does not support aipp"
        raise bad("--insert_op_conf", flags["insert_op_conf"], reason)
    for name in ("cal_conf", "op_name_map", "insert_op_conf"):
        if flags[name]:
            check_input(flags[name], f"--{name}")
    _check_compression(flags)
    if flags["keep_dtype"]:
        check_input(flags["keep_dtype"], "--keep_dtype")
    _check_switches(flags)


def _check_compression(flags: Flags) -> None:
    if flags["compress_weight_conf"]:
        check_input(flags["compress_weight_conf"], "--compress_weight_conf")
    if flags["enable_compress_weight"] not in ("", "true", "false"):
        value = flags["enable_compress_weight"]
        raise fail("E10005", parameter="enable_compress_weight", value=value)
    if flags["enable_compress_weight"] == "true" and flags["compress_weight_conf"]:
        raise fail("E10047", parameter0="enable_compress_weight", parameter1="compress_weight_conf")


def _check_switches(flags: Flags) -> None:
    allowed = {"E10005": ("", "true", "false"), "E10006": ("", "0", "1")}
    for code, names in _SWITCHES.items():
        for name in names:
            if flags[name] not in allowed[code]:
                raise fail(code, parameter=name, value=flags[name])
