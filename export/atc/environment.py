"""What ATC needs of the machine and does not find: libraries, Python, memory, folders, limits.

No error of its own names these well: the words of loader, shell and Python do. ATC compiles with
whichever `python3` is first on PATH [V: outputs of CANN 20.1 to 9.0 as users posted them; ge
op_compile_adapter/source/python_adapter/py_decouple.cc, LaunchDynamicLib].
"""

from __future__ import annotations

import platform
import re
import signal
import sys
from dataclasses import dataclass

from export.atc.codes import DOCTOR, SET_ENV
from runtime.doctor.cann import find
from runtime.machine.cann_python import BELOW_2, CANN_MODULES, install_command, pip_name
from runtime.machine.process import Finished

WHICH_PYTHON = "the python3 that is first on PATH"
ANOTHER_PYTHON = "Put a python3 that this CANN supports first on PATH"
ONE_PROCESS = "export TE_PARALLEL_COMPILER=1"
# as docs/ascend.md has it
DEVLIB = 'export LD_LIBRARY_PATH="$LD_LIBRARY_PATH:$ASCEND_HOME_PATH/$(uname -m)-linux/devlib"'
# Gone from Python 3.12 on, and imported by older CANN.
REMOVED_MODULES = frozenset({"distutils", "imp", "asyncore", "asynchat", "smtpd"})

