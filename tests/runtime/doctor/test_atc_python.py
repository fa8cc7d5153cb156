"""The Python that atc compiles operators with, held against Huawei's lists.

The lists are those of the installation guides ("Dependencies", instg_0045 and its predecessors) of
CANN 6.2.RC2, 8.0.RC2, 8.0.0, 8.2.RC1, 8.5.0.alpha001, 8.5.0, 9.0.0-beta.1, 9.0.0, 9.1.0-beta.1 and
9.1.0.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from doctor_machines import Machine, tool

from runtime.doctor import atc_python
from runtime.doctor.findings import Finding
from runtime.machine.npu_packages import MODULES, NEEDED, PIP

COMPLETE = [name for name in MODULES if name != "numpy"]


def answering(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *lines: str,
    python: str = "3 10 12",
    numpy: str = "1.26.4",
) -> str:
    """Put a python3 first on PATH that answers so."""
    said = [f"@ python {python}", "@ lacks", f"@ numpy {numpy}" if numpy else "", *lines]
    path = tool(folder, "python3", "\n".join(f"echo '{line}'" for line in ["noise", *said]))
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    return str(path)


@pytest.mark.parametrize(
    ("release", "python", "numpy", "level", "says"),
    [
        # NumPy 2 breaks atc: seen with 8.0.0 (EC0010) and with 8.2
        ("8.0.0", "3 10 12", "2.0.2", "problem", "needs one before 2"),
        ("8.0.0", "3 11 4", "1.26.4", "ok", "NumPy 1.26.4"),
        ("8.2.RC1", "3 11 4", "2.2.6", "problem", "needs one before 2"),
        ("8.5.0.alpha001", "3 11 4", "2.2.6", "problem", "needs one before 2"),
        ("7.0.0", "3 9 18", "2.0.2", "problem", "needs one before 2"),
        # listed only: no one has seen it fail
        ("8.5.0", "3 12 3", "2.2.6", "warning", "NumPy before 2 is listed"),
        ("8.5.0", "3 13 1", "2.2.6", "ok", ""),
        ("9.0.0-beta.1", "3 12 3", "2.2.6", "warning", "NumPy before 2 is listed"),
        ("9.0.0", "3 12 3", "2.2.6", "ok", ""),
        ("", "3 11 4", "2.2.6", "warning", "before 8.5 atc fails with NumPy 2, from 9.0 on"),
        ("", "3 11 4", "1.26.4", "ok", ""),
        # Python, by the lists' own bounds
        ("8.0.RC2", "3 10 19", "1.24.4", "ok", ""),
        ("8.0.RC2", "3 11 4", "1.24.4", "warning", "Python 3.7 to 3.10 is listed"),
        ("8.0.0", "3 11 5", "1.24.4", "warning", "Python 3.7 to 3.11.4 is listed"),
        ("8.3.RC1", "3 11 4", "1.24.4", "ok", ""),
        ("8.5.0", "3 13 99", "2.3.1", "ok", ""),
        ("8.5.0", "3 14 0", "2.3.1", "warning", "Python 3.7 to 3.13 is listed"),
        ("9.1.0-beta.1", "3 14 0", "2.3.1", "warning", "Python 3.7 to 3.13 is listed"),
        ("9.1.0", "3 14 0", "2.3.1", "ok", ""),
        ("9.1.0", "3 6 15", "1.19.5", "warning", "Python 3.7 to 3.14 is listed"),
        ("", "3 14 0", "2.3.1", "ok", ""),
        ("", "3 15 0", "2.3.1", "warning", "Python 3.7 to 3.14 is listed"),
    ],
)
def test_numpy_and_python_are_held_against_the_list_of_the_release(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    release: str,
    python: str,
    numpy: str,
    level: str,
    says: str,
) -> None:
    """What is known to fail is a problem; what is only outside a list is a warning."""
    path = answering(tmp_path, monkeypatch, python=python, numpy=numpy)
    found = atc_python.examine(release)

    assert found.level == level, found
    assert says in found.found
    assert found.works == (level != "problem")
    if "NumPy" in says and level != "ok":
        assert found.mend == f"{path} -m pip install 'numpy<2'"


@pytest.mark.parametrize(
    ("release", "python", "pinned"),
    [
        ("8.0.0", "3 10 12", "'numpy<2'"),
        ("8.5.0", "3 12 3", "'numpy<2'"),
        ("8.5.0", "3 13 1", "numpy"),
        ("9.1.0", "3 12 3", "numpy"),
        ("", "3 12 3", "'numpy<2'"),
    ],
)
def test_what_is_missing_is_installed_as_the_release_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, python: str, pinned: str
) -> None:
    """NumPy is pinned where a newer one would break atc."""
    lines = ("@ lacks decorator attr numpy", "@ unusable ModuleNotFoundError No module")
    path = answering(tmp_path, monkeypatch, *lines, python=python, numpy="")
    found = atc_python.examine(release)

    assert found.mend == f"{path} -m pip install decorator attrs {pinned}"
    assert found.npu_lacks == "decorator, attrs, numpy for atc"


def test_what_is_only_listed_is_no_proof_of_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody saw operators fail for want of it: a warning, and the command for all of it."""
    lines = ("@ lacks Cython google.protobuf absl", "@ lacks")
    path = answering(tmp_path, monkeypatch, *lines, numpy="2.2.6")
    found = atc_python.examine("9.1.0")
    older = atc_python.examine("8.5.0")

    assert (found.level, found.works) == ("warning", True)
    assert "Huawei's list names cython, protobuf, absl-py, too" in found.found
    assert found.mend == f"{path} -m pip install cython protobuf absl-py"
    assert older.mend == f"{found.mend} 'numpy<2'"


