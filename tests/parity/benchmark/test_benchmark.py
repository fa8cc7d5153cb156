"""The benchmark: its report and schema, its figures, the reference's promises, bad input."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import time
from pathlib import Path

import jsonschema
import msgspec
import numpy as np
import pytest
from builders import ROOT, STARTER
from numpy.typing import NDArray
from recordings import recording_of, shifted

from parity.benchmark import __main__ as benchmark
from parity.benchmark.report import BenchmarkReport, as_text, json_schema, source_timing
from parity.judging.digits import signed
from parity.samples import default_samples
from parity.timing import (
    ON_A_CPU,
    ON_A_DEVICE,
    Stopwatch,
    latency,
    latency_of,
    measure,
    stopwatch,
)
from runtime.backends import Outputs
from runtime.cli.language import Words
from runtime.detector import Detector
from runtime.image.picture import read_picture, write_picture

SCHEMA = ROOT / "docs/benchmark_report.schema.json"


def run(*arguments: object) -> int:
    return benchmark.main([str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def steady_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests on this machine must not make a run invalid."""
    monkeypatch.setattr(benchmark, "gemm_gflops", lambda: 100.0)


def read(path: Path) -> BenchmarkReport:
    """Validate against the documented schema, then strictly."""
    jsonschema.validate(json.loads(path.read_text()), json.loads(SCHEMA.read_text()))
    return msgspec.json.decode(path.read_bytes(), type=BenchmarkReport)


def test_documented_schema_is_the_reports_own() -> None:
    """docs/benchmark_report.schema.json is written by `json_schema()`."""
    assert SCHEMA.read_text() == json_schema()


