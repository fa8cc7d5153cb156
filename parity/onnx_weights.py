"""Weights that lie beside an ONNX graph, and graphs without their weights.

Links are followed, as onnxruntime does: a hub's cache is made of them, and onnx refuses them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx

from runtime.errors import ArtifactError
from runtime.files import shown

# Shape inference reads the values of small tensors (axes, sizes) and only the types of large ones.
MOST_VALUES_TO_INFER_WITH = 64
# Protobuf's own limit, and ATC's (E13015).
LARGEST_GRAPH = 2**31 - 1
PLACE = re.compile("[0-9]{1,18}")


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor's numbers lie in another file."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def external_file(tensor: onnx.TensorProto, folder: Path | None) -> Path:
    """Where a tensor's numbers lie, which is inside the model's folder by its name.

    Raises:
        ArtifactError: no file's name, one outside the folder, or no file of that name.
    """
    named = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    inside = PurePosixPath(named)
    if folder is None:
        fault = "but a model in memory has no folder"
    elif not named or inside.is_absolute() or ".." in inside.parts:
        fault = "which is not inside the model's folder"
    elif "\0" in named or not (folder / named).is_file():
        fault = "which is not there"
    else:
        return folder / named
    raise ArtifactError(
        f"tensor {tensor.name!r}",
        expected="weights in a file beside the model",
        got=f"weights in {named!r}, {fault}",
        action="Put the file beside the model, or save the model again",
    )


def taken_in(tensor: onnx.TensorProto, folder: Path | None) -> onnx.TensorProto:
    """A tensor that holds its numbers itself: a copy where they are external.

    Raises:
        ArtifactError: as `external_file`, or an offset or length that is no number.
        OSError: the file cannot be read.
    """
    if not is_external(tensor):
        return tensor
    file = external_file(tensor, folder)
    entries = {entry.key: entry.value for entry in tensor.external_data}
    offset, length = entries.get("offset", "0"), entries.get("length", "")
    if not (PLACE.fullmatch(offset) and PLACE.fullmatch(length or "0")):
        raise ArtifactError(
            shown(file),
            expected=f"a place for tensor {tensor.name!r}",
            got=f"offset {offset!r} and length {length!r}",
            action="Save the model again",
        )
    with file.open("rb") as stream:
        stream.seek(int(offset))
        numbers = stream.read(int(length) if length else -1)
    return onnx.TensorProto(
        name=tensor.name, dims=tensor.dims, data_type=tensor.data_type, raw_data=numbers
    )


def take_in(model: onnx.ModelProto, folder: Path | None) -> bool:
    """Move all external weights into a model; False where it has none.

    Raises:
        ArtifactError: as `taken_in`, or more of them than one file can hold.
        OSError: a file cannot be read.
    """
    outside = [tensor for tensor in _tensors(model.graph) if is_external(tensor)]
    size = model.ByteSize()
    for tensor in outside:
        tensor.CopyFrom(taken_in(tensor, folder))
        size += len(tensor.raw_data)
        if size > LARGEST_GRAPH:
            raise ArtifactError(
                "graph and weights",
                expected=f"up to {LARGEST_GRAPH} bytes, to be rewritten as a whole",
                got="more",
                action="Run the file as it is",
            )
    return bool(outside)


def whole_graph(path: Path) -> bytes:
    """An ONNX file's bytes, with all weights in them.

    Raises:
        ArtifactError, OSError: as `take_in`.
    """
    graph = path.read_bytes()
    model = onnx.load_model_from_string(graph)
    return bytes(model.SerializeToString()) if take_in(model, path.parent) else graph


def without_weights(model: onnx.ModelProto, folder: Path | None = None) -> onnx.ModelProto:
    """The same graph with its large weights as inputs: inference copies a model twice.

    Args:
        model: of any size.
        folder: the model's, for small weights that are external; those out of reach are inputs.
    """
    bare = onnx.ModelProto(ir_version=model.ir_version)
    bare.opset_import.extend(model.opset_import)
    bare.functions.extend(model.functions)
    graph = bare.graph
    graph.name = model.graph.name
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.node.extend(model.graph.node)
    named = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        small = math.prod(tensor.dims) <= MOST_VALUES_TO_INFER_WITH
        held = _within_reach(tensor, folder) if small else None
        if held is not None:
            graph.initializer.append(held)
        elif tensor.name not in named:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            graph.input.append(value)
    return bare


def _within_reach(tensor: onnx.TensorProto, folder: Path | None) -> onnx.TensorProto | None:
    try:
        return taken_in(tensor, folder)
    except (ArtifactError, OSError):
        return None


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for attribute in (one for node in graph.node for one in node.attribute):
        yield attribute.t
        yield from attribute.tensors
        yield from _tensors(attribute.g)
