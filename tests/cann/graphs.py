"""Small ONNX files for the tests of the simulated atc."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dims = Sequence[int | str]


def constant(name: str, values: Any) -> onnx.TensorProto:  # what numpy takes
    """An initialiser."""
    return numpy_helper.from_array(np.asarray(values), name)


def model(
    nodes: Sequence[onnx.NodeProto],
    *,
    dims: Dims = (1, 3, 8, 8),
    constants: Sequence[onnx.TensorProto] = (),
    opset: int = 13,
    outputs: Sequence[str] = ("y",),
) -> onnx.ModelProto:
    """A model of one input "image" and the given outputs."""
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, list(dims))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        list(constants),
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def conv(*, dims: Dims = (1, 3, 8, 8), opset: int = 13) -> onnx.ModelProto:
    """Conv and Relu: `conv`, `relu`; 4 channels, same size."""
    weights = constant("w", np.full((4, 3, 3, 3), 0.1, np.float32))
    nodes = [
        helper.make_node(
            "Conv", ["image", "w"], ["c"], name="conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    return model(nodes, dims=dims, constants=[weights], opset=opset)


def one(op_type: str, inputs: Sequence[str] = ("image",), **attributes: Any) -> onnx.NodeProto:
    """A node called `node` that makes `y`."""
    return helper.make_node(op_type, list(inputs), ["y"], name="node", **attributes)


def save(folder: Path, built: onnx.ModelProto) -> Path:
    """Write it as model.onnx."""
    path = folder / "model.onnx"
    path.write_bytes(built.SerializeToString())
    return path