_LIBRARY = re.compile(r"(lib[\w.+-]+?\.so[.\d]*): cannot open shared object file")
_SYMBOL = re.compile(r"undefined symbol: (\w+)")
_OF_PYTHON = re.compile(r"_?Py[A-Z_]")
# E40001 where no libpython can be loaded [V: py_decouple.cc:208]
_NO_LIBPYTHON = re.compile(r"variable \[?PATH\]? .*python3?(?:-config| -V)")
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
_OTHER_PROCESSOR = re.compile(r"[Ee]xec format error|wrong ELF class")
_NOT_EXECUTABLE = re.compile(r"\batc(?:\.bin)?: Permission denied")
_CLOSED = r"(?:Permission denied|Read-only file system)"
_FOLDER = re.compile(
    rf"\[Errno (?:13|30)\] {_CLOSED}: ['\"](?P<python>[^'\"]+)['\"]"
    rf"|cannot (?:create|open|touch)[\w ]*['\"\u2018](?P<shell>[^'\"\u2019]+)['\"\u2019]: {_CLOSED}"
)
# what ATC writes besides the .om, and the variable that puts it elsewhere
# [V: ge docs, --op_compiler_cache_dir, --debug_dir; runtime docs, ASCEND_PROCESS_LOG_PATH]
_FOLDERS = (
    (re.compile(r"atc_data|kernel_cache"), "ASCEND_CACHE_PATH"),
    (re.compile(r"kernel_meta"), "ASCEND_WORK_PATH"),
    (re.compile(r"ascend/log"), "ASCEND_PROCESS_LOG_PATH"),
)
_FILES = re.compile(r"[Tt]oo many open files")
_THREADS = re.compile(
    r"pthread_create failed|can't start new thread|Resource temporarily unavailable"
)
_ENCODING = re.compile(r"Unicode(?:De|En)codeError: 'ascii' codec")
_CRASH = re.compile(r"[Ss]egmentation fault|core dumped")
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
_SHELLS_SIGNALS = 128


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What is not there, and how to get it."""

    what: str
    action: str


OUT_OF_MEMORY = Missing(
    what="it was killed, probably for memory",
    action=f"Compile in one process, with {ONE_PROCESS}, or convert on a machine with more memory",
)


def what_is_missing(output: str) -> Missing | None:
    """The first thing this machine lacks, by the words of loader, Python or system."""
    for search in (_start, _library, _module, _numpy, _disk, _limit, _folder):
        found = search(output)
        if found is not None:
            return found
    return OUT_OF_MEMORY if _MEMORY.search(output) else None


def was_killed(done: Finished) -> bool:
    """Whether the kernel ended it, which it does for memory; not whether we did."""
    return not done.timed_out and _signal_of(done) == signal.SIGKILL


def crash_of(done: Finished) -> Missing | None:
    """How it crashed; None where it did not."""
    number = _signal_of(done)
    if done.timed_out or (number not in _CRASHES and not _CRASH.search(done.output)):
        return None
    name = f" ({signal.Signals(number).name})" if number in _CRASHES else ""
    return Missing(what=f"it crashed{name}", action=f"{DOCTOR}, and try one process: {ONE_PROCESS}")


def _signal_of(done: Finished) -> int:
    """The number of the signal that ended it, or the program that its shell waited for; 0: none."""
    status = done.returncode
    return -status if status < 0 else max(status - _SHELLS_SIGNALS, 0)


def _start(output: str) -> Missing | None:
    if _OTHER_PROCESSOR.search(output):
        return Missing(
            what=f"this CANN was built for another processor than {platform.machine()}",
            action=f"Install CANN's package for {platform.machine()}",
        )
    if _NOT_EXECUTABLE.search(output):
        return Missing(
            what="atc may not be executed",
            action="Make it executable for this user (chmod a+rx); look for noexec among the"
            " options of its mount",
        )
    return None


def _library(output: str) -> Missing | None:
    library = _LIBRARY.search(output)
    if library is not None:
        name = library.group(1)
        if name.startswith("libpython"):
            return _no_libpython(f"{name} was not found")
        # the driver's own libraries: machines without an NPU link CANN's stubs instead
        driver = name.startswith(("libascend_hal", "libdrv"))
        return Missing(
            what=f"{name} was not found: {'no driver is here' if driver else 'CANN is not set up'}",
            action=f"Without a driver run: {DEVLIB}" if driver else SET_ENV,
        )
    symbol = _SYMBOL.search(output)
    if symbol is not None and _OF_PYTHON.match(symbol.group(1)):
        return Missing(
            what=f"undefined symbol {symbol.group(1)}, which is Python's: {WHICH_PYTHON} is of"
            " another version than a library that it loads",
            action=f"{ANOTHER_PYTHON}; unset a PYTHONPATH or LD_LIBRARY_PATH of another Python",
        )
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
    return _no_libpython("no libpython could be loaded") if _NO_LIBPYTHON.search(output) else None


def _no_libpython(what: str) -> Missing:
    return Missing(
        what=f"{what}: {WHICH_PYTHON} is not supported by this CANN, or has no shared library",
        action=f"{ANOTHER_PYTHON}, with its shared library on the loader's path; python -m"
        " runtime.doctor examines it",
    )


def _module(output: str) -> Missing | None:
    match = _MODULE.search(output)
    if match is None:
        return None
    name = match.group(1)
    top = name.partition(".")[0]
    if top in REMOVED_MODULES:
        return Missing(
            what=f"Python has no module {name} any more: {WHICH_PYTHON} is newer than this CANN",
            action=ANOTHER_PYTHON,
        )
    if top in sys.stdlib_module_names:
        return Missing(
            what=f"no module {name}, which is Python's own: {WHICH_PYTHON} is the wrong one",
            action="Put a whole python3 first on PATH (which -a python3 lists them), and source"
            " set_env.sh",
        )
    if top in CANN_MODULES:
        return Missing(what=f"no module {name}, which is CANN's own", action=SET_ENV)
    lacks = f"CANN's compiler lacks the Python module {name}"
    package = pip_name(name)
    if package is None:
        # anybody's package may bear that name on an index
        return Missing(
            what=lacks, action=f"Install the package that holds {name} into {WHICH_PYTHON}"
        )
    cann = find()
    # that Python is another than this one
    command = install_command(None, cann.version if cann else "", package)
    return Missing(what=lacks, action=f"Install what it needs into {WHICH_PYTHON}: {command}")


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


def _limit(output: str) -> Missing | None:
    """What this machine has enough of, and does not give to this user or container."""
    if _FILES.search(output):
        return Missing(
            what="too many files are open at once",
            action="Raise the limit in this shell, ulimit -n 65535, and convert again",
        )
    if _THREADS.search(output):
        return Missing(
            what="no more threads or processes can be started",
            action=f"Compile in one process, with {ONE_PROCESS}, or raise the limit (ulimit -u; in"
            " a container --pids-limit)",
        )
    if _ENCODING.search(output):
        return Missing(
            what="CANN's compiler met text that is not ASCII, in a locale of ASCII",
            action="export LC_ALL=C.UTF-8 LANG=C.UTF-8, and convert again",
        )
    return None


def _folder(output: str) -> Missing | None:
    closed = _FOLDER.search(output)
    if closed is None:
        return None
    path = closed["python"] or closed["shell"]
    variable = next((name for pattern, name in _FOLDERS if pattern.search(path)), "")
    elsewhere = f', or put it elsewhere: export {variable}="$(mktemp -d)"' if variable else ""
    return Missing(
        what=f"{path} cannot be written",
        action=f"Make its folder writable for this user{elsewhere}",
    )
