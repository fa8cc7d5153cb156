"""At the end of a process: what was left, and what was done wrong."""

from __future__ import annotations

import atexit
import json
import os
import sys
from pathlib import Path

from ._state import state


def watch() -> None:
    """Report when this process ends, and not from its forks."""
    owner = os.getpid()
    atexit.register(lambda: None if os.getpid() != owner else report())


def report() -> None:
    """Write the report that `CANNSIM_REPORT` asks for, and say on stderr what is wrong."""
    if state.embedded:
        return
    leaks = {} if state.finalised else state.leaks()  # finalize has told of them
    if state.initialised and not state.finalised and not state.torch_npu:
        leaks["process"] = ["acl.init without acl.finalize"]
    if state.settings.report:
        path = Path(state.settings.report)
        if path.is_dir():
            path /= f"{os.getpid()}.json"
        said = {
            "simulator": "acl",
            "violations": state.violations,
            "leaks": leaks,
            "calls": [[call.name, call.code] for call in state.calls],
        }
        path.write_text(json.dumps(said, indent=1))
    for text in state.violations:
        sys.stderr.write(f"{text}\n")
    for kind, texts in leaks.items():
        sys.stderr.write(f"acl simulator: left at exit: {kind}: {', '.join(texts)}\n")
