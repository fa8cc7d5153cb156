"""What a machine lacks, in the words of loader, shell and Python: each with a remedy of its own.

The forms are those of glibc's loader and of bash (elf/dl-load.c, execute_cmd.c), of CPython's
exceptions, of OpenBLAS's blas_server.c, of hicann/ge op_compile_adapter (py_decouple.cc:208 with
te_fusion_error_code.h:34 for E40001), and of CANN 20.1 to 9.0 as users posted them. Paths, names
and versions are of our own.
"""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from atc_runs import FAILED, STARTS, ended, explained
from builders import ROOT
from doctor_machines import installation

from export.atc.environment import DEVLIB, crash_of, was_killed
from export.atc.errors import explain
from runtime.machine.npu_packages import install_command

LOADER = "atc.bin: error while loading shared libraries"
ABSENT = "cannot open shared object file: No such file or directory"
BIN = "/opt/cann/8.2/bin"
# The remedies that several faults share.
SET_ENV = "Source CANN's set_env.sh in this shell"
OTHER_PYTHON = "Put a python3 that this CANN supports first on PATH"
ONE_PROCESS = "export TE_PARALLEL_COMPILER=1"
# this CANN is not installed, and its release so unknown; its Python is another than this one
COMPILER_NEEDS = install_command(None)

Sign = tuple[str, int, str, str]


def library(name: str, said: str, action: str) -> Sign:
    """The loader's line is all there is: no line of atc's, no code."""
    return f"{LOADER}: {name}: {ABSENT}\n", 127, f"{name} was not found: {said}", action


def failed(block: str, said: str, action: str) -> Sign:
    return f"{FAILED}{block}\n", 255, said, action


