"""The rehearsal's command line: its figures, its limits, its plan, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from builders import CommandLine, Done, cann_environment, done_here, run_python, tiny_config
from planted_graphs import linked_cache

from parity.benchmark import __main__ as benchmark
from parity.boxes import read_pts
from parity.compare import __main__ as compare
from parity.comparison import judged_comparison
from parity.judging.verdict import Limits
from parity.plan.precision_plan import PrecisionPlan, parse_budget, record_of
from parity.record import __main__ as recording_of_one
from parity.recording.recording import load_recording
from parity.rehearse import __main__ as rehearse
from parity.rehearse.report import RehearsalReport
from parity.report import Report
from parity.samples import Sample, default_samples, find_samples
from runtime.errors import ConfigError
from runtime.model.source import parse_source


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    def call(*arguments: object, by: Any = rehearse) -> Done:
        return done_here(by.main, capsys, *arguments)

    return call


@pytest.fixture(scope="module")
def tiny_bundle(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose runs take milliseconds; fp16 moves its points by up to 0.66 photo px."""
    folder = tmp_path_factory.mktemp("tiny_rehearsed")
    config = tiny_config(folder, tiny)
    done = run_python(
        *("-m", "export", "--config", config, "--output", folder / "tiny", "--no-parity")
    )
    assert done.returncode == 0, done.stderr
    return folder / "tiny"


def report_of(text: str) -> RehearsalReport:
    return msgspec.json.decode(text, type=RehearsalReport)


def compared(bundle: Path, arithmetic: str, samples: Sequence[Sample]) -> Report:
    sources = parse_source(f"{bundle}@cpu"), parse_source(f"{bundle}@rehearse/{arithmetic}")
    return judged_comparison(sources, samples, Limits()).report


def test_fp16_and_hf32_stand_side_by_side(starter_bundle: Path, run: CommandLine) -> None:
    """The reference's figures, over all coordinates, for crop and photo, as compare has them."""
    code, text, _ = run(starter_bundle, "--json")
    report = report_of(text)
    code_of_text, shown, _ = run(starter_bundle)
    fp16, hf32 = sorted(report.rehearsals, key=lambda one: one.arithmetic)

    assert (code, code_of_text) == (0, 0)
    assert [(row.pictures, row.unit, row.statistics.count) for row in fp16.rows] == [
        ("all", "photo", 272),
        ("photos", "photo", 136),
        ("face crops", "photo", 136),
        ("all", "crop", 272),
    ]
    assert fp16.rows[0].statistics == fp16.report.photo_px.axis
    assert fp16.rows[2].statistics == fp16.report.pictures[1].photo_px.axis
    for name in ("mean", "p95", "p99", "max"):
        assert 0 < getattr(hf32.rows[0].statistics, name) < getattr(fp16.rows[0].statistics, name)
    assert shown.splitlines()[0].startswith("hf32: PASSED: mean 0.00")
    assert f"{fp16.rows[0].statistics.mean:.4f}" in shown
    assert compared(starter_bundle, "fp16", default_samples()).photo_px == fp16.report.photo_px


def test_fp32_is_the_plain_run_to_the_bit(starter_bundle: Path, run: CommandLine) -> None:
    code, text, _ = run(starter_bundle, "--as", "fp32", "--max-error", 0, "--max-mean", 0, "--json")

    assert code == 0
    assert report_of(text).rehearsals[0].report.photo_px.axis.max == 0


def test_beyond_a_limit_is_found_wanting(tiny_bundle: Path, run: CommandLine) -> None:
    limits = ("--max-mean", 0.05, "--max-error", 1)
    code, text, _ = run(tiny_bundle, "--as", "hf32", "--as", "fp16", *limits)

    assert code == 1
    assert text.startswith("hf32: PASSED")
    assert "fp16: FAILED: mean" in text.splitlines()[1]


@pytest.fixture(scope="module")
def planned(
    starter_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, RehearsalReport]:
    """A budget that fp16 alone misses, on the photo; the crop judges."""
    path = tmp_path_factory.mktemp("plan") / "keep.txt"
    done = run_python(
        *("-m", "parity.rehearse", starter_bundle, "--as", "fp16", "--json"),
        *("--budget", "max=0.06,p99=0.05", "--plan", path),
    )
    assert done.returncode == 0, done.stderr
    return path, report_of(done.stdout)


def test_a_plan_holds_its_budget_and_its_file_gives_the_same_figures(
    planned: tuple[Path, RehearsalReport], starter_bundle: Path, run: CommandLine
) -> None:
    path, report = planned
    assert report.plan is not None
    found = report.rehearsals[0].report.photo_px.axis
    code, text, said = run(starter_bundle, "--as", "fp16", "--keep", path, "--json")
    assert code == 0, said
    again = report_of(text).rehearsals[0]

    assert path.read_text().splitlines() == list(report.plan.kept)
    assert found.max <= 0.06
    assert found.p99 <= 0.05
    assert report.plan.steps[0].left_px["max"] > 0.06
    # 349 operators, of which the decoder's few make the difference
    assert 1 <= len(report.plan.kept) <= 30
    assert report.plan.searched.pictures == ("test.jpg",)
    assert report.plan.steps[-1].left_px == report.plan.searched.left_px
    assert msgspec.json.decode(record_of(path).read_bytes(), type=PrecisionPlan) == report.plan
    assert again.report.photo_px == report.rehearsals[0].report.photo_px
    assert again.kept == report.plan.kept


