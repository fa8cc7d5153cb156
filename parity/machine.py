"""What a figure was measured on: the processor, the versions, and how busy it was."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib import metadata

import numpy as np

PACKAGES = ("onnxruntime", "openvino", "torch", "torch_npu", "onnx")
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
GEMM_SIDE = 512
GEMM_ROUNDS = 8


def versions() -> dict[str, str]:
    """Python and the packages that can move a figure, asked of metadata: nothing is imported."""
    import cv2  # here: recordings are compared without it

    found = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # absent is an answer, too: the key is left out
    return found


def machine() -> str:
    """Processor, cores this process may use, system."""
    return f"{_processor()}, {_cores()} cores, {platform.system()} {platform.machine()}"


def peak_rss_bytes() -> int:
    """Largest resident set of this process so far; 0 where the system does not tell."""
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
    """Resident set of this process now; 0 where the system does not tell."""
    return _status_bytes("VmRSS")


def threads() -> dict[str, str]:
    """Cores this process may use, and what the environment says about threads."""
    found = {"cores": str(_cores())}
    return found | {name: os.environ[name] for name in THREAD_SETTINGS if name in os.environ}


def gemm_gflops() -> float:
    """Time a matrix product: if this moves during a benchmark, the machine was not ours alone."""
    rng = np.random.default_rng(0)
    a = rng.random((GEMM_SIDE, GEMM_SIDE), dtype=np.float32)
    b = rng.random((GEMM_SIDE, GEMM_SIDE), dtype=np.float32)
    a @ b  # the first one pays for starting the threads
    best = float("inf")
    for _ in range(GEMM_ROUNDS):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * GEMM_SIDE**3 / best / 1e9


def _cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _status_bytes(name: str) -> int:
    """A line of what Linux says about this process; 0 elsewhere."""
    try:
        with open("/proc/self/status", encoding="utf-8") as file:  # noqa: PTH123  # as below
            for line in file:
                if line.startswith(f"{name}:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123  # not a path of ours
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()
