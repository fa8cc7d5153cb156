"""Planted faults are found at their stage and operator, and nothing where there is none."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import planted_faults as planted
import pytest
from builders import STARTER, tiny_checkpoint

from export.config import OnnxTable
from export.graph.byte_input import with_byte_input
from export.graph.simplify import simplify
from export.graph.to_onnx import export_graph
from parity.locate.__main__ import located, main
from parity.locate.report import LocateReport, as_text
from parity.locate.share import ROUNDING
from parity.record.__main__ import main as record
from parity.samples import default_samples
from runtime.backends.base import DEFAULT_SETTINGS
from runtime.model.source import parse_source
from runtime.model.spec import InputSpec

Make = Callable[..., Path]
SAMPLES = default_samples()[1:]  # the crop alone: one run of the network a side
HOURGLASS = ("hgs.1.low1.conv1.conv", "/hgs.1/low1/conv1/conv/Conv", "stack1.hourglass")
PLACES = (
    ("pre.3.conv3.conv", "/pre/pre.3/conv3/conv/Conv", "stem"),
    HOURGLASS,
    ("out_heatmaps.1.conv", "/out_heatmaps.1/conv/Conv", "stack1.heatmaps"),
    # one of the three that the graph merges by one convolution
    ("merge_edgemaps.0.conv", "/merge_maps.0/Conv", "stack0.merged"),
    ("hgs.1.coordconv.conv", "/hgs.1/coordconv/conv/Conv", "stack1.hourglass"),
)
# every place, and every fault in one of them
CASES = (
    (*PLACES[0], planted.two_channels_swapped),
    (*PLACES[2], planted.one_weight_a_little),
    (*PLACES[3], planted.one_weight),
    (*PLACES[4], planted.one_weight),
    (*HOURGLASS, planted.one_weight),
    (*HOURGLASS, planted.one_weight_a_little),
    (*HOURGLASS, planted.two_channels_swapped),
)


def locate(reference: object, candidate: object) -> LocateReport:
    """The report on two sources, on one picture."""
    sources = (parse_source(str(reference)), parse_source(str(candidate)))
    return located(sources, SAMPLES, settings=DEFAULT_SETTINGS)


def place(found: LocateReport) -> tuple[str | None, str]:
    """The stage, and the last of the operators in it."""
    return found.located, found.operator.operators[-1] if found.operator is not None else ""


def over_share(found: LocateReport) -> list[str]:
    return [stage.name for stage in found.stages if stage.over_share]


def count_calls(monkeypatch: pytest.MonkeyPatch, name: str) -> list[object]:
    """One entry for each later call of a function, which does its work as before."""
    calls: list[object] = []
    function = pkgutil.resolve_name(name)

    def counted(*arguments: object) -> object:
        calls.append(arguments)
        return function(*arguments)

    monkeypatch.setattr(name, counted)
    return calls


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Make:
    """The tiny checkpoint as an .onnx, by exporter, with or without taps as outputs or rewrites."""
    folder = tmp_path_factory.mktemp("graphs")

    def find(exporter: str = "torchscript", *, taps_out: bool = False, plain: bool = False) -> Path:
        path = folder / f"{exporter}{'_taps' if taps_out else ''}{'_plain' if plain else ''}.onnx"
        if not path.exists():
            asked = {"exporter": exporter, **({"rewrites": []} if plain else {})}
            table = msgspec.convert(asked, OnnxTable)
            onnx.save(simplify(export_graph(tiny, table), taps_out=taps_out), path)
        return path

    return find


@pytest.fixture
def faulty(graph: Make, tmp_path: Path) -> Make:
    """A copy of a graph with a fault in one node's weight; by default of the tiny checkpoint's."""

    def make(
        node: str, fault: planted.Fault = planted.one_weight, whole: Path | None = None
    ) -> Path:
        return planted.in_graph(whole or graph(), node, fault, tmp_path / "faulty.onnx")

    return make


@pytest.mark.slow
@pytest.mark.parametrize(("module", "node", "stage", "fault"), CASES)
def test_a_weight_is_found_between_two_graphs(
    graph: Make, faulty: Make, module: str, node: str, stage: str, fault: planted.Fault
) -> None:
    """Stage, node and weight; all other stages agree in every bit."""
    found = locate(graph(), faulty(node, fault))

    assert (place(found), found.share) == ((stage, f"Conv {node}"), 0.0), module
    assert over_share(found) == [stage]
    assert found.operator is not None
    assert any("values differ" in weight for weight in found.operator.weights)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "node", "stage", "fault"), CASES)
def test_a_weight_is_found_between_two_checkpoints(
    tiny: Path, tmp_path: Path, module: str, node: str, stage: str, fault: planted.Fault
) -> None:
    """Stage, module and key."""
    faulty = planted.in_checkpoint(tiny, f"{module}.weight", fault, tmp_path / "f.pkl")
    found = locate(tiny, faulty)

    assert found.located == stage, node
    assert found.operator is not None
    assert found.operator.operators == (module,)
    (weight,) = (w for w in found.operator.weights if w.startswith(f"{module}.weight"))
    assert "values differ" in weight


@pytest.mark.slow
@pytest.mark.parametrize(
    ("exporter", "module", "node", "stage", "fault"),
    [("torchscript", *CASES[0]), ("torchscript", *CASES[5]), ("dynamo", *CASES[6])],
)
def test_a_weight_is_found_between_a_checkpoint_and_a_graph(
    graph: Make,
    faulty: Make,
    tiny: Path,
    exporter: str,
    module: str,
    node: str,
    stage: str,
    fault: planted.Fault,
) -> None:
    """Also where the exporter folded a batch norm into it, and whichever side is the reference."""
    whole, key = graph(exporter), f"{module}.weight"
    where = node if exporter == "torchscript" else key
    (named,) = (n for n in onnx.load(whole).graph.node if where == n.name or where in n.input)
    other = faulty(where, fault, whole)

    for reference, candidate in ((tiny, other), (other, tiny)):
        assert place(locate(reference, candidate)) == (stage, f"Conv {named.name}")


def test_a_composed_weight_names_what_it_was_composed_of(
    graph: Make, faulty: Make, tiny: Path
) -> None:
    """No key of the checkpoint is blamed alone, where the graph has one weight of three."""
    _, node, stage = PLACES[3]
    for reference in (tiny, graph()):
        found = locate(reference, faulty(node))

        assert found.located == stage
        assert found.operator is not None
        assert f"Conv {node}" in found.operator.operators
        assert found.operator.composed == (
            "merge_heatmaps.0.conv",
            "merge_pointmaps.0.conv",
            "merge_edgemaps.0.conv",
        )
        assert "composed at export of the checkpoint's merge_heatmaps.0.conv" in as_text(found)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "node", "stage"), [PLACES[0], HOURGLASS, PLACES[4]])
def test_a_weight_is_found_in_a_graph_without_rewrites(
    graph: Make, faulty: Make, tiny: Path, module: str, node: str, stage: str
) -> None:
    """The published form, against its checkpoint."""
    found = locate(tiny, faulty(node, planted.two_channels_swapped, graph(plain=True)))

    assert found.located == stage
    assert found.operator is not None
    assert f"Conv {node}" in found.operator.operators, module
    assert found.operator.composed == ()


def test_the_two_forms_differ_by_rounding_alone(graph: Make) -> None:
    """Which is a difference all the same: stages that were not rewritten agree in every bit."""
    found = locate(graph(plain=True), graph())
    apart = {one.name: one.isolated.relative_l2 for one in found.stages if one.isolated is not None}

    assert all(value is not None and value < ROUNDING for value in apart.values()), apart
    assert apart["stack1.heatmaps"] == 0


@pytest.mark.parametrize(
    ("node", "stage", "shown"),
    [
        ("/pre/pre.4/conv2/conv/Conv", "stem", "Conv /pre/pre.4/conv2/conv/Conv"),
        ("/hgs.1/low2/conv3/conv/Conv", "stack1.hourglass", "Conv /hgs.1/low2/conv3/conv/Conv"),
        (
            "/InstanceNormalization_1",
            "stack1.heatmaps",
            "InstanceNormalization /InstanceNormalization_1",
        ),
        ("/ReduceSum_3", "landmarks", "ReduceSum /ReduceSum_3"),
    ],
)
def test_one_node_in_lower_precision_is_found(
    graph: Make, tmp_path: Path, node: str, stage: str, shown: str
) -> None:
    rounded = planted.one_node_rounded(graph(), node, tmp_path / "f.onnx")

    assert place(locate(graph(), rounded)) == (stage, shown)


def test_a_fault_in_the_decoder_is_found(graph: Make, tmp_path: Path) -> None:
    stage, operator = place(locate(graph(), planted.decoder_off(graph(), tmp_path / "f.onnx")))

    assert stage == "landmarks"
    assert operator.startswith("Clip ")


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_nothing_is_found_where_nothing_is_wrong(graph: Make, tiny: Path, exporter: str) -> None:
    """Another engine, another exporter: rounding, and no stage."""
    found = locate(tiny, graph(exporter))

    assert place(found) == (None, "")
    assert as_text(found).startswith("NOTHING STANDS OUT")


def test_a_graph_that_takes_bytes_is_read_like_one_that_takes_numbers(
    graph: Make, faulty: Make, tmp_path: Path
) -> None:
    """Bit for bit, and a fault in its stem is found."""
    taking_bytes = tmp_path / "bytes.onnx"
    onnx.save(with_byte_input(onnx.load(graph()), InputSpec()), taking_bytes)
    _, node, stage = PLACES[0]

    assert as_text(locate(graph(), taking_bytes)).startswith("NO DIFFERENCE")
    found = locate(graph(), faulty(node, planted.one_weight, taking_bytes))
    assert place(found) == (stage, f"Conv {node}")


@pytest.mark.parametrize("arithmetic", ["hf32", "fp16_cube", "fp16"])
def test_a_low_precision_everywhere_is_no_fault(graph: Make, arithmetic: str) -> None:
    """Every stage rounds, and none stands out; each is worse than float32's rounding."""
    found = locate(graph(), f"{graph()}@rehearse/{arithmetic}")
    apart = [one.isolated.relative_l2 for one in found.stages if one.isolated is not None]

    assert found.located is None
    assert np.median([value or 0.0 for value in apart]) > 1e-5


