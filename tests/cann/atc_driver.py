"""Running the simulated atc in this process, and reading its file."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from cann.atc_simulator.command import main
from cann.ge_format import MODEL_DEF, attribute_values, partitions


def run(*arguments: str) -> tuple[int, str]:
    """Exit status, and output with errors."""
    out = StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        return main(["atc", *arguments]), out.getvalue()


def conversion(**options: str) -> list[str]:
    """A command line that converts model.onnx to net.om for a 910B3, but for these options."""
    given = {
        "model": "model.onnx",
        "framework": "5",
        "output": "net",
        "soc_version": "Ascend910B3",
        **options,
    }
    return [f"--{name}={value}" for name, value in given.items()]


def description(path: Path) -> dict[str, Any]:
    """The OM's description for the simulated device."""
    about = attribute_values(partitions(path.read_bytes())[MODEL_DEF])
    told: dict[str, Any] = json.loads(about["simulator"])
    return told
