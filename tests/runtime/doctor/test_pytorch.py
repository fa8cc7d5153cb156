"""torch and torch_npu: each by itself, with one another and with CANN."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_machines import (
    AUTOLOADING_TORCH,
    NO_LIBRARY,
    TORCH,
    Machine,
    installation,
    real_ascend,
)

from runtime.doctor import cann, pytorch
from runtime.machine.npu_packages import release_of


@real_ascend
def test_the_autoload_trap_is_explained(machine: Machine) -> None:
    """torch_npu without CANN breaks `import torch`; this project's engine runs all the same."""
    machine.cpu_packages()
    machine.package("torch", AUTOLOADING_TORCH, "2.7.1+cpu")
    machine.package("torch_npu", NO_LIBRARY, "2.7.1.post4")
    report = machine.examine(0)
    torch, torch_npu = report.about("torch"), report.about("torch_npu")

    assert torch["level"] == "problem"
    assert torch["found"].startswith("2.7.1+cpu is sound, but `import torch` fails")
    assert "libhccl.so" in torch["found"]
    assert "TORCH_DEVICE_BACKEND_AUTOLOAD=0" in torch["mend"]
    assert "install CANN" in torch["mend"]
    assert report.refused("torch", "cpu") == ""
    assert torch_npu["found"].startswith("2.7.1.post4 cannot be imported: ImportError: libhccl")
    assert "libhccl" in report.refused("torch", "npu")


def test_the_trap_with_cann_names_its_script(fakes: Machine) -> None:
    """There, the environment is what is missing."""
    root = installation(fakes.folder)
    fakes.package("torch", AUTOLOADING_TORCH, "2.7.1")
    fakes.package("torch_npu", NO_LIBRARY, "2.7.1.post2")
    torch, torch_npu = pytorch.examine(cann.find([fakes.folder / "Ascend"], {}))

    assert f"source {root}/set_env.sh" in torch.mend
    assert torch_npu.mend == f"with an NPU: source {root}/set_env.sh"


def test_the_trap_of_another_accelerator_is_not_blamed_on_torch_npu(fakes: Machine) -> None:
    """Others load themselves, too."""
    fakes.package("torch", AUTOLOADING_TORCH.replace("torch_npu", "torch_other"))
    torch, _ = pytorch.examine(None)

    assert "torch loads the device backend" in torch.found
    assert torch.works


def test_a_torch_that_is_broken_itself(fakes: Machine) -> None:
    """Not taken for the trap, though torch_npu is installed."""
    fakes.package("torch", "raise OSError('libtorch.so: file too short')")
    torch, _ = pytorch.examine(None)
    assert torch.mend == "pip install --force-reinstall torch"
    fakes.package("torch_npu", "", "2.7.1")
    torch, _ = pytorch.examine(None)

    assert torch.mend.startswith("pip uninstall -y torch && pip install 'torch==2.7.1")
    assert torch.found == "cannot be imported: OSError: libtorch.so: file too short"
    assert not torch.works


