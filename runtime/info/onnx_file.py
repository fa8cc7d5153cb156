"""What an ONNX file holds, read off its protobuf without the onnx package or any engine.

Source: onnx.proto of the ONNX project (ModelProto, GraphProto, NodeProto, TensorProto).
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from runtime.errors import ArtifactError
from runtime.files import shown
from runtime.files.kind import HEAD_BYTES, no_file, seems_to_be
from runtime.files.wire_format import BYTES, VARINT, Field, FileBytes, WireError

# onnx.TensorProto.DataType
DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
# TensorProto: float_data, int32_data, string_data, int64_data, raw_data, double_data, uint64_data
_TENSOR_CONTENT = (4, 5, 6, 7, 9, 10, 11)
# Names are short; what has longer ones, or so many of them, is there to cost memory.
LONGEST_TEXT = 1 << 16
LONGEST_TEXTS = 1 << 25


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output; a dimension is a number, or a name where it is free ("?": unnamed)."""

    name: str
    dtype: str
    dims: tuple[int | str, ...] | None


@dataclass(kw_only=True)
class OnnxFile:
    """An ONNX file's own words, and counts of what is in its main graph.

    Attributes:
        path: where it lies.
        bytes: size of the file.
        ir_version: of the file's form.
        producer: name and version of what wrote it.
        graph: the graph's name.
        opsets: versions by domain; "ai.onnx" is the standard one.
        nodes: of the main graph, without those inside If, Loop and functions.
        operators: nodes by operator; foreign domains stand before the name.
        inputs: of the graph, without those that initializers fill.
        outputs: of the graph.
        initializers: number of constant tensors.
        initializer_bytes: bytes of them in this file.
        external: files beside it that hold the rest.
        metadata: what its maker wrote beside the graph.
    """

    path: Path
    bytes: int
    ir_version: int = 0
    producer: str = ""
    graph: str = ""
    opsets: dict[str, int] = field(default_factory=dict)
    nodes: int = 0
    operators: dict[str, int] = field(default_factory=dict)
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    initializers: int = 0
    initializer_bytes: int = 0
    external: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)


def read_onnx(path: Path) -> OnnxFile:
    """Read what an ONNX file says about itself; weights are stepped over.

    Raises:
        ArtifactError: not there, no ONNX, truncated or damaged.
    """
    try:
        absent = no_file(path)
        if absent:
            raise _refused(path, absent)
        with path.open("rb") as file:
            return read_onnx_from(path, file, file.seek(0, os.SEEK_END))
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error


def read_onnx_from(path: Path, file: BinaryIO, size: int) -> OnnxFile:
    """As `read_onnx`, from a file that is open.

    Raises:
        ArtifactError: as `read_onnx`.
    """
    data = FileBytes(file, size)
    kind = seems_to_be(data.read(0, min(HEAD_BYTES, size)))
    try:
        found = _Walk(data).model(path)
    except WireError as error:
        known = "ONNX" in kind or kind.startswith("unknown")
        raise _refused(path, f"damage: {error}" if known else kind) from error
    if not found.opsets or not found.outputs:
        raise _refused(path, f"no graph with an opset and outputs in it; it seems to be {kind}")
    return found


def _refused(path: Path, got: str) -> ArtifactError:
    return ArtifactError(
        shown(path),
        expected="an ONNX file",
        got=got,
        action="Copy the file again, or export the model again",
    )


