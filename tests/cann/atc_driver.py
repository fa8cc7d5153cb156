"""Running the simulated atc in this process, and reading its output and its file."""

from __future__ import annotations

import json
import re
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import onnx
from cann.atc_simulator.command import main
from cann.ge_format import MODEL_DEF, WEIGHTS_DATA, attribute_values, partitions

CODE = re.compile(r"\b([EW][A-Z0-9]\d{4})\b(?:[:)]|\[PID)")


@dataclass(frozen=True)
class Run:
    """One run: exit status and output."""

    status: int
    out: str
    err: str

    @property
    def code(self) -> str:
        """The first error's code, "" after success."""
        found = CODE.search(self.out)
        return found.group(1) if found and self.status else ""

    @property
    def warnings(self) -> list[str]:
        """Codes of the warnings after success."""
        return CODE.findall(self.out) if not self.status else []


def run(*arguments: str) -> Run:
    """Run atc with these arguments."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(["atc", *arguments])
    return Run(status, out.getvalue(), err.getvalue())


def conversion(**options: str) -> list[str]:
    """A command line that converts model.onnx to net.om for a 910B3, but for these options."""
    given = {
        "model": "model.onnx",
        "framework": "5",
        "output": "net",
        "soc_version": "Ascend910B3",
        **options,
    }
    return [f"--{name}={value}" for name, value in given.items() if value != ABSENT]


ABSENT = "\0absent"


def description(path: Path) -> dict[str, Any]:
    """The OM's description for the simulated device."""
    about = attribute_values(partitions(path.read_bytes())[MODEL_DEF])
    told = json.loads(about["simulator"])
    assert isinstance(told, dict)
    return told


def stored_graph(path: Path) -> onnx.ModelProto:
    """The graph inside the OM."""
    return onnx.load_from_string(partitions(path.read_bytes())[WEIGHTS_DATA])
