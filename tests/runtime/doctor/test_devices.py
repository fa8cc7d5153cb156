"""The driver, the chips and ACL, on machines made for them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from doctor_machines import SIMULATOR, Machine, chip

from runtime.backends.ascend.codes import acl_code
from runtime.doctor import devices, probe
from runtime.machine import visible_devices
from runtime.machine.npu_smi import list_devices


def test_driver_files_and_device_nodes_belong_together(tmp_path: Path) -> None:
    """Containers have the one without the other."""
    files, nodes = tmp_path / "Ascend", tmp_path / "dev"
    nodes.mkdir()
    nothing = tmp_path / "no.info"
    none = devices.driver([files], nodes, nothing)
    (files / "driver").mkdir(parents=True)
    (files / "driver/version.info").write_text("Version=25.5.1\nascendhal_version=7.35\n")
    no_nodes = devices.driver([files], nodes, nothing)
    (nodes / "davinci0").touch()
    (nodes / "davinci_manager").touch()
    whole = devices.driver([files], nodes, nothing)
    no_files = devices.driver([tmp_path / "nowhere"], nodes, nothing)

    assert (none.level, none.npu_lacks) == ("warning", "driver")
    assert (no_nodes.level, no_nodes.npu_lacks) == ("problem", "device nodes")
    assert (whole.level, whole.found) == ("ok", "version 25.5.1, davinci0")
    assert "docker run -v" in no_files.mend


def test_the_installers_note_is_followed_to_the_driver(tmp_path: Path) -> None:
    """[V: hicann/runtime, acl.cpp GetPkgPath] `Driver_Install_Path_Param`, in either case."""
    note = tmp_path / "ascend_install.info"
    note.write_text(f"UserName=HwHiAiUser\nDriver_Install_Path_Param={tmp_path}/elsewhere\n")
    (tmp_path / "elsewhere/driver").mkdir(parents=True)
    (tmp_path / "elsewhere/driver/version.info").write_text("Version=24.9.rc5\n")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/davinci7").touch()
    found = devices.driver([tmp_path / "usual"], tmp_path / "dev", note)

    assert (found.level, found.found) == ("ok", "version 24.9.rc5, davinci7")


def meaning(code: int) -> str:
    """As the engines have it: there is one table."""
    return acl_code(code).meaning


@pytest.mark.parametrize(
    ("values", "level", "says"),
    [
        ({"init": 500000}, "problem", f"acl.init() gives 500000 ({meaning(500000)})"),
        ({"set_device": 42}, "problem", "acl.rt.set_device(0) gives 42"),
        ({"count": 0}, "problem", "opens, and sees no device"),
        ({"set_device": 507899}, "problem", f"gives 507899 ({meaning(507899)})"),
        ({"soc": "Ascend910B1"}, "warning", "calls the first Ascend910B1, npu-smi Ascend910B3"),
        ({}, "ok", "opens 2 device(s), the first is Ascend910B3"),
    ],
)
def test_acl_is_opened_step_by_step(
    fakes: Machine, values: dict[str, Any], level: str, says: str
) -> None:
    """The first call that fails is named, with its code."""
    fakes.acl(**values)
    found = devices.acl(None, [chip()])

    assert found.level == level
    assert says in found.found
    assert found.works == (level != "problem")


@pytest.mark.parametrize(
    ("values", "visible"),
    [
        ({"set_device": 107001}, "3,1"),
        ({"count": 0}, ""),
        ({"count_code": 207004}, "2,0"),
        ({"set_device": 507033}, "3,1"),
        ({"set_device": 107001}, None),
        ({"count": 0}, None),
    ],
)
def test_devices_that_a_variable_hides_are_told_with_it(
    fakes: Machine, values: dict[str, Any], visible: str | None
) -> None:
    """Where the code is about the device, or there is none, and the variable is set."""
    fakes.acl(**values)
    environment = {} if visible is None else {visible_devices.NAME: visible}
    found = devices.acl(None, (), environment)
    told = visible is not None and values != {"set_device": 507033}

    assert found.level == "problem"
    assert (found.mend == visible_devices.advice(environment)) == told
    assert found.mend


def test_the_meaning_of_a_code_does_not_need_numpy(
    fakes: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the engines' package cannot be imported, the number must do."""
    fakes.acl(init=500000)
    for name in [name for name in sys.modules if name.startswith("runtime.backends")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numpy", None)

    assert devices.acl(None).found == "acl.init() gives 500000"


@pytest.mark.parametrize(
    ("end", "says"),
    [
        ("import time; time.sleep(600)", "it hangs"),
        # access control lists have a module of that name, too
        ("del init", "has no attribute 'init'"),
        ("import atexit, os; atexit.register(os.abort)", "it crashes"),
        ("import atexit, os; atexit.register(os._exit, 3)", "exit status 3"),
    ],
)
def test_an_acl_that_hangs_lacks_or_crashes_has_not_opened(
    fakes: Machine, monkeypatch: pytest.MonkeyPatch, end: str, says: str
) -> None:
    """Its answers before that do not count."""
    fakes.acl(end)
    monkeypatch.setattr(probe, "TIMEOUT_S", 2.0 if says == "it hangs" else probe.TIMEOUT_S)
    found = devices.acl(None)

    assert found.level == "problem"
    assert says in found.found


def test_chips_are_listed_by_their_exact_names(machine: Machine) -> None:
    """Out of npu-smi, in text and JSON."""
    environment = {
        "PATH": f"{SIMULATOR}:/usr/bin:/bin",
        "CANNSIM_SOC": "Ascend910_9362",
        "CANNSIM_DEVICES": "2",
    }
    report = machine.examine(3, **environment)

    assert report.about("NPU 0 chip 1")["found"].startswith("Ascend910_9362, health OK, ")
    assert [one["soc_version"] for one in report.record["devices"]] == ["Ascend910_9362"] * 2


@pytest.mark.slow
def test_a_silent_npu_smi_is_a_problem_where_a_driver_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It hangs, and is ended; a machine without a driver has only a warning."""
    monkeypatch.setenv("PATH", f"{SIMULATOR}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CANNSIM_FAULT", "npu-smi:hang")
    monkeypatch.setattr(devices, "list_devices", lambda: list_devices(timeout_s=1))
    (there,) = devices.chips(driver_there=True)[1]
    (absent,) = devices.chips(driver_there=False)[1]

    assert (there.level, absent.level) == ("problem", "warning")
    assert "the tool hangs" in there.found


def test_an_unhealthy_chip_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the question to ask next."""
    monkeypatch.setattr(devices, "list_devices", lambda: (chip(health="Alarm"),))
    (found,) = devices.chips(driver_there=True)[1]

    assert (found.level, found.mend) == ("warning", "npu-smi info -t health -i 7")
