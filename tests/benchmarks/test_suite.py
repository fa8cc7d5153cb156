"""The suite: every row is there, measured or with its reason; its report, schema and bad input."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import msgspec
import numpy as np
import pytest
from builders import ROOT, run_module, tiny_checkpoint, tiny_config

from benchmarks.suite import measure
from benchmarks.suite.__main__ import _many as many
from benchmarks.suite.__main__ import invalid, main
from benchmarks.suite.many import FOLDER, LOOP
from benchmarks.suite.measure import MOST_TRIES, end_to_end, round_medians
from benchmarks.suite.plan import PEER, ROWS, plan_model
from benchmarks.suite.report import ModelRows, SuiteReport, json_schema, ratio
from benchmarks.suite.row_worker import Detection
from parity.benchmark import __main__ as benchmark
from parity.machine import GemmProbe
from parity.samples import default_samples
from runtime.image.picture import read_picture

SCHEMA = ROOT / "docs/benchmark_suite.schema.json"
RUN_ROWS = ("torch", "onnxruntime-plain")


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundle of a tiny model, named as its plain one."""
    folder = tmp_path_factory.mktemp("builds")
    weights = tiny_checkpoint(folder / "tiny.pkl")
    config = tiny_config(folder, weights)
    done = run_module(
        *("export", "--config", config, "--output", folder / "tiny_plain", "--no-parity"),
        *("--rewrites", "none"),
    )
    assert done.returncode == 0, done.stderr
    return folder


def suite(folder: Path, output: Path, *options: object) -> int:
    given = ("--models", f"tiny={folder / 'tiny.pkl'}", "--builds", folder)
    return main([str(o) for o in (*given, "--output", output, *options)])


def read(path: Path) -> SuiteReport:
    """Validate against the documented schema, then strictly."""
    jsonschema.validate(json.loads(path.read_text()), json.loads(SCHEMA.read_text()))
    return msgspec.json.decode(path.read_bytes(), type=SuiteReport)


def test_documented_schema_is_the_reports_own() -> None:
    """docs/benchmark_suite.schema.json is written by `json_schema()`."""
    assert SCHEMA.read_text() == json_schema()


