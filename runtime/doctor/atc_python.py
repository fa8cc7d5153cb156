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

from runtime.doctor.findings import Finding, ok, problem, warning
from runtime.errors import BackendUnavailable, one_line
from runtime.machine import process
from runtime.machine.npu_packages import (
    FIRST_WITHOUT_NUMPY_1,
    LISTS,
    MODULES,
    NEEDED,
    OLDEST_PYTHON,
    PIP,
    list_for,
    pinned,
    release_of,
)

ABOUT = "atc's Python"
TIMEOUT_S = 60.0
# A Python that pip cannot mend: another one must be first on PATH.
ANOTHER = f"which -a python3; export PATH={Path(sys.executable or 'python3').parent}:$PATH"

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
    """A Python's answers to `_QUESTION`."""

    path: str
    python: tuple[int, ...]
    numpy: str
    unusable: str
    lacks: tuple[str, ...]
    broken: tuple[str, ...]
    libpython: str


def examine(release: str) -> Finding:
    """Examine the `python3` on PATH, which need not be this Python, for a release of CANN."""
    path = shutil.which("python3") or shutil.which("python")
    if path is None:
        return _problem("neither python3 nor python is on PATH", "install Python 3", ABOUT)
    try:
        done = process.run([path, "-c", _QUESTION], timeout_s=TIMEOUT_S)
    except BackendUnavailable as error:
        return _problem(str(error), "install Python 3", ABOUT)
    found: dict[str, list[str]] = {}
    for key, words in re.findall(r"(?m)^@ (\w+)(.*)$", done.output):
        found.setdefault(key, []).extend(words.split())
    if done.timed_out or "python" not in found:
        # its own traceback names the module, where one is missing: its last line is the cause
        cause = one_line(done.output.strip().rpartition("\n")[2], 200)
        return _problem(f"{path} does not work: {cause or 'no output'}", ANOTHER, ABOUT)
    answer = _Answer(
        path=path,
        python=tuple(int(part) for part in found["python"]),
        numpy=" ".join(found.get("numpy", ())),
        unusable=" ".join(found.get("unusable", ())),
        lacks=tuple(found.get("lacks", ())),
        broken=tuple(found.get("broken", ())),
        libpython=" ".join(found.get("libpython", ())),
    )
    return _judge(answer, release)


def _judge(answer: _Answer, release: str) -> Finding:
    """The first thing that is wrong, the worst first."""
    listed = list_for(release)
    known = f"CANN {release}" if listed else "a CANN of unknown release"
    numpy = pinned(answer.python, release)
    has_numpy_2 = release_of(answer.numpy) >= (2,)
    needs_numpy_1 = listed is not None and listed.numpy_2 == "fails"
    too_new = has_numpy_2 and numpy != "numpy"
    # all that is missing, needed or only listed, in one command
    install = [numpy if one == "numpy" else PIP[one] for one in answer.lacks]
    install += [numpy] if too_new else []
    mend = " ".join([f"{answer.path} -m pip install", *install])
    if answer.broken:
        found = f"{answer.path} cannot import {', '.join(answer.broken)} of its own library"
        found += ": the wrong python3 is first on PATH"
        return _problem(found, ANOTHER, "a whole Python for atc")
    # NumPy 1 that somebody built from source may be there all the same
    no_numpy_1 = answer.python >= FIRST_WITHOUT_NUMPY_1 and (has_numpy_2 or "numpy" in answer.lacks)
    if needs_numpy_1 and no_numpy_1:
        return _problem(
            f"{answer.path} is Python {_dotted(answer.python)}, for which there is no NumPy 1; atc"
            f" of {known} needs one (EC0010: np.float_ was removed)",
            "put a Python before 3.13 first on PATH: which -a python3.11 python3.10",
            "a Python for atc with a NumPy before 2",
        )
    needed = ", ".join(PIP[one] for one in answer.lacks if one in NEEDED)
    if needed:
        found = f"{answer.path} lacks {needed}, which compiling operators needs"
        return _problem(found, mend, f"{needed} for atc")
    if answer.unusable:
        found = f"{answer.path} cannot import numpy: {answer.unusable}"
        reinstall = f"{answer.path} -m pip install --force-reinstall {numpy}"
        return _problem(found, reinstall, "a numpy for atc")
    if too_new and needs_numpy_1:
        found = f"{answer.path} has NumPy {answer.numpy}; atc of {known} needs one before 2"
        found += " (EC0010: np.float_ was removed)"
        return _problem(found, mend, "a NumPy before 2 for atc")
    shown = f"{answer.path} ({_dotted(answer.python)}, NumPy {answer.numpy})"
    remarks = _remarks(answer, release, too_new=too_new)
    if not remarks:
        return ok(ABOUT, f"{shown} has what compiling operators needs")
    if not install and answer.libpython:
        mend = (
            "install this Python's shared library, or put its folder on LD_LIBRARY_PATH;"
            " python3-config --prefix must name its prefix"
        )
    elif not install:
        mend = "if operators fail to compile, put a listed Python first on PATH"
    return warning(ABOUT, f"{shown} with {known}: {'; '.join(remarks)}", mend, works_still=True)


def _remarks(answer: _Answer, release: str, *, too_new: bool) -> list[str]:
    """What is outside Huawei's lists, which is no proof that it fails."""
    listed = list_for(release)
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


def _problem(found: str, mend: str, lacks: str) -> Finding:
    return problem(ABOUT, found, mend, npu_lacks=lacks)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