@pytest.mark.parametrize(
    ("lines", "numpy"),
    [(("@ lacks numpy scipy", "@ unusable ModuleNotFoundError No module"), ""), ((), "2.2.6")],
)
def test_a_python_that_has_no_numpy_1_is_not_mended_by_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: tuple[str, ...], numpy: str
) -> None:
    """For 3.13 there is no wheel of NumPy 1: pip would compile it, and fail; 8.0 needs it."""
    answering(tmp_path, monkeypatch, *lines, python="3 13 1", numpy=numpy)
    found = atc_python.examine("8.0.0")

    assert (found.level, "pip" in found.mend) == ("problem", False)
    assert "Python 3.13.1, for which there is no NumPy 1" in found.found
    assert "which -a python3.11" in found.mend


def test_numpy_1_on_python_3_13_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody compiled it: only the Python is outside the list."""
    answering(tmp_path, monkeypatch, python="3 13 1", numpy="1.26.4")

    assert atc_python.examine("8.0.0").level == "warning"


def test_one_command_mends_missing_modules_and_a_numpy_that_is_too_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one fault after the other."""
    path = answering(tmp_path, monkeypatch, "@ lacks psutil", numpy="2.1.3")

    assert atc_python.examine("8.0.0").mend == f"{path} -m pip install psutil 'numpy<2'"


def test_the_wrong_python_first_on_path_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts, and cannot import its own library: not a matter of pip."""
    path = answering(tmp_path, monkeypatch, "@ broken _struct", "@ broken _ctypes")
    found = atc_python.examine("8.0.0")

    assert (found.level, found.npu_lacks) == ("problem", "a whole Python for atc")
    assert found.found.startswith(f"{path} cannot import _struct, _ctypes of its own library")
    assert "which -a python3" in found.mend
    assert f"export PATH={Path(sys.executable).parent}:$PATH" in found.mend


def test_a_numpy_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there, and of no use."""
    path = answering(tmp_path, monkeypatch, "@ unusable ImportError libopenblas.so.0", numpy="")
    found = atc_python.examine("8.0.0")

    assert found.found == f"{path} cannot import numpy: ImportError libopenblas.so.0"
    assert found.mend.endswith("'numpy<2'")


def test_a_shared_library_that_atc_loads_and_does_not_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warning: another library path may be set when atc runs."""
    answering(tmp_path, monkeypatch, "@ libpython libpython3.10.so.1.0")
    found = atc_python.examine("8.0.0")

    assert (found.level, found.works) == ("warning", True)
    assert "atc loads libpython3.10.so.1.0" in found.found
    assert "python3-config" in found.mend


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 1", "no output"),
        (
            "echo Traceback; echo \"ModuleNotFoundError: No module named 'encodings'\"; exit 1",
            "No module named 'encodings'",
        ),
        ("sleep 600", "no output"),
    ],
)
def test_a_python_that_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str
) -> None:
    """The last line of what it prints is its reason."""
    path = tool(tmp_path, "python3", script)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    monkeypatch.setattr(atc_python, "TIMEOUT_S", 2.0)
    found = atc_python.examine("")

    assert found.level == "problem"
    assert found.found == f"{path} does not work: {found.found.partition(': ')[2]}"
    assert says in found.found


def test_no_python_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not this one, either: atc would not find it."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert atc_python.examine("8.0.0").mend == "install Python 3"


def real(machine: Machine, monkeypatch: pytest.MonkeyPatch, release: str = "8.0.0") -> Finding:
    """Ask a real Python, with the machine's modules."""
    path = tool(machine.folder, "python3", f'exec "{machine.python}" "$@"')
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(machine.folder / "site"))
    return atc_python.examine(release)


def test_a_real_python_is_asked_in_words_that_it_knows(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bare, with a NumPy that is too new, with one that prints and breaks, and whole."""
    bare = real(machine, monkeypatch)
    for name in COMPLETE:
        path = name.replace(".", "/")
        (machine.folder / "site" / path).parent.mkdir(parents=True, exist_ok=True)
        machine.package(path, "")
    machine.package("numpy", "print('hello')\n__version__ = '2.1.3'")
    newer = real(machine, monkeypatch)
    machine.package("numpy", "raise AttributeError('np.float_ was\\nremoved')")
    broken = real(machine, monkeypatch)
    machine.package("numpy", "__version__ = '1.26.4'")
    whole = real(machine, monkeypatch)

    needed = [PIP[name] for name in MODULES if name in NEEDED]
    assert f"lacks {', '.join(needed)}, which" in bare.found
    assert "pathlib2 protobuf scipy" in bare.mend
    assert "has NumPy 2.1.3" in newer.found
    assert "cannot import numpy: AttributeError np.float_ was removed" in broken.found
    assert whole.level in ("ok", "warning")
    assert "Huawei's list" not in whole.found
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in whole.found


def test_a_real_python_without_its_modules_in_c(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module in its place that is none of it stands for a library of another Python."""
    machine.package("_struct", "raise ImportError('of another Python')")
    found = real(machine, monkeypatch)

    assert "cannot import _struct of its own library" in found.found
