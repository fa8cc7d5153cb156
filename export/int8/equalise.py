"""Channels of like range in front of convolutions, so that one int8 scale serves them all.

An int8 tensor has one scale for all its channels, and here some are a hundred times as large as
their neighbours, which are left a handful of levels. A ReLU lets any positive factor through:
relu(s x) = s relu(x). So each channel is scaled in what makes it (a convolution's or a batch norm's
weights) and scaled back in the convolutions that read it. In fp32 nothing changes but rounding.

Source: cross-layer equalisation of Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", 2019 (arXiv:1906.04721), with ranges of the activations as
measured, as Xiao et al., "SmoothQuant", 2022 (arXiv:2211.10438), take them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

# How much of the difference between the channels' ranges goes from the activations to the weights:
# half, as both papers find best.
SHARE = 0.5
# A channel that hardly ever speaks is held for this share of the loudest, else its factor explodes.
QUIETEST = 1e-3
# What scales its output when its weight (input 1) and its bias (input 2) are scaled.
SCALABLE = frozenset({"Conv", "BatchNormalization"})
FATAL_SEVERITY = 4


@dataclass(frozen=True, kw_only=True)
class _Site:
    """A ReLU between what makes its channels and the convolutions that read them.

    Attributes:
        maps: the ReLU's output.
        made_by: initializers whose first axis is the channels.
        read_by: weights whose second axis is the channels.
    """

    maps: str
    made_by: tuple[str, ...]
    read_by: tuple[str, ...]


def equalise(
    graph: onnx.ModelProto, items: Iterable[NDArray[Any]]
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Scale the channels in front of convolutions to like ranges.

    Args:
        graph: simplified, float32; it is not changed.
        items: packed crops, that the ranges are taken from.

    Returns:
        The graph with other weights, the same to float rounding; and which maps were scaled.
    """
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    weights = {initializer.name: initializer for initializer in made.graph.initializer}
    sites = _sites(made.graph, weights)
    for site, largest in zip(sites, _largest(graph, sites, items), strict=True):
        read = [numpy_helper.to_array(weights[name]) for name in site.read_by]
        factors = _factors(largest, np.max([np.abs(w).max(axis=(0, 2, 3)) for w in read], axis=0))
        for name, weight in zip(site.read_by, read, strict=True):
            _store(weights[name], weight / factors[None, :, None, None])
        for name in site.made_by:
            value = numpy_helper.to_array(weights[name])
            _store(weights[name], value * factors.reshape(-1, *[1] * (value.ndim - 1)))
    return made, tuple(site.maps for site in sites)


def _factors(largest: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each channel is multiplied by: their geometric mean is 1.

    Args:
        largest: (C,) of the activations.
        weights: (C,) largest magnitudes that read them.
    """
    loud = np.maximum(largest, QUIETEST * max(largest.max(), np.finfo(np.float32).tiny))
    strong = np.maximum(weights, QUIETEST * max(weights.max(), np.finfo(np.float32).tiny))
    logarithm = (1 - SHARE) * np.log(strong) - SHARE * np.log(loud)
    factors: NDArray[np.float64] = np.exp(logarithm - logarithm.mean())
    return factors


def _sites(graph: onnx.GraphProto, weights: dict[str, onnx.TensorProto]) -> list[_Site]:
    makers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
    for node in graph.node:
        for position, name in enumerate(node.input):
            readers.setdefault(name, []).append((node, position))
    given = {output.name for output in graph.output}

    def own(name: str) -> bool:
        """A weight of one operator alone."""
        return name in weights and len(readers[name]) == 1

    found: list[_Site] = []
    for node in graph.node:
        maker = makers.get(node.input[0]) if node.op_type == "Relu" else None
        if maker is None or maker.op_type not in SCALABLE or _groups(maker) != 1:
            continue
        maps, between = node.output[0], node.input[0]
        read = readers.get(maps, [])
        alone = len(readers[between]) == 1 and not given & {maps, between}
        site = _Site(
            maps=maps,
            made_by=tuple(name for name in maker.input[1:3] if name),
            read_by=tuple(reader.input[1] for reader, _ in read),
        )
        convolved = all(r.op_type == "Conv" and p == 0 and _groups(r) == 1 for r, p in read)
        if alone and read and convolved and all(map(own, (*site.made_by, *site.read_by))):
            found.append(site)
    return found


def _groups(node: onnx.NodeProto) -> int:
    return next((int(a.i) for a in node.attribute if a.name == "group"), 1)


def _largest(
    graph: onnx.ModelProto, sites: list[_Site], items: Iterable[NDArray[Any]]
) -> list[NDArray[np.float64]]:
    """The largest number of each channel at each site, over all items."""
    watched = onnx.ModelProto()
    watched.CopyFrom(graph)
    del watched.graph.output[:]
    names = [f"__largest_{index}" for index in range(len(sites))]
    for name, site in zip(names, sites, strict=True):
        # the graph reduces its maps itself: only a few numbers leave it
        watched.graph.node.append(onnx.helper.make_node("GlobalMaxPool", [site.maps], [name]))
        watched.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        )
    if not sites:
        return []
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = FATAL_SEVERITY
    session: Any = onnxruntime.InferenceSession(
        watched.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    (value,) = session.get_inputs()
    runs = [
        [said.reshape(said.shape[:2]).max(axis=0) for said in session.run(names, {value.name: one})]
        for one in items
    ]
    return [np.max(of_site, axis=0).astype(np.float64) for of_site in zip(*runs, strict=True)]


def _store(initializer: onnx.TensorProto, value: NDArray[np.floating]) -> None:
    stored = numpy_helper.from_array(value.astype(np.float32), initializer.name)
    initializer.CopyFrom(stored)
