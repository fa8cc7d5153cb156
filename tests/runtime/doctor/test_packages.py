"""The packages that every engine needs, broken and whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from builders import ROOT
from doctor_machines import CPU_PACKAGES, NO_LIBRARY, OPENVINO, Machine, installation

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


CANN_BUILD = """
__version__ = "1.24.4"
def get_available_providers():
    return ["CANNExecutionProvider", "CPUExecutionProvider"]
"""
NO_NUMPY_2 = 'raise ImportError("import numpy failed")'
MISSING = "libascendcl.so: cannot open shared object file: No such file or directory"


def onnxruntime(machine: Machine, source: str = CANN_BUILD, **builds: str) -> Path:
    """A package of that name, and the notes that pip keeps of what installed it."""
    package = machine.folder / "site/onnxruntime"
    (package / "capi").mkdir(parents=True)
    (package / "__init__.py").write_text(source)
    for name, version in builds.items():
        note = machine.folder / f"site/{name}-{version}.dist-info"
        note.mkdir()
        pip_name = name.replace("_", "-")
        (note / "METADATA").write_text(f"Name: {pip_name}\nVersion: {version}\n")
        # as in the wheels of onnxruntime-cann 1.22.1 and 1.24.4, and of onnxruntime itself
        (note / "top_level.txt").write_text("onnxruntime\n")
    return package


def numpy_and_others(machine: Machine, numpy: str) -> None:
    for name, version in {**CPU_PACKAGES, "numpy": numpy}.items():
        machine.package(name, f"__version__ = {version!r}", version)


def loader_that(machine: Machine, package: Path, said: str) -> None:
    """A provider's library, and a loader that says this of it, as the real one does."""
    (package / "capi/libonnxruntime_providers_cann.so").touch()
    machine.package(
        "sitecustomize",
        "import ctypes\n"
        "def refuse(name):\n"
        f"    assert name.endswith('libonnxruntime_providers_cann.so'), name\n"
        f"    raise OSError({said!r})\n"
        "ctypes.CDLL = refuse\n",
    )


@pytest.mark.parametrize("cann", [False, True])
def test_provider_that_does_not_load_is_no_way_to_the_npu(machine: Machine, *, cann: bool) -> None:
    """The build names its provider all the same; the CPU goes on."""
    numpy_and_others(machine, "1.26.4")
    package = onnxruntime(machine, onnxruntime_cann="1.24.4")
    loader_that(machine, package, MISSING)
    root = installation(machine.folder) if cann else None
    environment = {"ASCEND_HOME_PATH": str(root)} if cann else {}
    report = machine.examine(0, **environment)
    provider = report.about("its provider")

    assert report.about("onnxruntime")["level"] == "ok"
    assert f"onnxruntime-cann 1.24.4 does not load: {MISSING}" in provider["found"]
    assert provider["mend"].endswith(f"source {root}/set_env.sh" if cann else "set_env.sh")
    assert report.refused("onnxruntime", "cpu") == ""
    assert MISSING in report.refused("onnxruntime", "npu")


def test_provider_whose_libraries_are_all_there_is_usable(machine: Machine) -> None:
    """The loader's last word is then a symbol that onnxruntime itself gives to the library."""
    numpy_and_others(machine, "1.26.4")
    package = onnxruntime(machine, onnxruntime_cann="1.24.4")
    library = package / "capi/libonnxruntime_providers_cann.so"
    loader_that(machine, package, f"{library}: undefined symbol: Provider_GetHost")

    assert machine.examine(0).refused("onnxruntime", "npu") == ""


def test_two_builds_are_told_apart_by_nothing_but_this(machine: Machine) -> None:
    """Pip installs both without a word; removing one takes away the other's files, too."""
    numpy_and_others(machine, "1.26.4")
    source = CANN_BUILD.replace('"CANNExecutionProvider", ', "")
    onnxruntime(machine, source, onnxruntime="1.25.0", onnxruntime_cann="1.24.4")
    report = machine.examine(0)
    found = report.about("onnxruntime")

    assert found["level"] == "warning"
    assert "onnxruntime 1.25.0 and onnxruntime-cann 1.24.4 are installed into one" in found["found"]
    assert found["mend"] == (
        "pip uninstall -y onnxruntime onnxruntime-cann && pip install 'onnxruntime-cann==1.24.4'"
    )
    assert report.refused("onnxruntime", "cpu") == ""
    assert "no CANNExecutionProvider" in report.refused("onnxruntime", "npu")


@pytest.mark.parametrize(
    ("numpy", "builds", "mend"),
    [
        ("2.4.6", {"onnxruntime_cann": "1.24.4"}, "pip install 'numpy<2'"),
        ("1.26.4", {"onnxruntime_cann": "1.24.4"}, "reinstall --no-deps 'onnxruntime-cann==1.24.4"),
        ("2.4.6", {"onnxruntime": "1.25.0"}, "pip install --force-reinstall 'onnxruntime>=1.17'"),
        ("2.4.6", {"onnxruntime": "1.2", "onnxruntime_cann": "1.3"}, "1.3' && pip install 'numpy"),
    ],
)
def test_build_for_numpy_1_is_not_blamed_on_onnxruntime(
    machine: Machine, numpy: str, builds: dict[str, str], mend: str
) -> None:
    """Installing onnxruntime anew would overwrite the build for CANN."""
    numpy_and_others(machine, numpy)
    onnxruntime(machine, NO_NUMPY_2, **builds)
    found = machine.examine(3).about("onnxruntime")

    assert found["level"] == "problem"
    assert "import numpy failed" in found["found"]
    assert mend in found["mend"]


def test_without_the_strict_jpeg_decoder_the_machine_is_usable(machine: Machine) -> None:
    """Absent or broken, it costs no engine; the remedy is one command."""
    machine.cpu_packages()
    absent = machine.examine(0).about("simplejpeg")
    machine.package("simplejpeg", "raise ImportError('libm.so.6: version not found')")
    broken = machine.examine(0).about("simplejpeg")

    assert (absent["level"], broken["level"]) == ("warning", "warning")
    assert "damage in JPEG files is not noticed" in absent["found"]
    assert "simplejpeg>=1.8" in absent["mend"]
    assert "version not found" in broken["found"]
