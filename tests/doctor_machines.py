"""Machines made for the doctor: bare, half-installed, broken and whole."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import ROOT, distribution

from runtime.doctor.findings import Finding
from runtime.machine.npu_smi import NpuDevice

SIMULATOR = ROOT / "tests/cann/bin"
CPU_PACKAGES = {"numpy": "2.1.0", "cv2": "4.10.0", "msgspec": "0.19.0"}
ORT = """
__version__ = "1.20.0"
def get_available_providers():
    return ["CPUExecutionProvider"]
"""
# What torch does at the end of its import, where torch_npu is installed.
AUTOLOADING_TORCH = """
import os
__version__ = "2.7.1+cpu"
if os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD", "1") == "1":
    try:
        raise ImportError("libhccl.so: cannot open shared object file")
    except ImportError as error:
        raise RuntimeError("Failed to load the backend extension: torch_npu.") from error
"""
OPENVINO = """
import sys
assert sys.modules.get("openvino_telemetry", "not barred") is None
__version__ = "2026.4.1-22982-e213a147257"
class Core:
    available_devices = ["CPU", "GPU"]
    def get_property(self, device, name):
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return ["FP32", "INT8"]
"""
NO_LIBRARY = "raise ImportError('libhccl.so: cannot open shared object file')"
TORCH = """
import types
__version__ = "2.7.1+cpu"
npu = types.SimpleNamespace(is_available=lambda: True, device_count=lambda: 2)
"""
ACL = """
import sys, types
calls = []
def init(): return {init}
def finalize(): return 0
def get_soc_name(): return {soc!r}
rt = types.SimpleNamespace(
    get_device_count=lambda: ({count}, {count_code}), set_device=lambda n: {set_device},
    reset_device=lambda n: 0)
"""

real_ascend = pytest.mark.skipif(
    Path("/usr/local/Ascend").exists(), reason="this machine has CANN itself"
)


@dataclass
class Machine:
    """A Python without packages, and a place to fake some."""

    python: Path
    folder: Path

    def package(self, name: str, source: str, version: str = "") -> None:
        """Put a module where Python finds it, with pip's note of its version if asked."""
        (self.folder / "site").mkdir(exist_ok=True)
        (self.folder / "site" / f"{name}.py").write_text(source)
        if version:
            distribution(self.folder / "site", name, version)

    def cpu_packages(self) -> None:
        """What every engine needs, and onnxruntime."""
        for name, version in CPU_PACKAGES.items():
            self.package(name, f"__version__ = {version!r}")
        self.package("onnxruntime", ORT)

    def acl(self, end: str = "", **values: int | str) -> None:
        """A pyACL, whole but for what is given."""
        whole = {"init": 0, "count": 2, "count_code": 0, "set_device": 0, "soc": "Ascend910B3"}
        self.package("acl", ACL.format(**{**whole, **values}) + end)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the doctor there; nothing of this machine's environment reaches it."""
        clean = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "PYTHONPATH": str(self.folder / "site"),
        }
        return subprocess.run(
            [self.python, "-m", "runtime.doctor", *arguments],
            cwd=ROOT,
            env={**clean, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )

    def examine(self, code: int, **environment: str) -> Report:
        """Run it with --json."""
        done = self.run("--json", **environment)
        assert done.returncode == code, done.stdout + done.stderr
        return Report(json.loads(done.stdout))


@dataclass
class Report:
    """The doctor's JSON."""

    record: dict[str, Any]

    def about(self, name: str) -> dict[str, Any]:
        """The one finding about a thing."""
        (found,) = [one for one in self.record["findings"] if one["about"] == name]
        return dict(found)

    def refused(self, engine: str, device: str) -> str:
        """Why an engine cannot run."""
        (found,) = [
            one
            for one in self.record["routes"]
            if (one["engine"], one["device"]) == (engine, device)
        ]
        assert found["usable"] == (not found["refused"])
        return str(found["refused"])


def installation(folder: Path, version: str = "8.5.0") -> Path:
    """The parts of CANN that the doctor looks at."""
    root = folder / "Ascend/cann"
    for part in ("bin", "lib64", "python/site-packages", "opp", "x86_64-linux"):
        (root / part).mkdir(parents=True)
    (root / "set_env.sh").write_text("")
    (root / "x86_64-linux/ascend_toolkit_install.info").write_text(
        f"package_name=Ascend-cann-toolkit\nversion={version}\narch=x86_64\n"
    )
    operators = root / "opp/built-in/op_impl/ai_core/tbe/config/ascend910b"
    operators.mkdir(parents=True)
    (operators / "aic-ascend910b-ops-info.json").write_text("{}")
    return root


def sourced(root: Path) -> dict[str, str]:
    """The environment after its set_env.sh."""
    return {
        "ASCEND_HOME_PATH": str(root),
        "ASCEND_OPP_PATH": str(root / "opp"),
        "LD_LIBRARY_PATH": f"{root}/lib64:/somewhere/else",
        "PYTHONPATH": f"{root}/python/site-packages",
    }


def tool(folder: Path, name: str, script: str) -> Path:
    """A shell script in a folder of its own."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def chip(soc_version: str = "Ascend910B3", health: str = "OK") -> NpuDevice:
    """One that npu-smi lists."""
    return NpuDevice(
        npu_id=7,
        chip_id=0,
        soc_version=soc_version,
        health=health,
        memory_used_mb=None,
        memory_total_mb=None,
    )


def recording(path: Path, digest: str | None, *pictures: dict[str, Any], **more: str) -> None:
    """An archive in a recording's form: header, picture names included, and crops."""
    header: dict[str, Any] = {"schema": 2, "pictures": pictures, "unreadable": []}
    header |= {"manifest": {"digest": digest} if digest else None, **more}
    crops = np.frombuffer(b"CROPPIXELS" * 500, np.uint8)
    np.savez(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8), crops=crops)


def of(findings: Iterable[Finding], about: str) -> Finding:
    """The one finding about a thing."""
    (found,) = [one for one in findings if one.about == about]
    return found
