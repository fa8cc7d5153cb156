"""Faults on demand, by CANNSIM_FAULT: a comma list, of which one may be meant here.

atc:exit=N                dies at once with N, printing nothing
atc:success-without-file  says success, writes nothing
atc:truncated-file        says success, the file lacks its second half
atc:silent-failure        the text of a failure, exit code 0, no file
atc:hang                  ignores SIGTERM, and so does the child it starts
atc:oom                   killed (SIGKILL) while compiling
atc:E19999                any code, while compiling
atc:wrong-soc             the OM is for another chip
atc:partial-then-die      killed (SIGKILL) while writing

CANNSIM_PIDS names a file that holds the process ids of this atc from when it compiles on.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

WORDS = re.compile(
    r"success-without-file|truncated-file|silent-failure|hang|oom|wrong-soc|partial-then-die"
    r"|exit=\d+|E[A-Z0-9]\d{4}|"
)
LONGEST_HANG_S = 300.0


def asked() -> str:
    """The fault meant for atc, "" where there is none."""
    words = os.environ.get("CANNSIM_FAULT", "").split(",")
    mine = next((word[4:] for word in words if word.startswith("atc:")), "")
    assert WORDS.fullmatch(mine), mine
    return mine


def show_processes(*pids: int) -> None:
    """Write them where CANNSIM_PIDS says, whole or not at all: they wait for it."""
    if place := os.environ.get("CANNSIM_PIDS"):
        half = Path(f"{place}.half")
        half.write_text(" ".join(map(str, pids)), encoding="utf-8")
        half.replace(place)


def die() -> None:
    """As the kernel's out-of-memory killer does it."""
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    """Sleep, deaf to SIGTERM; a child sleeps beside, as atc's compiling processes would."""
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = os.fork()
    if child:
        show_processes(os.getpid(), child)
        print(f"atc hangs as asked: processes {os.getpid()} and {child} (simulated)", flush=True)
    until = time.monotonic() + LONGEST_HANG_S
    while time.monotonic() < until:  # a bound, should a test fail to kill it
        time.sleep(0.2)
    os._exit(1)
