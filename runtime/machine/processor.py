"""What this machine's processor can do, and how much of it and of the memory is ours."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

CPU_INFO = Path("/proc/cpuinfo")
# Any of these computes in bf16: AVX512_BF16, AMX, AVX_NE_CONVERT, and Arm's.
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"})
# x86 and Arm name the line differently.
FLAG_LINES = ("flags", "features")
# What a picture takes in a call at most: the full size's maps in onnxruntime, 60 MB [measured,
# docs/engines.md].
PICTURE_BYTES = 64 << 20


def has_bf16(listing: Path = CPU_INFO) -> bool | None:
    """Whether the processor computes in bf16 itself; None where nothing lists what it can."""
    try:
        text = listing.read_text(encoding="ascii", errors="replace").lower()
    except OSError:  # no Linux
        return None
    for line in text.splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in FLAG_LINES:
            return bool(BF16_FLAGS & set(flags.split()))
    return None


def cores(root: Path = Path("/")) -> int:
    """How many cores this process may use: of those it may run on, what its quota pays for.

    Args:
        root: folder that holds /proc and /sys.
    """
    return quota_cores(root) or _allowed()


def quota_cores(root: Path = Path("/")) -> int | None:
    """Cores that a container's quota leaves (`docker run --cpus 1.5`); None where it leaves all.

    It hides no core, so that engines start a thread for each: those beyond it are stopped for the
    rest of every period, while the others wait for them.
    """
    quotas = [quota for folder in _groups(root, "cpu") if (quota := _quota(folder)) is not None]
    left = max(1, math.ceil(min(quotas))) if quotas else None
    return left if left is not None and left < _allowed() else None


def calls_at_once(threads: int | None, pictures: int = 1, root: Path = Path("/")) -> int:
    """How many calls may run side by side: one a thread, in half of the memory that is free.

    Machines have hundreds of cores, and a container may have few GB on them.

    Args:
        threads: None is one a core.
        pictures: in each call.
        root: as for `cores`.
    """
    most = threads or cores(root)
    free = _free_bytes(root)
    return most if free is None else max(1, min(most, free // 2 // (pictures * PICTURE_BYTES)))


def _free_bytes(root: Path) -> int | None:
    """Memory that is free, as far as control groups let us have it; None where nothing says."""
    limits = [one for folder in _groups(root, "memory") if (one := _limit_bytes(folder))]
    try:
        listed = (root / "proc/meminfo").read_text(encoding="ascii", errors="replace")
    except OSError:  # no Linux
        listed = ""
    free = re.search(r"^MemAvailable:\s*(\d+) kB$", listed, re.MULTILINE)
    return min([*limits, *([int(free[1]) << 10] if free else [])], default=None)


def _limit_bytes(folder: Path) -> int | None:
    """Memory of a control group, version 2 or 1; None where it is not limited."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no such group, or "max"
            return int((folder / name).read_text(encoding="ascii"))
    return None


def _allowed() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control groups and of those around them, where they are mounted.

    Inside a container the path may be the host's, which is not there: the mount itself is then its
    group.
    """
    try:
        listed = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux
        return
    for line in listed.splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controller if controllers else "")
        inside = PurePosixPath(path.lstrip("/"))
        yield from (mount / one for one in (inside, *inside.parents))


def _quota(folder: Path) -> float | None:
    """Cores that a control group may use, version 2 or 1; None where it is not limited."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii").strip()
                for name in ("quota", "period")
            )
        # "max", or -1: no limit
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # no such group, or no controller in it
        return None