def test_a_fault_is_found_through_a_low_precision(graph: Make, faulty: Make) -> None:
    """The accumulated errors before and after it do not hide it."""
    _, node, stage = HOURGLASS

    assert place(locate(graph(), f"{faulty(node)}@rehearse/fp16")) == (stage, f"Conv {node}")


def test_a_stage_alone_moves_the_landmarks_as_far_as_the_whole_candidate(
    graph: Make, faulty: Make
) -> None:
    """With one fault, its own damage is all the damage; other stages have none."""
    _, node, stage = HOURGLASS
    found = locate(graph(), faulty(node))
    by_name = {one.name: one.alone_px for one in found.stages}

    assert found.landmarks_px is not None
    guilty = by_name.pop(stage)
    assert guilty is not None
    assert guilty.max_px == pytest.approx(found.landmarks_px.max_px, rel=1e-3)
    assert all(one is not None and one.max_px == 0 for one in by_name.values())


@pytest.fixture
def recorded(tmp_path: Path) -> Make:
    """A debug graph's answers to the crop, taps included."""

    def make(source: Path, *options: str) -> Path:
        path = tmp_path / f"{source.stem}.npz"
        crop = str(SAMPLES[0].path)
        arguments = [str(source), "--images", crop, "--boxes", "crop", "--taps", *options]
        assert record([*arguments, "--output", str(path)]) == 0
        return path

    return make


