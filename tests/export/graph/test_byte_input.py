"""Graphs that take the crops' own bytes: the float graph's answers, and nothing on the host."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import TINY, skip_without_openvino, tiny_checkpoint, tiny_config
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnxruntime import InferenceSession

from export import __main__ as export_main
from export.config import OnnxTable
from export.graph.byte_input import NORMALISED, with_byte_input
from export.graph.simplify import check_graph, simplify
from export.graph.to_onnx import export_graph
from export.graph.verify import real_crops, with_mirrored
from parity.compare import __main__ as compare
from parity.rehearsal.arithmetic import Arithmetic
from parity.rehearsal.graph import RoundableGraph
from parity.samples import default_samples
from runtime.backends import Backend, Settings, open_backend
from runtime.backends.ort import OnnxRuntimeBackend
from runtime.errors import ArtifactError
from runtime.model.device import CPU
from runtime.model.manifest import read_manifest
from runtime.model.source import Artifact
from runtime.model.spec import InputSpec


@pytest.fixture(scope="session")
def float_graph(starter_bundle: Path) -> Path:
    return starter_bundle / "model.onnx"


@pytest.fixture(scope="session")
def byte_graph(float_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter's graph, with its input changed."""
    path = tmp_path_factory.mktemp("bytes") / "bytes.onnx"
    onnx.save(with_byte_input(onnx.load(str(float_graph)), InputSpec()), str(path))
    return path


def crops() -> NDArray[np.uint8]:
    """The samples and their mirror images, and every level in every channel."""
    levels = np.arange(256, dtype=np.uint8)
    ramp = np.broadcast_to(levels[None, :, None], (256, 256, 3))
    noise = np.random.default_rng(1).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    real = with_mirrored(real_crops(default_samples(), InputSpec()))
    return np.concatenate([real, ramp[None], noise])


def answers(backend: Backend) -> NDArray[np.float32]:
    said = backend.run(backend.spec.input.pack(crops()))
    return np.concatenate([said.landmarks, said.covariance], axis=2)


def test_normalisation_gives_the_hosts_own_bits(float_graph: Path) -> None:
    """Every byte in every channel, before any convolution: not one bit differs."""
    graph = with_byte_input(onnx.load(str(float_graph)), InputSpec())
    del graph.graph.node[4:]
    del graph.graph.output[:]
    named = helper.make_tensor_value_info(NORMALISED, TensorProto.FLOAT, ["N", 3, 256, 256])
    graph.graph.output.append(named)
    session = InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run([NORMALISED], {"image": crops()})

    np.testing.assert_array_equal(found, InputSpec().pack(crops()))


@pytest.mark.slow
def test_answers_are_those_of_the_float_graph(float_graph: Path, byte_graph: Path) -> None:
    """In onnxruntime bit by bit; the host hands over the crops themselves."""
    with open_backend(float_graph, "cpu") as exact, open_backend(byte_graph, "cpu") as bytes_in:
        spec = bytes_in.spec.input
        assert (spec.dtype, spec.layout) == ("uint8", "NHWC")
        given = crops()
        assert spec.pack(given) is given
        np.testing.assert_array_equal(answers(bytes_in), answers(exact))


@pytest.mark.slow
def test_openvino_agrees_within_rounding(float_graph: Path, byte_graph: Path) -> None:
    """Its arithmetic of the normalisation need not be the host's, bit by bit."""
    skip_without_openvino()
    with (
        open_backend(f"{float_graph}@openvino/cpu") as exact,
        open_backend(f"{byte_graph}@openvino/cpu") as bytes_in,
    ):
        moved = np.abs(answers(bytes_in)[..., :2] - answers(exact)[..., :2]) * 128
    assert moved.max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("arithmetic", ["hf32", "fp16_cube"])
def test_rehearsals_round_what_they_round_in_the_float_graph(
    float_graph: Path, byte_graph: Path, arithmetic: Arithmetic
) -> None:
    """Operands of convolutions, which the normalisation is not: the same bits again."""
    found = []
    for path in (float_graph, byte_graph):
        graph = RoundableGraph(path.read_bytes()).rounded(arithmetic, frozenset())
        artifact = Artifact(path=path, kind="onnx", graph=graph)
        with OnnxRuntimeBackend(artifact, CPU, Settings()) as backend:
            found.append(answers(backend))
    np.testing.assert_array_equal(found[1], found[0])


