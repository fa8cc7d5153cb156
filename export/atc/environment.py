"""What ATC needs of the machine and does not find: libraries, Python, memory, folders, limits.

Its own errors do not name these; the messages of the loader, the shell and Python do. ATC compiles
with whichever `python3` is first on PATH [V: outputs of CANN 20.1 to 9.0 as users posted them; ge
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
from runtime.machine.npu_packages import BELOW_2, CANN_MODULES, install_command, pip_name
from runtime.machine.process import Finished

WHICH_PYTHON = "the python3 that is first on PATH"
ANOTHER_PYTHON = "Put a python3 that this CANN supports first on PATH"
ONE_PROCESS = "export TE_PARALLEL_COMPILER=1"
# as docs/ascend.md has it
DEVLIB = 'export LD_LIBRARY_PATH="$LD_LIBRARY_PATH:$ASCEND_HOME_PATH/$(uname -m)-linux/devlib"'
# Gone from Python 3.12 on, and imported by older CANN.
REMOVED_MODULES = frozenset({"distutils", "imp", "asyncore", "asynchat", "smtpd"})
_NO_SHARED = f"{WHICH_PYTHON} is not supported by this CANN, or has no shared library"
_SHARED = (
    f"{ANOTHER_PYTHON}, with its shared library on the loader's path; python -m runtime.doctor"
    " examines it"
)
_NUMPY_1 = f"Install NumPy 1 into {WHICH_PYTHON}: pip install {BELOW_2}"
_ONE_PROCESS = f"Compile in one process, with {ONE_PROCESS}"
# A pattern, what it is a sign of ({} is its group), and what to do; the first that is found counts.
_BEFORE_MODULES = (
    (
        r"[Ee]xec format error|wrong ELF class",
        f"this CANN was built for another processor than {platform.machine()}",
        f"Install CANN's package for {platform.machine()}",
    ),
    (
        r"\batc(?:\.bin)?: Permission denied",
        "atc may not be executed",
        "Make it executable for this user (chmod a+rx); look for noexec among its mount's options",
    ),
    (
        r"(libpython[\w.+-]*?\.so[.\d]*): cannot open shared object file",
        f"{{}} was not found: {_NO_SHARED}",
        _SHARED,
    ),
    # the driver's own: machines without an NPU link CANN's stubs instead
    (
        r"(lib(?:ascend_hal|drv)[\w.+-]*?\.so[.\d]*): cannot open shared object file",
        "{} was not found: no driver is here",
        f"Without a driver run: {DEVLIB}",
    ),
    (
        r"(lib[\w.+-]+?\.so[.\d]*): cannot open shared object file",
        "{} was not found: CANN is not set up",
        SET_ENV,
    ),
    (
        r"undefined symbol: (_?Py[A-Z_]\w*)",
        f"undefined symbol {{}}, which is Python's: {WHICH_PYTHON} is not that of a library here",
        f"{ANOTHER_PYTHON}; unset a PYTHONPATH or LD_LIBRARY_PATH of another Python",
    ),
    (
        r"undefined symbol: (\w+)",
        "undefined symbol {}: libraries of two CANN versions are mixed",
        "Source one set_env.sh in a new shell",
    ),
    (
        r"version `((?:GLIBC|GLIBCXX|CXXABI)_[\d.]+)' not found",
        "{} was not found: this system is older than this CANN",
        "Convert in a container, or with an older CANN",
    ),
    # E40001 where no libpython can be loaded [V: py_decouple.cc:208]
    (
        r"variable \[?PATH\]? .*python3?(?:-config| -V)",
        f"no libpython could be loaded: {_NO_SHARED}",
        _SHARED,
    ),
)
_AFTER_MODULES = (
    (
        (
            r"was removed in the NumPy 2|compiled using NumPy 1\."
            r"|numpy\.core\.multiarray failed to import|module 'numpy' has no attribute"
        ),
        "CANN's compiler does not run with this NumPy",
        f"{_NUMPY_1}. Python 3.13 has none: put an older python3 first there",
    ),
    (
        r"No space left on device|Disk quota exceeded",
        "the disk is full",
        "Free disk space, in the output's folder and in TMPDIR (/tmp), and convert again",
    ),
    (
        r"[Tt]oo many open files",
        "too many files are open at once",
        "Raise the limit in this shell, ulimit -n 65535, and convert again",
    ),
    (
        r"pthread_create failed|can't start new thread|Resource temporarily unavailable",
        "no more threads or processes can be started",
        f"{_ONE_PROCESS}, or raise the limit (ulimit -u; in a container --pids-limit)",
    ),
    (
        r"Unicode(?:De|En)codeError: 'ascii' codec",
        "CANN's compiler met text that is not ASCII, in a locale of ASCII",
        "export LC_ALL=C.UTF-8 LANG=C.UTF-8, and convert again",
    ),
)
_MEMORY = re.compile(
    r"\bKilled\b|[Oo]ut of memory|\bMemoryError\b|Cannot allocate memory|std::bad_alloc"
)
_CLOSED = r"(?:Permission denied|Read-only file system)"
_FOLDER = re.compile(
    rf"\[Errno (?:13|30)\] {_CLOSED}: ['\"](?P<python>[^'\"]+)['\"]"
    rf"|cannot (?:create|open|touch)[\w ]*['\"\u2018](?P<shell>[^'\"\u2019]+)['\"\u2019]: {_CLOSED}"
)
# what ATC writes besides the .om, and the variable that puts it elsewhere
# [V: ge docs, --op_compiler_cache_dir, --debug_dir; runtime docs, ASCEND_PROCESS_LOG_PATH]
_FOLDERS = (
    (r"atc_data|kernel_cache", "ASCEND_CACHE_PATH"),
    (r"kernel_meta", "ASCEND_WORK_PATH"),
    (r"ascend/log", "ASCEND_PROCESS_LOG_PATH"),
)
_CRASH = re.compile(r"[Ss]egmentation fault|core dumped")
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
_SHELLS_SIGNALS = 128


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Why a run failed, in one line, and what to do next."""

    cause: str
    action: str


