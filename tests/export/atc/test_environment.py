"""What a machine lacks, in the words of loader, shell and Python: each with a remedy of its own.

The forms are those of glibc's loader and of bash (elf/dl-load.c, execute_cmd.c), of CPython's
exceptions, of OpenBLAS's blas_server.c, and of hicann/ge op_compile_adapter: py_decouple.cc:208
with te_fusion_error_code.h:34 for E40001. Paths, names and versions are of our own.
"""

from __future__ import annotations

import platform

import pytest

from export.atc.environment import crash_of, was_killed
from export.atc.errors import explain
from runtime.machine.process import Finished

STARTS = "ATC start working now, please wait for a moment.\n"
FAILED = "ATC run failed, Please check the detail log, Try 'atc --help' for more information\n"
LOADER = "error while loading shared libraries"
ABSENT = "cannot open shared object file: No such file or directory"
BIN = "/opt/cann/8.2/bin"


def ended(output: str, status: int = 255, *, timed_out: bool = False) -> Finished:
    return Finished(returncode=status, output=output, seconds=2.0, timed_out=timed_out)


def explained(output: str, status: int = 255) -> tuple[str, str]:
    found = explain(ended(output, status))
    assert "\n" not in found.said + found.action
    return found.said, found.action


@pytest.mark.parametrize(
    ("output", "status"),
    [
        (f"{BIN}/atc.bin: {LOADER}: libpython3.9.so.1.0: {ABSENT}\n", 127),
        (f"{STARTS}{FAILED}E40000: libpython3.7m.so.1.0: {ABSENT}\n", 255),
        (
            (
                f"{FAILED}EC0010: [PID: 9] 2025-11-02-10:25:28.614.001 Failed to import Python"
                f" module [ImportError: libpython3.11.so.1.0: {ABSENT}.].\n"
            ),
            255,
        ),
        (
            (
                f"{FAILED}E40001: [PID: 9] 2025-11-02-10:25:28.614.001 Value"
                " [/opt/v/bin:/usr/bin] for environment variable [PATH] is invalid when executing"
                " the cmd python3-config --prefix, Unable to load a valid Python SO .\n"
            ),
            255,
        ),
        (
            (
                f"{FAILED}E40001: Value [/opt/v/bin] for environment variable [PATH] is invalid"
                " when executing the cmd python3 -V and python -V.\n"
            ),
            255,
        ),
    ],
)
def test_a_python_that_cannot_be_loaded_is_the_wrong_one(output: str, status: int) -> None:
    """Not CANN that is not set up, and nothing to unset."""
    said, action = explained(output, status)
    assert "the python3 that is first on PATH is not supported by this CANN" in said
    assert action.startswith("Put a python3 that this CANN supports first on PATH")
    assert "runtime.doctor" in action
    assert "set_env" not in action


@pytest.mark.parametrize("symbol", ["_PyGen_Send", "PyUnicode_AsUTF8", "_Py_NoneStruct", "PyExc_E"])
def test_a_symbol_of_pythons_is_not_of_two_canns(symbol: str) -> None:
    said, action = explained(
        f"{FAILED}E40000: Failed to import [ImportError: /x/te.so: undefined symbol: {symbol}]"
    )
    assert f"{symbol}, which is Python's" in said
    assert "Put a python3" in action
    assert "two CANN" not in said


@pytest.mark.parametrize("symbol", ["rtGetSocSpec", "_ZN2ge5ModelC1Ev", "aclrtPysical"])
def test_another_symbol_is(symbol: str) -> None:
    assert "two CANN versions" in explained(f"atc.bin: undefined symbol: {symbol}\n", 127)[0]


