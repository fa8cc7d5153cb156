"""The simulated atc: the ways in which it fails on demand, as separate processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cann import graphs
from cann.atc_driver import CODE, attributes, conversion
from cann.atc_simulator.command import FAILED, STARTS, SUCCEEDED
from cann.plugin import Cann

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(cann: Cann, tmp_path: Path) -> Start:
    """Start atc in its own session, in a folder with a model, with these faults."""
    graphs.save(tmp_path, graphs.conv())

    def started(*faults: str, **options: str) -> subprocess.Popen[str]:
        cann.set_fault(*faults)
        return subprocess.Popen(
            ["atc", *conversion(**options)],
            cwd=tmp_path,
            env=cann.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    return started


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and stdout."""
    out, err = process.communicate(timeout=300)
    assert err == ""
    return process.returncode, out


def test_exit_dies_at_once_saying_nothing(start: Start) -> None:
    assert finished(start("atc:exit=7")) == (7, "")


def test_success_without_file(start: Start, tmp_path: Path) -> None:
    status, out = finished(start("atc:success-without-file"))
    assert status == 0
    assert SUCCEEDED in out
    assert not list(tmp_path.glob("*.om"))


def test_truncated_file(start: Start, tmp_path: Path) -> None:
    finished(start())
    whole = (tmp_path / "net.om").stat().st_size
    status, out = finished(start("atc:truncated-file"))
    assert status == 0
    assert SUCCEEDED in out
    assert (tmp_path / "net.om").stat().st_size == whole // 2


def test_silent_failure(start: Start, tmp_path: Path) -> None:
    status, out = finished(start("atc:silent-failure"))
    assert status == 0
    assert FAILED in out
    assert not list(tmp_path.glob("*.om"))


def test_out_of_memory(start: Start) -> None:
    status, out = finished(start("atc:oom"))
    assert status == -signal.SIGKILL
    assert out == STARTS + "\n"


def test_any_code_while_compiling(start: Start) -> None:
    for code in ("E19999", "EZ3002", "E40021"):
        status, out = finished(start(f"atc:{code}"))
        found = CODE.search(out)
        assert status == 255
        assert found
        assert found.group(1) == code


def test_wrong_soc(start: Start, tmp_path: Path) -> None:
    status, _ = finished(start("atc:wrong-soc"))
    assert status == 0
    assert attributes(tmp_path / "net.om")["soc_version"] == "Ascend310P3"


def test_killed_while_writing(start: Start, tmp_path: Path) -> None:
    status, _ = finished(start("atc:partial-then-die"))
    assert status == -signal.SIGKILL
    assert (tmp_path / "net.om").is_file()


def test_a_hang_outlives_sigterm_and_needs_the_whole_group_killed(start: Start) -> None:
    process = start("atc:hang")
    assert process.stdout
    hung = next(line for line in process.stdout if "hangs" in line)
    child = int(hung.split(" and ")[1].split()[0])

    process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    os.kill(child, 0)  # is there
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)  # ends only when the child has let go of the pipe

    assert process.returncode == -signal.SIGKILL


def test_compiling_takes_time_and_dots_without_a_newline(start: Start, cann: Cann) -> None:
    cann.set("CANNSIM_ATC_SECONDS", "0.1")
    status, out = finished(start())
    assert status == 0
    assert out.startswith(f"{STARTS}\n....")
    assert SUCCEEDED in out


def test_faults_for_others_and_unknown_ones(start: Start) -> None:
    """Acl's faults are not atc's; a misspelt one must not pass for a success."""
    assert finished(start("acl:mdl.execute=507011@2"))[0] == 0
    process = start("atc:hungry")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 99
    assert out == ""
    assert "atc:hungry" in err
