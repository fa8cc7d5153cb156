"""Planted faults are found at their stage and operator, and nothing where there is none."""

from __future__ import annotations

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
    sources = (parse_source(str(reference)), parse_source(str(candidate)))
    return located(sources, SAMPLES, settings=DEFAULT_SETTINGS)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Callable[..., Path]:
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


@pytest.mark.parametrize(("module", "node", "stage", "fault"), CASES)
def test_a_weight_is_found_between_two_graphs(
    graph: Callable[..., Path],
    tmp_path: Path,
    module: str,
    node: str,
    stage: str,
    fault: planted.Fault,
) -> None:
    """Stage, node and weight; all other stages agree in every bit."""
    found = locate(graph(), planted.in_graph(graph(), node, fault, tmp_path / "f.onnx"))

    assert (found.located, found.share) == (stage, 0.0), module
    assert [one.name for one in found.stages if one.over_share] == [stage]
    assert found.operator is not None
    assert found.operator.operators[-1] == f"Conv {node}"
    assert any("values differ" in weight for weight in found.operator.weights)


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


@pytest.mark.parametrize(
    ("exporter", "module", "node", "stage", "fault"),
    [("torchscript", *CASES[0]), ("torchscript", *CASES[5]), ("dynamo", *CASES[6])],
)
def test_a_weight_is_found_between_a_checkpoint_and_a_graph(
    graph: Callable[..., Path],
    tiny: Path,
    tmp_path: Path,
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
    faulty = planted.in_graph(whole, where, fault, tmp_path / "f.onnx")

    for reference, candidate in ((tiny, faulty), (faulty, tiny)):
        found = locate(reference, candidate)

        assert found.located == stage
        assert found.operator is not None
        assert found.operator.operators == (f"Conv {named.name}",)


def test_a_composed_weight_names_what_it_was_composed_of(
    graph: Callable[..., Path], tiny: Path, tmp_path: Path
) -> None:
    """No key of the checkpoint is blamed alone, where the graph has one weight of three."""
    _, node, stage = PLACES[3]
    faulty = planted.in_graph(graph(), node, planted.one_weight, tmp_path / "f.onnx")

    for reference in (tiny, graph()):
        found = locate(reference, faulty)

        assert found.located == stage
        assert found.operator is not None
        assert f"Conv {node}" in found.operator.operators
        assert found.operator.composed == (
            "merge_heatmaps.0.conv",
            "merge_pointmaps.0.conv",
            "merge_edgemaps.0.conv",
        )
        assert "composed at export of the checkpoint's merge_heatmaps.0.conv" in as_text(found)


@pytest.mark.parametrize(("module", "node", "stage"), [PLACES[0], HOURGLASS, PLACES[4]])
def test_a_weight_is_found_in_a_graph_without_rewrites(
    graph: Callable[..., Path], tiny: Path, tmp_path: Path, module: str, node: str, stage: str
) -> None:
    """The published form, against its checkpoint."""
    plain = graph(plain=True)
    found = locate(
        tiny, planted.in_graph(plain, node, planted.two_channels_swapped, tmp_path / "f.onnx")
    )

    assert found.located == stage
    assert found.operator is not None
    assert f"Conv {node}" in found.operator.operators, module
    assert found.operator.composed == ()


def test_the_two_forms_differ_by_rounding_alone(graph: Callable[..., Path]) -> None:
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
    graph: Callable[..., Path], tmp_path: Path, node: str, stage: str, shown: str
) -> None:
    found = locate(graph(), planted.one_node_rounded(graph(), node, tmp_path / "f.onnx"))

    assert found.located == stage
    assert found.operator is not None
    assert found.operator.operators[-1] == shown


def test_a_fault_in_the_decoder_is_found(graph: Callable[..., Path], tmp_path: Path) -> None:
    found = locate(graph(), planted.decoder_off(graph(), tmp_path / "f.onnx"))

    assert found.located == "landmarks"
    assert found.operator is not None
    assert found.operator.operators[-1].startswith("Clip ")


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_nothing_is_found_where_nothing_is_wrong(
    graph: Callable[..., Path], tiny: Path, exporter: str
) -> None:
    """Another engine, another exporter: rounding, and no stage."""
    found = locate(tiny, graph(exporter))

    assert found.located is None
    assert found.operator is None
    assert as_text(found).startswith("NOTHING STANDS OUT")


