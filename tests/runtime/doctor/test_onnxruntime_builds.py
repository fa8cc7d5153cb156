"""onnxruntime: alone, in its build for CANN, and one build over another."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_machines import CPU_PACKAGES, Machine, installation

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