def test_recordings_show_the_stage(graph: Make, faulty: Make, recorded: Make) -> None:
    """Two of them by what accumulates; one and a source that runs, isolated, and in pixels."""
    whole, (_, node, stage) = graph(taps_out=True), PLACES[2]
    wrong = faulty(node, planted.one_weight, whole)
    reference, candidate = recorded(whole), recorded(wrong, "--with-crops")

    both = locate(reference, candidate)
    one = locate(whole, candidate)
    other = locate(reference, wrong)

    assert (place(both), both.reading, both.fed_by) == ((stage, ""), "accumulated", None)
    assert (one.located, one.reading, one.fed_by) == (stage, "isolated", "candidate")
    assert over_share(one) == [stage]
    alone = next(s.alone_px for s in one.stages if s.name == stage)
    assert alone is not None
    assert alone.max_px > 1
    assert (other.located, other.fed_by) == (stage, "reference")


def test_two_recordings_of_one_model_show_nothing(
    graph: Make, recorded: Make, tmp_path: Path
) -> None:
    """All pictures of a recording are read, in its order."""
    same = tmp_path / "same.onnx"
    same.write_bytes(graph(taps_out=True).read_bytes())

    found = locate(recorded(graph(taps_out=True)), recorded(same))

    assert found.located is None
    assert as_text(found).startswith("NO DIFFERENCE")


