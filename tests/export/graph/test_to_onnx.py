"""Both exporters: the graph's shape, its operators, its answers, its bytes."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from builders import STARTER, TINY, tiny_checkpoint
from numpy.typing import NDArray

from export.config import Exporter, OnnxTable
from export.graph import to_onnx
from export.graph.reference import Reference
from export.graph.simplify import check_graph, operator_counts, simplify
from export.graph.to_onnx import export_graph
from export.graph.verify import verify
from parity.samples import default_samples
from runtime.backends import open_backend
from runtime.backends.torch.backend import TorchBackend
from runtime.errors import ExportError
from runtime.model.spec import CHECKPOINT_KEY
from runtime.model.stages import inner_tap_names, tap_names

pytestmark = pytest.mark.slow

EXPORTERS = {"torchscript": 13, "dynamo": 18}
CROP_PX = 128


@pytest.fixture(scope="module", params=list(EXPORTERS))
def exported(request: pytest.FixtureRequest) -> tuple[str, onnx.ModelProto]:
    """The starter model by each exporter, simplified."""
    made = export_graph(STARTER, OnnxTable(exporter=request.param))
    assert (made.exporter, made.opset) == (request.param, EXPORTERS[request.param])
    return request.param, simplify(made)


@pytest.fixture(scope="module")
def tiny_graph(tiny: Path) -> onnx.ModelProto:
    return simplify(export_graph(tiny, OnnxTable()))


def test_nothing_is_left_that_reads_shapes(exported: tuple[str, onnx.ModelProto]) -> None:
    """No Shape, Expand, Gather, Equal; one Where for the boundary gate of stack 1."""
    exporter, graph = exported
    counts = operator_counts(graph)

    assert not {"Shape", "Expand", "Gather", "Equal", "ConstantOfShape"} & counts.keys()
    assert counts["Where"] == 1
    (imported,) = graph.opset_import
    assert (imported.domain, imported.version) == ("", EXPORTERS[exporter])
    assert graph.ir_version <= 8


def test_inputs_outputs_and_batch(exported: tuple[str, onnx.ModelProto]) -> None:
    """image, landmarks, covariance, with one symbolic batch."""
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*exported[1].graph.input, *exported[1].graph.output)
    }

    assert shapes == {
        "image": ["N", 3, 256, 256],
        "landmarks": ["N", 68, 2],
        "covariance": ["N", 68, 3],
    }


def test_nearest_upsampling_is_the_exact_case(exported: tuple[str, onnx.ModelProto]) -> None:
    """Asymmetric + floor at x2: the case that ATC, which ignores nearest_mode, gets right."""
    resizes = [node for node in exported[1].graph.node if node.op_type == "Resize"]
    assert len(resizes) == 8
    for node in resizes:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert attributes["mode"] == b"nearest"
        assert attributes["coordinate_transformation_mode"] == b"asymmetric"
        assert attributes["nearest_mode"] == b"floor"


def test_graph_holds_no_trace_of_the_machine(exported: tuple[str, onnx.ModelProto]) -> None:
    """No path, no stack trace, no metadata but the checkpoint's hash; unused weights are gone."""
    graph = exported[1]
    content = graph.SerializeToString()

    assert [p.key for p in graph.metadata_props] == [CHECKPOINT_KEY]
    for trace in (b"site-packages", b".py", str(Path.cwd()).encode()):
        assert trace not in content
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    skips = {name for name in weights if "skip_layer" in name}
    assert all(name.startswith(("pre.1.", "pre.4.")) for name in skips)


def test_answers_are_the_golden_ones(
    exported: tuple[str, onnx.ModelProto], shared: Path, tmp_path: Path
) -> None:
    """The starter's float64 landmarks to a thousandth of a crop px, its covariance to 0.1 %."""
    golden = np.load(shared / "golden/starter_golden.npz")
    path = tmp_path / "m.onnx"
    path.write_bytes(exported[1].SerializeToString())
    with open_backend(path, "cpu") as backend:
        said = backend.run(backend.spec.input.pack(golden["crops_u8_nhwc_bgr"]))
    scale = golden["covariance_f64"][..., [0, 2]].max(axis=-1, keepdims=True)

    assert np.abs(said.landmarks - golden["landmarks_f64"]).max() * CROP_PX < 1e-3
    assert np.abs((said.covariance - golden["covariance_f64"]) / scale).max() < 1e-3


def test_full_size_answers_are_the_golden_ones(shared: Path, tmp_path: Path) -> None:
    """The published code's landmarks from the exported full-size graph."""
    golden = np.load(shared / "golden/network_golden.npz")
    state = runpy.run_path(str(shared / "golden/make_checkpoint.py"))["state_dict"]()
    torch.save({"net": state}, tmp_path / "full.pkl")
    made = export_graph(tmp_path / "full.pkl", OnnxTable())
    assert made.checkpoint.parameters == 17_069_572
    path = tmp_path / "m.onnx"
    path.write_bytes(simplify(made).SerializeToString())
    with open_backend(path, "cpu") as backend:
        crops = golden["image_u8_nchw_bgr"].transpose(0, 2, 3, 1)
        said = backend.run(backend.spec.input.pack(np.ascontiguousarray(crops)))

    assert np.abs(said.landmarks - golden["landmarks_f64"]).max() * CROP_PX < 1e-3


