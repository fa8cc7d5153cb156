"""Copies of an ONNX graph with an accelerator's rounding inserted; any fp32 engine runs them."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from parity.onnx_weights import without_weights
from parity.rehearsal.arithmetic import (
    CUBE_OPERATORS,
    HF32_DROPPED_BITS,
    Arithmetic,
    round_to_fp16,
    round_to_hf32,
)
from runtime.errors import ArtifactError

# They give back numbers that went in: what went in rounded comes out rounded.
PASSING_OPERATORS = frozenset(
    {"Relu", "MaxPool", "Clip", "Concat", "Slice", "Unsqueeze", "Squeeze", "Reshape", "Transpose"}
)
# No operator at run time: its value is rounded where it is read, as an initializer's is.
CONSTANT = "Constant"
# Veltkamp's constant: x * c - (x * c - x) keeps the upper 24 - 12 bits of x, rounded to nearest.
SPLITTER = float(2**HF32_DROPPED_BITS + 1)


class RoundableGraph:
    """A graph, read once, of which copies with rounding are made.

    Raises:
        ArtifactError: nodes without a name, or two of one name: a list could not name them.
    """

    def __init__(self, graph: bytes) -> None:
        self._model = onnx.load_model_from_string(graph)
        names = [node.name for node in self._model.graph.node]
        if "" in names or len(set(names)) < len(names):
            unnamed, different = names.count(""), len(set(names))
            raise ArtifactError(
                "graph to rehearse",
                expected="a name for every node, each once: fp32 is kept by name",
                got=f"{unnamed} of {len(names)} without one, {different} different names",
                action="Export the checkpoint with python -m export",
            )

    @property
    def types_by_node(self) -> dict[str, str]:
        """The nodes, in the graph's order: name -> ONNX operator."""
        return {node.name: node.op_type for node in self._model.graph.node}

    @property
    def operators(self) -> tuple[str, ...]:
        """The names of those that compute something at run time, in the graph's order."""
        return tuple(name for name, kind in self.types_by_node.items() if kind != CONSTANT)

    @cached_property
    def _floats(self) -> set[str]:
        return _float_tensors(self._model)

    def rounded(self, arithmetic: Arithmetic, keep_fp32: Collection[str] = ()) -> bytes:
        """A copy's bytes, with rounding around every node that is not kept."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        _Rewriter(model.graph, self._floats, arithmetic, frozenset(keep_fp32)).rewrite()
        return bytes(model.SerializeToString())


def rehearsed_graph(graph: bytes, arithmetic: Arithmetic, keep_fp32: Collection[str] = ()) -> bytes:
    """A copy of a float32 graph with rounding around every node that is not kept; fp32 has none."""
    return graph if arithmetic == "fp32" else RoundableGraph(graph).rounded(arithmetic, keep_fp32)


def types_by_node(graph: bytes) -> dict[str, str]:
    """A graph's nodes, in its order: name -> ONNX operator."""
    return RoundableGraph(graph).types_by_node


class _Rewriter:
    """One pass over a graph, in its order."""

    def __init__(
        self, graph: Any, floats: set[str], arithmetic: Arithmetic, keep: frozenset[str]
    ) -> None:
        self._graph = graph
        self._arithmetic = arithmetic
        self._keep = keep
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._floats = floats
        self._rounded: dict[str, str] = {}
        self._nodes: list[Any] = []

    def rewrite(self) -> None:
        """Change the graph in place."""
        everything = self._arithmetic == "fp16"
        for node in self._graph.node:
            lowered = everything or node.op_type in CUBE_OPERATORS
            if not lowered or node.name in self._keep or node.op_type == CONSTANT:
                self._nodes.append(node)
                continue
            self._round_inputs(node)
            self._nodes.append(node)
            if everything:
                self._round_outputs(node)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)

    def _round_inputs(self, node: Any) -> None:
        for index, name in enumerate(node.input):
            # HF32 is how the cube unit multiplies: a bias is added to its fp32 sums as it is. An
            # fp16 convolution takes its bias in fp16 [V: operator prototype of Conv2D]
            bias = node.op_type in CUBE_OPERATORS and index == 2
            if name and name in self._floats and not (bias and self._arithmetic == "hf32"):
                node.input[index] = self._round_of(name)

    def _round_of(self, name: str) -> str:
        """The tensor's rounded twin, made once."""
        if name in self._rounded:
            return self._rounded[name]
        twin = f"{name}.{self._arithmetic}"
        if name in self._constants:
            values = numpy_helper.to_array(self._constants[name]).astype(np.float32)
            rounding = round_to_hf32 if self._arithmetic == "hf32" else round_to_fp16
            self._graph.initializer.append(numpy_helper.from_array(rounding(values), twin))
        else:
            self._nodes += self._rounding(name, twin)
        self._rounded[name] = twin
        return twin

    def _round_outputs(self, node: Any) -> None:
        for index, name in enumerate(node.output):
            if name and name in self._floats and not _passes(node):
                raw = f"{name}.raw"
                node.output[index] = raw
                self._nodes += self._rounding(raw, name)
            self._rounded[name] = name

    def _rounding(self, source: str, target: str) -> list[Any]:
        if self._arithmetic != "hf32":
            half = f"{target}.half"
            return [
                helper.make_node("Cast", [source], [half], to=TensorProto.FLOAT16),
                helper.make_node("Cast", [half], [target], to=TensorProto.FLOAT),
            ]
        splitter = "hf32.splitter"
        if splitter not in self._constants:
            tensor = helper.make_tensor(splitter, TensorProto.FLOAT, [], [SPLITTER])
            self._graph.initializer.append(tensor)
            self._constants[splitter] = tensor
        scaled, excess = f"{target}.scaled", f"{target}.excess"
        return [
            helper.make_node("Mul", [source, splitter], [scaled]),
            helper.make_node("Sub", [scaled, source], [excess]),
            helper.make_node("Sub", [scaled, excess], [target]),
        ]


def _passes(node: Any) -> bool:
    """Whether every number that comes out is one that went in."""
    if node.op_type != "Resize":
        return node.op_type in PASSING_OPERATORS
    mode = [attribute.s for attribute in node.attribute if attribute.name == "mode"]
    return mode in ([], [b"nearest"])


def _float_tensors(model: Any) -> set[str]:
    """Names of float32 tensors; one that shape inference cannot type counts as another type."""
    found = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    inferred = onnx.shape_inference.infer_shapes(without_weights(model)).graph
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            found.add(value.name)
    return found