def test_no_operator_of_a_plan_can_be_left_out(
    planned: tuple[Path, RehearsalReport], starter_bundle: Path, tmp_path: Path, run: CommandLine
) -> None:
    names = planned[0].read_text().splitlines()
    for left_out in (names[0], names[-1]):
        (tmp_path / "keep.txt").write_text("\n".join(n for n in names if n != left_out))
        limits = ("--max-mean", 1, "--max-error", 0.06, "--max-p99", 0.05)
        options = ("--as", "fp16", "--keep", tmp_path / "keep.txt", *limits)
        assert run(starter_bundle, *options)[0] == 1


@pytest.mark.slow
def test_the_export_takes_a_plan_as_keep_dtype(
    planned: tuple[Path, RehearsalReport], tmp_path: Path
) -> None:
    """The simulated atc keeps these very nodes, and names none that it does not know."""
    done = run_python(
        *("-m", "export", "--output", tmp_path / "starter68", "--no-parity", "--om", "require"),
        *("--soc_version", "Ascend910B3", "--keep_dtype", planned[0]),
        **cann_environment(),
    )

    assert done.returncode == 0, done.stderr
    (log,) = (tmp_path / "starter68").glob("*.log")
    assert "W11002" not in log.read_text()
    assert (tmp_path / "starter68" / "keep_dtype.txt").read_text() == planned[0].read_text()


def test_a_budget_that_fp16_holds_needs_nothing(
    tiny_bundle: Path, tmp_path: Path, run: CommandLine
) -> None:
    path = tmp_path / "keep.txt"
    path.write_text("of an older plan\n")
    code, text, _ = run(tiny_bundle, "--budget", "max=0.9,mean=0.2", "--plan", path)

    assert code == 0
    assert text.startswith("PLANNED: fp16 alone holds the budget")
    assert "leave --keep_dtype out" in text
    assert path.read_text() == ""
    assert run(tiny_bundle, "--as", "fp16", "--keep", path, "--max-error", 0.9)[0] == 0


def test_a_network_that_overflows_in_fp16_is_planned(
    tiny_bundle: Path, tmp_path: Path, run: CommandLine
) -> None:
    """Beyond 65504 there is no number: that is the largest damage, and no failure of the search."""
    model = onnx.load(tiny_bundle / "model.onnx")
    outputs = {name: node for node in model.graph.node for name in node.output}
    producer = outputs["landmarks"]
    for name, factor in (("up", 1e9), ("down", 1e-9)):
        scale = onnx.helper.make_tensor(f"scale_{name}", onnx.TensorProto.FLOAT, [], [factor])
        model.graph.initializer.append(scale)
    producer.output[0] = "there"
    up = onnx.helper.make_node("Mul", ["there", "scale_up"], ["high"], "up")
    down = onnx.helper.make_node("Mul", ["high", "scale_down"], ["landmarks"], "down")
    model.graph.node.extend([up, down])
    onnx.save(model, tmp_path / "m.onnx")
    code, _, said = run(tmp_path / "m.onnx", "--as", "fp16")
    assert code == 4
    assert "overflowed" in said

    path = tmp_path / "keep.txt"
    code, text, said = run(*(tmp_path / "m.onnx", "--budget", "max=0.7", "--plan", path, "--json"))
    assert code == 0, said
    assert json.loads(text)["plan"]["steps"][0]["left_px"] == {"max": None}
    assert {"up", "down"} <= set(path.read_text().split())


def test_a_model_behind_links_is_rehearsed(
    tiny_bundle: Path, tmp_path: Path, run: CommandLine
) -> None:
    """A hub's cache, weights beside the graph: the same figures as of the whole file."""
    # onnxruntime wants axes and sizes in the graph itself
    cached = linked_cache(onnx.load(tiny_bundle / "model.onnx"), tmp_path, size_threshold=1024)
    verdicts = []
    for source in (cached, tiny_bundle / "model.onnx"):
        code, text, said = run(source, "--as", "fp16", "--json")
        assert code in (0, 1), said
        verdicts.append(json.loads(text)["rehearsals"][0]["report"]["verdict"])
    assert verdicts[0] == verdicts[1]