OUT_OF_MEMORY = Explained(
    cause="it was killed, probably for memory",
    action=f"{_ONE_PROCESS}, or convert on a machine with more memory",
)


def what_is_missing(output: str) -> Explained | None:
    """The first thing this machine lacks, by the messages of loader, Python or system."""
    for pattern, cause, action in _BEFORE_MODULES:
        found = re.search(pattern, output)
        if found is not None:
            return Explained(cause=cause.format(*found.groups()), action=action)
    module = re.search(r"No module named ['\"]?([\w.]+)", output)
    if module is not None:
        return _module(module[1])
    for pattern, cause, action in _AFTER_MODULES:
        if re.search(pattern, output):
            return Explained(cause=cause, action=action)
    closed = _FOLDER.search(output)
    if closed is not None:
        return _folder(closed["python"] or closed["shell"])
    return OUT_OF_MEMORY if _MEMORY.search(output) else None


def was_killed(done: Finished) -> bool:
    """Whether the kernel ended it, which it does for memory; not whether we did."""
    return not done.timed_out and _signal_of(done) == signal.SIGKILL


def crash_of(done: Finished) -> Explained | None:
    """How it crashed; None where it did not."""
    number = _signal_of(done)
    if done.timed_out or (number not in _CRASHES and not _CRASH.search(done.output)):
        return None
    name = f" ({signal.Signals(number).name})" if number in _CRASHES else ""
    return Explained(
        cause=f"it crashed{name}", action=f"{DOCTOR}, and try one process: {ONE_PROCESS}"
    )


def _signal_of(done: Finished) -> int:
    """The number of the signal that ended it, or the program that its shell waited for; 0: none."""
    status = done.returncode
    return -status if status < 0 else max(status - _SHELLS_SIGNALS, 0)


def _module(name: str) -> Explained:
    top = name.partition(".")[0]
    if top in REMOVED_MODULES:
        return Explained(
            cause=f"Python has no module {name} any more: {WHICH_PYTHON} is newer than this CANN",
            action=ANOTHER_PYTHON,
        )
    if top in sys.stdlib_module_names:
        return Explained(
            cause=f"no module {name}, which is Python's own: {WHICH_PYTHON} is the wrong one",
            action="Put a whole python3 first on PATH (which -a python3 lists them), and source"
            " set_env.sh",
        )
    if top in CANN_MODULES:
        return Explained(cause=f"no module {name}, which is CANN's own", action=SET_ENV)
    lacks = f"CANN's compiler lacks the Python module {name}"
    package = pip_name(name)
    if package is None:
        # anybody's package may bear that name on an index
        return Explained(
            cause=lacks, action=f"Install the package that holds {name} into {WHICH_PYTHON}"
        )
    cann = find()
    # that Python is another than this one
    command = install_command(None, cann.version if cann else "", package)
    return Explained(cause=lacks, action=f"Install what it needs into {WHICH_PYTHON}: {command}")


def _folder(path: str) -> Explained:
    variable = next((name for pattern, name in _FOLDERS if re.search(pattern, path)), "")
    elsewhere = f', or put it elsewhere: export {variable}="$(mktemp -d)"' if variable else ""
    return Explained(
        cause=f"{path} cannot be written",
        action=f"Make its folder writable for this user{elsewhere}",
    )
