"""Rows in processes of their own: answers, errors and deaths; nothing is left, Ctrl-C included."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from builders import ROOT, tiny_checkpoint

from benchmarks.suite.first_landmarks import Opening
from benchmarks.suite.plan import RowPlan
from benchmarks.suite.processes import ProcessProxy, RowProcesses
from benchmarks.suite.simulated import SimulatedDevice
from runtime.detector import Detector
from runtime.errors import ArtifactError, InferenceError, InputError


class Obedient:
    """Does what it is told, in its process."""

    def __init__(self, fault: str = "") -> None:
        if fault:
            raise ArtifactError(fault, expected="a file", got="none", action="Look")

    def process(self) -> int:
        return os.getpid()

    def refuse(self) -> None:
        raise InputError("it", expected="this", got="that", action="Ask again")

    def stumble(self) -> None:
        raise ZeroDivisionError("a bug")

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def sleep(self) -> None:
        time.sleep(60)


def ended(group: int, seconds: float) -> bool:
    """Whether no process of a group is left; Python's own tracker of resources goes a bit later."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def proxy(fault: str = "") -> ProcessProxy:
    return ProcessProxy("row", "Run it alone", Obedient, fault, timeout_s=60)


def test_calls_share_one_other_process() -> None:
    """Errors are raised here, unforeseen ones in one line, and the process works on."""
    made = proxy()
    process = made.call("process")
    assert process != os.getpid()
    with pytest.raises(InputError, match="it: expected this, got that. Ask again."):
        made.call("refuse")
    with pytest.raises(InferenceError, match="ZeroDivisionError: a bug"):
        made.call("stumble")
    assert process == made.call("process")
    made.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_object_that_cannot_be_made_leaves_no_process() -> None:
    with pytest.raises(ArtifactError, match="model.onnx: expected a file"):
        proxy("model.onnx")
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_death_and_silence_are_errors_and_no_hang() -> None:
    one, other = proxy(), proxy()
    for _ in range(2):
        with pytest.raises(
            InferenceError, match="row: die: its process ended suddenly.*Run it alone."
        ):
            one.call("die")
    with pytest.raises(InferenceError, match="row: sleep: no answer within 0 s"):
        other.call("sleep", timeout_s=0.2)
    one.close()
    other.kill()
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_process_ends_with_a_parent_that_is_killed() -> None:
    program = (
        "import os\n"
        "from benchmarks.suite.processes import ProcessProxy\n"
        "if __name__ == '__main__':\n"
        "    ProcessProxy('row', 'Look', dict)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, start_new_session=True) as one:
        assert one.wait(timeout=120) == -signal.SIGKILL
    assert ended(one.pid, 60)


@pytest.mark.slow
def test_a_row_whose_process_dies_leaves_the_others_measured(tmp_path: Path) -> None:
    """Its failure is kept, its rounds are dropped, nobody waits for it."""
    weights = tiny_checkpoint(tmp_path / "tiny.pkl")

    def row(key: str, source: str) -> RowPlan:
        return RowPlan(key=key, label=key, opening=Opening(source=source), bundles=(), command="")

    with RowProcesses(seed=0) as rows:
        for key in ("one", "other"):
            rows.open(row(key, f"{weights}@cpu"))
        rows.open(row("absent", f"{tmp_path}/gone.onnx"))
        assert set(rows.failures) == {"absent"}
        os.kill(rows._running["other"]._pid, signal.SIGKILL)
        said = rows.rounds(2, "Timing", "network", 1, 2)

    assert set(rows.failures) == {"absent", "other"}
    assert [len(turn) for turn in said["one"]] == [2, 2]
    assert set(said) == {"one"}
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_order_is_another_one_each_round_and_the_same_each_time() -> None:
    """By the seed, so that no row always follows the same other."""

    def order(seed: int) -> list[str]:
        asked: list[str] = []
        rows = RowProcesses(seed)
        rows._running = dict.fromkeys("abcd", cast("ProcessProxy", None))  # nothing is called
        rows.call = lambda key, *_: asked.append(key)  # type: ignore[method-assign]  # but noted
        rows.rounds(5, "Timing", "network")
        return asked

    found = order(7)
    rounds = [tuple(found[i : i + 4]) for i in range(0, 20, 4)]
    assert all(set(one) == set("abcd") for one in rounds)
    assert len(set(rounds)) > 1
    assert order(7) == found != order(8)


@pytest.mark.slow
def test_interrupt_ends_all_processes_and_writes_nothing(tmp_path: Path) -> None:
    """As a terminal sends it: to the whole group, in the middle of the rounds."""
    weights = tiny_checkpoint(tmp_path / "tiny.pkl")
    command = [
        *(sys.executable, "-m", "benchmarks.suite", "--runs", "10000"),
        *("--models", f"tiny={weights}", "--builds", str(tmp_path), "--rows", "torch"),
        *("--output", str(tmp_path / "out")),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as begun:
        workers = Path(f"/proc/{begun.pid}/task/{begun.pid}/children")
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not workers.read_text():
            time.sleep(0.05)
        time.sleep(1)
        os.killpg(begun.pid, signal.SIGINT)
        _, said = begun.communicate(timeout=120)
    assert begun.returncode == 130
    assert said.strip() == "error: interrupted; nothing half-written was left behind"
    assert not (tmp_path / "out").exists()
    assert ended(begun.pid, 30)


def test_simulated_device_takes_its_time_and_says_what_it_is() -> None:
    """Busy for as long as it says; an answer tells pictures apart."""
    device = SimulatedDevice(0.005)
    with Detector(device) as detector:
        crops = np.stack([np.full((256, 256, 3), grey, np.uint8) for grey in (0, 255)])
        said = detector.backend.run(detector.spec.input.pack(crops))

    assert "simulated" in device.name
    assert device.busy_s >= 0.005
    assert said.landmarks[:, 0, 0].tolist() == pytest.approx([-1, 1])
