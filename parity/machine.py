"""What a figure was measured on: the processor, the versions, and how busy it was."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib import metadata

import numpy as np

PACKAGES = ("onnxruntime", "openvino", "torch", "torch_npu", "onnx")
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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores, {platform.system()} {platform.machine()}"


def peak_rss_bytes() -> int:
    """Largest resident set of this process so far; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


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


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123  # not a path of ours
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()
