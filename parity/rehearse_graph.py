"""Rounding put into a copy of an ONNX graph; `parity.rehearse` says what is rounded and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from parity.rehearse import (
    CUBE_OPERATORS,
    HF32_DROPPED_BITS,
    Arithmetic,
    round_to_fp16,
    round_to_hf32,
)

# They give back numbers that went in: what went in rounded comes out rounded.
PASSING_OPERATORS = frozenset({"Relu", "MaxPool"})
# Veltkamp's constant: x * c - (x * c - x) keeps the upper 24 - 12 bits of x, rounded to nearest.
SPLITTER = float(2**HF32_DROPPED_BITS + 1)


def rewritten(graph: bytes, arithmetic: Arithmetic, keep_fp32: frozenset[str]) -> bytes:
    """The graph's bytes with rounding around every node that is not kept."""
    model = onnx.load_model_from_string(graph)
    Rewriter(model.graph, arithmetic, keep_fp32).rewrite()
    return bytes(model.SerializeToString())


class Rewriter:
    """One pass over a graph, in its order."""

    def __init__(self, graph: Any, arithmetic: Arithmetic, keep: frozenset[str]) -> None:
        self._graph = graph
        self._arithmetic = arithmetic
        self._keep = keep
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._floats = _float_tensors(graph)
        self._rounded: dict[str, str] = {}
        self._nodes: list[Any] = []

    def rewrite(self) -> None:
        """Change the graph in place."""
        everything = self._arithmetic == "fp16"
        for node in self._graph.node:
            if node.name in self._keep or not (everything or node.op_type in CUBE_OPERATORS):
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
            # a cube operator adds its bias to fp32 sums
            bias = node.op_type in CUBE_OPERATORS and index == 2
            if name and name in self._floats and not bias:
                node.input[index] = self._round_of(name)

    def _round_of(self, name: str) -> str:
        """The tensor's rounded twin, made when it is first asked for."""
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
            if name and name in self._floats and node.op_type not in PASSING_OPERATORS:
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


def _float_tensors(graph: Any) -> set[str]:
    """Names of float32 tensors; what shape inference does not know is taken for none."""
    inferred = onnx.shape_inference.infer_shapes(helper.make_model(graph)).graph
    found = {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    for value in (*graph.input, *inferred.value_info, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            found.add(value.name)
    return found