def test_two_rows_end_to_end(
    builds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures of the rows that ran, a reason and a command for the others, three files."""
    out = tmp_path / "new/benchmark"
    options = ("--runs", 2, "--rows", *RUN_ROWS, "openvino", "--stream-pictures", 40)
    # both are annotated
    assert suite(builds, out, *options, "--images", "assets/sample.jpg", "assets/test.jpg") == 0
    report = read(out / "suite.json")
    text = capsys.readouterr().out
    (model,) = report.models
    rows = {row.key: row for row in model.rows}

    assert list(rows) == list(ROWS)
    assert {key for key, row in rows.items() if row.figures} == set(RUN_ROWS)
    assert all(row.missing and row.remedy for row in rows.values() if row.figures is None)
    assert "python -m export" in rows["openvino"].remedy
    assert rows["onnxruntime-int8"].missing == "left out by --rows"
    assert all(row.label in text for row in rows.values())
    for key in RUN_ROWS:
        figures = rows[key].figures
        assert figures is not None
        assert (len(figures.rounds_ms), figures.network.runs) == (2, 6)
        assert [t.batch for t in figures.throughput] == [1, 4, 16]
        assert len(figures.cold_starts_s) == 2, figures.cold_start_failure
        assert 50 << 20 < figures.peak_bytes <= figures.peak_bytes_batched
        assert [e.size_wh for e in figures.end_to_end] == [(1920, 1080), (4000, 3000)]
        assert all(
            {"crop", "pack", "compute", "home"} <= set(e.stages_ms) for e in figures.end_to_end
        )
        assert figures.difference is not None
        assert figures.difference.max_px < 1e-3
        assert figures.accuracy is not None
        assert figures.gflop is not None
        assert figures.gflops_reached == pytest.approx(
            figures.gflop / np.median(figures.rounds_ms) * 1e3
        )
    plain = rows["onnxruntime-plain"].figures
    assert plain is not None
    assert plain.over_plain is not None
    assert plain.over_plain.median == 1
    assert plain.difference is not None
    assert plain.difference.max_px == 0
    assert report.invalid[0] == "2 rounds, expected at least 20"
    assert report.many == ()
    assert report.many_failure == f"no bundle in {builds}/tiny"
    assert [(run.given, run.pictures, run.in_order) for run in report.stream] == [
        ("files", 40, True),
        ("decoded", 40, True),
    ]
    assert (out / "suite.txt").read_text() == text
    assert read_picture(out / "suite.png").shape[1] > 1000


def test_missing_rows_say_which_command_makes_them(tmp_path: Path) -> None:
    """The configuration of that name where there is one, weights, options and folder."""
    weights = tmp_path / "w.pkl"
    plan = plan_model("star68", weights, tmp_path / "build", tuple(ROWS), None)
    remedies = {row.key: row.remedy for row in plan.rows}

    start = f"python -m export --config configs/star68.toml --weights {weights}"
    folder = tmp_path / "build/star68"
    assert remedies["torch"] == ""
    assert remedies["openvino-bf16"] == f"{start} --output {folder}"
    assert remedies["onnxruntime-plain"] == f"{start} --rewrites none --output {folder}_plain"
    assert "--precision int8" in remedies["openvino-int8-bf16"]
    opened = {row.key: row.opening.source.removeprefix(f"{weights}@") for row in plan.rows}
    for key, (_, kind, device, _) in ROWS.items():
        bundle = f"{folder}_{kind}" if kind in ("plain", "int8") else str(folder)
        wanted = device if kind == "checkpoint" else f"{bundle}@{device}"
        assert opened[key] == (bundle if device == PEER else wanted)


def test_damaged_bundle_is_a_row_and_the_others_run(builds: Path, tmp_path: Path) -> None:
    """What its process refuses is its reason; without a plain row there are no differences."""
    folder = Path(shutil.copytree(builds, tmp_path / "builds"))
    (folder / "tiny_plain/model.onnx").write_bytes(b"nothing")
    options = ("--runs", 1, "--rows", *RUN_ROWS, "--stream-pictures", 0, "--many-pictures", 0)
    assert suite(folder, tmp_path / "out", *options) == 0
    report = read(tmp_path / "out/suite.json")
    rows = {row.key: row for row in report.models[0].rows}

    assert rows["onnxruntime-plain"].figures is None
    assert "SHA-256" in rows["onnxruntime-plain"].missing
    assert rows["onnxruntime-plain"].remedy == (
        "The file is of another model or damaged: copy the whole bundle again"
    )
    torch = rows["torch"].figures
    assert torch is not None
    assert (torch.difference, torch.over_plain) == (None, None)
    assert report.stream_failure == "left out by --stream-pictures 0"
    assert report.many_failure == "left out by --many-pictures 0"


def test_bundle_of_another_form_is_not_passed_off(builds: Path, tmp_path: Path) -> None:
    """A float graph where int8 should be, a plain one for the inference form: with the remedy."""
    for folder in ("tiny_int8", "tiny"):
        shutil.copytree(builds / "tiny_plain", tmp_path / folder)
    plan = plan_model("tiny", builds / "tiny.pkl", tmp_path, tuple(ROWS), None)
    rows = {row.key: row for row in plan.rows}

    assert rows["onnxruntime-int8"].missing == f"{tmp_path}/tiny_int8 holds a float graph"
    assert "--precision int8" in rows["onnxruntime-int8"].remedy
    plain = f"{tmp_path}/tiny holds a plain graph, not the inference form"
    assert rows["openvino"].missing == plain
    assert rows["openvino"].remedy.startswith("python -m export ")


def test_ratios_are_medians_of_pairs() -> None:
    """A clock that halves in the middle of a run moves both of a pair, and no ratio."""
    clock = np.array([1.0, 1.0, 1.0, 2.0, 2.0])
    found = ratio((20 * clock).tolist(), (10 * clock).tolist())
    assert (found.median, found.p10, found.p90) == (2, 2, 2)

    found = ratio([10, 10, 90], [10, 5, 10])
    assert found.median == 2  # of 1, 2 and 9; the medians' quotient would be 1
    assert found.p10 == pytest.approx(1.2)
    assert found.p90 == pytest.approx(7.6)


def test_a_round_is_the_median_of_its_turn() -> None:
    """In milliseconds; one disturbed run does not count."""
    assert round_medians([[0.001, 0.009, 0.002], [0.003]]) == pytest.approx((2, 3))


def test_around_the_engine_is_the_rest_of_the_call() -> None:
    """Median of what each call took without the engine, not a difference of medians."""
    runs = [
        Detection(
            total_s=0.012, stages_s={"crop": 0.001, "compute": 0.010}, around_s=0.002, floor_s=0.001
        ),
        Detection(
            total_s=0.030, stages_s={"crop": 0.003, "compute": 0.026}, around_s=0.004, floor_s=0.001
        ),
        Detection(
            total_s=0.011, stages_s={"crop": 0.001, "compute": 0.010}, around_s=0.001, floor_s=0.004
        ),
    ]
    found = end_to_end((1920, 1080), [runs[:2], runs[2:]])

    assert found.around_engine_ms == pytest.approx(2)
    assert found.over_floor.median == pytest.approx(2)  # of 2, 4 and 0.25
    assert found.stages_ms == pytest.approx({"crop": 1, "compute": 10})
    assert found.total.median_ms == pytest.approx(12)


def test_few_rounds_and_a_machine_that_changed_make_a_run_invalid() -> None:
    """Below 20 rounds; a probe that moved by more than ten per cent either way."""
    for rounds, after, reasons in ((20, 109, 0), (19, 100, 1), (30, 111, 1), (5, 85, 2)):
        probe = GemmProbe(before_gflops=100, after_gflops=after)
        model = ModelRows(name="m", checkpoint="w", gemm=probe, rows=())
        assert len(invalid([model], rounds)) == reasons
        assert len(benchmark._invalid(probe, [])) == reasons - (rounds < 20)


@pytest.mark.parametrize(
    ("probes", "rounds", "tries", "after"),
    [
        ([100, 109], 20, 1, 109),
        ([100, 80, 100, 99], 20, 2, 99),
        ([100, 80] * 10, 20, MOST_TRIES, 80),
        ([100, 80], 19, 1, 80),  # never valid: no reason to try again
    ],
)
def test_rounds_on_a_machine_that_was_disturbed_are_measured_again(
    probes: list[float],
    rounds: int,
    tries: int,
    after: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a rest; the last try counts, and says the how manyth it is."""
    left = iter(probes)
    rested: list[float] = []
    monkeypatch.setattr(measure, "gemm_gflops", lambda: next(left))
    monkeypatch.setattr(measure, "time", SimpleNamespace(sleep=rested.append))
    asked = iter(range(10))
    rows = SimpleNamespace(rounds=lambda *_: {"row": [[next(asked)]]})
    found = measure.Measurements()
    measure._measure_network(found, rows, "m", rounds)  # type: ignore[arg-type]

    assert (found.tries, found.network) == (tries, {"row": [[tries - 1]]})
    assert found.probe.after_gflops == after
    assert rested.count(measure.DISTURBED_REST_S) == tries - 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--runs", "0"], "--runs: expected 1 to 10,000, got 0"),
        (["--stream-pictures", "-1"], "--stream-pictures: expected 0 to"),
        (["--many-pictures", "-1"], "--many-pictures: expected 0 to"),
        (["--threads", "0"], "threads: expected 1 to"),
        (["--models", "starter68"], "expected NAME=CHECKPOINT, got 'starter68'"),
        (["--models", "a/b=assets/starter68.safetensors"], "expected NAME=CHECKPOINT"),
        (["--models", "a=gone.pkl"], "expected a checkpoint, got no file gone.pkl"),
        (["--models", *["a=assets/starter68.safetensors"] * 2], "a twice"),
        (["--rows", "tensorflow"], "invalid choice: 'tensorflow'"),
        (["--images", "gone"], "gone: expected pictures"),
        (["--images", "README.md"], "README.md"),
        (["--output", "README.md"], "expected a folder that can be made and written to"),
        (["--output", "README.md/below"], "README.md, which is no folder"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit 2 before anything is measured, and nothing is written."""
    before = (ROOT / "README.md").read_bytes()
    try:
        code = main(["--output", str(tmp_path / "out"), *options])
    except SystemExit as usage:
        code = int(usage.code or 0)

    assert code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    assert (ROOT / "README.md").read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_read_only_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the work, not after."""
    tmp_path.chmod(0o500)
    assert main(["--output", str(tmp_path / "out")]) == 2
    assert "read-only" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
def test_many_pictures_in_every_way(starter_bundle: Path) -> None:
    """Every way goes through all of them, and is held against the one it stands beside."""
    runs, failure = many(starter_bundle, default_samples(), 40)

    assert failure == ""
    assert [run.name for run in runs] == [
        LOOP,
        FOLDER,
        "batch, local engine",
        "batch, ray engine",
    ]
    # a batch is timed from its first partition's end on
    assert [run.pictures for run in runs] == [40, 40, 38, 38]
    loop, folder, local, ray = runs
    assert len(folder.ratios) == 5
    assert folder.ratio == np.median(folder.ratios)
    assert folder.early_rss_bytes > 50 << 20
    assert loop.ratio is local.ratio is None
    assert ray.ratio == ray.pictures_per_second / local.pictures_per_second
    assert all(run.pictures_per_second == run.pictures / run.seconds for run in runs)


def test_a_way_that_fails_leaves_the_others(
    starter_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray that cannot be imported is said, with what was measured before it."""
    (tmp_path / "ray.py").write_text("raise ImportError('broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    runs, failure = many(starter_bundle, default_samples(), 20)
    assert [run.name for run in runs] == [LOOP, FOLDER, "batch, local engine"]
    assert "runtime.batch --engine ray: exited " in failure
    assert "pip install" in failure
