"""How many cores a process has, from control groups as kernels and containers show them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.backends import open_backend
from runtime.machine import processor

IN_DOCKER = "0::/\n"
IN_POD = "0::/kubepods.slice/pod7.slice/cri-containerd-9a.scope\n"
VERSION_1 = "5:cpuset:/docker/9a\n4:cpu,cpuacct:/docker/9a\n1:name=systemd:/docker/9a\n"


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
    if listed is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(listed)
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    assert processor.cores(tmp_path) == cores
    assert processor.quota_cores(tmp_path) == (None if cores == 8 else cores)


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
