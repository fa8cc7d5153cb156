"""A simulated atc: it converts what the product asks for, as the real one does with it.

What real ones print and refuse is not its business: export.atc's tests have that from outputs that
users posted. It refuses what it does not know, so that a wrong option or file shows.

CANNSIM_CANN     its release (default 8.5.0); before 7.0 gflags reads the command line
CANNSIM_FAULT    atc:exit=N dies at once; atc:hang ignores SIGTERM, and so does its child
CANNSIM_PIDS     a file for the process ids of an atc that hangs
"""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from cann.atc_simulator.build import AtcError, Flags, build
from cann.ge_format import MODEL_DEF, attribute_values, partitions

STARTS = "ATC start working now, please wait for a moment."
SUCCEEDED = "ATC run success, welcome to the next use."
FAILED = "ATC run failed, Please check the detail log, Try 'atc --help' for more information"
EXIT_FAILED = 255
LONGEST_HANG_S = 300.0
# hicann/ge api/atc/atc_flags.cc, but for options of other frameworks and of shapes that stay open
NAMES = """
aicore_num allow_hf32 auto_tune_mode buffer_optimize core_type customize_dtypes debug_dir
deterministic disable_reuse_memory dynamic_batch_size enable_small_channel framework
fusion_switch_file input_format input_fp16_nodes input_shape insert_op_conf is_weight_clip
keep_dtype log mode model modify_mixlist om oo_level op_compiler_cache_dir op_debug_level
op_precision_mode op_select_implmode optypelist_for_implmode output output_type precision_mode
precision_mode_v2 soc_version virtual_type
"""
# absent from graphengine r1.11, 910/ge/offline/main.cc, of 2022
SINCE_7 = {"precision_mode_v2", "virtual_type", "customize_dtypes"}


def main(argv: list[str]) -> int:
    """Run atc on a command line, the program's name first; gives its exit status."""
    words = os.environ.get("CANNSIM_FAULT", "").split(",")
    fault = next((word[4:] for word in words if word.startswith("atc:")), "")
    if fault.startswith("exit="):
        return int(fault.removeprefix("exit="))
    release = os.environ.get("CANNSIM_CANN") or "8.5.0"
    old = int(release.partition(".")[0]) < 7
    names = [name for name in NAMES.split() if not (old and name in SINCE_7)]
    print(STARTS)
    flags = Flags()
    for word in argv[1:]:
        name, equals, value = word.removeprefix("--").partition("=")
        if name == "help":
            print("usage: atc <args> (simulated)\n", *(f"\n  --{one}" for one in names))
            return int(old)
        if name not in names or not equals:
            print(f"ERROR: unknown command line flag '{name}' (simulated)", file=sys.stderr)
            return 1 if old else EXIT_FAILED
        flags[name] = value
    try:
        if flags["mode"] == "6":
            _display(flags["om"])
            return 0
        if fault == "hang":
            _hang()
        build(flags, " ".join(argv), release)
    except AtcError as error:
        now = datetime.now(tz=timezone.utc)
        head = f"[PID: {os.getpid()}] {now:%Y-%m-%d-%H:%M:%S.000.000}"
        print(f"...\n{FAILED}\n{head} Invalid_Argument({error.code}): {error} (simulated)")
        return EXIT_FAILED
    print(f"...\n{SUCCEEDED}\n(simulated: no CANN was involved)")
    return 0


def _display(path: str) -> None:
    """--mode=6: what an OM says about itself. Source: ATC manual, --mode=6."""
    try:
        about = attribute_values(partitions(Path(path).read_bytes())[MODEL_DEF])
    except Exception:  # noqa: BLE001  # ctypes and protobuf share no class of errors
        raise AtcError("E10001", f"Value {path} for --om: Invalid om file.") from None
    ruler = "=" * 12
    print(f"{ruler} Display Model Info start {ruler}")
    print(f"Original Atc command line: {about.get('atc_cmdline')}")
    names = ("atc_version", "soc_version", "framework_type")
    print(f"system   info: {', '.join(f'{name}[{about.get(name)}]' for name in names)}.")
    print(f"{ruler} Display Model Info end   {ruler}")


def _hang() -> None:
    """Sleep, deaf to SIGTERM; a child sleeps beside, as atc's compiling processes would."""
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = os.fork()
    if child and (place := os.environ.get("CANNSIM_PIDS")):
        half = Path(f"{place}.half")
        half.write_text(f"{os.getpid()} {child}")
        half.replace(place)
    until = time.monotonic() + LONGEST_HANG_S
    while time.monotonic() < until:  # a bound, should a test fail to kill it
        time.sleep(0.2)
    os._exit(1)