class _Walk:
    """One pass over a file, message by message as onnx.proto nests them."""

    def __init__(self, data: FileBytes) -> None:
        self._data = data
        self._external: dict[str, None] = {}
        self._filled: set[str] = set()
        self._text_bytes = 0

    def model(self, path: Path) -> OnnxFile:
        """ModelProto."""
        data = self._data
        found = OnnxFile(path=path, bytes=data.size)
        names = {2: "", 3: ""}
        for one in data.fields(0, data.size):
            if one.number == 1:
                found.ir_version = one.expect(VARINT).signed
            elif one.number in names:
                names[one.number] = self._text(one)
            elif one.number == 7:
                self._graph(one.expect(BYTES), found)
            elif one.number == 8:
                domain, version = self._opset(one.expect(BYTES))
                found.opsets[domain or "ai.onnx"] = version
            elif one.number == 14:
                key, value = self._entry(one.expect(BYTES))
                found.metadata[key] = value
        found.producer = " ".join(name for name in names.values() if name)
        found.external = tuple(self._external)
        return found

    def _graph(self, graph: Field, found: OnnxFile) -> None:
        """GraphProto."""
        data = self._data
        operators: Counter[str] = Counter()
        inputs: list[Tensor] = []
        outputs: list[Tensor] = []
        for one in data.fields(graph.start, graph.end):
            if one.number == 1:
                operators[self._operator(one.expect(BYTES))] += 1
            elif one.number == 2:
                found.graph = self._text(one)
            elif one.number == 5:
                found.initializers += 1
                found.initializer_bytes += self._initializer(one.expect(BYTES))
            elif one.number == 11:
                inputs.append(self._value(one.expect(BYTES)))
            elif one.number == 12:
                outputs.append(self._value(one.expect(BYTES)))
        found.nodes = operators.total()
        found.operators = dict(sorted(operators.items()))
        # before IR version 4 the constants were listed among the inputs, too
        found.inputs = tuple(one for one in inputs if one.name not in self._filled)
        found.outputs = tuple(outputs)

    def _operator(self, node: Field) -> str:
        """NodeProto {4 op_type, 7 domain}."""
        name, domain = "", ""
        for one in self._data.fields(node.start, node.end):
            if one.number == 4:
                name = self._text(one)
            elif one.number == 7:
                domain = self._text(one)
        return f"{domain}.{name}" if domain not in ("", "ai.onnx") else name

    def _initializer(self, tensor: Field) -> int:
        """TensorProto: bytes of its content in this file; notes its name and external data."""
        size = 0
        for one in self._data.fields(tensor.start, tensor.end):
            if one.number in _TENSOR_CONTENT:
                size += one.size
            elif one.number == 8:
                self._filled.add(self._text(one))
            elif one.number == 13:
                key, value = self._entry(one.expect(BYTES))
                if key == "location":
                    self._external[value] = None
        return size

    def _value(self, value: Field) -> Tensor:
        """ValueInfoProto {1 name, 2 type {1 tensor_type {1 elem_type, 2 shape}}}."""
        data = self._data
        name, dtype = "", "?"
        dims: tuple[int | str, ...] | None = None
        for one in data.fields(value.start, value.end):
            if one.number == 1:
                name = self._text(one)
            for kind in self._inside(one, 2):
                for part in self._inside(kind, 1):
                    if part.number == 1:
                        number = part.expect(VARINT).value
                        dtype = DTYPES.get(number, f"type {number}")
                    elif part.number == 2:
                        dims = self._dims(part.expect(BYTES))
        return Tensor(name=name, dtype=dtype, dims=dims)

    def _dims(self, shape: Field) -> tuple[int | str, ...]:
        """TensorShapeProto {1 dim {1 dim_value, 2 dim_param}}."""
        dims: list[int | str] = []
        for one in self._data.fields(shape.start, shape.end):
            found: int | str = "?"
            for part in self._inside(one, 1):
                if part.number == 1:
                    found = part.expect(VARINT).signed
                elif part.number == 2:
                    found = self._text(part)
            dims.append(found)
        return tuple(dims)

    def _opset(self, entry: Field) -> tuple[str, int]:
        """OperatorSetIdProto {1 domain, 2 version}."""
        domain, version = "", 0
        for one in self._data.fields(entry.start, entry.end):
            if one.number == 1:
                domain = self._text(one)
            elif one.number == 2:
                version = one.expect(VARINT).signed
        return domain, version

    def _entry(self, entry: Field) -> tuple[str, str]:
        """StringStringEntryProto {1 key, 2 value}."""
        texts = {1: "", 2: ""}
        for one in self._data.fields(entry.start, entry.end):
            if one.number in texts:
                texts[one.number] = self._text(one)
        return texts[1], texts[2]

    def _inside(self, outer: Field, number: int) -> list[Field]:
        """The fields of a message, if it is the one with that number."""
        if outer.number != number:
            return []
        outer.expect(BYTES)
        return list(self._data.fields(outer.start, outer.end))

    def _text(self, one: Field) -> str:
        self._text_bytes += one.size
        if one.size > LONGEST_TEXT or self._text_bytes > LONGEST_TEXTS:
            raise WireError(f"a name of {one.size} bytes, {self._text_bytes} in all names so far")
        return self._data.text(one)
