"""The fixtures `cann`, a machine with the tools of CANN, and `npu`, one with its acl."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cann import control

from runtime.backends.ascend import process

HERE = Path(__file__).resolve().parent


class Cann:
    """A sourced CANN: the simulated tools on PATH, a prefix with its version, faults on demand.

    Every change shows in os.environ at once, so code in this process and its children see it.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self.set_version("8.5.0")
        self._source()

    @property
    def prefix(self) -> Path:
        """Where this CANN is "installed"."""
        return self.folder / "Ascend" / "cann"

    @property
    def atc(self) -> Path:
        """The simulated atc."""
        return HERE / "bin" / "atc"

    def set(self, name: str, value: str | None) -> None:
        """Set an environment variable, or remove it with None."""
        if value is None:
            self._monkeypatch.delenv(name, raising=False)
        else:
            self._monkeypatch.setenv(name, value)

    def set_soc(self, name: str, devices: int = 1) -> None:
        """The chip in this machine, for acl and npu-smi."""
        self.set("CANNSIM_SOC", name)
        self.set("CANNSIM_DEVICES", str(devices))

    def set_fault(self, fault: str) -> None:
        """Such as "atc:hang"."""
        self.set("CANNSIM_FAULT", fault)

    def set_version(self, version: str) -> None:
        """The release: it decides which flags atc has."""
        self.set("CANNSIM_CANN", version)
        host = self.prefix / f"{platform.machine()}-linux"
        host.mkdir(parents=True, exist_ok=True)
        (host / "ascend_toolkit_install.info").write_text(f"version={version}\n")

    def _source(self) -> None:
        """What `source set_env.sh` does."""
        modes = self.prefix / "opp/built-in/op_impl/ai_core/tbe/impl_mode"
        modes.mkdir(parents=True)
        (modes / "all_ops_impl_mode.ini").write_text("[ByOpType]\n")
        (self.prefix / "set_env.sh").write_text("# simulated\n")
        (self.prefix / "bin").mkdir()
        for tool in sorted((HERE / "bin").iterdir()):
            (self.prefix / "bin" / tool.name).symlink_to(tool)
        # the tools' shebang must find this Python, which has onnx
        tools = [str(HERE / "bin"), str(Path(sys.executable).parent)]
        self.set("PATH", os.pathsep.join([*tools, os.environ.get("PATH", "")]))
        for name, first in (
            ("PYTHONPATH", control.PATHS),
            ("LD_LIBRARY_PATH", self.prefix / "lib64"),
        ):
            self.set(name, os.pathsep.join(filter(None, [str(first), os.environ.get(name)])))
        for name in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME", "TOOLCHAIN_HOME"):
            self.set(name, str(self.prefix))
        self.set("ASCEND_AICPU_PATH", str(self.prefix))
        self.set("ASCEND_OPP_PATH", str(self.prefix / "opp"))
        self.set("HOME", str(self.folder))
        self.set("ASCEND_WORK_PATH", None)
        for name in ("FAULT", "PIDS"):
            self.set(f"CANNSIM_{name}", None)
        self.set_soc("Ascend910B3")


@pytest.fixture
def cann(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Cann:
    """A machine with the simulated CANN sourced: release 8.5.0, one Ascend910B3."""
    return Cann(tmp_path_factory.mktemp("cann"), monkeypatch)


@pytest.fixture
def npu(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[control.Control]:
    """The simulated acl, fresh; afterwards nothing may be left of it or have gone wrong."""
    reports: Path = tmp_path_factory.mktemp("acl")
    monkeypatch.setenv("CANNSIM_REPORT", str(reports))
    paths = [control.PATHS, os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    simulator = control.install(reports)
    # a process of its own for each test, on both sides: nobody has initialised acl yet
    monkeypatch.setattr(process, "_process", process._Process())
    try:
        simulator.reset(new_process=True)
        yield simulator
        process.shut_down()
        simulator.judge()
    finally:
        simulator.end()
        control.remove()