@pytest.fixture
def old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python that torch_npu has wheels for with every CANN, on an Arm server."""
    monkeypatch.setattr("runtime.doctor.pytorch.sys.version_info", (3, 10, 12))
    monkeypatch.setattr("platform.machine", lambda: "aarch64")


def pair(torch_npu: str, torch: str) -> str:
    """The commands on an Arm server."""
    return (
        f"pip install 'torch=={torch}' --index-url https://download.pytorch.org/whl/cpu"
        f" && pip install 'torch_npu=={torch_npu}'"
    )


@pytest.mark.usefixtures("old_python")
@pytest.mark.parametrize(
    ("torch_npu", "version", "level", "mend"),
    [
        ("2.7.1.post2", "8.5.0", "ok", ""),
        ("2.7.1.post2+git1a2b", "8.5.0", "ok", ""),
        ("2.7.1.post2", "8.5.0.alpha001", "ok", ""),
        ("2.7.1", "8.3.rc1", "ok", ""),
        ("2.7.1", "8.5.0", "warning", pair("2.7.1.post2", "2.7.1")),
        ("2.7.1", "8.0.0", "warning", pair("2.4.0.post2", "2.4.0")),
        ("2.6.0", "8.5.0", "problem", pair("2.7.1.post2", "2.7.1")),
        ("2.6.0", "8.0.0", "problem", pair("2.4.0.post2", "2.4.0")),
        ("2.6.0+git1a2b", "8.4.0", "problem", pair("2.6.0", "2.6.0")),
    ],
)
def test_torch_torch_npu_and_cann_must_pair(
    fakes: Machine, torch_npu: str, version: str, level: str, mend: str
) -> None:
    """The base versions must be equal; with CANN, a pair outside the table is warned of."""
    installation(fakes.folder, version)
    fakes.package("torch", TORCH, "2.7.1+cpu")
    fakes.package("torch_npu", f"__version__ = {torch_npu!r}", torch_npu)
    _, found = pytorch.examine(cann.find([fakes.folder / "Ascend"], {}))

    assert (found.level, found.mend) == (level, mend)
    assert found.works == (level != "problem")


@pytest.mark.parametrize(
    ("torch", "torch_npu", "level"),
    [("2.1", "2.1.0.post12", "ok"), ("2.1.0+cpu", "2.1", "ok"), ("2.1", "2.1.1", "problem")],
)
def test_a_release_pairs_in_any_spelling(
    fakes: Machine, torch: str, torch_npu: str, level: str
) -> None:
    """As where the engine opens it: 2.1 is 2.1.0."""
    fakes.package("torch", TORCH.replace("2.7.1+cpu", torch))
    fakes.package("torch_npu", f"__version__ = {torch_npu!r}", torch_npu)
    engine, found = pytorch.examine(None)

    assert (engine.level, found.level) == ("ok", level)


@pytest.mark.usefixtures("old_python")
@pytest.mark.parametrize(
    ("version", "python", "mend"),
    [
        ("8.5.0", (3, 11, 9), pair("2.7.1.post2", "2.7.1")),
        ("8.2.RC1", (3, 11, 9), pair("2.6.0", "2.6.0")),  # of the row, none is for torch 2.7
        ("8.0.RC1", (3, 10, 1), pair("2.2.0", "2.2.0")),
        ("8.0.RC1", (3, 11, 1), pair("2.1.0.post4", "2.1.0")),  # 2.2.0 ends at Python 3.10
        ("8.0.0", (3, 12, 4), "torch_npu for CANN 8.0.0 ends at Python 3.11"),
        ("8.4.0", (3, 11, 9), "COMPATIBILITY.md lists for CANN 8.4.0"),
    ],
)
def test_missing_torch_npu_is_named_for_this_cann(
    fakes: Machine,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    python: tuple[int, int, int],
    mend: str,
) -> None:
    """One that has a wheel for this Python, and goes with this torch where there is one."""
    installation(fakes.folder, version)
    fakes.package("torch", TORCH, "2.7.1+cpu")
    monkeypatch.setattr("runtime.doctor.pytorch.sys.version_info", python)
    _, found = pytorch.examine(cann.find([fakes.folder / "Ascend"], {}))

    assert found.found == "not installed"
    assert mend in found.mend


def test_torch_that_is_missing_is_not_fetched_before_its_pair(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`.[torch]` alone would bring the newest torch, for another accelerator."""
    installation(tmp_path, "8.5.0")
    monkeypatch.setattr("runtime.doctor.pytorch.installed", lambda _: False)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    torch, torch_npu = pytorch.examine(cann.find([tmp_path / "Ascend"], {}))

    assert torch.mend.startswith("pip install -e '.[torch]'; for the NPU, before it: ")
    assert "pip install 'torch==2.9.0+cpu' --index-url" in torch.mend
    assert torch_npu.mend.endswith("pip install 'torch_npu==2.9.0'")


def test_table_of_pairs_names_each_release_once_and_in_order() -> None:
    """In the newest rows as in Ascend/pytorch's COMPATIBILITY.en.md (rows written down by hand)."""
    assert pytorch.PAIRS["9.1.0"] == (
        *("2.7.1.post8", "2.9.0.post6", "2.10.0.post4", "2.11.0", "2.12.0"),
    )
    assert pytorch.PAIRS["8.5.0"] == ("2.6.0.post5", "2.7.1.post2", "2.8.0.post2", "2.9.0")
    every = [one for row in pytorch.PAIRS.values() for one in row]
    assert len(every) == len(set(every)) == 36
    for row in pytorch.PAIRS.values():
        assert list(row) == sorted(row, key=release_of)


def test_torch_npu_without_a_device(fakes: Machine) -> None:
    """An import that succeeds is not enough."""
    fakes.package("torch", TORCH.replace("True", "False"), "2.7.1")
    fakes.package("torch_npu", "", "2.7.1")
    _, found = pytorch.examine(None)

    assert not found.works
    assert found.npu_lacks == "an NPU that torch_npu sees"
