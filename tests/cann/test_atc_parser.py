"""The simulated atc: which ONNX files it takes, and what it makes of single operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from cann import graphs
from cann.atc_driver import conversion, run, stored_graph
from numpy.typing import NDArray
from onnx import TensorProto, helper


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    for name in ("CANNSIM_CANN", "CANNSIM_FAULT", "CANNSIM_SUFFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("opset", [11, 13, 17, 18])
def test_documented_opsets_convert(folder: Path, opset: int) -> None:
    graphs.save(folder, graphs.conv(opset=opset))
    assert run(*conversion()).status == 0


@pytest.mark.parametrize(
    ("release", "opset", "code", "text"),
    [
        ("8.5.0", 19, "E16002", "No ONNX parser is registered for optype ai.onnx::19::Conv."),
        ("8.5.0", 10, "E16002", "No ONNX parser is registered for optype ai.onnx::10::Conv."),
        ("6.0", 14, "E19010", "No parser is registered for Op [conv, optype [ai.onnx::14::Conv]]."),
        ("9.0.0", 19, "E13010", "registered for Op: conv, optype: ai.onnx::19::Conv."),
    ],
)
def test_other_opsets_fail_at_every_operator(  # a table's columns
    folder: Path, monkeypatch: pytest.MonkeyPatch, release: str, opset: int, code: str, text: str
) -> None:
    """In the words of the release."""
    monkeypatch.setenv("CANNSIM_CANN", release)
    graphs.save(folder, graphs.conv(opset=opset))
    done = run(*conversion())

    assert done.code == code
    assert text in done.out
    assert f"ai.onnx::{opset}::Relu" in done.out  # all operators are listed


@pytest.mark.parametrize("op_type", ["QuantizeLinear", "Mish", "GridSample", "LayerNormalization"])
def test_operators_without_a_plugin_are_refused(folder: Path, op_type: str) -> None:
    """At opset 13, where the newer two are not yet registered."""
    graphs.save(folder, graphs.model([graphs.one(op_type, ["image", "image", "image"])]))
    assert run(*conversion()).code == "E16002"


def test_foreign_domains_are_refused(folder: Path) -> None:
    node = graphs.one("Gelu", domain="com.microsoft")
    graphs.save(folder, graphs.model([node], extra_domains=[("com.microsoft", 1)]))
    done = run(*conversion())
    assert done.code == "E16002"
    assert "com.microsoft::1::Gelu" in done.out

    graphs.save(folder, graphs.model([node]))
    assert run(*conversion()).code == "E19999"  # no version for the domain


def test_several_versions_of_a_domain_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs.save(folder, graphs.model([graphs.one("Relu")], extra_domains=[("ai.onnx", 12)]))
    assert run(*conversion()).code == "E16005"

    graphs.save(folder, graphs.model([graphs.one("Relu")], extra_domains=[("local", 1)]))
    assert run(*conversion()).status == 0
    monkeypatch.setenv("CANNSIM_CANN", "6.0")  # old parsers know one domain only
    assert run(*conversion()).code == "E16005"


def test_a_graph_needs_inputs_outputs_and_itself(folder: Path) -> None:
    without = graphs.conv()
    del without.graph.output[:]
    graphs.save(folder, without)
    assert run(*conversion()).code == "E16001"

    without = graphs.conv()
    del without.graph.input[:]
    graphs.save(folder, without)
    assert run(*conversion()).code == "E16001"

    (folder / "model.onnx").write_bytes(onnx.ModelProto(ir_version=8).SerializeToString())
    assert run(*conversion()).code == "E16004"


def test_files_that_are_no_onnx_are_refused(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"\xff" * 100)
    assert run(*conversion()).code == "E13005"
    (folder / "model.onnx").write_bytes(graphs.conv().SerializeToString()[:-20])
    assert run(*conversion()).code == "E13005"


def test_two_gibibytes_are_too_many(folder: Path) -> None:
    """The file's size alone decides: this one has a hole in it."""
    with (folder / "model.onnx").open("wb") as file:
        file.truncate(2**31)
    done = run(*conversion())
    assert done.code == "E13015"
    assert "2147483648" in done.out