def test_a_recording_without_taps_names_the_option(
    graph: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.npz"
    assert record([str(graph()), "--output", str(path)]) == 0

    assert main([str(path), str(graph())]) == 2
    assert "--taps" in capsys.readouterr().err


def test_what_is_not_a_number_is_named(graph: Make, faulty: Make) -> None:
    """Picture, stage and channel; no stage behind it is blamed for its inputs."""

    def overflow(weight: np.ndarray) -> None:
        weight[3] = np.inf

    _, node, stage = PLACES[3]
    found = locate(graph(), faulty(node, overflow))

    assert found.located == stage
    (named,) = found.not_finite
    assert (named.side, named.stage, named.channel) == ("candidate", stage, 3)
    assert over_share(found) == [stage]
    assert f"NOT A NUMBER: {named.value} in the candidate's {stage}, channel 3" in as_text(found)


def test_networks_that_cannot_be_compared_are_refused(
    graph: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another architecture, a graph without the stages' names, one source twice, a long name."""
    foreign = onnx.load(graph())
    for node in foreign.graph.node:
        for names in (node.input, node.output):
            names[:] = ["renamed" if name == "stack0.features" else name for name in names]
    onnx.save(foreign, tmp_path / "foreign.onnx")

    for reference, words in (
        (STARTER, "one architecture"),
        (tmp_path / "foreign.onnx", "none called stack0.features"),
        (graph(), "two different sources"),
        ("a" * 300, "no such file or folder"),
    ):
        assert main([str(reference), str(graph())]) == 2
        assert words in capsys.readouterr().err


def test_the_command_line_judges_by_its_exit_code(
    graph: Make,
    faulty: Make,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """0 and 1; text and JSON of one report; an unreadable picture is left out and named.

    The operator is looked for on the picture that its stage is worst on, not on the last.
    """
    _, node, stage = HOURGLASS
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    pictures = (tmp_path / "broken.jpg", *(sample.path for sample in reversed(default_samples())))
    images = ["--images", *map(str, pictures)]
    decoded = count_calls(monkeypatch, "parity.samples.read_picture")

    assert main([str(graph()), str(faulty(node)), *images, "--json"]) == 1
    assert len(decoded) == len(pictures)
    read = msgspec.json.decode(capsys.readouterr().out, type=LocateReport)
    assert (place(read), read.pictures) == (
        (stage, f"Conv {node}"),
        ("sample.jpg", "test.jpg"),
    )
    assert [one.name for one in read.unreadable] == ["broken.jpg"]
    worst = next(one.isolated for one in read.stages if one.name == stage)
    assert read.operator is not None
    assert worst is not None
    assert read.operator.picture == worst.worst_picture

    assert main([str(graph()), f"{graph()}@rehearse/hf32"]) == 0
    assert capsys.readouterr().out.startswith("NOTHING STANDS OUT")


@pytest.mark.slow
def test_two_trainings_differ_from_the_first_stage_on(tiny: Path, tmp_path: Path) -> None:
    """Where every stage is another one, none stands out against the median, and all are over."""
    found = locate(tiny, tiny_checkpoint(tmp_path / "other.pkl", seed=1))

    assert found.located == "stem"
    assert len(over_share(found)) > len(found.stages) / 2


def test_faults_in_the_starter_model_are_found(
    starter_bundle: Path, faulty: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the tiny one: the graph against itself, the checkpoint, and its rehearsal."""
    whole = starter_bundle / "model.onnx"
    node, stage = "/hgs.1/low2/low1/conv2/conv/Conv", "stack1.hourglass"
    wrong = faulty(node, planted.one_weight, whole)

    for reference in (whole, STARTER):
        assert place(locate(reference, wrong)) == (stage, f"Conv {node}")
    checked = count_calls(monkeypatch, "runtime.model.source.check_files")
    assert locate(whole, f"{whole}@rehearse/fp16").located is None
    assert len(checked) == 2, "each side's bundle is hashed once"
