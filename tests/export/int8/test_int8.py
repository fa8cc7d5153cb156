"""Int8 within a budget: what is quantised and what is not, and that nothing over budget ships."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from builders import STARTER, noise, skip_without_openvino, tiny_config
from numpy.typing import NDArray

from export import __main__ as export_main
from export.config import OnnxTable
from export.graph.cost import graph_cost
from export.graph.simplify import simplify
from export.graph.to_onnx import export_graph
from export.int8.equalise import equalise
from export.int8.pictures import choose_pictures
from export.int8.quantise import quantise
from export.int8.scope import (
    DECODER,
    NO_QUANTISER,
    PLANES,
    RESTORED,
    STREAM,
    convolutions,
    kept_facts,
    left_in_fp32,
    quantised_convolutions,
)
from export.int8.table import Int8Table
from parity.plan.precision_plan import parse_budget
from runtime.backends import open_backend
from runtime.detector import Detector
from runtime.errors import ConfigError, InputError
from runtime.info import __main__ as info
from runtime.machine.telemetry import TELEMETRY
from runtime.model.manifest import read_manifest
from runtime.model.spec import INPUT_NAME, InputSpec

pytestmark = pytest.mark.slow

# looked for and not imported: that would bring its telemetry in, which changes logging, too
if importlib.util.find_spec("nncf") is None:
    pytest.skip("the package nncf is not installed", allow_module_level=True)

SPEC = InputSpec()
LOOSE = "p99=200"


def pictures(folder: Path, count: int, seed: int) -> Path:
    """Pictures of noise, all different."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for index in range(count):
        cv2.imwrite(str(folder / f"{seed}_{index}.png"), noise(rng, 80, 60))
    return folder


