"""Rules about what is in the file, or beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

import onnx

from export.preflight.finding import GRAPH, Hit, rule
from export.preflight.graph import Graph, type_name

# What one protobuf may hold, and with it a model's file.
LARGEST_FILE_BYTES = 2**31 - 1


@rule(
    "too-large",
    "refused",
    source="E13015: [V: ge docs, error codes]",
    remedy="Save the weights as external data beside the model",
)
def too_large(graph: Graph) -> Iterator[Hit]:
    """A file above what protobuf reads."""
    if graph.file_bytes > LARGEST_FILE_BYTES:
        yield Hit(-1, GRAPH, f"{graph.file_bytes / 2**30:.2f} GiB in one file")


@rule(
    "external-data",
    "refused",
    source="Resolved in the model's folder: [V: ge docs, --model]",
    remedy="Put the file beside the model, or save the model again",
)
def external_data(graph: Graph) -> Iterator[Hit]:
    """Weights whose file is absent, elsewhere or too short."""
    for tensor, entries in _external(graph):
        location = entries.get("location", "")
        inside = PurePosixPath(location)
        if graph.path is None:
            found = f"weights in {location!r}, but a model in memory has no folder"
        elif not location or inside.is_absolute() or ".." in inside.parts:
            found = f"weights in {location!r}, which is not inside the model's folder"
        elif "\0" in location or not (graph.path.parent / location).is_file():
            found = f"weights in {location!r}, which is not there"
        elif graph.decoded(tensor) is None:
            found = f"weights in {location!r} that cannot be read as the model says"
        else:
            continue
        yield Hit(-1, tensor.name, found)


@rule(
    "much-external-data",
    "risk",
    source="[I] headers of older .om files count their bytes in 32 bits",
    remedy="Expect this to need a recent CANN, and much memory",
)
def much_external_data(graph: Graph) -> Iterator[Hit]:
    """More weights in all than one file may hold."""
    sizes: dict[str, int] = {}
    for _, entries in _external(graph):
        location = entries.get("location", "").replace("\0", "")
        file = None if graph.path is None else graph.path.parent / location
        if file is not None and file.is_file():
            sizes[location] = file.stat().st_size
    total = graph.file_bytes + sum(sizes.values())
    if sizes and total > LARGEST_FILE_BYTES:
        yield Hit(-1, GRAPH, f"{total / 2**30:.2f} GiB with its external data")


@rule(
    "damaged-weight",
    "changed",
    source="its bytes are taken as they are, whatever the shape: [V: ge onnx_constant_parser.cc]",
    remedy="Export the model again",
)
def damaged_weight(graph: Graph) -> Iterator[Hit]:
    """Weights inside the model that hold other bytes than their shape and type say."""
    for name, tensor in graph.constants.items():
        inside = tensor.data_location != onnx.TensorProto.EXTERNAL
        if inside and graph.decoded(tensor) is None:
            found = f"{type_name(tensor.data_type)} {tuple(tensor.dims)} that cannot be decoded"
            yield Hit(-1, name, found)


@rule(
    "fp16-graph",
    "risk",
    source="[V: issue PaddlePaddle/Paddle2ONNX#1301]",
    remedy="Give ATC the float32 graph and let --precision_mode_v2 choose",
)
def fp16_graph(graph: Graph) -> Iterator[Hit]:
    """Weights that were rounded to fp16 before ATC saw them."""
    halves = [
        name
        for name, tensor in graph.constants.items()
        if tensor.data_type == onnx.TensorProto.FLOAT16
    ]
    if halves:
        yield Hit(-1, GRAPH, f"{len(halves)} weights of float16, the first {halves[0]}")


def _external(graph: Graph) -> Iterator[tuple[onnx.TensorProto, dict[str, str]]]:
    for tensor in graph.constants.values():
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield tensor, {entry.key: entry.value for entry in tensor.external_data}


RULES = (
    too_large,
    external_data,
    much_external_data,
    damaged_weight,
    fp16_graph,
)
