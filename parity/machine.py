"""The machine that a figure was measured on: processor, versions, and how busy it was."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from runtime.machine import processor
from runtime.machine.packages import MISSING, module_version

PACKAGES = ("onnxruntime", "openvino", "torch", "torch_npu", "onnx")
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
GEMM_SIDE = 512
# The fastest of a second: within some milliseconds, whatever else the machine does for a moment
# would count as its speed.
GEMM_S = 1.0
# A machine whose matrix product moves by more during a benchmark makes its milliseconds invalid.
LARGEST_DRIFT = 0.10


class GemmProbe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A matrix product before and after a benchmark: whether the machine stayed the same."""

    before_gflops: float
    after_gflops: float

    @property
    def fault(self) -> str:
        """Why the run is invalid; empty where the machine stayed the same."""
        drift = self.after_gflops / self.before_gflops - 1
        if abs(drift) <= LARGEST_DRIFT:
            return ""
        return f"the GEMM probe moved by {drift:+.0%}, allowed {LARGEST_DRIFT:.0%}"


def versions() -> dict[str, str]:
    """Python and the packages that can move a figure: engines that are not there are left out."""
    found = {"python": platform.python_version(), "numpy": np.__version__}
    found |= {"opencv": module_version("cv2")} | {name: module_version(name) for name in PACKAGES}
    return {name: version for name, version in found.items() if version != MISSING}


def machine() -> str:
    """Processor, cores this process may use, system."""
    model = _line_of("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    return f"{model}, {processor.cores()} cores, {platform.system()} {platform.machine()}"


def peak_rss_bytes() -> int:
    """Largest resident set of this process so far; 0 where the system gives none."""
    peak = _status_bytes("VmHWM")
    if peak:
        # not getrusage, which on Linux begins with what the parent held when it started this one
        return peak
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def rss_bytes() -> int:
    """Resident set of this process now; 0 where the system gives none."""
    return _status_bytes("VmRSS")


def threads() -> dict[str, str]:
    """Cores this process may use, and the environment's settings of threads."""
    found = {"cores": str(processor.cores())}
    return found | {name: os.environ[name] for name in THREAD_SETTINGS if name in os.environ}


def gemm_gflops() -> float:
    """Time a fp32 matrix product; see `GemmProbe`."""
    rng = np.random.default_rng(0)
    a = rng.random((GEMM_SIDE, GEMM_SIDE), dtype=np.float32)
    b = rng.random((GEMM_SIDE, GEMM_SIDE), dtype=np.float32)
    a @ b  # the first one pays for starting the threads
    best, end = float("inf"), time.perf_counter() + GEMM_S
    while (start := time.perf_counter()) < end:
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * GEMM_SIDE**3 / best / 1e9


def _status_bytes(name: str) -> int:
    """A size in this process's status on Linux; 0 elsewhere."""
    kib, _, _ = _line_of("/proc/self/status", name).partition(" ")
    return int(kib or 0) * 1024


def _line_of(path: str, name: str) -> str:
    """The value behind a name in one of Linux's files; empty elsewhere."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            lines = (line for line in file if line.startswith(name))
            return next(lines, "").partition(":")[2].strip()
    except OSError:
        return ""
