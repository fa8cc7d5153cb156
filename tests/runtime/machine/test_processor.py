"""How many cores and how much memory a process has, as kernels and containers show them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.backends import open_backend
from runtime.machine import processor

IN_DOCKER = "0::/\n"
IN_POD = "0::/kubepods.slice/pod7.slice/cri-containerd-9a.scope\n"
VERSION_1 = "".join(
    f"{number}:{name}:/docker/9a\n"
    for number, name in enumerate(("name=systemd", "cpu,cpuacct", "cpuset", "memory"), 1)
)


def plant(root: Path, listed: str | None, files: dict[str, str]) -> None:
    """What a kernel shows: the groups of this process, and files by their paths."""
    groups = {} if listed is None else {"proc/self/cgroup": listed}
    for name, text in {**groups, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("listed", "files", "cores"),
    [
        (IN_DOCKER, {"cpu.max": "150000 100000\n"}, 2),
        (IN_DOCKER, {"cpu.max": "50000 100000\n"}, 1),
        (IN_DOCKER, {"cpu.max": "max 100000\n"}, 8),
        (IN_DOCKER, {"cpu.max": "6400000 100000\n"}, 8),
        (IN_DOCKER, {}, 8),
        # the pod has the quota, its container none
        (
            IN_POD,
            {
                "kubepods.slice/pod7.slice/cpu.max": "300000 100000\n",
                "kubepods.slice/pod7.slice/cri-containerd-9a.scope/cpu.max": "max 100000\n",
            },
            3,
        ),
        # the path is the host's: inside, the mount is the container's own group
        (
            VERSION_1,
            {"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        (VERSION_1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        (None, {"cpu.max": "100000 100000\n"}, 8),
        (IN_DOCKER, {"cpu.max": "\n"}, 8),
    ],
)
def test_a_containers_quota_counts_as_cores(
    listed: str | None,
    files: dict[str, str],
    cores: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rounded up, never below one, never above those that the process may run on."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    plant(tmp_path, listed, {f"sys/fs/cgroup/{name}": text for name, text in files.items()})

    assert processor.cores(tmp_path) == cores
    assert processor.quota_cores(tmp_path) == (None if cores == 8 else cores)


@pytest.mark.parametrize(
    ("listed", "files", "calls"),
    [
        (IN_DOCKER, {}, 8),
        (IN_DOCKER, {"proc/meminfo": "MemTotal: 99999999 kB\nMemAvailable:     655360 kB\n"}, 5),
        (IN_DOCKER, {"proc/meminfo": "MemAvailable: 1 kB\n"}, 1),
        (IN_DOCKER, {"sys/fs/cgroup/memory.max": "402653184\n"}, 3),
        (IN_DOCKER, {"sys/fs/cgroup/memory.max": "max\n"}, 8),
        (IN_POD, {"sys/fs/cgroup/kubepods.slice/pod7.slice/memory.max": "268435456\n"}, 2),
        (VERSION_1, {"sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n"}, 2),
        (VERSION_1, {"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{(1 << 63) - 4096}\n"}, 8),
        (
            IN_DOCKER,
            {
                "sys/fs/cgroup/memory.max": "8589934592\n",
                "proc/meminfo": "MemAvailable: 524288 kB\n",
            },
            4,
        ),
    ],
)
def test_calls_side_by_side_have_room_in_memory(
    listed: str,
    files: dict[str, str],
    calls: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """64 MiB each, in half of what is free or allowed; at least one, and no more than threads."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    plant(tmp_path, listed, files)

    assert processor.calls_at_once(None, root=tmp_path) == calls
    assert processor.calls_at_once(2, root=tmp_path) == min(2, calls)
    batches = processor.calls_at_once(None, 4, tmp_path)
    assert batches == (8 if calls == 8 else max(1, calls // 4))


def test_onnxruntime_keeps_to_the_quota(
    starter_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session is opened with as many threads; without a quota it chooses for itself."""
    for quota, threads in ((1, 1), (None, 0)):
        monkeypatch.setattr(processor, "quota_cores", lambda quota=quota: quota)
        with open_backend(starter_bundle / "model.onnx", "cpu") as backend:
            options = backend._session.get_session_options()  # type: ignore[attr-defined]  # onnxruntime's own word
            assert options.intra_op_num_threads == threads
            assert options.get_session_config_entry("session.intra_op.spin_duration_us") == "50"