def test_external_data_are_found_beside_the_model(folder: Path) -> None:
    (folder / "sub").mkdir()
    onnx.save(
        graphs.conv(),
        str(folder / "sub/model.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    assert run(*conversion(model="sub/model.onnx")).status == 0
    weights = stored_graph(folder / "net.om").graph.initializer[0]
    assert weights.data_location == TensorProto.DEFAULT

    (folder / "sub/weights.bin").unlink()
    assert run(*conversion(model="sub/model.onnx")).code == "E19999"


def test_nodes_without_a_name_get_one(folder: Path) -> None:
    model = graphs.conv()
    for node in model.graph.node:
        node.name = ""
    graphs.save(folder, model)
    assert run(*conversion(out_nodes="Relu_1:0")).status == 0


@pytest.mark.parametrize("name", ["relu", "image"])
def test_names_are_unique_inputs_included(folder: Path, name: str) -> None:
    model = graphs.conv()
    model.graph.node[0].name = name
    graphs.save(folder, model)
    assert run(*conversion()).code == "E13009"


def test_doubles_and_long_integers_warn(folder: Path) -> None:
    """They are computed, slowly, off the AI Core."""
    nodes = [
        helper.make_node("Cast", ["image"], ["i"], name="cast", to=TensorProto.INT64),
        helper.make_node("Add", ["i", "i"], ["j"], name="add"),
        graphs.one("Cast", ["j"], to=TensorProto.FLOAT),
    ]
    graphs.save(folder, graphs.model(nodes))
    done = run(*conversion())
    assert done.status == 0
    assert done.warnings == ["W11001", "W11001"]

    graphs.save(folder, graphs.model([graphs.one("Identity")], kind=11, out_kind=11))
    assert run(*conversion()).code == "E19999"  # as an input a double has no place


WEIGHTS = graphs.constant("w", np.ones((4, 3, 3, 3), np.float32))
WEIGHTS_3D = graphs.constant("w", np.ones((4, 3, 3, 3, 3), np.float32))
SCALES = graphs.constant("s", np.array([1, 1, 2, 2], np.float32))
REFUSED: list[tuple[onnx.NodeProto, list[onnx.TensorProto], str]] = [
    (graphs.one("Conv", ["image", "w"]), [WEIGHTS], "at least one"),
    (graphs.one("Conv", ["image", "w"], kernel_shape=[3, 3], pads=[1, 1, 1]), [WEIGHTS], "odd"),
    (
        graphs.one("Conv", ["image", "w"], kernel_shape=[3, 3, 3], auto_pad="SAME_UPPER"),
        [WEIGHTS_3D],
        "5D",
    ),
    (graphs.one("MaxPool", strides=[2, 2]), [], "kernel_shape"),
    (graphs.one("MaxPool", kernel_shape=[2, 2], storage_order=1), [], "storage_order"),
    (
        helper.make_node("MaxPool", ["image"], ["y", "at"], name="node", kernel_shape=[2, 2]),
        [],
        "Indices",
    ),
    (graphs.one("MaxPool", kernel_shape=[2, 2, 2, 2]), [], "2D/3D"),
    (graphs.one("Clip"), [], "min and max"),
    (graphs.one("Cast"), [], "to is required"),
    (graphs.one("Cast", to=TensorProto.FLOAT8E4M3FN), [], "unknown data type"),
    (graphs.one("Slice"), [], "starts"),
    (graphs.one("Concat", ["image", "image"]), [], "axis"),
    (graphs.one("Resize", ["image", ""]), [], "inputs"),
    (graphs.one("Resize", ["image", "", "s"], mode="lanczos"), [SCALES], "interpolation mode"),
    (graphs.one("Resize", ["image", "", "image"]), [], "constants"),
]


@pytest.mark.parametrize(("node", "constants", "reason"), REFUSED, ids=lambda v: str(v)[:20])
def test_plugins_refuse_what_they_cannot_map(
    folder: Path, node: onnx.NodeProto, constants: list[onnx.TensorProto], reason: str
) -> None:
    graphs.save(folder, graphs.model([node], constants=constants))
    done = run(*conversion())
    assert done.code == "E19999"
    assert reason in done.out


def every_output(model: bytes, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """What onnxruntime makes of it."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    results = ort.InferenceSession(model, options).run(None, {"image": image})
    return [np.asarray(one, np.float32) for one in results]


def computed(model: onnx.ModelProto, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The only output."""
    (result,) = every_output(model.SerializeToString(), image)
    return result


def both(
    folder: Path, node: onnx.NodeProto, size: int, *constants: onnx.TensorProto
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A node's output as ONNX has it, and as the OM's graph has it."""
    model = graphs.model([node], dims=(1, 1, size, size), constants=constants)
    graphs.save(folder, model)
    done = run(*conversion())
    assert done.status == 0, done.out
    image = np.arange(size * size, dtype=np.float32).reshape(1, 1, size, size) % 7
    return computed(model, image), computed(stored_graph(folder / "net.om"), image)


def test_dilation_of_max_pool_is_silently_dropped(folder: Path) -> None:
    """As the real one does: the numbers are wrong, and nothing says so."""
    dilated = graphs.one("MaxPool", kernel_shape=[3, 3], pads=[2, 2, 2, 2], dilations=[2, 2])
    asked, got = both(folder, dilated, 9)
    assert asked.shape != got.shape or not np.array_equal(asked, got)
    assert "warn" not in run(*conversion()).out.lower()

    plain = graphs.one("MaxPool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
    asked, got = both(folder, plain, 9)
    assert np.array_equal(asked, got)


def test_huge_max_pools_warn(folder: Path) -> None:
    pool = graphs.one("MaxPool", kernel_shape=[16, 16])
    graphs.save(folder, graphs.model([pool], dims=(1, 1, 32, 32)))
    assert run(*conversion()).warnings == ["W11001"]


def resized(scale: float, **attributes: Any) -> tuple[onnx.NodeProto, onnx.TensorProto]:
    """A nearest Resize of both image axes."""
    return (
        graphs.one("Resize", ["image", "", "s"], mode="nearest", **attributes),
        graphs.constant("s", np.array([1, 1, scale, scale], np.float32)),
    )


@pytest.mark.parametrize("nearest", ["floor", "round_prefer_floor", "round_prefer_ceil", "ceil"])
@pytest.mark.parametrize("scale", [2.0, 1.5, 0.75])
def test_resize_ignores_nearest_mode(folder: Path, nearest: str, scale: float) -> None:
    """asymmetric: the kernel takes floor(o / scale), whatever was asked."""
    node, scales = resized(scale, coordinate_transformation_mode="asymmetric", nearest_mode=nearest)
    asked, got = both(folder, node, 8, scales)
    at = np.floor(np.arange(int(8 * scale)) / scale).astype(int)
    image = np.arange(64, dtype=np.float32).reshape(8, 8) % 7

    assert np.array_equal(got[0, 0], image[np.ix_(at, at)])
    if nearest == "floor":
        assert np.array_equal(asked, got)
    if nearest == "ceil":
        assert not np.array_equal(asked, got)


@pytest.mark.parametrize("scale", [2.0, 1.5])
def test_resize_half_pixel_is_the_kernels(folder: Path, scale: float) -> None:
    """floor((o + 0.5) / scale); the same as asked where nothing lies half way."""
    node, scales = resized(scale, coordinate_transformation_mode="half_pixel")
    asked, got = both(folder, node, 8, scales)
    at = np.floor((np.arange(int(8 * scale)) + 0.5) / scale).astype(int)
    image = np.arange(64, dtype=np.float32).reshape(8, 8) % 7

    assert np.array_equal(got[0, 0], image[np.ix_(at, at)])
    if scale == 2.0:
        assert np.array_equal(asked, got)


@pytest.mark.parametrize(
    ("attribute", "warnings"),
    [
        ({"antialias": 0}, []),
        ({"keep_aspect_ratio_policy": "stretch"}, []),
        ({"antialias": 1}, ["W11003"]),
        ({"keep_aspect_ratio_policy": "not_larger"}, ["W11003"]),
    ],
    ids=str,
)
def test_resize_warns_of_what_it_ignores(
    folder: Path, attribute: dict[str, Any], warnings: list[str]
) -> None:
    node, scales = resized(2.0, coordinate_transformation_mode="asymmetric", **attribute)
    graphs.save(folder, graphs.model([node], constants=[scales], opset=18))
    assert run(*conversion()).warnings == warnings


def test_our_own_export_converts_and_computes_the_same(
    starter_bundle: Path, folder: Path, rng: np.random.Generator
) -> None:
    """Nothing in it is among the things that atc changes silently."""
    (folder / "model.onnx").write_bytes((starter_bundle / "model.onnx").read_bytes())
    done = run(*conversion(input_shape="image:2,3,256,256", precision_mode_v2="origin"))
    assert done.status == 0, done.out
    assert done.warnings == []

    image = rng.uniform(-1, 1, (2, 3, 256, 256)).astype(np.float32)
    asked = every_output((folder / "model.onnx").read_bytes(), image)
    got = every_output(stored_graph(folder / "net.om").SerializeToString(), image)
    assert len(asked) == len(got) == 2
    for one, other in zip(asked, got, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_infinite_weights_are_clipped_unless_told_not_to(folder: Path) -> None:
    def largest_weight() -> float:
        weights = stored_graph(folder / "net.om").graph.initializer[0]
        return float(onnx.numpy_helper.to_array(weights).max())

    graphs.save(folder, graphs.conv(scale=float("inf")))
    assert run(*conversion()).status == 0
    assert largest_weight() == 65504
    assert run(*conversion(is_weight_clip="0")).status == 0
    assert np.isinf(largest_weight())
