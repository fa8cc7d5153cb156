"""The Python that atc compiles operators with: which one it is, and whether CANN's lists allow it.

Sources: the open graph engine's py_decouple.cc (LaunchDynamicLib: `python3 -V`, then
libpython3.N.so.1.0 in `python3-config --prefix`/lib or on the loader's path) [V]; the lists are
those of `runtime.machine.npu_packages`.
"""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from runtime.doctor.findings import Finding
from runtime.doctor.packages import numbers
from runtime.errors import BackendUnavailable, one_line
from runtime.machine import process
from runtime.machine.npu_packages import (
    FIRST_WITHOUT_NUMPY_1,
    LISTS,
    MODULES,
    NEEDED,
    OLDEST_PYTHON,
    PIP,
    Listed,
    list_for,
    pinned,
)

ABOUT = "atc's Python"
TIMEOUT_S = 60.0

# Runs in any Python from 3.7 on; each line of its answer is "@ key words". A Python that is first
# on PATH without its own library starts all the same, and fails at its first module in C.
_QUESTION = f"""
import importlib.util, os, sys
def show(*words):
    print("\\n@", *words)
show("python", *sys.version_info[:3])
for name in ("_struct", "_ctypes", "math"):
    try:
        __import__(name)
    except ImportError:
        show("broken", name)
def there(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # what it is a part of is not there
        return False
show("lacks", *[m for m in {MODULES!r} if not there(m)])
try:
    import numpy
    show("numpy", numpy.__version__)
except Exception as error:
    show("unusable", type(error).__name__, *str(error).split()[:40])
minor = sys.version_info[1]
name = "libpython3.%d%s.so.1.0" % (minor, "" if minor > 7 else "m")
prefix = os.popen("python3-config --prefix 2>/dev/null").read().strip()
try:
    if not os.path.exists(os.path.join(prefix, "lib", name)):
        import ctypes
        ctypes.CDLL(name)
except Exception:
    show("libpython", name)
"""


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """The answers of a Python to `_QUESTION`; empty where it did not get so far."""

    python: tuple[int, ...]
    numpy: str
    unusable: str
    lacks: tuple[str, ...]
    broken: tuple[str, ...]
    libpython: str


def examine(release: str) -> Finding:
    """Examine the `python3` on PATH, which need not be this Python.

    Args:
        release: of CANN; empty where it is unknown.
    """
    python = shutil.which("python3") or shutil.which("python")
    if python is None:
        return _problem("neither python3 nor python is on PATH", "install Python 3", ABOUT)
    try:
        done = process.run([python, "-c", _QUESTION], timeout_s=TIMEOUT_S)
    except BackendUnavailable as error:
        return _problem(str(error), "install Python 3", ABOUT)
    if done.timed_out or not re.search(r"(?m)^@ python ", done.output):
        # its own traceback names the module, where one is missing: its last line is the cause
        cause = one_line(done.output.strip().rpartition("\n")[2], 200)
        return _problem(f"{python} does not work: {cause or 'no output'}", _another(), ABOUT)
    answer = _read(done.output)
    return _judge(python, answer, release)


def _read(output: str) -> _Answer:
    found: dict[str, list[str]] = {}
    for key, words in re.findall(r"(?m)^@ (\w+)(.*)$", output):
        found.setdefault(key, []).extend(words.split())
    return _Answer(
        python=tuple(int(part) for part in found["python"] if part.isdigit()),
        numpy=" ".join(found.get("numpy", ())),
        unusable=" ".join(found.get("unusable", ())),
        lacks=tuple(found.get("lacks", ())),
        broken=tuple(found.get("broken", ())),
        libpython=" ".join(found.get("libpython", ())),
    )


