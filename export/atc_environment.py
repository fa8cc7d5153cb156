"""What ATC needs of the machine and does not find: libraries, Python and its modules, memory, disk.

No error of its own names these well: the loader's and Python's own words do. ATC compiles with
whichever `python3` is first on PATH [V: outputs of CANN 20.1 to 9.0 as users posted them].
"""

from __future__ import annotations

import re
import signal
import sys
from dataclasses import dataclass

from export.atc_codes import SET_ENV
from runtime.cann_python import BELOW_2, MODULES, PIP, install_command
from runtime.doctor.cann import find
from runtime.process import Finished

WHICH_PYTHON = "the python3 that is first on PATH"
# as docs/ascend.md has it
DEVLIB = 'export LD_LIBRARY_PATH="$LD_LIBRARY_PATH:$ASCEND_HOME_PATH/$(uname -m)-linux/devlib"'
# Modules of CANN's own: no package index has them.
CANN_MODULES = frozenset({"te", "tbe", "topi", "impl", "opc_tool", "asc_op_compile_base", "hccl"})
# Gone from Python 3.12 on, and imported by older CANN.
REMOVED_MODULES = frozenset({"distutils", "imp", "asyncore", "asynchat", "smtpd"})

_LIBRARY = re.compile(r"(lib[\w.+-]+?\.so[.\d]*): cannot open shared object file")
_SYMBOL = re.compile(r"undefined symbol: (\w+)")
_GLIBC = re.compile(r"version `((?:GLIBC|GLIBCXX|CXXABI)_[\d.]+)' not found")
_MODULE = re.compile(r"No module named ['\"]?([\w.]+)")
_NUMPY = re.compile(
    r"was removed in the NumPy 2|compiled using NumPy 1\.|numpy\.core\.multiarray failed to import"
    r"|module 'numpy' has no attribute"
)
_DISK = re.compile(r"No space left on device|Disk quota exceeded")
_MEMORY = re.compile(
    r"\bKilled\b|[Oo]ut of memory|\bMemoryError\b|Cannot allocate memory|std::bad_alloc"
)
_KILLED_BY_SHELL = 128 + signal.SIGKILL


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What is not there, and how to get it."""

    what: str
    action: str


OUT_OF_MEMORY = Missing(
    what="it was killed, probably for memory",
    action="Compile in one process, with export TE_PARALLEL_COMPILER=1, or convert on a machine"
    " with more memory",
)


def what_is_missing(output: str) -> Missing | None:
    """The first thing this machine lacks, by the words of loader, Python or system."""
    for search in (_library, _module, _numpy, _disk):
        found = search(output)
        if found is not None:
            return found
    return OUT_OF_MEMORY if _MEMORY.search(output) else None


def was_killed(done: Finished) -> bool:
    """Whether the kernel ended it, which it does for memory; not whether we did."""
    return not done.timed_out and done.returncode in (-signal.SIGKILL, _KILLED_BY_SHELL)


def _library(output: str) -> Missing | None:
    library = _LIBRARY.search(output)
    if library is not None:
        name = library.group(1)
        # the driver's own libraries: machines without an NPU link CANN's stubs instead
        driver = name.startswith(("libascend_hal", "libdrv"))
        return Missing(
            what=f"{name} was not found: {'no driver is here' if driver else 'CANN is not set up'}",
            action=f"Without a driver run: {DEVLIB}" if driver else SET_ENV,
        )
    symbol = _SYMBOL.search(output)
    if symbol is not None:
        return Missing(
            what=f"undefined symbol {symbol.group(1)}: libraries of two CANN versions are mixed",
            action="Source one set_env.sh in a new shell",
        )
    glibc = _GLIBC.search(output)
    if glibc is not None:
        return Missing(
            what=f"{glibc.group(1)} was not found: this system is older than this CANN",
            action="Convert in a container, or with an older CANN",
        )
    return None


def _module(output: str) -> Missing | None:
    match = _MODULE.search(output)
    if match is None:
        return None
    name = match.group(1)
    top = name.partition(".")[0]
    if top in REMOVED_MODULES:
        return Missing(
            what=f"Python has no module {name} any more: {WHICH_PYTHON} is newer than this CANN",
            action="Put a python3 that this CANN supports first on PATH",
        )
    if top in sys.stdlib_module_names:
        return Missing(
            what=f"no module {name}, which is Python's own: {WHICH_PYTHON} is the wrong one",
            action="Put a whole python3 first on PATH (which -a python3 lists them), and source"
            " set_env.sh",
        )
    if top in CANN_MODULES:
        return Missing(what=f"no module {name}, which is CANN's own", action=SET_ENV)
    cann = find()
    more = () if top in (*MODULES, *PIP.values()) else (top,)
    # that Python is another than this one
    command = install_command(None, cann.version if cann else "", *more)
    return Missing(
        what=f"CANN's compiler lacks the Python module {name}",
        action=f"Install what it needs into {WHICH_PYTHON}: {command}",
    )


def _numpy(output: str) -> Missing | None:
    if _NUMPY.search(output) is None:
        return None
    return Missing(
        what="CANN's compiler does not run with this NumPy",
        action=f"Install NumPy 1 into {WHICH_PYTHON}: pip install {BELOW_2}. Python 3.13 has none:"
        " put an older python3 first there",
    )


def _disk(output: str) -> Missing | None:
    if _DISK.search(output) is None:
        return None
    return Missing(what="the disk is full", action="Free disk space, and convert again")
