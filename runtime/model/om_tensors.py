"""The inputs, outputs and gears of a converted model, as the .om itself describes them.

Newer files have a partition of their own for them, MODEL_INOUT_INFO; of older ones they are read
off the graph in MODEL_DEF, where newer converters shorten the names of attributes.

Source: Huawei's open graph engine (ge), base/common/model/model_introduction.cc and tlv/ for the
partition, and for what it is made from; graph_metadef/graph/utils/enum_attr_utils.cc for the
shortened names [V].
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runtime.files.wire_format import BYTES, Field, FileBytes, WireError
from runtime.model.model_def import ModelDef, Value, bounded_text, read_attribute, whole_numbers

# ge::DataType, and aclDataType with the same numbers [V: hicann/ge, inc/framework/executor_c/
# types.h:156; hicann/runtime, include/external/acl/acl_base_rt.h:140]
DTYPES = {
    0: "float32",
    1: "float16",
    2: "int8",
    3: "int32",
    4: "uint8",
    6: "int16",
    7: "uint16",
    8: "uint32",
    9: "int64",
    10: "uint64",
    11: "float64",
    12: "bool",
    27: "bfloat16",
}
# ge.proto.DataType, which numbers them otherwise [V: ge_ir.proto]
PROTO_DTYPES = {
    1: "float32",
    2: "float16",
    3: "int8",
    4: "uint8",
    5: "int16",
    6: "uint16",
    7: "int32",
    8: "int64",
    9: "uint32",
    10: "uint64",
    11: "bool",
    12: "float64",
    27: "bfloat16",
}
FORMATS = {0: "NCHW", 1: "NHWC", 2: "ND", 3: "NC1HWC0"}
DATA_TYPES = ("Data", "AippData", "AnnData")
OUTPUT_TYPE = "NetOutput"
# What a Data operator's first dimensions are replaced by, the first that is there.
INPUT_DIMS = ("_dynamic_aipp_input_dims", "_mbatch_origin_input_dims")
OUTPUT_NAMES = "attr_model_out_nodes_name"

_INPUTS, _OUTPUTS, _BATCHES = 0, 1, 2
# size, format, dtype, and the bytes of name, dims, dims before AIPP, and ranges
_TENSOR = struct.Struct("<QiiIIII")
# Far above what a network has.
MOST_TENSORS = 4096
LARGEST_PARTITION_BYTES = 1 << 22


@dataclass(frozen=True, kw_only=True)
class OmTensor:
    """An input or output.

    Attributes:
        name: as ACL gives it: of an output "node:index:name".
        dtype: numpy's name for it, or the number of one that is not known here.
        dims: -1 where only the run decides.
        bytes: of its buffer; None where the file does not hold it.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]
    format: str
    bytes: int | None


@dataclass(frozen=True, kw_only=True)
class OmTensors:
    """What goes into a model and comes out; `gears` are the batches of a model that has several."""

    inputs: tuple[OmTensor, ...] = ()
    outputs: tuple[OmTensor, ...] = ()
    gears: tuple[int, ...] = ()


def read_inout_info(data: FileBytes, start: int, size: int) -> OmTensors:
    """Read a partition MODEL_INOUT_INFO: blocks of type, length and content.

    Raises:
        WireError: a block or a tensor ends outside the partition, or there are absurdly many.
    """
    if size > LARGEST_PARTITION_BYTES:
        raise WireError(f"a partition MODEL_INOUT_INFO of {size} bytes")
    inside = data.read(start, size)
    found: dict[int, bytes] = {}
    at = 0
    while at < size:
        kind, length = struct.unpack("<II", _piece(inside, at, 8))
        found[kind] = _piece(inside, at + 8, length)
        at += 8 + length
    return OmTensors(
        inputs=tuple(_described(found.get(_INPUTS, bytes(4)))),
        outputs=tuple(_described(found.get(_OUTPUTS, bytes(4)))),
        gears=_numbers(found[_BATCHES]) if _BATCHES in found else (),
    )


def _described(block: bytes) -> Iterator[OmTensor]:
    """Tensors one after the other: a fixed part, then name, dims, dims before AIPP, and ranges."""
    (count,) = struct.unpack("<I", _piece(block, 0, 4))
    if count > MOST_TENSORS:
        raise WireError(f"{count} inputs or outputs")
    at = 4
    for _ in range(count):
        size, form, dtype, *lengths = _TENSOR.unpack(_piece(block, at, _TENSOR.size))
        at += _TENSOR.size
        name, dims, _, _ = (
            _piece(block, at + sum(lengths[:index]), length) for index, length in enumerate(lengths)
        )
        at += sum(lengths)
        if len(dims) % 8:
            raise WireError(f"dimensions of {len(dims)} bytes, where each has 8")
        yield OmTensor(
            name=name.decode("utf-8", "backslashreplace"),
            dtype=DTYPES.get(dtype, f"dtype {dtype}"),
            dims=tuple(number for (number,) in struct.iter_unpack("<q", dims)),
            format=FORMATS.get(form, f"format {form}"),
            bytes=size,
        )


def _numbers(block: bytes) -> tuple[int, ...]:
    (count,) = struct.unpack("<I", _piece(block, 0, 4))
    return struct.unpack(f"<{count}q", _piece(block, 4, 8 * count))


