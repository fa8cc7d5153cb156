"""The packages that every engine needs, broken and whole."""

from __future__ import annotations

import re

import pytest
from builders import ROOT
from doctor_machines import NO_LIBRARY, OPENVINO, Machine

from runtime.doctor import packages, pytorch


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise ImportError('DLL gone')", "cannot be imported: ImportError: DLL gone"),
        ("import os; os.abort()", "cannot be imported: it crashes: Aborted"),
        ("import sys; sys.exit('bye')", "cannot be imported: SystemExit: bye"),
        ("import os; os._exit(0)", "cannot be imported: exit status 0"),
        ("__version__ = '1.19.5'", "1.19.5, and 1.26 or newer is needed"),
        ("print('chatter', end=''); __version__ = '1.26.4'", "1.26.4"),
    ],
)
def test_a_broken_numpy_takes_nothing_down(machine: Machine, source: str, says: str) -> None:
    """It is tried in a child, and only what it says counts."""
    machine.cpu_packages()
    machine.package("numpy", source)
    sound = says == "1.26.4"
    report = machine.examine(0 if sound else 3)

    assert report.about("numpy")["found"].startswith(says)
    assert report.about("numpy")["level"] == ("ok" if sound else "problem")


def test_opencv_without_a_desktop(machine: Machine) -> None:
    """The commonest fault of a server has its own remedy."""
    machine.package("cv2", "raise ImportError('libGL.so.1: cannot open shared object file')")

    assert "opencv-python-headless" in machine.examine(3).about("OpenCV")["mend"]


def test_lowest_versions_are_those_of_the_project() -> None:
    """As pyproject.toml gives them to pip."""
    project = (ROOT / "pyproject.toml").read_text()
    lowest = {pip: low for _, pip, low in (packages.NEEDED | packages.OPTIONAL).values()}
    lowest["torch"] = pytorch.LOWEST

    for pip, low in lowest.items():
        assert re.search(rf'"{pip}>={re.escape(low)}[",]', project), pip


def test_openvino_is_told_with_its_devices_and_without_its_telemetry(machine: Machine) -> None:
    """Version, devices, whether bf16 pays; asked with the package barred that would report it."""
    machine.cpu_packages()
    machine.package("openvino", OPENVINO)
    report = machine.examine(0)

    assert report.about("OpenVINO")["level"] == "ok"
    assert report.about("OpenVINO")["found"] == "2026.4.1 (CPU, GPU; bf16 not on this processor)"
    assert not report.refused("openvino", "cpu")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (None, "not installed; onnxruntime runs the same graphs"),
        (NO_LIBRARY, "cannot be imported: ImportError: libhccl.so: cannot open shared object file"),
        (OPENVINO.replace("2026.4.1", "2023.0.0"), "2023.0.0, and 2024.4 or newer is needed"),
    ],
)
def test_openvino_that_does_not_work_stops_nobody(
    machine: Machine, source: str | None, found: str
) -> None:
    """A warning with the command, and exit code 0: onnxruntime opens the same files."""
    machine.cpu_packages()
    if source is not None:
        machine.package("openvino", source)
    report = machine.examine(0)
    said = report.about("OpenVINO")

    assert said["level"] == "warning"
    assert said["found"].startswith(found)
    assert "openvino>=2024.4" in said["mend"]
    assert "OpenVINO" in report.refused("openvino", "cpu")
    assert not report.refused("onnxruntime", "cpu")
