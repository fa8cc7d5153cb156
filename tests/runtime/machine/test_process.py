"""Other programs are limited in time and leave nothing behind."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from builders import run_python

from runtime.errors import BackendUnavailable
from runtime.machine import process

LONG_S = 300.0
# Says who it is, and goes on for ever.
HANG = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
FOR_EVER = "while :; do sleep 0.1; done"


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def alive(pid: int) -> bool:
    """A zombie of another parent's is dead, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def numbers(output: str) -> list[int]:
    return [int(line) for line in output.split() if line.isdigit()]


def gone(pid: int) -> bool:
    """Whether it is dead soon: the kernel ends a killed process in its own time."""
    deadline = time.monotonic() + 20
    while alive(pid) and time.monotonic() < deadline:
        os.sched_yield()
    return not alive(pid)


def test_output_and_status_come_back() -> None:
    """Stdout and stderr in the order they were written, and the program's own exit status."""
    code = "import sys; print('one', flush=True); print('two', file=sys.stderr); sys.exit(7)"
    done = process.run(python(code), timeout_s=LONG_S)

    assert (done.returncode, done.timed_out) == (7, False)
    assert done.output.split() == ["one", "two"]
    assert 0 < done.seconds < LONG_S


def test_lines_arrive_while_the_program_runs(tmp_path: Path) -> None:
    """The program ends only once its first line was seen here."""
    code = (
        "import pathlib, sys, time\nprint('first', flush=True)\n"
        "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)\nprint('last', end='')"
    )
    seen: list[str] = []

    def on_line(line: str) -> None:
        seen.append(line)
        (tmp_path / "go").touch()

    done = process.run(python(code, str(tmp_path / "go")), timeout_s=LONG_S, on_line=on_line)

    assert (seen, done.output) == (["first", "last"], "first\nlast")


