"""The Python that atc compiles operators with: which one it is, and whether CANN's lists allow it.

Sources: the open graph engine's py_decouple.cc (LaunchDynamicLib: `python3 -V`, then
libpython3.N.so.1.0 in `python3-config --prefix`/lib or on the loader's path); Huawei's lists of
dependencies in the installation guides of CANN 6.2.RC2, 8.0.RC2, 8.0.0, 8.2.RC1, 8.5.0.alpha001,
8.5.0, 9.0.0-beta.1, 9.0.0 and 9.1.0.
"""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime import process
from runtime.doctor.findings import Finding
from runtime.doctor.packages import numbers
from runtime.errors import BackendUnavailable, one_line

ABOUT = "atc's Python"
# Without one of these, operators fail to compile in the middle of a conversion.
MODULES = ("numpy", "decorator", "attr", "psutil", "scipy", "sympy", "cffi")
# What pip calls them, where that differs.
PIP = {"attr": "attrs"}
TIMEOUT_S = 60.0
BELOW_2 = "'numpy<2'"

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
show("lacks", *[m for m in {MODULES!r} if importlib.util.find_spec(m) is None])
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
class Listed:
    """What Huawei lists for a span of releases.

    Attributes:
        since: first release of the span, as `_order` puts it.
        newest_python: that the list names.
        numpy_2: whether it allows NumPy 2; in 8.5 the Python decides.
    """

    since: tuple[int, ...]
    newest_python: tuple[int, ...]
    numpy_2: Literal["fails", "from Python 3.13", "allowed"]


OLDEST_PYTHON = (3, 7)
# The lists name NumPy up to 1.24 before 8.5; public users run 1.26 with 8.0 to 8.2. NumPy 2 fails
# there: EC0010 (`np.float_`) out of atc 8.0.0, error 500001 out of torch_npu on 8.2.
LISTS = (
    Listed(since=(0,), newest_python=(3, 10), numpy_2="fails"),
    Listed(since=(8, 0, 0), newest_python=(3, 11, 4), numpy_2="fails"),
    Listed(since=(8, 5, 0), newest_python=(3, 13), numpy_2="from Python 3.13"),
    Listed(since=(9, 0, 0), newest_python=(3, 13), numpy_2="allowed"),
    Listed(since=(9, 1, 0), newest_python=(3, 14), numpy_2="allowed"),
)


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
    if answer.broken:
        return _problem(
            f"{python} cannot import {', '.join(answer.broken)} of its own library: the wrong"
            " python3 is first on PATH",
            _another(),
            "a whole Python for atc",
        )
    listed = list_for(release)
    # where the release is unknown, what suits all of them
    numpy_2 = listed.numpy_2 if listed else "from Python 3.13"
    allowed = numpy_2 == "allowed" or (numpy_2 != "fails" and answer.python >= (3, 13))
    pinned = "numpy" if allowed else BELOW_2
    too_new = numbers(answer.numpy) >= (2,) and not allowed
    if answer.lacks:
        names = [PIP.get(one, one) for one in answer.lacks]
        install = [pinned if one == "numpy" else one for one in names]
        if too_new:
            install.append(BELOW_2)
        return _problem(
            f"{python} lacks {', '.join(names)}, which compiling operators needs",
            f"{python} -m pip install {' '.join(install)}",
            f"{', '.join(names)} for atc",
        )
    if answer.unusable:
        return _problem(
            f"{python} cannot import numpy: {answer.unusable}",
            f"{python} -m pip install --force-reinstall {pinned}",
            "a numpy for atc",
        )
    known = f"CANN {release}" if listed else "a CANN of unknown release"
    if too_new and numpy_2 == "fails":
        return _problem(
            f"{python} has NumPy {answer.numpy}; atc of {known} needs one before 2"
            " (EC0010: np.float_ was removed)",
            f"{python} -m pip install {BELOW_2}",
            "a NumPy before 2 for atc",
        )
    remarks = _remarks(answer, listed, too_new=too_new)
    shown = f"{python} ({'.'.join(map(str, answer.python))}, NumPy {answer.numpy})"
    if remarks:
        return Finding(
            level="warning",
            about=ABOUT,
            found=f"{shown} with {known}: {'; '.join(remarks)}",
            mend=_mend(python, answer, too_new=too_new),
            works_still=True,
        )
    return Finding(level="ok", about=ABOUT, found=f"{shown} has what compiling operators needs")


def _remarks(answer: _Answer, listed: Listed | None, *, too_new: bool) -> list[str]:
    """What is outside Huawei's lists, which is no proof that it fails."""
    remarks = []
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


def _mend(python: str, answer: _Answer, *, too_new: bool) -> str:
    if too_new:
        return f"{python} -m pip install {BELOW_2}"
    if answer.libpython:
        return (
            "install this Python's shared library, or put its folder on LD_LIBRARY_PATH;"
            " python3-config --prefix must name its prefix"
        )
    return "if operators fail to compile, put a listed Python first on PATH"


def list_for(release: str) -> Listed | None:
    """The list for a release; None where it is unknown."""
    if not numbers(release):
        return None
    order = _order(release)
    return next((one for one in reversed(LISTS) if order >= one.since), None)


def _order(release: str) -> tuple[int, ...]:
    """A release as numbers that sort: previews and candidates come before what they lead to."""
    early = re.search(r"(?i)(alpha|beta|rc|t)[.\d]", release)
    head = numbers(release[: early.start()] if early else release)
    head = (*head, 0, 0)[:3]
    if not early:
        return head
    # 8.0.RC2 is before 8.0.0
    return (*head[:2], head[2] - 1)


def _another() -> str:
    here = Path(sys.executable or "python3").parent
    return f"which -a python3; export PATH={here}:$PATH"


def _problem(found: str, mend: str, lacks: str) -> Finding:
    return Finding(level="problem", about=ABOUT, found=found, mend=mend, npu_lacks=lacks)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
