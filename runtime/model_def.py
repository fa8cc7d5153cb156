"""The model attributes inside an .om: its partition MODEL_DEF, a protobuf.

Source: Huawei's open graph engine (ge), ge_ir.proto.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from runtime.wire_format import BYTES, FIXED32, VARINT, Field, FileBytes, WireError

Scalar = str | int | float | bool

# Far above what a converter writes; what has more is there to cost time or memory.
MOST_ATTRIBUTES = 4096
LONGEST_KEY = 1024
LONGEST_TEXT = 1 << 20
LONGEST_TEXTS = 1 << 24


@dataclass(frozen=True, kw_only=True)
class ModelDef:
    """What a partition MODEL_DEF says.

    Attributes:
        name: of the graph.
        scalars: the attributes that are one text or number.
        others: names of those that are lists, tensors or very long.
    """

    name: str
    scalars: dict[str, Scalar]
    others: tuple[str, ...]


def read_model_def(data: FileBytes, start: int, size: int) -> ModelDef:
    """Walk ge.proto.ModelDef {1 name, 7 graph, 11 attr}; the graph is stepped over.

    Raises:
        WireError: not such a message, or more in it than a converter writes.
    """
    name = ""
    values: dict[str, Scalar | None] = {}
    spent = 0
    for field in data.fields(start, start + size):
        if field.number == 1:
            name = _bounded(data, field, LONGEST_KEY)
        elif field.number == 11:
            key, value = _read_attribute(data, field.expect(BYTES))
            values[key] = value  # the last of equal keys counts, as in any protobuf map
            spent += len(value) if isinstance(value, str) else 0
            if len(values) > MOST_ATTRIBUTES or spent > LONGEST_TEXTS:
                raise WireError(f"more than {MOST_ATTRIBUTES} attributes or {LONGEST_TEXTS} bytes")
    return ModelDef(
        name=name,
        scalars={key: value for key, value in values.items() if value is not None},
        others=tuple(key for key, value in values.items() if value is None),
    )


def _read_attribute(data: FileBytes, entry: Field) -> tuple[str, Scalar | None]:
    """A map's entry {1 key, 2 AttrDef}; None stands for what is no scalar."""
    key, value = "", None
    for field in data.fields(entry.start, entry.end):
        if field.number == 1:
            key = _bounded(data, field, LONGEST_KEY)
        elif field.number == 2:
            value = _read_scalar(data, field.expect(BYTES))
    return key, value


def _read_scalar(data: FileBytes, attribute: Field) -> Scalar | None:
    """AttrDef {2 s, 3 i, 4 f, 5 b, and others}: one of them, and the last one counts."""
    value: Scalar | None = None
    for field in data.fields(attribute.start, attribute.end):
        value = None
        if field.number == 2:
            field.expect(BYTES)
            value = data.text(field) if field.size <= LONGEST_TEXT else None
        elif field.number == 3:
            value = field.expect(VARINT).signed
        elif field.number == 4:
            bits = field.expect(FIXED32).value
            value = float(struct.unpack("<f", struct.pack("<I", bits))[0])
        elif field.number == 5:
            value = bool(field.expect(VARINT).value)
    return value


def _bounded(data: FileBytes, field: Field, longest: int) -> str:
    if field.size > longest:
        raise WireError(f"a name of {field.size} bytes, where {longest} are possible")
    return data.text(field)
