"""What a graph takes is counted from its operators and shapes alone."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from export.config import DEFAULT_REWRITES, OnnxTable
from export.graph.cost import graph_cost
from export.graph.simplify import simplify
from export.graph.to_onnx import export_graph


def test_a_small_graph_is_counted_by_hand() -> None:
    """Conv 3x3 of 3 to 4 channels over 8x8, a constant map, a product with a matrix."""
    weights = {
        "w": np.zeros((4, 3, 3, 3), np.float32),
        "b": np.zeros(4, np.float32),
        "map": np.zeros((1, 4, 8, 8), np.float32),
        "m": np.zeros((8, 5), np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Add", ["c", "map"], ["s"]),
            helper.make_node("MatMul", ["s", "m"], ["y"]),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    found = graph_cost(model)

    assert found.nodes == 3
    assert found.parameters == 4 * 27 + 4 + 4 * 64 + 40
    assert found.gflop == pytest.approx(2 * (4 * 64 * 27 + 4 * 8 * 5 * 8) / 1e9)
    # conv reads x and writes c; add reads c and the map and writes s; the product reads s
    assert found.activation_bytes == 4 * ((192 + 256) + 3 * 256 + (256 + 160))


@pytest.mark.slow
def test_the_full_model_has_the_known_arithmetic(shared: Path, tmp_path: Path) -> None:
    """33.8 GFLOP within 2 %; the rewrites take nodes, parameters and bytes away."""
    state = runpy.run_path(str(shared / "golden/make_checkpoint.py"))["state_dict"]()
    torch.save({"net": state}, tmp_path / "full.pkl")
    plain, form = (
        graph_cost(simplify(export_graph(tmp_path / "full.pkl", OnnxTable(rewrites=rewrites))))
        for rewrites in ((), DEFAULT_REWRITES)
    )

    assert plain.gflop == pytest.approx(33.8, rel=0.02)
    assert form.gflop == pytest.approx(plain.gflop, rel=0.01)
    assert form.nodes < plain.nodes
    assert form.parameters < 0.8 * plain.parameters
    assert form.activation_bytes < 0.95 * plain.activation_bytes