MACHINE = [
    (
        f"{BIN}/atc: line 20: {BIN}/atc.bin: cannot execute binary file: Exec format error\n",
        126,
        f"another processor than {platform.machine()}",
        f"CANN's package for {platform.machine()}",
    ),
    (
        f"{BIN}/atc: line 20: {BIN}/atc.bin: Permission denied\n",
        126,
        "may not be executed",
        "noexec",
    ),
    (
        f"{FAILED}EC0010: [PermissionError: [Errno 13] Permission denied: '/home/me/atc_data']",
        255,
        "/home/me/atc_data cannot be written",
        'export ASCEND_CACHE_PATH="$(mktemp -d)"',
    ),
    (
        f"{FAILED}E40021: OSError: [Errno 30] Read-only file system: 'kernel_meta'",
        255,
        "kernel_meta cannot be written",
        'export ASCEND_WORK_PATH="$(mktemp -d)"',
    ),
    (
        "mkdir: cannot create directory \u2018/home/me/ascend/log\u2019: Permission denied\n",
        1,
        "/home/me/ascend/log cannot be written",
        'export ASCEND_PROCESS_LOG_PATH="$(mktemp -d)"',
    ),
    (
        f"{FAILED}E40024: PermissionError: [Errno 13] Permission denied: '/srv/x y/z'",
        255,
        "/srv/x y/z cannot be written",
        "Make its folder writable",
    ),
    (
        f"{FAILED}EZ9999: Inner Error!\nEZ9999: OSError: [Errno 24] Too many open files: '/d/0.o'",
        255,
        "too many files",
        "ulimit -n 65535",
    ),
    (
        (
            f"{FAILED}E40024: UnicodeDecodeError: 'ascii' codec can't decode byte 0xe5 in position"
            " 7: ordinal not in range(128)"
        ),
        255,
        "not ASCII",
        "export LC_ALL=C.UTF-8",
    ),
    (
        (
            "OpenBLAS blas_thread_init: pthread_create failed for thread 7 of 96: Resource"
            f" temporarily unavailable\n{STARTS}...\n{FAILED}E40021: none\n"
        ),
        255,
        "no more threads",
        "export TE_PARALLEL_COMPILER=1",
    ),
    (
        f"{FAILED}EZ9999: Inner Error!\nEZ9999: RuntimeError: can't start new thread",
        255,
        "no more threads",
        "export TE_PARALLEL_COMPILER=1",
    ),
]


@pytest.mark.parametrize(("output", "status", "said", "action"), MACHINE)
def test_each_fault_of_the_machine_has_its_own_remedy(
    output: str, status: int, said: str, action: str
) -> None:
    found = explained(output, status)
    assert said in found[0]
    assert action in found[1]


def test_such_words_do_not_hide_an_error_about_the_input() -> None:
    noise = "PermissionError: [Errno 13] Permission denied: '/home/me/atc_data'\n"
    assert explained(f"{noise}{STARTS}{FAILED}E10016: no node picture\n")[0].startswith("E10016: n")


@pytest.mark.parametrize(
    ("status", "name"), [(-11, "SIGSEGV"), (139, "SIGSEGV"), (134, "SIGABRT"), (-7, "SIGBUS")]
)
def test_a_crash_is_named_with_what_may_help(status: int, name: str) -> None:
    said, action = explained(f"{STARTS}......\nwhat(): no such op\n", status)
    assert said.startswith(f"it crashed ({name}): ")
    assert said.endswith("what(): no such op")
    assert "python -m runtime.doctor" in action
    assert "export TE_PARALLEL_COMPILER=1" in action


def test_a_shells_word_of_a_crash_is_enough() -> None:
    said, _ = explained(f"{BIN}/atc: line 20: 77 Segmentation fault (core dumped) {BIN}/atc.bin\n")
    assert said.startswith("it crashed: ")


def test_what_we_ended_ourselves_did_not_crash() -> None:
    for status in (-9, -11, 137, 139):
        done = ended(STARTS, status, timed_out=True)
        assert crash_of(done) is None
        assert not was_killed(done)


@pytest.mark.parametrize("status", [126, 127])
def test_an_atc_that_did_not_start_is_for_the_doctor(status: int) -> None:
    said, action = explained(f"{BIN}/atc: line 20: {BIN}/atc.bin: something new\n", status)
    assert said.endswith("something new")
    assert action == "Run python -m runtime.doctor: atc did not start"
