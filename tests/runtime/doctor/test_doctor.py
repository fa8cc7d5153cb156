"""The doctor in whole machines: bare, without an NPU, complete."""

from __future__ import annotations

import re
import sys

import npu_smi_tables
import pytest
from builders import run_module
from doctor_machines import (
    SIMULATOR,
    TORCH,
    Machine,
    chip,
    installation,
    of,
    real_ascend,
    sourced,
    tool,
)

from runtime.doctor import devices
from runtime.doctor.__main__ import examine
from runtime.machine import npu_packages


@real_ascend
def test_a_bare_python_is_told_what_to_install(machine: Machine) -> None:
    """Nothing but the standard library: no traceback, exit code 3, a command for each line."""
    report = machine.examine(3)

    for about, command in (("numpy", "numpy"), ("OpenCV", "opencv-python"), ("msgspec", "msgspec")):
        assert report.about(about)["level"] == "problem"
        assert f"pip install '{command}>=" in report.about(about)["mend"]
    assert report.refused("onnxruntime", "cpu") == "numpy: not installed"
    assert not any(route["usable"] for route in report.record["routes"])


@real_ascend
def test_a_machine_without_an_npu_has_no_problem(machine: Machine) -> None:
    """The CPU counts; what the NPU path lacks is listed, in one line too."""
    machine.cpu_packages()
    report = machine.examine(0)
    done = machine.run()

    assert not [one for one in report.record["findings"] if one["level"] == "problem"]
    assert report.refused("onnxruntime", "cpu") == ""
    assert report.refused("torch", "cpu") == "torch: not installed: no checkpoint can run"
    assert "acl" in report.refused("om (pyACL)", "npu")
    assert done.stdout.endswith(
        "\nThis machine can use: onnxruntime on cpu\n"
        "NPU path: missing torch_npu, CANN, atc, driver, npu-smi, acl (pyACL)\n"
    )
    # aligned: level, thing, what was found; then the command for all that is not ok
    lines = done.stdout.split("\n\n")[0].splitlines()
    columns = set()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if not line.startswith(" "):
            match = re.match(r"(ok|warning) +(\S.*?) {2,}(?=\S)", line)
            assert match, line
            columns.add(match.end())
            assert line.startswith("ok") or below.lstrip().startswith("-> "), line
    assert len(columns) == 1


@pytest.mark.slow
def test_a_whole_machine_lacks_nothing(machine: Machine) -> None:
    """Every part in place: all engines but onnxruntime's own run, and the NPU path is whole."""
    root = installation(machine.folder)
    machine.cpu_packages()
    machine.package("torch", TORCH, "2.7.1+cpu")
    machine.package("torch_npu", "__version__ = '2.7.1.post2'", "2.7.1.post2")
    machine.acl()
    for name in npu_packages.MODULES:
        machine.package(name, "__version__ = '1.26.4'")
    tool(machine.folder, "atc", "echo '  --model   Model file'")
    python = tool(machine.folder, "python3", f'exec "{machine.python}" "$@"')
    environment = sourced(root)
    environment["PYTHONPATH"] += f":{machine.folder}/site"
    environment["PATH"] = f"{python.parent}:{SIMULATOR}:/usr/bin:/bin"
    report = machine.examine(0, **environment)

    assert [one for one in report.record["npu_lacks"] if one != "driver"] == []
    assert report.refused("om (pyACL)", "npu") == ""
    assert report.refused("torch", "npu") == ""
    assert report.about("CANN")["found"] == f"8.5.0 in {root}"


def test_a_slice_is_told_with_what_a_model_for_it_needs(machine: Machine) -> None:
    """The chip is the whole one's, for npu-smi's list as for ACL."""
    machine.cpu_packages()
    machine.acl()
    tool(machine.folder, "npu-smi", f"cat <<'END'\n{npu_smi_tables.HBM}END")
    report = machine.examine(0, PATH=f"{machine.folder}/bin:/usr/bin:/bin")
    _, listed = report.record["devices"]

    assert "Ascend910B3, slice 910B3vir10_3c_32g" in report.about("NPU 3 chip 0")["found"]
    assert "--virtual_type=1" in report.about("NPU 3 chip 0")["found"]
    assert (listed["soc_version"], listed["slice"]) == ("Ascend910B3", "910B3vir10_3c_32g")
    assert report.about("ACL")["level"] == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Ascend777Q9", "Ascend310P", "no name at all"])
def test_a_chip_that_is_not_known_here_ends_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Npu-smi's word is shown, and everything else is examined all the same."""
    root = installation(machine.folder)
    for variable, value in sourced(root).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(devices, "list_devices", lambda: (chip(name),))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    found = examine()

    assert of(found.findings, "NPU 7 chip 0").found.startswith(name)
    assert of(found.findings, "CANN operators").level == "ok"


@pytest.mark.slow
def test_this_very_machine() -> None:
    """Where these tests run, graphs run on the CPU; the log goes to stderr."""
    done = run_module("runtime.doctor")

    assert done.returncode == 0, done.stderr
    assert "This machine can use: onnxruntime on cpu" in done.stdout
    assert "trying numpy" in done.stderr


@pytest.mark.slow
def test_the_examination_leaves_no_packages_behind() -> None:
    """They are tried in children, not in the process that asks."""
    before = set(sys.modules)
    examine()

    loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not loaded & {"torch", "torch_npu", "acl", "onnxruntime"}
