"""Planted faults in a real graph are found wanting, and true pairs of engines are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from builders import PHOTO_BOX, ROOT, STARTER, skip_without_openvino
from onnx import numpy_helper

from parity.compare import __main__ as compare
from parity.recording.recorder import Recorder, record
from parity.recording.recording import Recording, save_recording
from parity.report import make_report
from parity.samples import Sample, default_samples
from runtime.detector import Detector
from runtime.errors import EXIT_FAILED, EXIT_FOUND_WANTING, EXIT_OK
from runtime.model.device import CPU
from runtime.model.source import Artifact

pytestmark = pytest.mark.slow

WEIGHTS, STEP = 20, 0.05
# One in twenty may be a weight that no answer depends on, behind a ReLU that is always 0.
FEWEST_FOUND = 19
Change = Callable[[np.ndarray], np.ndarray]


def samples() -> list[Sample]:
    """A photo as a whole and in its face's box, and a crop."""
    boxed = Sample(name="boxed.jpg", path=ROOT / "assets/test.jpg", box_xyxy=PHOTO_BOX)
    return [*default_samples(), boxed]


@pytest.fixture(scope="module")
def graph(starter_bundle: Path) -> onnx.ModelProto:
    return onnx.load(starter_bundle / "model.onnx")


@pytest.fixture(scope="module")
def checkpoint() -> Recording:
    """What the checkpoint answers in torch."""
    with Detector(f"{STARTER}@cpu") as detector:
        return record([Recorder("checkpoint", detector)], samples())[0]


def convolutions(graph: onnx.ModelProto) -> list[str]:
    return [node.input[1] for node in graph.graph.node if node.op_type == "Conv"]


def changed(graph: onnx.ModelProto, name: str, change: Change) -> bytes:
    """The graph's bytes with one initializer changed."""
    (tensor,) = (tensor for tensor in graph.graph.initializer if tensor.name == name)
    kept = tensor.SerializeToString()
    values = numpy_helper.to_array(tensor).copy()
    tensor.CopyFrom(numpy_helper.from_array(change(values).astype(values.dtype), name))
    made = graph.SerializeToString()
    tensor.ParseFromString(kept)
    return bytes(made)


def recorded(graph: bytes) -> Recording:
    from runtime.backends.base import DEFAULT_SETTINGS
    from runtime.backends.ort import OnnxRuntimeBackend

    artifact = Artifact(path=Path("changed.onnx"), kind="onnx", graph=graph)
    with Detector(OnnxRuntimeBackend(artifact, CPU, DEFAULT_SETTINGS)) as detector:
        return record([Recorder("changed", detector)], samples())[0]


def single_weights(graph: onnx.ModelProto, seed: int) -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(seed)
    for name in rng.choice(convolutions(graph), WEIGHTS, replace=False):

        def change(values: np.ndarray) -> np.ndarray:
            values.flat[rng.integers(values.size)] += STEP
            return values

        yield str(name), changed(graph, str(name), change)


def test_one_changed_weight_is_found(graph: onnx.ModelProto, checkpoint: Recording) -> None:
    """Each in another convolution, none larger than 0.05."""
    passed = [
        name
        for name, made in single_weights(graph, seed=7)
        if make_report(checkpoint, recorded(made), {}).verdict.passed
    ]
    assert len(passed) <= WEIGHTS - FEWEST_FOUND, passed


def files(folder: Path, faults: dict[str, bytes]) -> dict[str, Path]:
    for name, content in faults.items():
        (folder / f"{name}.onnx").write_bytes(content)
    return {name: folder / f"{name}.onnx" for name in faults}


def with_outputs(graph: onnx.ModelProto, output: str, change: list[Any]) -> bytes:
    """The graph with nodes behind one output; they read `raw` and write the output."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    for node in model.graph.node:
        node.output[:] = ["raw" if name == output else name for name in node.output]
    for step in change:
        if isinstance(step, onnx.TensorProto):
            model.graph.initializer.append(step)
        else:
            model.graph.node.append(step)
    return bytes(model.SerializeToString())


def planted(graph: onnx.ModelProto) -> dict[str, bytes]:
    """Faults by name."""
    node, tensor = onnx.helper.make_node, numpy_helper.from_array
    swapped = np.arange(68)
    swapped[[36, 37]] = [37, 36]
    first = convolutions(graph)[0]
    return {
        "channels": changed(graph, first, lambda values: values[:, ::-1]),
        "nan": changed(graph, first, lambda values: values * np.float32(np.nan)),
        "shifted": with_outputs(
            graph,
            "landmarks",
            # a thousandth of a crop's px
            [
                tensor(np.array(1e-3 / 128, np.float32), "by"),
                node("Add", ["raw", "by"], ["landmarks"], "shift"),
            ],
        ),
        "swapped": with_outputs(
            graph,
            "landmarks",
            [tensor(swapped, "by"), node("Gather", ["raw", "by"], ["landmarks"], "swap", axis=1)],
        ),
        "covariance": with_outputs(
            graph,
            "covariance",
            [
                tensor(np.array(1.01, np.float32), "by"),
                node("Mul", ["raw", "by"], ["covariance"], "scale"),
            ],
        ),
    }


def test_other_faults_are_exit_codes(
    graph: onnx.ModelProto,
    starter_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Found wanting, or failed; a recording of an earlier model, too."""
    found = files(tmp_path, planted(graph))
    stale = tmp_path / "stale.npz"
    _, earlier = next(single_weights(graph, seed=8))
    save_recording(stale, recorded(earlier))
    pictures = [str(ROOT / "assets/test.jpg"), "--boxes", "whole"]
    codes = {
        name: compare.main([f"{STARTER}@cpu", f"{path}@cpu", "--images", *pictures])
        for name, path in found.items()
    }
    expected = dict.fromkeys(found, EXIT_FOUND_WANTING) | {"nan": EXIT_FAILED}
    assert codes == expected, capsys.readouterr().out
    with Detector(f"{starter_bundle}@cpu") as detector:
        now = record([Recorder("now", detector)], samples())[0]
    save_recording(tmp_path / "now.npz", now)
    assert compare.main([str(tmp_path / "now.npz"), str(stale)]) == EXIT_FOUND_WANTING


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_true_pairs_pass(starter_bundle: Path, engine: str) -> None:
    """On photos and crops, by what is expected of fp32."""
    if engine == "openvino":
        skip_without_openvino()
    for reference in (f"{STARTER}@cpu", f"{starter_bundle}@rehearse/fp32"):
        assert compare.main([reference, f"{starter_bundle}@{engine}/cpu"]) == EXIT_OK
