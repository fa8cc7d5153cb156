"""The Python that atc compiles operators with, held against Huawei's lists.

The lists are those of the installation guides ("Dependencies", instg_0045 and its predecessors) of
CANN 6.2.RC2, 8.0.RC2, 8.0.0, 8.2.RC1, 8.5.0.alpha001, 8.5.0, 9.0.0-beta.1, 9.0.0, 9.1.0-beta.1 and
9.1.0.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from doctor_machines import Machine, tool

from runtime.doctor import atc_python
from runtime.doctor.findings import Finding
from runtime.machine.npu_packages import MODULES, NEEDED, PIP

COMPLETE = [name for name in MODULES if name != "numpy"]


@dataclass
class Python3:
    """A python3 that is first on PATH and answers as it is told."""

    folder: Path

    @property
    def path(self) -> str:
        return str(self.folder / "bin/python3")

    def answers(self, *lines: str, python: str = "3 10 12", numpy: str = "1.26.4") -> None:
        told = [f"@ python {python}", "@ lacks", f"@ numpy {numpy}" if numpy else "", *lines]
        tool(self.folder, "python3", "\n".join(f"echo '{line}'" for line in ["noise", *told]))


@pytest.fixture
def python3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Python3:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return Python3(tmp_path)


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
        ("8.0.0", "3 13 1", "1.26.4", "warning", "is listed"),  # compiled by somebody
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
    python3: Python3, release: str, python: str, numpy: str, level: str, says: str
) -> None:
    """What is known to fail is a problem; what is only outside a list is a warning."""
    python3.answers(python=python, numpy=numpy)
    found = atc_python.examine(release)

    assert found.level == level, found
    assert says in found.found
    assert found.works == (level != "problem")
    if "NumPy" in says and level != "ok":
        assert found.mend == f"{python3.path} -m pip install 'numpy<2'"
    elif says.startswith("Python 3.7"):
        assert "put a listed Python first on PATH" in found.mend


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
    python3: Python3, release: str, python: str, pinned: str
) -> None:
    """NumPy is pinned where a newer one would break atc."""
    no_numpy = "@ unusable ModuleNotFoundError No module"
    python3.answers("@ lacks decorator attr numpy", no_numpy, python=python, numpy="")
    found = atc_python.examine(release)

    assert found.mend == f"{python3.path} -m pip install decorator attrs {pinned}"
    assert found.npu_lacks == "decorator, attrs, numpy for atc"


def test_what_is_only_listed_is_no_proof_of_a_fault(python3: Python3) -> None:
    """Nobody saw operators fail for want of it: a warning, and the command for all of it."""
    python3.answers("@ lacks Cython google.protobuf absl", numpy="2.2.6")
    found = atc_python.examine("9.1.0")

    assert (found.level, found.works) == ("warning", True)
    assert "Huawei's list names cython, protobuf, absl-py, too" in found.found
    assert found.mend == f"{python3.path} -m pip install cython protobuf absl-py"
    assert atc_python.examine("8.5.0").mend == f"{found.mend} 'numpy<2'"


@pytest.mark.parametrize(
    ("lines", "numpy"),
    [(("@ lacks numpy scipy", "@ unusable ModuleNotFoundError No module"), ""), ((), "2.2.6")],
)
def test_a_python_that_has_no_numpy_1_is_not_mended_by_pip(
    python3: Python3, lines: tuple[str, ...], numpy: str
) -> None:
    """For 3.13 there is no wheel of NumPy 1: pip would compile it, and fail; 8.0 needs it."""
    python3.answers(*lines, python="3 13 1", numpy=numpy)
    found = atc_python.examine("8.0.0")

    assert (found.level, "pip" in found.mend) == ("problem", False)
    assert "Python 3.13.1, for which there is no NumPy 1" in found.found
    assert "which -a python3.11" in found.mend


@pytest.mark.parametrize(
    ("line", "level", "says", "mend"),
    [
        ("@ broken _struct", "problem", "cannot import _struct of its own library", "export PATH="),
        # another library path may be set when atc runs
        (
            "@ libpython libpython3.10.so.1.0",
            "warning",
            "atc loads libpython3.10",
            "python3-config",
        ),
    ],
)
def test_a_python_without_its_libraries(
    python3: Python3, line: str, level: str, says: str, mend: str
) -> None:
    python3.answers(line)
    found = atc_python.examine("8.0.0")

    assert (found.level, found.works) == (level, level == "warning")
    assert says in found.found
    assert mend in found.mend


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 1", "no output"),
        ("echo Traceback; echo \"No module named 'encodings'\"; exit 1", "No module named 'enc"),
        ("echo '@ python 3 10 12'; sleep 600", "@ python 3"),
    ],
)
def test_a_python_that_does_not_start(
    python3: Python3, monkeypatch: pytest.MonkeyPatch, script: str, says: str
) -> None:
    """The last line of what it prints is its reason."""
    tool(python3.folder, "python3", script)
    monkeypatch.setattr(atc_python, "TIMEOUT_S", 2.0)
    found = atc_python.examine("")

    assert found.level == "problem"
    assert found.found.startswith(f"{python3.path} does not work: {says}")


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
    assert broken.mend.endswith("pip install --force-reinstall 'numpy<2'")
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