def test_cpu_alone_as_the_reference_calls_it(
    starter_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--device_npu none --device_cpu cpu --runs 20: a valid report, overlays beside it."""
    path = tmp_path / "r.json"
    options = ("--device_npu", "none", "--device_cpu", "cpu", "--runs", 20)
    assert run(*options, "--output", path, "--model", starter_bundle) == 0
    report = read(path)
    text = capsys.readouterr().out
    (found,) = report.sources

    assert (found.device, found.network.runs, found.warm_up) == ("cpu", 20, 3)
    assert list(found.stages) == ["decode", "crop", "pack", "compute", "home"]
    assert [t.batch for t in found.throughput] == [1, 2, 4, 8]
    assert report.left_out == ("the NPU, by request",)
    assert [promise.holds for promise in report.promises] == [None] * 4
    assert report.peak_rss_bytes > 50 << 20
    assert "network only" in text
    chinese = as_text(report, Words("zh"))
    assert len(chinese.splitlines()) == len(text.splitlines()) - 1  # where it was written
    assert "仅网络" in chinese
    assert "network only" not in chinese
    for name in ("test", "sample"):
        drawn = read_picture(tmp_path / f"r_cpu_{name}.jpg")
        plain = read_picture(ROOT / f"assets/{name}.jpg")
        assert drawn.shape == plain.shape
        assert np.abs(drawn.astype(int) - plain).max() > 100


class Clock:
    """A microsecond a look, else only what somebody moves it by: figures are known beforehand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now


def test_every_figure_is_the_time_that_passed(
    starter_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding takes 2 ms and the network 7 ms a batch plus 1 ms a picture, by a clock of ours.

    One round in three of a batch of 4 stalls; what two sources run differs in number.
    """
    clock, samples = Clock(), default_samples()
    shown: list[Path] = []
    batches: list[int] = []
    monkeypatch.setattr(time, "perf_counter", clock)

    def read_slowly(path: Path, max_pixels: int) -> NDArray[np.uint8]:
        clock.now += 0.002
        shown.append(path)
        return read_picture(path, max_pixels)

    monkeypatch.setattr("parity.samples.read_picture", read_slowly)
    with Detector(starter_bundle) as detector:
        run_really = detector.backend._run

        def run_slowly(batch: NDArray[np.float32]) -> Outputs:
            said = run_really(batch)
            batches.append(len(batch))
            took = 0.007 + 0.001 * len(batch) + (batches[-4:] == [2, 4, 4, 4])
            clock.now += took
            return dataclasses.replace(said, timings={"compute": took})

        monkeypatch.setattr(detector.backend, "_run", run_slowly)
        watch, other = stopwatch("s", detector, 12), stopwatch("t", detector, 5)
        measure([watch, other], samples)
        alone = latency_of(detector, np.zeros((256, 256, 3), np.uint8), 4)
    found = source_timing(watch)

    turns = [samples[index % 2].path for index in range(3 + 12) for _ in range(1 + (index < 8))]
    assert shown == [samples[0].path] * 2 + turns
    assert alone.runs == 4
    assert alone.mean_ms == pytest.approx(8, abs=0.02)
    assert source_timing(other).network.runs == 5
    assert (found.network.runs, found.end_to_end.runs) == (12, 12)
    assert found.network.mean_ms == pytest.approx(8, abs=0.02)
    assert found.end_to_end.mean_ms == pytest.approx(10, abs=0.02)
    assert {stage: s.mean_ms for stage, s in found.stages.items()} == pytest.approx(
        {"decode": 2, "crop": 0, "pack": 0, "compute": 8, "home": 0}, abs=0.02
    )
    speeds = {t.batch: t.pictures_per_second for t in found.throughput}
    assert speeds == pytest.approx({n: n / (0.007 + 0.001 * n) for n in (1, 2, 4, 8)}, rel=1e-3)


@pytest.mark.timeout(1800)  # two engines' threads in turns: minutes where others use the cores
def test_sources_are_compared_with_the_first(
    starter_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Accuracy, speed-up and promises, of any list of sources."""
    path = tmp_path / "r.json"
    sources = (f"{STARTER}@cpu", f"{starter_bundle}@cpu")
    assert run("--sources", *sources, "--runs", 10, "--output", path) == 0
    report = read(path)

    assert [one.source for one in report.sources] == list(sources)
    assert {"h2d", "d2h"} <= set(report.sources[0].stages)
    (accuracy,) = report.accuracy
    assert accuracy.photo_px.axis.max < 1e-3
    assert [promise.holds for promise in report.promises] == [True, True, None, None]
    assert list(report.speed_up) == [f"{sources[1]} over {sources[0]}"]
    assert {p.name for p in tmp_path.glob("*.jpg")} == {
        f"r_{engine}_cpu_{name}.jpg"
        for engine in ("torch", "onnxruntime")
        for name in ("test", "sample")
    }
    text = capsys.readouterr().out
    assert "accuracy: " in text
    assert re.search(r"(?m)^  test\.jpg \(1024x768, whole\) +\d\.\de-0\d +\d\.\de-0\d$", text)
    for picture in accuracy.pictures:  # both sides in two decimals, and their difference
        first = picture.first_points[0]
        (x, y), (u, v) = first.reference_xy_px, first.candidate_xy_px
        row = f"0 ({x:.2f}, {y:.2f}) ({u:.2f}, {v:.2f}) ({signed(u - x)}, {signed(v - y)})"
        assert row in re.sub(" +", " ", text)
    assert "-0.00" not in text


@pytest.mark.parametrize(
    ("off_px", "speed_up", "runs", "code"),
    [(0.0, 25.0, 10, 0), (0.2, 25.0, 10, 1), (0.0, 19.0, 10, 1), (0.2, 25.0, 9, 4)],
)
def test_a_broken_promise_is_exit_1_and_an_invalid_run_exit_4(
    starter_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
    off_px: float,
    speed_up: float,
    runs: int,
    code: int,
) -> None:
    """Accuracy and speed alike: a recording of a device's, whose x is off by so many photo px."""
    copies = [Path(shutil.copytree(starter_bundle, tmp_path / name)) for name in "ab"]
    here = recording_of(rng)
    header = msgspec.structs.replace(here.header, device="npu:0")
    there = dataclasses.replace(shifted(here, off_px / 4 / 128), header=header)

    def timed(watches: list[Stopwatch], _: object) -> None:
        for index, watch in enumerate(watches):
            watch.network_s = watch.total_s = [0.02 / (speed_up if index else 1)] * watch.runs

    monkeypatch.setattr(benchmark, "record", lambda *_, **__: [here, there])
    monkeypatch.setattr(benchmark, "measure", timed)
    monkeypatch.setattr(benchmark, "_draw", lambda *_: None)
    path = tmp_path / "r.json"
    assert run("--sources", *copies, "--runs", runs, "--output", path) == code
    holds = [promise.holds for promise in read(path).promises]
    assert holds == [not off_px, True, True, speed_up > 20]


def test_absent_npu_is_left_out_or_an_error(starter_bundle: Path, tmp_path: Path) -> None:
    """auto: said and left out; named: exit 3, no report."""
    base = ("--model", starter_bundle, "--runs", 2, "--output")
    assert run(*base, tmp_path / "auto.json") == 4
    report = read(tmp_path / "auto.json")
    assert report.left_out[0].startswith("the NPU: ")
    assert "2 runs, expected at least 10" in report.invalid[0]

    assert run("--device_npu", "npu:0", *base, tmp_path / "named.json") == 3
    assert not (tmp_path / "named.json").exists()


def test_pictures_and_models_are_not_written_over(starter_bundle: Path, tmp_path: Path) -> None:
    """By the report or by an overlay; overlays of like-named pictures stay apart."""
    bundle = Path(shutil.copytree(starter_bundle, tmp_path / "bundle"))
    for name in ("s.jpg", "r_cpu_s.jpg"):
        shutil.copy(ROOT / "assets/sample.jpg", tmp_path / name)
    write_picture(tmp_path / "s.png", read_picture(tmp_path / "s.jpg"))
    base = ("--model", bundle, "--device_npu", "none", "--runs", 1)
    pictures = ("--images", tmp_path / "s.jpg", tmp_path / "r_cpu_s.jpg")
    out = tmp_path / "out"
    out.mkdir()
    before = {p: p.read_bytes() for p in (*bundle.iterdir(), *tmp_path.glob("*.jpg"))}

    assert run(*base, *pictures, "--output", tmp_path / "r.json") == 2
    assert {p: p.read_bytes() for p in before} == before
    assert run(*base, "--images", tmp_path / "s.*", "--output", out / "r.json") == 4  # one run
    assert len(list(out.glob("r_cpu_*.jpg"))) == 2


def test_runs_and_warm_up_are_the_references(starter_bundle: Path) -> None:
    """10 / 100 on a device, 3 / 20 on a CPU; --runs is the device's and bounds the CPU's."""
    assert (ON_A_DEVICE, ON_A_CPU) == ((10, 100), (3, 20))
    with Detector(starter_bundle) as detector:
        chosen = {runs: stopwatch("s", detector, runs) for runs in (None, 100, 5)}
        assert [(w.warm_up, w.runs) for w in chosen.values()] == [(3, 20), (3, 20), (3, 5)]
        detector.backend.device = "npu:0"
        on_device = [stopwatch("s", detector, runs) for runs in (None, 100, 5)]
        assert [(w.warm_up, w.runs) for w in on_device] == [(10, 100), (10, 100), (10, 5)]


def test_latency_is_what_it_says() -> None:
    """Milliseconds, percentiles by interpolation, FPS of the mean."""
    found = latency([0.010, 0.020, 0.030, 0.080])

    assert found.runs == 4
    assert [found.min_ms, found.max_ms] == pytest.approx([10, 80])
    assert [found.mean_ms, found.median_ms] == pytest.approx([35, 25])
    assert [found.p90_ms, found.p95_ms, found.p99_ms] == pytest.approx([65, 72.5, 78.5])
    assert found.fps == pytest.approx(1000 / 35)
