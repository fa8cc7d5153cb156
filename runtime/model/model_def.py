"""The model attributes inside an .om: its partition MODEL_DEF, a protobuf ge.proto.ModelDef.

Source: Huawei's open graph engine (ge), graph_metadef/proto/ge_ir.proto [V]; the numbers of its
fields have been the same since the first public version of March 2020 (graphengine).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from runtime.files.wire_format import BYTES, FIXED32, VARINT, Field, FileBytes, WireError

Scalar = str | int | float | bool
# One scalar, or a list of texts or whole numbers. None stands for anything else.
Value = Scalar | tuple[str, ...] | tuple[int, ...]

# Far above what a converter writes; what has more is there to cost time or memory.
MOST_ATTRIBUTES = 4096
LONGEST_KEY_BYTES = 1024
LONGEST_TEXT_BYTES = 1 << 20
MOST_ATTRIBUTE_BYTES = 1 << 24
LONGEST_LIST_BYTES = 1 << 16
MOST_COMPLAINTS = 8


@dataclass(frozen=True, kw_only=True)
class ModelDef:
    """The content of a partition MODEL_DEF.

    Attributes:
        values: the attributes that are one text or number, or a list of texts or whole numbers.
        others: names of those that are tensors, other lists, or very long.
        graph: where the main graph lies in the file; None where there is none.
        unread: which attributes could not be read, a sentence each.
    """

    name: str
    values: dict[str, Value]
    others: tuple[str, ...]
    graph: Field | None = None
    unread: tuple[str, ...] = ()

    @property
    def scalars(self) -> dict[str, Scalar]:
        """The attributes that are one text or number."""
        return {key: one for key, one in self.values.items() if not isinstance(one, tuple)}


def read_model_def(data: FileBytes, start: int, size: int) -> ModelDef:
    """Walk ge.proto.ModelDef {1 name, 7 graph, 11 attr}; the graph is stepped over.

    An attribute that cannot be read is one of `others`, and named in `unread`; the rest stands.

    Raises:
        WireError: not such a message, or more in it than a converter writes.
    """
    name, graph = "", None
    values: dict[str, Value | None] = {}
    unread: list[str] = []
    spent = 0
    for field in data.fields(start, start + size):
        if field.number == 1:
            name = bounded_text(data, field)
        elif field.number == 7:
            graph = graph or field.expect(BYTES)  # the first is the main graph
        elif field.number == 11:
            spent += min(field.expect(BYTES).size, LONGEST_TEXT_BYTES)
            if len(values) >= MOST_ATTRIBUTES or spent > MOST_ATTRIBUTE_BYTES:
                unread.append(
                    f"more than {MOST_ATTRIBUTES} attributes, or {MOST_ATTRIBUTE_BYTES} bytes"
                )
                break
            try:
                key, value = read_attribute(data, field)
            except WireError as error:
                unread.append(f"an attribute at byte {field.start}: {error}")
                continue
            values[key] = value  # the last of equal keys counts, as in any protobuf map
    return ModelDef(
        name=name,
        values={key: value for key, value in values.items() if value is not None},
        others=tuple(key for key, value in values.items() if value is None),
        graph=graph,
        unread=tuple(unread[:MOST_COMPLAINTS]),
    )


def read_attribute(data: FileBytes, entry: Field) -> tuple[str, Value | None]:
    """A map's entry {1 key, 2 AttrDef}.

    Raises:
        WireError: not such a message.
    """
    key, value = "", None
    for field in data.fields(entry.start, entry.end):
        if field.number == 1:
            key = bounded_text(data, field)
        elif field.number == 2:
            value = _read_value(data, field.expect(BYTES))
    return key, value


def bounded_text(data: FileBytes, field: Field) -> str:
    """A name; what is longer than any name is refused.

    Raises:
        WireError: too long, or a number.
    """
    if field.size > LONGEST_KEY_BYTES:
        raise WireError(f"a name of {field.size} bytes, where {LONGEST_KEY_BYTES} are possible")
    return data.text(field)


def whole_numbers(data: FileBytes, field: Field) -> Iterator[int]:
    """A repeated int64: one number, or several packed into one field.

    Raises:
        WireError: neither, or more of them than a converter writes.
    """
    if field.wire == VARINT:
        yield field.signed
        return
    if field.expect(BYTES).size > LONGEST_LIST_BYTES:
        raise WireError(f"a list of {field.size} bytes, where {LONGEST_LIST_BYTES} are possible")
    yield from data.varints(field.start, field.end)


def _read_value(data: FileBytes, attribute: Field) -> Value | None:
    """AttrDef {1 list, 2 s, 3 i, 4 f, 5 b, and others}: one of them, and the last one counts."""
    value: Value | None = None
    for field in data.fields(attribute.start, attribute.end):
        value = None
        if field.number == 1:
            value = _read_list(data, field.expect(BYTES))
        elif field.number == 2:
            field.expect(BYTES)
            value = data.text(field) if field.size <= LONGEST_TEXT_BYTES else None
        elif field.number == 3:
            value = field.expect(VARINT).signed
        elif field.number == 4:
            bits = field.expect(FIXED32).value
            value = float(struct.unpack("<f", struct.pack("<I", bits))[0])
        elif field.number == 5:
            value = bool(field.expect(VARINT).value)
    return value


def _read_list(data: FileBytes, listed: Field) -> Value | None:
    """AttrDef.ListValue {2 s, 3 i, 20 val_type, and others}; None for lists of anything else."""
    texts: list[str] = []
    numbers: list[int] = []
    if listed.size > LONGEST_TEXT_BYTES:
        return None
    for field in data.fields(listed.start, listed.end):
        if field.number == 2:
            texts.append(data.text(field))
        elif field.number == 3:
            numbers += whole_numbers(data, field)
        elif field.number != 20:
            return None
    return tuple(texts) or tuple(numbers)
