"""Models with one fault planted in them, where it is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Fault = Callable[[Any], None]


def one_weight(weight: Any) -> None:
    """One number is another."""
    weight.flat[5] += 0.5


def one_weight_a_little(weight: Any) -> None:
    """One number is off by a thousandth of itself."""
    weight.flat[5] *= 1.001


def two_channels_swapped(weight: Any) -> None:
    """Output channels 1 and 2 have each other's weights."""
    weight[[1, 2]] = weight[[2, 1]]


def in_checkpoint(weights: Path, key: str, fault: Fault, path: Path) -> Path:
    """A copy of a .pkl with a fault in one of its tensors."""
    import torch

    loaded = torch.load(weights, weights_only=True)
    fault(loaded["net"][key].numpy())
    torch.save(loaded, path)
    return path


def in_graph(graph: Path, node: str, fault: Fault, path: Path) -> Path:
    """A copy of an .onnx with a fault in the weight of one node."""
    import onnx

    model = onnx.load(graph)
    (found,) = (n for n in model.graph.node if node == n.name or node in n.input)
    (tensor,) = (t for t in model.graph.initializer if t.name == found.input[1])
    weight = np.array(onnx.numpy_helper.to_array(tensor))
    fault(weight)
    tensor.CopyFrom(onnx.numpy_helper.from_array(weight, tensor.name))
    onnx.save(model, path)
    return path


def one_node_rounded(graph: Path, node: str, path: Path) -> Path:
    """A copy of an .onnx in which one node computes in fp16, and all others in fp32."""
    import onnx

    from parity.rehearsal.graph import rehearsed_graph

    raw = graph.read_bytes()
    others = {n.name for n in onnx.load(graph).graph.node} - {node}
    path.write_bytes(rehearsed_graph(raw, "fp16", frozenset(others)))
    return path


def decoder_off(graph: Path, path: Path) -> Path:
    """A copy of an .onnx whose decoder divides by a sum that is clamped at 1e6 and not at 1e-6."""
    import onnx

    model = onnx.load(graph)
    (clip,) = (n for n in model.graph.node if n.op_type == "Clip" and "coordconv" not in n.name)
    high = onnx.numpy_helper.from_array(np.array(1e6, np.float32), "clamped.at")
    model.graph.initializer.append(high)
    clip.input[1] = high.name
    onnx.save(model, path)
    return path