@pytest.mark.slow
def test_rehearsal_of_fp16_rounds_the_normalisation_too(
    byte_graph: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a chip would that computes everything in fp16: off, and not by pixels."""
    arguments = [f"{byte_graph}@cpu", f"{byte_graph}@rehearse/fp16", "--json"]
    assert compare.main(arguments) == 0
    report = json.loads(capsys.readouterr().out)

    assert 1e-4 < report["crop_px"]["axis"]["mean"] < 0.1


def test_bytes_are_refused_by_float_graphs_and_the_other_way_round(
    float_graph: Path, byte_graph: Path, starter_bundle: Path
) -> None:
    """A bundle whose graph takes something else than its manifest says does not open."""
    manifest = read_manifest(starter_bundle)
    with OnnxRuntimeBackend(
        Artifact(path=float_graph, kind="onnx", manifest=manifest), CPU, Settings()
    ) as backend:
        assert backend.spec.input.dtype == "float32"
    with pytest.raises(ArtifactError, match=r"expected 68 points, InputSpec\(.*float32"):
        OnnxRuntimeBackend(
            Artifact(path=byte_graph, kind="onnx", manifest=manifest), CPU, Settings()
        )


@pytest.mark.slow
def test_export_makes_a_judged_bundle(tiny: Path, tmp_path: Path) -> None:
    """By the configuration's key; the option replaces it, and makes another graph in its place."""
    config = tiny_config(tmp_path, tiny, extra='onnx = { input = "uint8" }')
    output = tmp_path / "bytes"
    line = ["--config", str(config), "--output", str(output)]
    assert export_main.main(line) == 0
    manifest = read_manifest(output)

    assert manifest.parity.passed
    assert (manifest.spec.input.dtype, manifest.spec.input.layout) == ("uint8", "NHWC")
    assert manifest.config["onnx"]["input"] == "uint8"
    assert manifest.onnx.operators["Div"] >= 1
    assert any("byte-input" in finding for finding in manifest.preflight)
    assert not manifest.om
    assert export_main.main([*line, "--no-parity", "--input", "float32"]) == 0
    assert read_manifest(output).spec.input.dtype == "float32"


def test_debug_bundle_takes_bytes_too(tiny_debug: Path, tiny: Path, tmp_path: Path) -> None:
    """Its taps are outputs of the same graph, and nothing of them changes."""
    config, output = tiny_config(tmp_path, tiny), tmp_path / "bytes"
    given = np.random.default_rng(2).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    line = ["--config", str(config), "--output", str(output), "--input", "uint8"]
    assert export_main.main([*line, "--taps", "--no-parity"]) == 0
    found = []
    for bundle in (tiny_debug, output):
        with open_backend(f"{bundle}@onnxruntime/cpu") as backend:
            found.append(backend.run(backend.spec.input.pack(given)).taps)
    assert len(found[0]) > 5
    assert found[0].keys() == found[1].keys()
    for name, tap in found[0].items():
        np.testing.assert_array_equal(found[1][name], tap)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--om", "require", "--soc_version", "Ascend910B3"], "got --om require"),
        (["--print-atc", "--soc_version", "Ascend910B3"], "got --soc_version Ascend910B3"),
        (["--aipp"], 'one of the two that normalise bytes: onnx.input = "uint8" or atc.aipp'),
    ],
)
def test_conversion_of_bytes_is_refused(
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    says: str,
) -> None:
    """Before anything is made; with --om never a chip may stand in the configuration."""
    config = tiny_config(tmp_path, tiny, extra='atc = { soc_version = "Ascend910B3" }')
    output = tmp_path / "bytes"
    line = ["--config", str(config), "--output", str(output), "--input", "uint8"]
    assert export_main.main([*line, *options]) == 2
    error = capsys.readouterr().err

    assert says in error
    assert "--input float32 --aipp" in error or "take AIPP" in error
    assert not output.exists()
    assert export_main.main([*line, "--om", "never", "--dry-run"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_changed_graph_is_held_to_the_same_promises(tmp_path: Path, exporter: str) -> None:
    """By both exporters: checked, named, and the given graph untouched."""
    made = simplify(
        export_graph(tiny_checkpoint(tmp_path / "t.pkl"), OnnxTable(exporter=exporter))  # type: ignore[arg-type]
    )
    before = made.SerializeToString(deterministic=True)
    graph = with_byte_input(made, InputSpec(size=TINY.size))

    check_graph(graph, TINY)
    (image,) = graph.graph.input
    dims = [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim]
    assert dims == ["N", 256, 256, 3]
    assert made.SerializeToString(deterministic=True) == before
