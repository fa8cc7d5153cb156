"""A graph as the rules read it: nodes by name, constants by value, shapes as far as known.

Graphs come from strangers: an attribute of another type counts as absent, a tensor that cannot be
decoded as a constant without a value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.atc.precision import PrecisionMode
from parity.onnx_weights import taken_in, without_weights
from runtime.machine.soc import Soc

Shape = tuple[int | None, ...]
DEFAULT_DOMAINS = ("", "ai.onnx")
# Their outputs depend on shapes alone: the host computes them before the chip runs.
SHAPE_READERS = ("Shape", "Size")
# Their outputs' shapes depend on numbers.
DATA_SHAPED = ("Compress", "NonMaxSuppression", "NonZero", "Unique")
# Attributes of a Constant node beside its tensor: the field that holds the value, and its type.
CONSTANT_FIELDS = {
    "value_float": ("f", np.float32),
    "value_floats": ("floats", np.float32),
    "value_int": ("i", np.int64),
    "value_ints": ("ints", np.int64),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the graph will be converted.

    Attributes:
        soc: None where no chip was named: what depends on it is then not checked.
        batches: one .om for each, or its gears; empty where ATC is given none.
        gears: whether one model will serve all batches (`--dynamic_batch_size`).
        precision: the option and its value, for example "precision_mode_v2=origin".
        mode: what that mode does.
    """

    soc: Soc | None
    batches: tuple[int, ...]
    gears: bool
    precision: str
    mode: PrecisionMode


class Graph:
    """A model, how it will be converted, and what follows from both.

    Args:
        model: parsed, its external data not loaded.
        plan: the conversion.
        crops: uint8 (N, S, S, 3) BGR to measure activations on; None for the embedded samples.
        path: the file, None where the model is in memory only.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        plan: Plan,
        *,
        crops: NDArray[np.uint8] | None,
        path: Path | None,
    ) -> None:
        self.model = model
        self.plan = plan
        self.crops = crops
        self.path = path

    @cached_property
    def opset(self) -> int:
        """Version of the default domain; 0 where the model names none."""
        versions = [
            entry.version for entry in self.model.opset_import if entry.domain in DEFAULT_DOMAINS
        ]
        return max(versions, default=0)

    @cached_property
    def nodes(self) -> list[onnx.NodeProto]:
        """All nodes in their order, those of subgraphs after the node that holds them."""
        return list(_walk(self.model.graph))

    @cached_property
    def inputs(self) -> list[onnx.ValueInfoProto]:
        """What a caller must give; old graphs list their weights among the inputs, too."""
        weights = {tensor.name for tensor in self.model.graph.initializer}
        return [value for value in self.model.graph.input if value.name not in weights]

    @cached_property
    def constants(self) -> dict[str, onnx.TensorProto]:
        """Weights, and the outputs of Constant nodes that hold a tensor."""
        found = {tensor.name: tensor for tensor in self.model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.output:
                tensor = constant_of(node)
                if tensor is not None:
                    found[node.output[0]] = tensor
        return found

    @cached_property
    def users(self) -> dict[str, list[tuple[onnx.NodeProto, int]]]:
        """Tensor to the nodes that read it, each with the input's index."""
        users: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
        for node in self.nodes:
            for index, name in enumerate(node.input):
                users[name].append((node, index))
        return users

    @cached_property
    def fixed(self) -> set[str]:
        """Tensors made of constants and shapes alone, which ATC folds before the chip runs."""
        fixed = set(self.constants)
        for node in self.nodes:
            # a subgraph may read what its node does not list
            closed = all(one.type != onnx.AttributeProto.GRAPH for one in node.attribute)
            holds = closed and all(name in fixed for name in node.input if name)
            if node.op_type in SHAPE_READERS or holds:
                fixed.update(node.output)
        return fixed

    @cached_property
    def folder(self) -> Path | None:
        """Where external data lies; None for a model in memory."""
        return None if self.path is None else self.path.parent

    @cached_property
    def _inferred(self) -> dict[str, onnx.TypeProto.Tensor]:
        bare = without_weights(self.model, self.folder)
        bare.graph.value_info.extend(self.model.graph.value_info)
        for value in bare.graph.input:
            dims = value.type.tensor_type.shape.dim
            batch = self.plan.batches and self.inputs and value.name == self.inputs[0].name
            if batch and dims and not dims[0].HasField("dim_value"):
                dims[0].dim_value = self.plan.batches[0]
        try:
            graph = onnx.shape_inference.infer_shapes(bare).graph
        # a C++ library over what a stranger wrote; without shapes the rules find less
        except Exception:  # noqa: BLE001
            graph = bare.graph
        values = (*graph.input, *graph.output, *graph.value_info)
        return {value.name: value.type.tensor_type for value in values}

    def shape(self, name: str) -> Shape | None:
        """A tensor's shape; None where it, or a dimension of it, is unknown."""
        if name in self.constants:
            return tuple(self.constants[name].dims)
        known = self._inferred.get(name)
        return dims_of(known) if known is not None and known.HasField("shape") else None

    def dtype(self, name: str) -> int:
        """A tensor's element type by ONNX's number; 0 where it is unknown."""
        if name in self.constants:
            return self.constants[name].data_type
        known = self._inferred.get(name)
        return known.elem_type if known is not None else 0

    def value(self, name: str) -> NDArray[Any] | None:
        """A constant's numbers; None for what is no constant, or cannot be decoded."""
        tensor = self.constants.get(name)
        return None if tensor is None else self.decoded(tensor)

    def decoded(self, tensor: onnx.TensorProto) -> NDArray[Any] | None:
        """A tensor's numbers, from its file where they are external."""
        try:
            return onnx.numpy_helper.to_array(taken_in(tensor, self.folder))
        # onnx raises whatever its parts raise: wrong sizes, unknown types, files that are not there
        except Exception:  # noqa: BLE001
            return None


