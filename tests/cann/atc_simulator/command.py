"""atc's main: what it prints, in which order it checks, and how it exits.

Source: hicann/ge api/atc/main_impl.cc; for --help and unknown flags before it, gflags. Paths have a
restricted alphabet: of a file that is read the real path counts, of one that is written the path
as it was given (hicann/ge base/common/util.cc, CheckInputPathValid and CheckOutputPathValid).
"""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path

from cann.atc_simulator import faults, precision, shapes
from cann.atc_simulator.build import build
from cann.atc_simulator.flags import FRAMEWORKS, Flags, HelpWanted, UsageError, parse, usage
from cann.atc_simulator.messages import MARK, AtcError, Journal, bad, block, fail, headline
from cann.atc_simulator.release import Release, release
from cann.ge_format import MODEL_DEF, attribute_values, partitions

STARTS = "ATC start working now, please wait for a moment."
SUCCEEDED = "ATC run success, welcome to the next use."
FAILED = "ATC run failed, Please check the detail log, Try 'atc --help' for more information"
EXIT_FAILED = 255
EXIT_GFLAGS = 1  # also after help
BUILD, DISPLAY = "0", "6"
ONNX = "5"
FORMATS = ("NCHW", "ND", "NCDHW")
LONGEST_PATH = 4096
_PATH = re.compile(r"[\u4e00-\u9fa5A-Za-z0-9/_.-]+")
_ALPHABET = "The path takes letters, digits, '-', '.', '_' and Chinese characters alone."
# flags whose files must be there, in the order in which atc looks
READ_LATE = ("cal_conf", "op_name_map", "insert_op_conf", "compress_weight_conf", "keep_dtype")
# code -> allowed values, flags
SWITCHES = {
    "E10005": (("", "true", "false"), "save_original_model enable_single_stream allow_hf32"),
    "E10006": (("", "0", "1"), "ac_parallel_enable tiling_schedule_optimize quant_dumpable"),
}


def main(argv: list[str]) -> int:
    """Run atc; gives its exit status.

    Args:
        argv: the command line, the program's name first.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    fault, this = faults.asked(), release()
    if fault.startswith("exit="):
        return int(fault.removeprefix("exit="))
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
        return _failed(fail("E19999", reason="Unknown error occurred."), this)
    except AtcError as error:
        return _failed(error, this)
    return _finish(flags, " ".join(argv), fault)


def _finish(flags: Flags, command_line: str, fault: str) -> int:
    journal = Journal()
    try:
        _run(flags, command_line, journal, fault)
    except AtcError as error:
        print("...")
        code = _failed(error, flags.release)
        return 0 if fault == "silent-failure" else code
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


def _run(flags: Flags, command_line: str, journal: Journal, fault: str) -> None:
    """Do what --mode asks for."""
    if flags["auto_tune_mode"]:
        reason = "The Auto Tune function has been discarded. Please use the AOE tool for tuning."
        raise bad("--auto_tune_mode", flags["auto_tune_mode"], reason)
    if flags["mode"] == DISPLAY:
        _display(flags["om"])
        return
    if flags["mode"] != BUILD:
        reason = f"the simulator builds (mode 0) and displays (6), not {flags['mode']}"
        raise fail("E10055", reason=reason)
    if flags["framework"] == "-1":
        raise fail("E10007", parameter="framework", support=FRAMEWORKS)
    if flags["framework"] != ONNX:
        reason = f"the simulator reads ONNX (5), not framework {flags['framework']}"
        raise fail("E10055", reason=reason)
    _check_flags(flags)
    build(flags, command_line, journal, fault)


def _display(path: str) -> None:
    """--mode=6: what an OM says about itself. Source: ATC manual, --mode=6."""
    if not path:
        raise fail("E10004", parameter="om")
    _check_input("--om", path)
    try:
        about = attribute_values(partitions(Path(path).read_bytes())[MODEL_DEF])
    except Exception:  # noqa: BLE001  # ctypes and protobuf share no class of errors
        raise bad("--om", path, "Invalid om file.") from None
    ruler = "=" * 12
    print(f"{ruler} Display Model Info start {ruler} {MARK}")
    print(f"Original Atc command line: {about.get('atc_cmdline')}")
    names = ("atc_version", "soc_version", "framework_type")
    print(f"system   info: {', '.join(f'{name}[{about.get(name)}]' for name in names)}.")
    print(f"{ruler} Display Model Info end   {ruler}")


def _check_flags(flags: Flags) -> None:
    """Everything that is checked before the compiler starts, in atc's order."""
    if flags["input_format"] not in ("", *FORMATS):
        reason = "only support NCHW, ND, NCDHW in ONNX model, you must choose one of them"
        raise bad("--input_format", flags["input_format"], reason)
    for name in ("soc_version", "output", "model"):
        if not flags[name]:
            raise fail("E10054", parameter=f"--{name}")
    _check_input("--model", flags["model"])
    _check_output(flags["output"])
    if flags["optypelist_for_implmode"] and not flags["op_select_implmode"]:
        reason = (
            "Parameters --op_select_implmode and --optypelist_for_implmode must be set at the "
            "same time."
        )
        raise bad("--op_select_implmode", "", reason)
    if flags["op_precision_mode"]:
        _check_input("--op_precision_mode", flags["op_precision_mode"])
    precision.check_early(flags)
    shapes.gears_and_shapes(flags)
    for name in READ_LATE:
        if flags[name]:
            _check_input(f"--{name}", flags[name])
    for code, (allowed, names) in SWITCHES.items():
        for name in names.split():
            if flags[name] not in allowed:
                raise fail(code, parameter=name, value=flags[name])


def _check_input(option: str, path: str) -> None:
    if len(os.fsencode(path)) > LONGEST_PATH or "\0" in path or not Path(path).exists():
        raise bad(option, path, "realpath error, errmsg:No such file or directory")
    if not _PATH.fullmatch(str(Path(path).resolve())):
        raise bad(option, path, _ALPHABET)
    if not os.access(path, os.R_OK):
        raise bad(option, path, "cannot access, errmsg:Permission denied")


def _check_output(path: str) -> None:
    """The file that is written; its folder is made where it is missing."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise fail("E10021", parameter="output", size=LONGEST_PATH)
    if path.endswith(("/", "\\")):
        raise fail("E10022", parameter="output", filename=path)
    if not _PATH.fullmatch(path):
        raise bad("--output", path, _ALPHABET)
    folder = Path(path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot create the directory, errmsg:{error.strerror}"
        raise bad("--output", path, reason) from None
    if not os.access(folder, os.W_OK):
        raise bad("--output", path, "cannot access, errmsg:Permission denied")
