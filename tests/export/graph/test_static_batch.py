"""`--batch N`: a graph without a symbolic dimension, which finds the same points."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import skip_without_openvino, tiny_config

from export import __main__ as export_main
from runtime.backends import Settings, open_backend
from runtime.errors import EXIT_BAD_INPUT, EXIT_OK
from runtime.machine import processor
from runtime.model.manifest import read_manifest

pytestmark = pytest.mark.slow

BATCH = 3


@pytest.fixture(scope="module", params=["float32", "uint8"])
def bundles(
    request: pytest.FixtureRequest, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """For any batch, and for one of three."""
    folder = tmp_path_factory.mktemp("static")
    common = ["--config", str(tiny_config(folder, tiny)), "--input", request.param, "--no-parity"]
    for output, given in (("any", []), ("three", ["--batch", str(BATCH)])):
        line = [*common, "--output", str(folder / output), *given]
        assert export_main.main(line) == EXIT_OK
    return folder / "any", folder / "three"


def test_no_dimension_is_symbolic_and_no_constant_is_a_node(bundles: tuple[Path, Path]) -> None:
    graph = onnx.load(bundles[1] / "model.onnx").graph
    values = [*graph.input, *graph.value_info, *graph.output]
    sizes = [dim.dim_value for value in values for dim in value.type.tensor_type.shape.dim]

    assert min(sizes) >= 1
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_value == BATCH
    assert {"Constant", "Shape"}.isdisjoint(node.op_type for node in graph.node)


@pytest.mark.parametrize("engine", ["onnxruntime/cpu", "openvino/cpu"])
@pytest.mark.parametrize("pictures", [1, 3, 7])
def test_any_number_of_pictures_gives_the_same_points(
    bundles: tuple[Path, Path], engine: str, pictures: int
) -> None:
    """Calls are cut into batches, and the last one is filled up."""
    if "openvino" in engine:
        skip_without_openvino()
    crops = np.random.default_rng(5).integers(0, 256, (pictures, 256, 256, 3), dtype=np.uint8)
    found = []
    for bundle in bundles:
        with open_backend(f"{bundle}@{engine}") as backend:
            found.append(backend.run(backend.spec.input.pack(crops)))
    assert backend.batches == (BATCH,)

    for name in ("landmarks", "covariance"):
        free, static = (getattr(outputs, name) for outputs in found)
        np.testing.assert_allclose(static, free, atol=1e-4)  # 0.01 crop px


@pytest.mark.parametrize("engine", ["onnxruntime/cpu", "openvino/cpu"])
def test_calls_side_by_side_take_memory_for_each_picture_of_the_batch(
    bundles: tuple[Path, Path], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is room for four pictures, there is room for one call of three."""
    if "openvino" in engine:
        skip_without_openvino()
    monkeypatch.setattr(processor, "_free_bytes", lambda _: 2 * 4 * processor.PICTURE_BYTES)
    settings = Settings(threads=8, throughput=True)
    found = []
    for bundle in bundles:
        with open_backend(f"{bundle}@{engine}", settings=settings) as backend:
            found.append(backend.at_once)
    assert found == [4, 1]


def test_bundle_says_which_batch(bundles: tuple[Path, Path]) -> None:
    manifest = read_manifest(bundles[1])
    props = {p.key: p.value for p in onnx.load(bundles[1] / "model.onnx").metadata_props}

    assert manifest.onnx.static_batch == BATCH
    assert props["batch"] == str(BATCH)
    assert json.loads(props["args"])["dynamic"] == 0
    assert read_manifest(bundles[0]).onnx.cost == manifest.onnx.cost  # of one picture


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--batch", "0"], "onnx.batch: 1 or more, got 0"),
        (["--batch", "2", "--batch_sizes", "1,2"], "an .om for batch 2.*got atc batches 1,2"),
        (["--batch", "2", "--dynamic_batch_size", "1,2"], "an .om for batch 2"),
    ],
)
def test_batches_that_the_graph_lacks_are_refused(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], message: str
) -> None:
    line = ["--config", str(tiny_config(tmp_path, tiny)), "--output", str(tmp_path / "b")]

    assert export_main.main([*line, *given]) == EXIT_BAD_INPUT
    assert re.search(message, capsys.readouterr().err)