def dims_of(tensor: onnx.TypeProto.Tensor) -> Shape:
    """Dimensions, None for those without a number."""
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)


def type_name(number: int) -> str:
    """ONNX's name of an element type, in the spelling of numpy and torch."""
    known = onnx.TensorProto.DataType.DESCRIPTOR.values_by_number.get(number)
    return known.name.lower() if known is not None else f"type {number}"


def label(node: onnx.NodeProto, position: int) -> str:
    """A node's name; those without one are called by their type and place."""
    return node.name or f"{node.op_type}_{position}"


def nodes_of(graph: Graph, *types: str) -> Iterator[tuple[int, str, onnx.NodeProto]]:
    """Nodes of these types in ONNX's own domain: position, name, node."""
    for position, node in enumerate(graph.nodes):
        if node.op_type in types and node.domain in DEFAULT_DOMAINS:
            yield position, label(node, position), node


def constant_of(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The tensor of a Constant node, whichever attribute holds it."""
    for attribute in node.attribute:
        if attribute.name == "value" and attribute.HasField("t"):
            tensor: onnx.TensorProto = attribute.t
            return tensor
        if attribute.name in CONSTANT_FIELDS:
            field, dtype = CONSTANT_FIELDS[attribute.name]
            return onnx.numpy_helper.from_array(np.array(getattr(attribute, field), dtype))
    return None


def integers(node: onnx.NodeProto, name: str) -> tuple[int, ...] | None:
    """A list of integers among the node's attributes; None where it is absent or no such list."""
    found = _attribute(node, name, onnx.AttributeProto.INTS)
    return None if found is None else tuple(found.ints)


def integer(node: onnx.NodeProto, name: str) -> int:
    """An integer among the node's attributes; 0, ONNX's default for all that are read here."""
    found = _attribute(node, name, onnx.AttributeProto.INT)
    return 0 if found is None else int(found.i)


def text(node: onnx.NodeProto, name: str, default: str) -> str:
    """A text among the node's attributes."""
    found = _attribute(node, name, onnx.AttributeProto.STRING)
    return default if found is None else bytes(found.s).decode("utf-8", "backslashreplace")


def _attribute(node: onnx.NodeProto, name: str, kind: int) -> onnx.AttributeProto | None:
    return next((one for one in node.attribute if (one.name, one.type) == (name, kind)), None)


def given(node: onnx.NodeProto, index: int) -> str:
    """Name of a node's input; empty where it is left out."""
    return node.input[index] if len(node.input) > index else ""


def _walk(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _walk(attribute.g)