def _piece(block: bytes, start: int, size: int) -> bytes:
    if start + size > len(block):
        raise WireError(f"{size} bytes at byte {start} of a block of {len(block)}")
    return block[start : start + size]


@dataclass(kw_only=True)
class _Tensor:
    """A TensorDescriptor {2 dtype, 3 shape {1 dim}, 4 layout}."""

    dtype: int = 0
    dims: tuple[int, ...] = ()
    layout: str = ""

    def named(self, name: str, dims: tuple[int, ...]) -> OmTensor:
        dtype = PROTO_DTYPES.get(self.dtype, f"dtype {self.dtype}")
        return OmTensor(name=name, dtype=dtype, dims=dims, format=self.layout, bytes=None)


@dataclass(kw_only=True)
class _Operator:
    """An OpDef {1 name, 2 type, 10 attr, 24 src_name, 25 src_index, 33 input_desc}."""

    name: str
    type: str
    attributes: dict[str, Value | None]
    sources: list[tuple[str, int]]
    inputs: list[_Tensor]


def read_graph(data: FileBytes, model: ModelDef) -> OmTensors:
    """Read inputs and outputs off the main graph, as the converter does to describe them.

    Raises:
        WireError: not such a message, or more in it than a converter writes.
    """
    if model.graph is None:
        return OmTensors()
    names = model.values.get("attr_name_enum", ())
    inputs: dict[int, OmTensor] = {}
    outputs: list[OmTensor] = []
    for field in data.fields(model.graph.start, model.graph.end):
        if field.number != 6 or _type_of(data, field) not in (*DATA_TYPES, OUTPUT_TYPE):
            continue
        operator = _operator(data, field, names if isinstance(names, tuple) else ())
        if operator.type == OUTPUT_TYPE:
            outputs += _outputs(operator, model.values.get(OUTPUT_NAMES, ()))
        elif operator.inputs:
            index = operator.attributes.get("index")
            place = index if isinstance(index, int) else len(inputs)
            inputs[place] = _input(operator)
        if len(inputs) + len(outputs) > MOST_TENSORS:
            raise WireError(f"more than {MOST_TENSORS} inputs and outputs")
    return OmTensors(
        inputs=tuple(inputs[place] for place in sorted(inputs)), outputs=tuple(outputs)
    )


def _input(operator: _Operator) -> OmTensor:
    tensor = operator.inputs[0]
    replaced = (operator.attributes.get(name) for name in INPUT_DIMS)
    dims = next((tuple(map(int, one)) for one in replaced if isinstance(one, tuple)), tensor.dims)
    return tensor.named(operator.name, dims)


def _outputs(operator: _Operator, names: Value) -> Iterator[OmTensor]:
    # as the converter does, which kept old names for files that list none
    listed = isinstance(names, tuple) and len(names) == len(operator.inputs)
    for index, tensor in enumerate(operator.inputs):
        node, of_node = operator.sources[index] if index < len(operator.sources) else ("", 0)
        name = f"output_{index}_{node}_{of_node}"
        if listed and isinstance(names, tuple):
            name = str(names[index])
            name = name if ":" in name else f"{name}:{of_node}"
        yield tensor.named(name, tensor.dims)


def _type_of(data: FileBytes, operator: Field) -> str:
    """An operator's type, without reading the rest of it: it stands near the beginning."""
    for field in data.fields(operator.expect(BYTES).start, operator.end):
        if field.number == 2:
            return bounded_text(data, field)
    return ""


def _operator(data: FileBytes, operator: Field, names: Sequence[object]) -> _Operator:
    found = _Operator(name="", type="", attributes={}, sources=[], inputs=[])
    nodes: list[str] = []
    indices: list[int] = []
    for field in data.fields(operator.start, operator.end):
        if field.number == 1:
            found.name = bounded_text(data, field)
        elif field.number == 2:
            found.type = bounded_text(data, field)
        elif field.number == 10:
            key, value = read_attribute(data, field.expect(BYTES))
            found.attributes[_whole_name(key, names)] = value
        elif field.number == 24:
            nodes.append(bounded_text(data, field))
        elif field.number == 25:
            indices += whole_numbers(data, field)
        elif field.number == 33:
            found.inputs.append(_tensor(data, field.expect(BYTES)))
    found.sources = list(zip(nodes, indices, strict=False))
    return found


def _whole_name(key: str, names: Sequence[object]) -> str:
    """An attribute's name; a shortened one is NUL and the digits, base 127, of a place in a list.

    Digits run from the lowest, each one more than its value, so that none is NUL.
    """
    if not key.startswith("\0"):
        return key
    place = sum((ord(digit) - 1) * 127**power for power, digit in enumerate(key[1:5]))
    return str(names[place]) if 0 <= place < len(names) else key


def _tensor(data: FileBytes, described: Field) -> _Tensor:
    found = _Tensor()
    for field in data.fields(described.start, described.end):
        if field.number == 2:
            found.dtype = field.value
        elif field.number == 3:
            dims = [
                dim
                for shape in data.fields(field.expect(BYTES).start, field.end)
                if shape.number == 1
                for dim in whole_numbers(data, shape)
            ]
            found.dims = tuple(dims)
        elif field.number == 4:
            found.layout = bounded_text(data, field)
    return found