NO_LIBPYTHON = "the python3 that is first on PATH is not supported by this CANN"
PATH_IS_INVALID = "Value [/opt/v/bin] for environment variable [PATH] is invalid when executing the"
SIGNS: list[Sign] = [
    library("libascend_hal.so", "no driver is here", DEVLIB),
    library("libdrvdsmi_host.so", "no driver is here", DEVLIB),
    library("libge_compiler.so", "CANN is not set up", SET_ENV),
    library("libmmpa.so.1", "CANN is not set up", SET_ENV),
    library("libstdc++.so.6", "CANN is not set up", SET_ENV),
    # not CANN that is not set up
    library("libpython3.9.so.1.0", NO_LIBPYTHON, OTHER_PYTHON),
    failed(f"E40000: libpython3.7m.so.1.0: {ABSENT}", NO_LIBPYTHON, OTHER_PYTHON),
    failed(
        "EC0010: [PID: 9] 2025-11-02-10:25:28.614.001 Failed to import Python module [ImportError:"
        f" libpython3.11.so.1.0: {ABSENT}.].",
        f"EC0010: libpython3.11.so.1.0 was not found: {NO_LIBPYTHON}",
        OTHER_PYTHON,
    ),
    failed(
        f"E40001: [PID: 9] 2025-11-02-10:25:28.614.001 {PATH_IS_INVALID} cmd python3-config"
        " --prefix, Unable to load a valid Python SO .",
        NO_LIBPYTHON,
        "python -m runtime.doctor examines it",
    ),
    failed(f"E40001: {PATH_IS_INVALID} cmd python3 -V and python -V.", NO_LIBPYTHON, OTHER_PYTHON),
    *(
        failed(f"E40000: [ImportError: /x/te.so: undefined symbol: {one}]", says, OTHER_PYTHON)
        for one in ("_PyGen_Send", "PyUnicode_AsUTF8", "_Py_NoneStruct", "PyExc_E")
        for says in [f"undefined symbol {one}, which is Python's"]
    ),
    *(
        (f"atc.bin: undefined symbol: {one}\n", 127, f"{one}: libraries of two CANN", "set_env.sh")
        for one in ("rtGetSocSpec", "_ZN2ge5ModelC1Ev", "aclrtPysical")
    ),
    (
        "atc.bin: /lib/libc.so.6: version `GLIBC_2.34' not found",
        1,
        "GLIBC_2.34 was not found",
        "older CANN",
    ),
    (
        f"{BIN}/atc: line 20: {BIN}/atc.bin: cannot execute binary file: Exec format error\n",
        126,
        f"another processor than {platform.machine()}",
        f"CANN's package for {platform.machine()}",
    ),
    (f"{BIN}/atc: line 20: {BIN}/atc.bin: Permission denied\n", 126, "not be executed", "noexec"),
    # EC0010 names the module with its class, without, and in the newest look
    failed(
        "EC0010: [PID: 12] 2025-07-08-10:25:28.6 Failed to import Python module"
        " [ModuleNotFoundError: No module named 'decorator'.].\n        Solution: Install it.\n"
        "        TraceBack (most recent call last):\n        Failed to initialize Te.",
        "EC0010: CANN's compiler lacks the Python module decorator",
        f"first on PATH: {COMPILER_NEEDS}",
    ),
    failed(
        "EC0010: [PID: 12] 2025-07-08-10:25:28.6 Failed to import [No module named 'scipy']",
        "EC0010: CANN's compiler lacks the Python module scipy",
        COMPILER_NEEDS,
    ),
    failed(
        "[PID: 9] 2026-07-01-09:00:00.1 Environment_Error_Import_Python_Module_Failed(EC0010):"
        " Failed to import Python module ModuleNotFoundError: No module named 'attr'.",
        "lacks the Python module attr",
        COMPILER_NEEDS,
    ),
    failed("E40020: no module. ModuleNotFoundError: No module named 'absl'", "absl", "absl-py"),
    failed("EC0010: [No module named 'distutils']", "newer than this CANN", OTHER_PYTHON),
    failed("EC0010: [No module named 'tbe']", "tbe, which is CANN's own", SET_ENV),
    failed(
        "EC0010: [PID: 3] 2025-08-01-07:12:03.2 Failed to import [AttributeError: `np.float_` was"
        " removed in the NumPy 2.0 release. Use `np.float64` instead.].",
        "EC0010: CANN's compiler does not run with this NumPy",
        "first on PATH: pip install 'numpy<2'. Python 3.13 has none",
    ),
    failed("EC0010: [module 'numpy' has no attribute 'in1d']", "this NumPy", "'numpy<2'"),
    failed("E40000: Failed to import te.log_util.", "does not start in the python3", "on PATH"),
    failed(
        "EC0010: [PermissionError: [Errno 13] Permission denied: '/home/me/atc_data']",
        "/home/me/atc_data cannot be written",
        'export ASCEND_CACHE_PATH="$(mktemp -d)"',
    ),
    failed(
        "E40021: OSError: [Errno 30] Read-only file system: 'kernel_meta'",
        "kernel_meta cannot be written",
        'export ASCEND_WORK_PATH="$(mktemp -d)"',
    ),
    (
        "mkdir: cannot create directory \u2018/home/me/ascend/log\u2019: Permission denied\n",
        1,
        "/home/me/ascend/log cannot be written",
        'export ASCEND_PROCESS_LOG_PATH="$(mktemp -d)"',
    ),
    failed(
        "E40024: PermissionError: [Errno 13] Permission denied: '/srv/x y/z'",
        "/srv/x y/z cannot be written",
        "Make its folder writable",
    ),
    failed("E19999: Inner Error!\nE19999: No space left on device", "the disk is full", "Free"),
    failed(
        "EZ9999: Inner Error!\nEZ9999: OSError: [Errno 24] Too many open files: '/d/0.o'",
        "too many files",
        "ulimit -n 65535",
    ),
    failed(
        "E40024: UnicodeDecodeError: 'ascii' codec can't decode byte 0xe5 in position 7: ordinal"
        " not in range(128)",
        "not ASCII",
        "export LC_ALL=C.UTF-8",
    ),
    (
        f"OpenBLAS blas_thread_init: pthread_create failed for thread 7 of 96\n{STARTS}{FAILED}",
        255,
        "no more threads",
        ONE_PROCESS,
    ),
    failed("EZ9999: Inner Error!\nEZ9999: can't start new thread", "no more threads", ONE_PROCESS),
    (f"{STARTS}.....", -9, "killed, probably for memory", ONE_PROCESS),
    (f"{STARTS}{BIN}/atc: line 40: 12 Killed  {BIN}/atc.bin\n", 137, "for memory", ONE_PROCESS),
    failed("EZ9999: Inner Error!\nEZ9999  Out of memory", "for memory", ONE_PROCESS),
    failed("E40021: [PID: 3] 2025-01-01 MemoryError", "for memory", ONE_PROCESS),
    failed("EC0010: [PID: 3] OSError: Cannot allocate memory", "for memory", ONE_PROCESS),
]