@pytest.fixture(scope="module")
def bundle(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network in int8, as the command line makes it of pictures that somebody names."""
    folder = tmp_path_factory.mktemp("int8")
    given = pictures(folder / "photos", 6, 1)
    arguments = ("--budget", LOOSE, "--calibration", str(given))
    before = set(sys.modules)
    assert export(tiny_config(folder, tiny), folder / "bundle", *arguments) == 0
    assert "nncf" in sys.modules
    assert TELEMETRY not in set(sys.modules) - before
    return folder / "bundle"


@pytest.fixture(scope="module")
def tiny_graph(tiny: Path) -> onnx.ModelProto:
    """The float graph of the tiny network."""
    return simplify(export_graph(tiny, OnnxTable()))


def export(config: Path, output: Path, *arguments: str) -> int:
    line = ["--config", str(config), "--output", str(output), "--precision", "int8", *arguments]
    return export_main.main(line)


def test_bundle_is_an_ordinary_one_that_explains_itself(bundle: Path, tiny: Path) -> None:
    manifest = read_manifest(bundle)
    fact = manifest.quantisation

    assert fact is not None
    assert (fact.calibration_pictures, fact.validation_pictures) == (4, 2)
    assert not fact.embedded
    assert 0 < fact.int8_convolutions < fact.convolutions
    assert fact.equalised > 0
    assert fact.budget_px == {"p99": 200.0}
    assert fact.found_px["p99"] <= 200
    assert manifest.parity.passed
    assert manifest.checkpoint.file == tiny.name
    assert {"QuantizeLinear", "DequantizeLinear"} <= manifest.onnx.operators.keys()
    assert {DECODER, PLANES} & {kept.why for kept in fact.kept}
    assert not (bundle / "model_fp32.onnx").exists()
    report = json.loads((bundle / "parity.json").read_text())
    limits = report["verdict"]["limits"]
    assert (limits["max_p99_px"], limits["max_mean_px"]) == (200.0, None)
    assert limits["unit"] == "crop"
    assert len(report["pictures"]) == 2


def test_info_says_what_stayed_in_fp32_and_why(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert info.main([str(bundle), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["int8"]
    assert said["int8_convolutions"] > 0
    assert {kept["why"] for kept in said["kept"]} >= {DECODER}
    assert info.main([str(bundle)]) == 0
    assert DECODER in capsys.readouterr().out


@pytest.mark.parametrize("device", ["cpu", "openvino/cpu"])
def test_detector_opens_it_like_any_other(bundle: Path, device: str) -> None:
    if device.startswith("openvino"):
        skip_without_openvino()
    with Detector(f"{bundle}@{device}") as detector:
        found = detector.detect_from_cropped(noise(np.random.default_rng(0), 256, 256))
    assert found.points_px.shape == (68, 2)
    assert ("int8" in detector.backend.name) == device.startswith("openvino")


def test_same_pictures_give_the_same_bytes(bundle: Path, tiny: Path, tmp_path: Path) -> None:
    """In place, nothing is done; elsewhere, the graph is made again."""
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    given = ("--calibration", str(bundle.parent / "photos"), "--budget", LOOSE)
    for output in (bundle, tmp_path / "b"):
        assert export(tiny_config(tmp_path, tiny), output, *given) == 0
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    assert (tmp_path / "b/model.onnx").read_bytes() == before["model.onnx"]


def test_budget_that_nothing_meets_is_kept_aside(
    bundle: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--calibration", str(bundle.parent / "photos"), "--budget", "max=0.0000001")
    assert export(tiny_config(tmp_path, tiny), tmp_path / "b", *given) == 1

    assert not (tmp_path / "b").exists()
    fact = read_manifest(tmp_path / "b.rejected").quantisation
    assert fact is not None
    assert fact.int8_convolutions > 0
    assert "rejected: " in capsys.readouterr().out


def test_accuracy_control_gives_back_what_the_budget_needs(tiny_graph: onnx.ModelProto) -> None:
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (4, 256, 256, 3), dtype=np.uint8)
    loose = quantise(tiny_graph, crops[:2], crops[2:], parse_budget(LOOSE, "crop"), SPEC)
    limit = loose.found.max / 2
    tight = quantise(tiny_graph, crops[:2], crops[2:], parse_budget(f"max={limit}", "crop"), SPEC)
    assert tight.found.max <= limit
    assert quantised_convolutions(tight.graph) < quantised_convolutions(loose.graph)
    assert tight.evaluations > loose.evaluations
    for made, restored in ((loose, False), (tight, True)):
        kept = {
            f.why: f.operators for f in kept_facts(tiny_graph, made.graph, made.left, made.at_first)
        }
        assert (RESTORED in kept) == restored
        given_back = set(kept.get(RESTORED, ()))
        assert given_back == made.at_first - quantised_convolutions(made.graph)
        assert given_back.isdisjoint(kept.get(NO_QUANTISER, ()))


def test_decoder_and_gates_stay_in_fp32_from_the_outset(tiny_graph: onnx.ModelProto) -> None:
    reasons = left_in_fp32(tiny_graph)
    types = {node.name: node.op_type for node in tiny_graph.graph.node}

    left = {types[name] for name in types.keys() - reasons.keys()}
    assert left <= {"Conv", "Relu", "MaxPool", "Resize", "Concat", "BatchNormalization"}
    assert {types[name] for name, why in reasons.items() if why == DECODER} >= {"ReduceSum", "Div"}
    assert RESTORED not in reasons.values()


def test_uint8_graphs_are_quantised_too(bundle: Path, tiny: Path, tmp_path: Path) -> None:
    given = ("--calibration", str(bundle.parent / "photos"), "--budget", LOOSE)
    assert export(tiny_config(tmp_path, tiny), tmp_path / "b", "--input", "uint8", *given) == 0
    crops = noise(np.random.default_rng(0), 256, 256)[None]
    with open_backend(tmp_path / "b") as backend:
        assert backend.spec.input.dtype == "uint8"
        said = backend.run(crops).landmarks
    with open_backend(bundle) as backend:
        other = backend.run(backend.spec.input.pack(crops)).landmarks
    assert np.abs(said - other).max() * 128 < 0.01


def test_embedded_pictures_are_cut_apart() -> None:
    chosen = choose_pictures(Int8Table())
    hashes = [{s.sha256 for s in part} for part in (chosen.calibration, chosen.validation)]

    assert chosen.embedded
    assert not hashes[0] & hashes[1]
    assert len(chosen.calibration) == len({s.box_xyxy for s in chosen.calibration}) == 24


def test_every_third_picture_is_set_aside(tmp_path: Path) -> None:
    given = pictures(tmp_path / "photos", 9, 1)
    chosen = choose_pictures(Int8Table(calibration=(str(given),)))
    assert [s.name for s in chosen.validation] == ["1_2.png", "1_5.png", "1_8.png"]
    assert len(chosen.calibration) == 6


def test_validation_that_calibration_has_seen_is_refused(tmp_path: Path) -> None:
    """Also as a copy under another name."""
    given = pictures(tmp_path / "photos", 4, 1)
    other = pictures(tmp_path / "others", 3, 2)
    (other / "copy.png").write_bytes((given / "1_0.png").read_bytes())
    with pytest.raises(ConfigError, match="1 of 4 that it has, the first copy.png"):
        choose_pictures(Int8Table(calibration=(str(given),), validation=(str(other),)))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--budget p98=1", "STATISTIC=PX"),
        ("--budget p99=0", "above 0"),
        ("--taps", "without taps"),
        ("--no-parity", "judged by its budget"),
        ("--opset 12", "13 or later"),
        ("--validation assets", "calibration pictures beside them"),
        ("--om require", "ATC reads no quantised one"),
        ("--calibration /no/such", "no such file"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str], arguments: str, says: str
) -> None:
    config = tiny_config(tmp_path, tiny)
    assert export(config, tmp_path / "b", *arguments.split()) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_pictures_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (pictures(tmp_path / "broken", 6, 1) / "1_1.png").write_bytes(b"no picture")
    pictures(tmp_path / "one", 1, 1)
    for folder, error, says in (
        ("empty", InputError, "a folder without any"),
        ("broken", InputError, "1_1.png"),
        ("absent", InputError, "no such file"),
        ("one", ConfigError, "at least 2 pictures"),
    ):
        with pytest.raises(error, match=says):
            choose_pictures(Int8Table(calibration=(str(tmp_path / folder),)))


def test_little_of_the_starter_stays_out(starter_bundle: Path) -> None:
    """Of the default model: what stays in fp32 from the outset is little of its arithmetic."""
    graph = onnx.load(starter_bundle / "model.onnx")
    reasons = left_in_fp32(graph)
    left = {reasons[name] for name in convolutions(graph) if name in reasons}

    assert STARTER.is_file()
    assert left == {PLANES, STREAM}
    assert sum(name in reasons for name in convolutions(graph)) == 11
    assert reasons[convolutions(graph)[0]] == STREAM  # it reads the picture
    assert list(reasons.values()).count(PLANES) == 2  # one in each hourglass


@pytest.mark.parametrize("name", ["tiny", "starter"])
def test_equalised_channels_change_nothing_in_fp32(
    name: str, tiny_graph: onnx.ModelProto, starter_bundle: Path
) -> None:
    graph = tiny_graph if name == "tiny" else onnx.load(starter_bundle / "model.onnx")
    before = graph.SerializeToString()
    crops = [SPEC.pack(noise(np.random.default_rng(seed), 256, 256)[None]) for seed in (1, 2)]

    made, maps = equalise(graph, crops[:1])

    assert graph.SerializeToString() == before
    assert len(maps) > 0.4 * len(convolutions(graph))
    assert graph_cost(made) == graph_cost(graph)
    there, here = outputs(made, crops[1], maps), outputs(graph, crops[1], maps)
    assert np.abs(there[0] - here[0]).max() * 128 < 1e-3
    # it is another graph: its channels are nearer to each other than they were
    ratios = [uneven(after) / uneven(was) for after, was in zip(there[1:], here[1:], strict=True)]
    assert np.median(ratios) < 0.9


def outputs(
    graph: onnx.ModelProto, crops: NDArray[Any], maps: tuple[str, ...]
) -> list[NDArray[Any]]:
    """The landmarks, and the maps of these names."""
    shown = onnx.ModelProto()
    shown.CopyFrom(graph)
    shown.graph.output.extend(onnx.helper.make_empty_tensor_value_info(m) for m in maps)
    session: Any = onnxruntime.InferenceSession(shown.SerializeToString())
    found: list[NDArray[Any]] = session.run(["landmarks", *maps], {INPUT_NAME: crops})
    return found


def uneven(maps: NDArray[Any]) -> float:
    """The largest channel over the middle one."""
    largest = maps.max(axis=(0, 2, 3))
    return float((largest.max() + 1e-6) / (np.median(largest) + 1e-6))


def test_channels_that_someone_else_reads_are_left_alone(tiny_graph: onnx.ModelProto) -> None:
    """A map that is also given out, or a weight that two convolutions share."""
    crops = [SPEC.pack(noise(np.random.default_rng(1), 256, 256)[None])]
    _, maps = equalise(tiny_graph, crops)
    shown = onnx.ModelProto()
    shown.CopyFrom(tiny_graph)
    shown.graph.output.append(onnx.helper.make_empty_tensor_value_info(maps[0]))
    reader = next(n for n in shown.graph.node if maps[1] in n.input)
    twin = onnx.NodeProto()
    twin.CopyFrom(reader)
    twin.name, twin.input[0], twin.output[0] = "twin", maps[0], "twin"
    shown.graph.node.append(twin)

    assert set(maps) - set(equalise(shown, crops)[1]) == {maps[0], maps[1]}
