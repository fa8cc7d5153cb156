"""An ONNX file's facts without the onnx package, judged by the onnx package."""

from __future__ import annotations

import random
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.errors import ArtifactError
from runtime.info.onnx_file import read_onnx


def small_model() -> onnx.ModelProto:
    """Two domains, constants of two kinds, a free batch, and an input that a constant fills."""
    weight = numpy_helper.from_array(np.ones((4, 3), np.float32), "weight")
    typed = helper.make_tensor("typed", TensorProto.FLOAT, [2], [1.0, 2.0])
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Odd", ["c"], ["y"], domain="com.example"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny graph",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4]),
            helper.make_tensor_value_info("weight", TensorProto.FLOAT, [4, 3]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT16, [None, 3]),
            helper.make_tensor_value_info("z", TensorProto.INT64, None),
        ],
        [weight, typed],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.example", 2)]
    model = helper.make_model(
        graph, opset_imports=opsets, producer_name="maker", producer_version="1.2", ir_version=7
    )
    helper.set_model_props(model, {"starmark.checkpoint_sha256": "ab", "é": "ü"})
    return model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    onnx.save(small_model(), path)
    return path


def test_facts_are_those_of_the_graph(saved: Path) -> None:
    assert read_onnx(saved) == {
        "bytes": saved.stat().st_size,
        "ir_version": 7,
        "producer": "maker 1.2",
        "graph": "tiny graph",
        "opsets": {"ai.onnx": 13, "com.example": 2},
        "nodes": 4,
        "operators": {"MatMul": 1, "Relu": 2, "com.example.Odd": 1},
        "inputs": ({"name": "x", "dtype": "float32", "dims": ("N", 4)},),
        "outputs": (
            {"name": "y", "dtype": "float16", "dims": ("?", 3)},
            {"name": "z", "dtype": "int64", "dims": None},
        ),
        "initializers": 2,
        "initializer_bytes": 4 * 3 * 4 + 2 * 4,
        "external": (),
        "metadata": {"starmark.checkpoint_sha256": "ab", "é": "ü"},
    }


def test_weights_beside_the_file_are_named(tmp_path: Path) -> None:
    """External data: its file, and none of its bytes counted here."""
    path = tmp_path / "m.onnx"
    onnx.save_model(
        small_model(), path, save_as_external_data=True, location="m.data", size_threshold=0
    )
    found = read_onnx(path)

    assert found["external"] == ("m.data",)
    assert found["initializer_bytes"] < 48


def test_exported_model_has_the_counts_of_its_manifest(starter_bundle: Path) -> None:
    """The manifest's come from the onnx package."""
    found = read_onnx(starter_bundle / "model.onnx")
    graph = onnx.load(starter_bundle / "model.onnx").graph

    assert found["operators"] == dict(Counter(node.op_type for node in graph.node))
    assert found["nodes"] == len(graph.node)
    assert found["initializers"] == len(graph.initializer)
    assert [one["name"] for one in found["outputs"]] == ["landmarks", "covariance"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no graph with an opset and outputs in it; it seems to be an empty file"),
        (b"IMOD" + bytes(300), "an .om of Ascend"),
        (b"\x08\x07\x12\x02ab", "no graph with an opset and outputs in it"),
        (b"\x08\x07\x3a\xff\xff\x03", "damage: a protobuf field of"),
        (b"\x08\x07\x12\x81\x80\x04" + bytes(2**16 + 1), "damage: a name of 65537 bytes"),
    ],
)
def test_what_is_no_onnx_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    """By what it seems to be; a name of many bytes is there to cost memory."""
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="expected an ONNX file") as caught:
        read_onnx(path)

    assert says in str(caught.value)


@pytest.mark.slow
def test_mutated_file_is_read_or_refused(saved: Path) -> None:
    """Cuts, flips and false lengths: nothing but facts or one line."""
    rng = random.Random(20)  # noqa: S311  # reproducible, not secret
    content = saved.read_bytes()
    refused = 0
    for _ in range(1500):
        changed = bytearray(content)
        for _ in range(rng.randint(1, 6)):
            changed[rng.randrange(len(changed))] = rng.choice((0, 0x7F, 0xFF, rng.randrange(256)))
        if rng.random() < 0.3:
            struct.pack_into("<Q", changed, rng.randrange(len(changed) - 8), 2**64 - 1)
        saved.write_bytes(changed[: rng.choice((None, None, rng.randrange(len(changed))))])
        try:
            read_onnx(saved)
        except ArtifactError:
            refused += 1

    assert 300 < refused < 1500
