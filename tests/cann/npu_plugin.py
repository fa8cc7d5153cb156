"""The fixture `npu`: a simulated box with CANN's acl in this process and in its children."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cann import control

from runtime.backends.ascend import process


@pytest.fixture
def npu(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[control.Control]:
    """The simulated acl, fresh; afterwards nothing may be left of it or have gone wrong."""
    reports: Path = tmp_path_factory.mktemp("acl")
    monkeypatch.setenv("CANNSIM_REPORT", str(reports))
    paths = [str(control.HOME), os.environ.get("PYTHONPATH", "")]
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