def test_wrong_graph_does_not_pass_verification(tmp_path: Path) -> None:
    """Weights of another seed under the same name."""
    for seed in (1, 2):
        tiny_checkpoint(tmp_path / f"{seed}.pkl", seed=seed)
    made = export_graph(tmp_path / "1.pkl", OnnxTable())
    path = tmp_path / "m.onnx"
    path.write_bytes(simplify(made).SerializeToString())

    with Reference(tmp_path / "1.pkl") as right:
        found = verify(right, path, default_samples())
    assert max(fact.max_px for fact in found.values()) < 1e-3
    with (
        Reference(tmp_path / "2.pkl") as wrong,
        pytest.raises(ExportError, match="m.onnx: real crops: expected no more than rounding"),
    ):
        verify(wrong, path, default_samples())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("a node that reads shapes", "Shape left in the graph"),
        ("an output less", r"outputs \['landmarks'\]"),
        ("a node less", "expected a valid graph"),
        ("a renamed stage", r"no tensor named stack0\.merged\."),
        ("a stage without a shape", r"no tensor named stem\."),
    ],
)
def test_graph_with_a_fault_is_refused(
    tiny_graph: onnx.ModelProto, fault: str, message: str
) -> None:
    made = onnx.ModelProto.FromString(tiny_graph.SerializeToString())
    inside = made.graph
    if fault == "a node that reads shapes":
        inside.node.append(onnx.helper.make_node("Shape", ["image"], ["shape"]))
    elif fault == "an output less":
        inside.output.pop()
    elif fault == "a node less":
        del inside.node[5]
    elif fault == "a renamed stage":
        for node in inside.node:
            for names in (node.input, node.output):
                names[:] = ["other" if name == "stack0.merged" else name for name in names]
    else:
        (known,) = [value for value in inside.value_info if value.name == "stem"]
        inside.value_info.remove(known)
    with pytest.raises(ExportError, match=message):
        check_graph(made, TINY)


@pytest.mark.parametrize("exporter", list(EXPORTERS))
def test_taps_are_tensors_of_the_graph_that_is_shipped(exporter: Exporter, tiny: Path) -> None:
    """Made outputs again by their names, they are the checkpoint's own; no node more is there."""
    made = export_graph(tiny, OnnxTable(exporter=exporter))
    graph, debug = simplify(made), simplify(made, taps_out=True)
    inner = inner_tap_names(TINY)
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in graph.graph.value_info
    }
    assert [value.name for value in graph.graph.output] == ["landmarks", "covariance"]
    assert {name: shapes[name] for name in inner} == {
        name: ["N", channels, 64, 64]
        for name, channels in zip(inner, [8, 8, 8, 68, 68, 9, 8, 8, 8, 68, 68, 9, 68], strict=True)
    }
    needed = {"landmarks", "covariance"}
    for node in reversed(graph.graph.node):
        assert needed & set(node.output), f"{node.name}: nothing reads it"
        needed |= set(node.input)
    assert {tensor.name for tensor in graph.graph.initializer} <= needed
    # the fused maps of stack 0: a convolution and two products that only a debug bundle has
    assert len(debug.graph.node) == len(graph.graph.node) + 3

    graph.graph.output.extend(v for v in graph.graph.value_info if v.name in inner)
    batch = np.random.default_rng(3).uniform(-1, 1, (2, 3, 256, 256)).astype(np.float32)
    said = _all_outputs(graph, batch)
    with open_backend(tiny, "cpu") as backend:
        assert isinstance(backend, TorchBackend)
        taps = backend.taps(batch)
    assert tuple(taps) == tap_names(TINY)
    for found, reference in ((said, inner), (_all_outputs(debug, batch), tap_names(TINY))):
        for name in reference:
            np.testing.assert_allclose(found[name], taps[name], rtol=1e-3, atol=1e-4, err_msg=name)


def _all_outputs(graph: onnx.ModelProto, batch: NDArray[np.float32]) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    names = [node.name for node in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": batch}), strict=True))


def test_dynamo_is_taken_where_torch_has_no_other(
    monkeypatch: pytest.MonkeyPatch, tiny: Path
) -> None:
    """A later torch without the TorchScript exporter; today's has it."""
    assert to_onnx.has_torchscript_exporter()
    monkeypatch.setattr(to_onnx, "has_torchscript_exporter", lambda: False)
    made = export_graph(tiny, OnnxTable())

    assert (made.exporter, made.opset) == ("dynamo", 18)


def test_failing_exporter_is_one_line(monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    """With what to try next; Ctrl-C is not taken for a failure."""
    settings = OnnxTable(exporter="torchscript")

    def fails_with(error: BaseException) -> None:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(to_onnx, "_by_torchscript", fail)

    fails_with(RuntimeError("Unsupported:\n  something inside"))
    with pytest.raises(ExportError, match="Unsupported: something inside.*--exporter dynamo"):
        export_graph(tiny, settings)
    fails_with(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        export_graph(tiny, settings)