@pytest.mark.parametrize(
    ("output", "status", "said", "action"), SIGNS, ids=[str(index) for index in range(len(SIGNS))]
)
def test_each_fault_of_the_machine_has_its_own_remedy(
    output: str, status: int, said: str, action: str
) -> None:
    found = explained(output, status)
    assert said in found[0]
    assert action in found[1]


def test_a_module_that_no_table_has_is_not_asked_of_pip() -> None:
    """Its name on a package index may be anybody's."""
    said, action = explained(f"{FAILED}EC0010: [No module named 'frobnicate.x']")
    assert "lacks the Python module frobnicate.x" in said
    assert action.startswith("Install the package that holds frobnicate.x into the python3")
    assert "pip" not in action


@pytest.mark.parametrize("name", ["_struct", "_ctypes", "_bz2", "encodings.idna", "sqlite3"])
def test_a_python_without_its_own_modules_is_the_wrong_one(name: str) -> None:
    """No package index has them: pip install would not help."""
    output = (
        f"ModuleNotFoundError: No module named '{name}'\n{FAILED}E40000: Failed to import te.x.\n"
    )
    said, action = explained(output)
    assert said == (
        f"E40000: no module {name}, which is Python's own: the python3 that is first on PATH is"
        " the wrong one"
    )
    assert "which -a python3" in action
    assert "pip" not in action


@pytest.mark.parametrize(("release", "pinned"), [("8.2.RC1", True), ("9.0.0", False)])
def test_pip_is_told_to_stay_before_numpy_2_where_this_cann_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, *, pinned: bool
) -> None:
    """The one that is sourced: an unneeded pin would replace the NumPy of other packages."""
    monkeypatch.setenv("ASCEND_HOME_PATH", str(installation(tmp_path, release)))
    _, action = explained(f"{FAILED}EC0010: [No module named 'decorator']")
    assert ("numpy<2" in action) == pinned
    assert action.endswith(install_command(None, release))


@pytest.mark.parametrize("guide", ["ascend.md", "ascend.zh-CN.md"])
def test_the_devlib_remedy_is_the_guides_own_line(guide: str) -> None:
    assert DEVLIB in (ROOT / "docs" / guide).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    "noise",
    [
        "PermissionError: [Errno 13] Permission denied: '/home/me/atc_data'\n",
        # modules that are missing and not needed
        "ModuleNotFoundError: No module named 'tornado'\n",
    ],
)
def test_noise_does_not_hide_an_error_about_the_input(noise: str) -> None:
    said, action = explained(f"{noise}{STARTS}{FAILED}E10016: no node picture\n")
    assert said.startswith("E10016: no node picture")
    assert "pip" not in action


@pytest.mark.parametrize(
    ("status", "name"), [(-11, "SIGSEGV"), (139, "SIGSEGV"), (134, "SIGABRT"), (-7, "SIGBUS")]
)
def test_a_crash_is_named_with_what_may_help(status: int, name: str) -> None:
    said, action = explained(f"{STARTS}......\nwhat(): no such op\n", status)
    assert said.startswith(f"it crashed ({name}): ")
    assert said.endswith("what(): no such op")
    assert "python -m runtime.doctor" in action
    assert ONE_PROCESS in action


def test_a_shells_word_of_a_crash_is_enough() -> None:
    said, _ = explained(f"{BIN}/atc: line 20: 77 Segmentation fault (core dumped) {BIN}/atc.bin\n")
    assert said.startswith("it crashed: ")


@pytest.mark.parametrize("status", [-9, -11, 137, 139])
def test_what_we_ended_ourselves_neither_crashed_nor_was_killed(status: int) -> None:
    done = ended(STARTS, status, timed_out=True)
    assert crash_of(done) is None
    assert not was_killed(done)
    found = explain(done)
    assert "memory" not in found.cause + found.action
    assert found.action == "Raise --atc_timeout"


@pytest.mark.parametrize("status", [126, 127])
def test_an_atc_that_did_not_start_is_for_the_doctor(status: int) -> None:
    said, action = explained(f"{BIN}/atc: line 20: {BIN}/atc.bin: something new\n", status)
    assert said.endswith("something new")
    assert action == "Run python -m runtime.doctor: atc did not start"