def test_interrupted_it_leaves_no_plan(
    tiny_bundle: Path, tmp_path: Path, run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("parity.plan.precision_plan.rounded_backend", interrupt)
    assert run(tiny_bundle, "--budget", "max=0.3", "--plan", tmp_path / "k.txt")[0] == 130
    assert list(tmp_path.iterdir()) == []


def test_a_plan_is_judged_on_faces_that_it_was_not_made_from(
    tiny_bundle: Path, shared: Path, tmp_path: Path, run: CommandLine
) -> None:
    """The file, rehearsed on the judges alone, gives the figure that was reported."""
    faces, path = shared / "faces", tmp_path / "keep.txt"
    given = sorted(faces.glob("*.jpg"))[:24]
    options = ("--budget", "max=0.2", "--plan", path, "--json")
    code, text, _ = run(tiny_bundle, *options, "--images", *given)
    plan = report_of(text).plan
    assert plan is not None
    parts = [
        plan.searched.pictures,
        plan.margin.pictures,
        plan.judged.pictures,
    ]
    people = [{name.rpartition("_")[0] for name in part} for part in parts]

    assert (code, plan.objections, plan.pictures, plan.people) == (0, (), 24, 12)
    assert sum(map(len, people)) == len(set.union(*people)) == 12
    assert plan.margins["max"] > 1
    assert plan.searched.left_px["max"] <= 0.2 / plan.margins["max"]
    judges = [faces / name for name in plan.judged.pictures]
    for keep, expected in ((("--keep", path), plan.judged.left_px), ((), plan.judged.alone_px)):
        _, text, _ = run(tiny_bundle, "--as", "fp16", *keep, "--images", *judges, "--json")
        assert report_of(text).rehearsals[0].report.photo_px.axis.max == expected["max"]
    assert expected["max"] > 0.2


def test_one_picture_cannot_judge_a_plan(
    tiny_bundle: Path, tmp_path: Path, run: CommandLine
) -> None:
    options = ("--budget", "max=1", "--plan", tmp_path / "keep.txt", "--images", "assets/test.jpg")
    code, _, said = run(tiny_bundle, *options)

    assert code == 2
    assert "two pictures or more" in said


@pytest.mark.parametrize("text", ["", "max", "max=", "max=-1", "max=nan", "std=1", "max=1,max=2"])
def test_a_wrong_budget_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--budget"):
        parse_budget(text, "photo")


def test_other_command_lines_take_the_list_for_their_rehearsals(
    planned: tuple[Path, RehearsalReport], starter_bundle: Path, tmp_path: Path, run: CommandLine
) -> None:
    """Compare, record and benchmark give the plan's figures."""
    keep, report = planned
    plain, half = f"{starter_bundle}@cpu", f"{starter_bundle}@rehearse/fp16"
    expected = report.rehearsals[0].report.photo_px
    npz, timed = tmp_path / "r.npz", tmp_path / "b.json"

    code, text, _ = run(plain, half, "--keep", keep, "--json", by=compare)
    assert (code, json.loads(text)["photo_px"]) == (0, msgspec.to_builtins(expected))
    assert run(half, "--keep", keep, "--output", npz, by=recording_of_one)[0] == 0
    assert f"{len(report.rehearsals[0].kept)} nodes kept" in load_recording(npz).header.engine
    options = ("--runs", 1, "--output", timed)
    code, text, _ = run("--sources", plain, half, "--keep", keep, *options, by=benchmark)
    found = json.loads(timed.read_text())
    assert (code, found["invalid"] != []) == (4, True)  # a single run is too few to quote
    assert found["accuracy"][0]["photo_px"] == msgspec.to_builtins(expected)
    # a CPU's runs, no speed-up and no promise of an NPU's speed
    assert (found["sources"][1]["device"], found["sources"][1]["warm_up"]) == ("rehearse/fp16", 3)
    assert found["speed_up"] == {}
    assert [promise["holds"] for promise in found["promises"]] == [True, True, None, None]
    assert "no NPU's" in text
    assert len(list(tmp_path.glob("b_rehearse_fp16_*.jpg"))) == 2


def wider(sample: Sample, factor: float) -> Sample:
    """A box for which the crop's side is so many times the face."""
    points_px = read_pts(sample.path.with_suffix(".pts"))
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    centre, side = (low + high) / 2, (high - low).max() * factor * 180 / 200
    box = (*(centre - side / 2), *(centre + side / 2))
    return replace(sample, box_xyxy=tuple(float(v) for v in box))  # type: ignore[arg-type]  # four


@pytest.mark.parametrize(
    ("arithmetic", "mean_px", "p99_px"), [("hf32", 0.0014, 0.0073), ("fp16_cube", 0.0033, 0.0150)]
)
def test_figures_agree_with_those_found_in_torch(
    arithmetic: str, mean_px: float, p99_px: float, shared: Path, starter_bundle: Path
) -> None:
    """Within 30 % of what rounding the operands of torch's own convolutions gave.

    Measured for these weights independently of this code: sixteen faces, crops as wide as 1.4 times
    the face.
    """
    samples = [wider(sample, 1.4) for sample in find_samples([str(shared / "faces")])[:16]]
    found = compared(starter_bundle, arithmetic, samples).crop_px.axis

    assert found.count == 16 * 68 * 2
    assert found.mean == pytest.approx(mean_px, rel=0.3)
    assert found.p99 == pytest.approx(p99_px, rel=0.3)