def test_a_graph_that_takes_bytes_is_read_like_one_that_takes_numbers(
    graph: Callable[..., Path], tmp_path: Path
) -> None:
    """Bit for bit, and a fault in its stem is found."""
    taking_bytes, faulty = tmp_path / "bytes.onnx", tmp_path / "faulty.onnx"
    onnx.save(with_byte_input(onnx.load(graph()), InputSpec()), taking_bytes)
    module, node, stage = PLACES[0]
    planted.in_graph(taking_bytes, node, planted.one_weight, faulty)

    assert as_text(locate(graph(), taking_bytes)).startswith("NO DIFFERENCE")
    found = locate(graph(), faulty)
    assert found.located == stage, module
    assert found.operator is not None
    assert found.operator.operators[-1] == f"Conv {node}"


@pytest.mark.parametrize("arithmetic", ["hf32", "fp16_cube", "fp16"])
def test_a_low_precision_everywhere_is_no_fault(
    graph: Callable[..., Path], arithmetic: str
) -> None:
    """Every stage rounds, and none stands out; each is worse than float32's rounding."""
    found = locate(graph(), f"{graph()}@rehearse/{arithmetic}")
    apart = [one.isolated.relative_l2 for one in found.stages if one.isolated is not None]

    assert found.located is None
    assert np.median([value or 0.0 for value in apart]) > 1e-5


def test_a_fault_is_found_through_a_low_precision(
    graph: Callable[..., Path], tmp_path: Path
) -> None:
    """What accumulated before and after it does not hide it."""
    _, node, stage = HOURGLASS
    faulty = planted.in_graph(graph(), node, planted.one_weight, tmp_path / "f.onnx")
    found = locate(graph(), f"{faulty}@rehearse/fp16")

    assert found.located == stage
    assert found.operator is not None
    assert found.operator.operators[-1] == f"Conv {node}"


def test_a_stage_alone_moves_the_landmarks_as_far_as_the_whole_candidate(
    graph: Callable[..., Path], tmp_path: Path
) -> None:
    """With one fault, its own damage is all the damage; other stages have none."""
    _, node, stage = HOURGLASS
    found = locate(
        graph(), planted.in_graph(graph(), node, planted.one_weight, tmp_path / "f.onnx")
    )
    by_name = {one.name: one.alone_px for one in found.stages}

    assert found.landmarks_px is not None
    guilty = by_name.pop(stage)
    assert guilty is not None
    assert guilty.max_px == pytest.approx(found.landmarks_px.max_px, rel=1e-3)
    assert all(one is not None and one.max_px == 0 for one in by_name.values())


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Path]:
    """A debug graph's answers to the crop, taps included."""

    def make(source: Path, *options: str) -> Path:
        path = tmp_path / f"{source.stem}.npz"
        crop = str(SAMPLES[0].path)
        arguments = [str(source), "--images", crop, "--boxes", "crop", "--taps", *options]
        assert record([*arguments, "--output", str(path)]) == 0
        return path

    return make


def test_recordings_show_the_stage(
    graph: Callable[..., Path], recorded: Callable[..., Path], tmp_path: Path
) -> None:
    """Two of them by what accumulates; one and a source that runs, isolated, and in pixels."""
    whole, (_, node, stage) = graph(taps_out=True), PLACES[2]
    faulty = planted.in_graph(whole, node, planted.one_weight, tmp_path / "faulty.onnx")
    reference, candidate = recorded(whole), recorded(faulty, "--with-crops")

    both = locate(reference, candidate)
    one = locate(whole, candidate)
    other = locate(reference, faulty)

    assert (both.located, both.reading, both.fed_by, both.operator) == (
        stage,
        "accumulated",
        None,
        None,
    )
    assert (one.located, one.reading, one.fed_by) == (stage, "isolated", "candidate")
    assert [s.name for s in one.stages if s.over_share] == [stage]
    alone = next(s.alone_px for s in one.stages if s.name == stage)
    assert alone is not None
    assert alone.max_px > 1
    assert (other.located, other.fed_by) == (stage, "reference")


