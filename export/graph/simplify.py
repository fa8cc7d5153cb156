"""onnxsim over the exported graph, then the checks every graph of ours must pass."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import onnx

import runtime.network  # noqa: F401  # onnxsim imports torch, which is to find what that sets

# isort: split
import onnxsim

from runtime.errors import ExportError, one_line
from runtime.machine.packages import module_version
from runtime.model.spec import CHECKPOINT_KEY, INPUT_NAME, OUTPUT_NAMES, Architecture
from runtime.model.stages import inner_tap_names, tap_names

if TYPE_CHECKING:
    from export.graph.to_onnx import ExportedGraph  # which imports torch

PRODUCER = "starmark"
# ONNX 1.12, the version CANN documents, reads IR 8 at most; opsets up to 18 need no more.
HIGHEST_IR_VERSION = 8
# What reads shapes at run time. One Where a boundary gate remains, and is none of them.
SHAPE_OPERATORS = frozenset({"Shape", "Expand", "Gather", "Equal", "ConstantOfShape", "Range"})


def simplify(exported: ExportedGraph, *, taps_out: bool = False) -> onnx.ModelProto:
    """Fold what is constant, and take out what differs from machine to machine.

    Args:
        exported: with the taps among its outputs, so that their names survive what onnxsim does.
        taps_out: leave them there, for debugging; else they are tensors inside the graph.

    Raises:
        ExportError: onnxsim failed or its own check did not hold, or the result fails a check.
    """
    clean = fold(exported, taps_out=taps_out)
    check_graph(clean, exported.checkpoint.architecture, taps_out=taps_out)
    return clean


def fold(exported: ExportedGraph, *, taps_out: bool = False) -> onnx.ModelProto:
    """The same without the checks, for a graph that is counted and not shipped.

    Raises:
        ExportError: onnxsim failed or its own check did not hold.
    """
    try:
        simplified, holds = onnxsim.simplify(exported.graph)
    except (KeyboardInterrupt, MemoryError, OSError):
        raise
    # a C++ library that raises whatever its passes raise
    except Exception as error:
        raise _failed(one_line(error, 300, kind=True)) from error
    if not holds:
        raise _failed("a graph that its own check refuses")
    clean = without_traces(simplified)
    _constants_to_initializers(clean.graph)
    if not taps_out:
        _take_inside(clean)
    clean.metadata_props.add(key=CHECKPOINT_KEY, value=exported.checkpoint.sha256)
    return clean


def check_graph(
    graph: onnx.ModelProto, architecture: Architecture, *, taps_out: bool = False
) -> None:
    """Check a simplified graph: its input, outputs, taps by name and shape, and operators.

    With `taps_out` all taps must be outputs; else those that the network's own outputs need are
    inside.

    Raises:
        ExportError: names what is wrong.
    """
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise _failed(one_line(error, 300)) from error
    taps = tap_names(architecture) if taps_out else inner_tap_names(architecture)
    inputs = [value.name for value in graph.graph.input]
    outputs = [value.name for value in graph.graph.output]
    if inputs != [INPUT_NAME] or outputs != [*OUTPUT_NAMES, *(taps if taps_out else ())]:
        raise _failed(f"inputs {inputs} and outputs {outputs}")
    made = {name for node in graph.graph.node for name in node.output}
    shaped = {value.name for value in (*graph.graph.value_info, *graph.graph.output)}
    lost = [name for name in taps if name not in made & shaped]
    if lost:
        raise _failed(f"no tensor named {', '.join(lost)}")
    left = sorted(SHAPE_OPERATORS & operator_counts(graph).keys())
    if left:
        raise _failed(f"{', '.join(left)} left in the graph")


def operator_counts(graph: onnx.ModelProto) -> dict[str, int]:
    """How many nodes of each type, sorted by name."""
    return dict(sorted(Counter(node.op_type for node in graph.graph.node).items()))


def simplifier() -> str:
    """Name and version, for the manifest."""
    return f"onnxsim {module_version('onnxsim')}"


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Store every Constant node's tensor as an initializer, where all converters look for them."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        (value,) = node.attribute
        if value.name != "value":
            continue  # a list or a scalar, which neither exporter writes
        tensor = graph.initializer.add()
        tensor.CopyFrom(value.t)
        tensor.name = node.output[0]
        graph.node.remove(node)


def _take_inside(graph: onnx.ModelProto) -> None:
    """Leave the network's own outputs and what they need.

    The other outputs stay, named and shaped, as inner tensors; one that nothing reads goes.
    """
    inside = graph.graph
    taps = list(inside.output)[len(OUTPUT_NAMES) :]
    del inside.output[len(OUTPUT_NAMES) :]
    inside.value_info.extend(taps)
    needed = set(OUTPUT_NAMES)
    for node in reversed(inside.node):  # a graph lists a tensor's maker before its readers
        if needed.intersection(node.output):
            needed.update(node.input)
    for node in [node for node in inside.node if needed.isdisjoint(node.output)]:
        inside.node.remove(node)
    for group in (inside.initializer, inside.value_info):
        for item in [item for item in group if item.name not in needed]:
            group.remove(item)


def without_traces(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Drop stack traces, paths and version marks: same weights, same bytes on any machine."""
    clean = onnx.ModelProto()
    clean.CopyFrom(graph)
    clean.producer_name = PRODUCER
    clean.producer_version = ""
    clean.doc_string = ""
    clean.ir_version = min(clean.ir_version, HIGHEST_IR_VERSION)
    del clean.metadata_props[:]
    clean.graph.name = PRODUCER
    clean.graph.doc_string = ""
    groups = (clean.graph.node, clean.graph.value_info, clean.graph.input, clean.graph.output)
    for group in (*groups, clean.graph.initializer):
        for item in group:
            item.doc_string = ""
            del item.metadata_props[:]
    del clean.graph.metadata_props[:]
    return clean


def _failed(got: str) -> ExportError:
    return ExportError(
        simplifier(),
        expected=f"a valid graph from {INPUT_NAME} to {' and '.join(OUTPUT_NAMES)} with a symbolic"
        " batch, the stages' tensors under their names and no operator that reads shapes",
        got=got,
        action="Try --exporter dynamo, or the versions in constraints.txt",
    )