def test_folder_and_environment_are_the_callers(tmp_path: Path) -> None:
    """Both replace this process's own; no input is waited for."""
    code = "import os, sys; print(os.getcwd(), os.environ.get('PATH'), repr(sys.stdin.read()))"
    done = process.run(python(code), timeout_s=LONG_S, cwd=tmp_path, env={"A": "b"})

    assert done.output.split() == [str(tmp_path.resolve()), "None", "''"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    """Also in the middle of a character; a carriage return does not end up in a line."""
    seen: list[str] = []
    code = r"import sys; sys.stdout.buffer.write(b'\xe4\xb8\xad\xff\r\nx\xe4\xb8')"
    done = process.run(python(code), timeout_s=LONG_S, on_line=seen.append)

    assert done.output == "中\ufffd\r\nx\ufffd"
    assert seen == ["中\ufffd", "x\ufffd"]


@pytest.mark.slow
def test_a_program_deaf_to_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request to end is not waited for beyond its grace."""
    monkeypatch.setattr(process, "GRACE_S", 0.2)
    done = process.run(["sh", "-c", f"trap '' TERM; {FOR_EVER}"], timeout_s=4)

    assert done.timed_out
    assert done.returncode == -9


@pytest.mark.slow
def test_a_program_may_tidy_up_when_asked_to_end() -> None:
    """SIGTERM comes first, and its last words are heard."""
    code = f"trap 'echo tidied; exit 3' TERM; {FOR_EVER}"
    done = process.run(["sh", "-c", code], timeout_s=4)

    assert done.timed_out
    assert done.returncode == 3
    assert done.output.endswith("tidied\n")


@pytest.mark.slow
def test_children_of_a_hanging_program_are_ended_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole group, and also the child that ignores SIGTERM."""
    monkeypatch.setattr(process, "GRACE_S", 0.2)
    code = f"(trap '' TERM; {FOR_EVER}) & echo $!; wait"
    done = process.run(["sh", "-c", code], timeout_s=4)

    assert done.timed_out
    assert len(numbers(done.output)) == 1
    assert gone(numbers(done.output)[0])


def test_a_child_left_behind_holds_nobody_up() -> None:
    """The program's own end counts, though its child keeps the pipe open; then the child goes."""
    code = f"(trap '' TERM; {FOR_EVER}) & echo $!; exit 5"
    done = process.run(["sh", "-c", code], timeout_s=LONG_S)

    assert (done.returncode, done.timed_out) == (5, False)
    assert done.seconds < LONG_S
    assert len(numbers(done.output)) == 1
    assert gone(numbers(done.output)[0])


def test_an_error_in_the_reader_ends_the_program() -> None:
    """Whatever the exception: the group is gone when it comes out."""
    seen: list[int] = []

    def on_line(line: str) -> None:
        seen.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.run(python(HANG), timeout_s=LONG_S, on_line=on_line)

    assert gone(seen[0])


def children() -> set[str]:
    """Of this process, zombies too; multiprocessing may have left one of its own."""
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that has just ended
            found.update((task / "children").read_text().split())
    return found


def test_no_zombies_and_no_open_pipes_stay() -> None:
    """After many runs this process has the children and descriptors it had."""
    before = len(list(Path("/proc/self/fd").iterdir())), children()
    for _ in range(5):
        process.run(["true"], timeout_s=LONG_S)

    assert (len(list(Path("/proc/self/fd").iterdir())), children()) == before


def test_a_program_that_closes_its_output_is_waited_for() -> None:
    """Silence is not the end."""
    code = "import os, sys; os.close(1); os.close(2); sys.stdin.read(); os._exit(9)"
    done = process.run(python(code), timeout_s=LONG_S)

    assert (done.returncode, done.output) == (9, "")


def test_endless_output_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last words are kept; a line without end is cut into pieces."""
    monkeypatch.setattr(process, "LONGEST_OUTPUT", 1 << 17)
    monkeypatch.setattr(process, "LONGEST_LINE", 1 << 16)
    pieces: list[str] = []
    code = "import sys; sys.stdout.write('x' * (1 << 20) + 'END')"
    done = process.run(python(code), timeout_s=LONG_S, on_line=pieces.append)

    assert done.output.endswith("END")
    assert len(done.output) <= 1 << 17
    assert sum(map(len, pieces)) == (1 << 20) + 3
    assert len(pieces) > 1


@pytest.mark.parametrize("name", ["/no/such/program", "no-such-program", "."])
def test_a_missing_program_is_named(name: str) -> None:
    """Exit code 3, with what to do."""
    with pytest.raises(BackendUnavailable, match="a program that can be started") as raised:
        process.run([name], timeout_s=LONG_S)

    assert raised.value.where == name


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        # of another processor: installing it again would not help
        (b"\x7fELF\2\1\1" + bytes(200), 0o755, "Exec format error.*for this processor"),
        (b"#!/bin/sh\n", 0o644, "Permission denied.*executable.*noexec"),
    ],
)
def test_a_program_that_cannot_be_executed_is_named(
    tmp_path: Path, content: bytes, mode: int, told: str
) -> None:
    program = tmp_path / "atc"
    program.write_bytes(content)
    program.chmod(mode)
    with pytest.raises(BackendUnavailable, match=told):
        process.run([program], timeout_s=5)


ORPHANED = """
import os, signal, subprocess, sys
from runtime.machine import process

real = subprocess.Popen._execute_child
def interrupted(self, *arguments):
    real(self, *arguments)
    print(self.pid, flush=True)
    os.kill(os.getpid(), signal.SIGINT)  # after the fork, before Popen is made
def ended(process, number, real=process._signal_group):
    os.kill(os.getpid(), signal.SIGINT)  # a second one, while the first unwinds
    real(process, number)
if sys.argv[1] == "begin":
    subprocess.Popen._execute_child = interrupted
else:
    process._signal_group = ended
try:
    says = "print(os.getpid(), flush=True)" if sys.argv[1] == "end" else ""
    command = [sys.executable, "-c", f"import os, time\\n{says}\\ntime.sleep(600)"]
    process.run(command, timeout_s=0.5, on_line=lambda line: print(line, flush=True))
except KeyboardInterrupt:
    print("interrupted", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["begin", "end"])
def test_an_interrupt_while_it_begins_or_ends_leaves_no_orphan(when: str) -> None:
    """It comes through when the program can be ended, or has been."""
    done = run_python("-c", ORPHANED, when)

    pid = numbers(done.stdout)[0]
    assert gone(pid)
    assert "interrupted" in done.stdout, done.stderr