def test_two_recordings_of_one_model_show_nothing(
    graph: Callable[..., Path], recorded: Callable[..., Path], tmp_path: Path
) -> None:
    same = tmp_path / "same.onnx"
    same.write_bytes(graph(taps_out=True).read_bytes())

    found = locate(recorded(graph(taps_out=True)), recorded(same))

    assert found.located is None
    assert as_text(found).startswith("NO DIFFERENCE")


def test_a_recording_without_taps_says_how_to_make_one(
    graph: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.npz"
    assert record([str(graph()), "--output", str(path)]) == 0

    assert main([str(path), str(graph())]) == 2
    assert "--taps" in capsys.readouterr().err


def test_what_is_not_a_number_is_named(graph: Callable[..., Path], tmp_path: Path) -> None:
    """Picture, stage and channel; no stage behind it is blamed for what it was given."""

    def overflow(weight: np.ndarray) -> None:
        weight[3] = np.inf

    _, node, stage = PLACES[3]
    found = locate(graph(), planted.in_graph(graph(), node, overflow, tmp_path / "f.onnx"))

    assert found.located == stage
    (named,) = found.not_finite
    assert (named.side, named.stage, named.channel) == ("candidate", stage, 3)
    assert [one.name for one in found.stages if one.over_share] == [stage]
    assert f"NOT A NUMBER: {named.value} in the candidate's {stage}, channel 3" in as_text(found)


def test_another_architecture_is_refused(
    graph: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(STARTER), str(graph())]) == 2
    assert "one architecture" in capsys.readouterr().err


def test_a_graph_without_the_stages_names_is_refused(
    graph: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(graph())
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["renamed" if name == "stack0.features" else name for name in names]
    onnx.save(model, tmp_path / "foreign.onnx")

    assert main([str(tmp_path / "foreign.onnx"), str(graph())]) == 2
    assert "none called stack0.features" in capsys.readouterr().err


def test_the_command_line_judges_by_its_exit_code(
    graph: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 and 1; text and JSON of one report; an unreadable picture is left out and named."""
    _, node, stage = HOURGLASS
    faulty = planted.in_graph(graph(), node, planted.one_weight, tmp_path / "f.onnx")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    images = ["--images", str(tmp_path / "broken.jpg"), str(SAMPLES[0].path)]

    assert main([str(graph()), str(faulty), *images, "--json"]) == 1
    read = msgspec.json.decode(capsys.readouterr().out, type=LocateReport)
    assert (read.located, read.pictures) == (stage, ("sample.jpg",))
    assert [one.name for one in read.unreadable] == ["broken.jpg"]

    assert main([str(graph()), f"{graph()}@rehearse/hf32"]) == 0
    assert capsys.readouterr().out.startswith("NOTHING STANDS OUT")
    assert main([str(graph()), str(graph())]) == 2


def test_two_trainings_differ_from_the_first_stage_on(tiny: Path, tmp_path: Path) -> None:
    """Where every stage is another one, none stands out against the median, and all are over."""
    found = locate(tiny, tiny_checkpoint(tmp_path / "other.pkl", seed=1))

    assert found.located == "stem"
    assert sum(one.over_share for one in found.stages) > len(found.stages) / 2


def test_faults_in_the_starter_model_are_found(starter_bundle: Path, tmp_path: Path) -> None:
    """As in the tiny one: the graph against itself, the checkpoint, and its rehearsal."""
    whole = starter_bundle / "model.onnx"
    node, stage = "/hgs.1/low2/low1/conv2/conv/Conv", "stack1.hourglass"
    faulty = planted.in_graph(whole, node, planted.one_weight, tmp_path / "f.onnx")

    for reference, candidate in ((whole, faulty), (STARTER, faulty)):
        found = locate(reference, candidate)

        assert found.located == stage
        assert found.operator is not None
        assert found.operator.operators[-1] == f"Conv {node}"
    assert locate(whole, f"{whole}@rehearse/fp16").located is None