def _judge(python: str, answer: _Answer, release: str) -> Finding:
    """The first thing that is wrong, the worst first."""
    listed = list_for(release)
    numpy = pinned(answer.python, release)
    needs_numpy_1 = listed is not None and listed.numpy_2 == "fails"
    has_numpy_2 = numbers(answer.numpy) >= (2,)
    known = f"CANN {release}" if listed else "a CANN of unknown release"
    # NumPy 1 that somebody built from source may be there all the same
    no_numpy_1 = answer.python >= FIRST_WITHOUT_NUMPY_1 and (has_numpy_2 or "numpy" in answer.lacks)
    if answer.broken or (needs_numpy_1 and no_numpy_1):
        return _wrong_python(python, answer, known)
    too_new = has_numpy_2 and numpy != "numpy"
    needed = [PIP[one] for one in answer.lacks if one in NEEDED]
    if needed:
        return _problem(
            f"{python} lacks {', '.join(needed)}, which compiling operators needs",
            _install(python, answer, numpy, too_new=too_new),
            f"{', '.join(needed)} for atc",
        )
    if answer.unusable:
        return _problem(
            f"{python} cannot import numpy: {answer.unusable}",
            f"{python} -m pip install --force-reinstall {numpy}",
            "a numpy for atc",
        )
    if too_new and needs_numpy_1:
        return _problem(
            f"{python} has NumPy {answer.numpy}; atc of {known} needs one before 2"
            " (EC0010: np.float_ was removed)",
            f"{python} -m pip install {numpy}",
            "a NumPy before 2 for atc",
        )
    remarks = _remarks(answer, listed, too_new=too_new)
    shown = f"{python} ({'.'.join(map(str, answer.python))}, NumPy {answer.numpy})"
    if remarks:
        return Finding(
            level="warning",
            about=ABOUT,
            found=f"{shown} with {known}: {'; '.join(remarks)}",
            mend=_mend(python, answer, numpy, too_new=too_new),
            works_still=True,
        )
    return Finding(level="ok", about=ABOUT, found=f"{shown} has what compiling operators needs")


def _install(python: str, answer: _Answer, numpy: str, *, too_new: bool) -> str:
    """All that is missing, needed or only listed, in one command."""
    names = [PIP[one] for one in answer.lacks]
    install = [numpy if one == "numpy" else one for one in names]
    return " ".join([f"{python} -m pip install", *install, *([numpy] if too_new else [])])


def _wrong_python(python: str, answer: _Answer, known: str) -> Finding:
    """A Python that pip cannot mend: its own modules are missing, or no NumPy suits it and CANN."""
    if answer.broken:
        return _problem(
            f"{python} cannot import {', '.join(answer.broken)} of its own library: the wrong"
            " python3 is first on PATH",
            _another(),
            "a whole Python for atc",
        )
    return _problem(
        f"{python} is Python {_dotted(answer.python)}, for which there is no NumPy 1; atc of"
        f" {known} needs one (EC0010: np.float_ was removed)",
        "put a Python before 3.13 first on PATH: which -a python3.11 python3.10",
        "a Python for atc with a NumPy before 2",
    )


def _remarks(answer: _Answer, listed: Listed | None, *, too_new: bool) -> list[str]:
    """What is outside Huawei's lists, which is no proof that it fails."""
    remarks = []
    if answer.lacks:
        names = ", ".join(PIP[one] for one in answer.lacks)
        remarks.append(f"Huawei's list names {names}, too")
    if too_new and listed is None:
        remarks.append("before 8.5 atc fails with NumPy 2, from 9.0 on it is allowed")
    elif too_new:
        remarks.append("NumPy before 2 is listed for a Python before 3.13")
    newest = (listed or LISTS[-1]).newest_python
    # a list that ends with 3.13 holds all of 3.13
    if answer.python < OLDEST_PYTHON or answer.python[: len(newest)] > newest:
        remarks.append(f"Python {_dotted(OLDEST_PYTHON)} to {_dotted(newest)} is listed")
    if answer.libpython:
        remarks.append(
            f"atc loads {answer.libpython}, which is neither in `python3-config --prefix`/lib nor"
            " on the loader's path"
        )
    return remarks


def _mend(python: str, answer: _Answer, numpy: str, *, too_new: bool) -> str:
    if too_new or answer.lacks:
        return _install(python, answer, numpy, too_new=too_new)
    if answer.libpython:
        return (
            "install this Python's shared library, or put its folder on LD_LIBRARY_PATH;"
            " python3-config --prefix must name its prefix"
        )
    return "if operators fail to compile, put a listed Python first on PATH"


def _another() -> str:
    here = Path(sys.executable or "python3").parent
    return f"which -a python3; export PATH={here}:$PATH"


def _problem(found: str, mend: str, lacks: str) -> Finding:
    return Finding(level="problem", about=ABOUT, found=found, mend=mend, npu_lacks=lacks)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
