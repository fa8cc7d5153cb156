"""Processes apart: answers, errors and deaths come home; nothing is left, Ctrl-C included."""

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

from benchmarks.suite.apart import Apart
from benchmarks.suite.crew import Crew
from benchmarks.suite.opening import Opening
from benchmarks.suite.plan import RowPlan
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


def obedient(fault: str = "") -> Apart:
    return Apart("row", "Run it alone", Obedient, fault)


@pytest.fixture
def apart() -> Apart:
    made = obedient()
    made.opened(60)
    return made


def test_it_answers_from_another_process(apart: Apart) -> None:
    """One process for all calls; it ends when it is closed."""
    process = apart.call("process", timeout_s=60)
    assert process == apart.call("process", timeout_s=60) != os.getpid()
    apart.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_errors_come_home_and_it_works_on(apart: Apart) -> None:
    """Expected ones as they are, others named as what nobody foresaw."""
    with pytest.raises(InputError, match="it: expected this, got that. Ask again."):
        apart.call("refuse", timeout_s=60)
    with pytest.raises(InferenceError, match="ZeroDivisionError: a bug"):
        apart.call("stumble", timeout_s=60)
    assert apart.call("process", timeout_s=60)
    apart.close()


def test_one_that_cannot_be_made_says_why() -> None:
    """And its process is gone."""
    made = obedient("model.onnx")
    with pytest.raises(ArtifactError, match="model.onnx: expected a file"):
        made.opened(60)
    made.close()
    assert multiprocessing.active_children() == []


def test_death_and_silence_are_errors_and_no_hang(apart: Apart) -> None:
    """By which signal it died; how long it was waited for."""
    other = obedient()
    other.opened(60)
    with pytest.raises(InferenceError, match="its end by SIGKILL. Run it alone."):
        apart.call("die", timeout_s=60)
    with pytest.raises(InferenceError, match="an answer within 0 s, got none"):
        other.call("sleep", timeout_s=0.2)
    apart.close()
    other.kill()
    assert multiprocessing.active_children() == []


def test_a_row_whose_process_dies_leaves_the_others_measured(tmp_path: Path) -> None:
    """Its failure is kept, its rounds are dropped, nobody waits for it."""
    weights = tiny_checkpoint(tmp_path / "tiny.pkl")

    def row(key: str, source: str) -> RowPlan:
        return RowPlan(key=key, label=key, opening=Opening(source=source), bundles=())

    with Crew(seed=0) as crew:
        for key in ("one", "other"):
            crew.open(row(key, f"{weights}@cpu"))
        crew.open(row("absent", f"{tmp_path}/gone.onnx"))
        assert set(crew.failures) == {"absent"}
        victim = crew._working["other"]._process
        victim.kill()
        victim.join()
        said = crew.rounds(2, "Timing", "network", 1, 2)

    assert set(crew.failures) == {"absent", "other"}
    assert [len(turn) for turn in said["one"]] == [2, 2]
    assert set(said) == {"one"}
    assert multiprocessing.active_children() == []


def test_order_is_another_one_each_round_and_the_same_each_time() -> None:
    """By the seed, so that no row always follows the same other."""

    def order(seed: int) -> list[str]:
        asked: list[str] = []
        crew = Crew(seed)
        crew._working = dict.fromkeys("abcd", cast("Apart", None))  # nothing is really asked
        crew.ask = lambda key, *_: asked.append(key)  # type: ignore[method-assign]  # but noted
        crew.rounds(5, "Timing", "network")
        return asked

    found = order(7)
    rounds = [tuple(found[i : i + 4]) for i in range(0, 20, 4)]
    assert all(set(one) == set("abcd") for one in rounds)
    assert len(set(rounds)) > 1
    assert order(7) == found != order(8)


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
