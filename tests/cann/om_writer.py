"""Write an .om file as atc lays it out, by the published definition (`ge_format`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from cann.ge_format import (
    INOUT_INFO,
    MESSAGES,
    MODEL_DEF,
    U32,
    U64,
    Header,
    HeaderOf2020,
    HeaderOf2021,
    attributes,
    block,
    om_file,
    table,
    tensor_info,
)

Scalar = str | int | float | bool
Age = Literal["today", "2021", "2020"]
# name, dims, dtype and format, the last two as ACL numbers them
Tensor = Mapping[str, Any]

# bytes of an element, by aclDataType
ITEM_BYTES = {0: 4, 1: 2, 2: 1, 3: 4, 4: 1, 6: 2, 7: 2, 8: 4, 9: 8, 10: 8, 11: 8, 12: 1}
HEADERS = {"today": Header, "2021": HeaderOf2021, "2020": HeaderOf2020}


def varint(number: int) -> bytes:
    """A protobuf varint; a negative int64 takes ten bytes, as protobuf has it."""
    number, out = number % 2**64, bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def delimited(field: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def model_def(name: str, values: Mapping[str, Scalar], graph: bytes = b"") -> bytes:
    """ge.proto.ModelDef; its graph may be any bytes."""
    made = MESSAGES["ModelDef"](name=name, version=2, custom_version="1.11.z.0")
    made.attr.extend(attributes(**values))
    return (delimited(7, graph) if graph else b"") + bytes(made.SerializeToString())


def with_header(payload: bytes, name: str, age: Age = "today", **fields: int) -> bytes:
    """A whole file of a table and its partitions; the header holds 31 bytes of the name."""
    counted = {} if age == "2020" else {"model_num": 1}
    return om_file(payload, HEADERS[age], **{"name": name.encode()[:31], **counted, **fields})


def inout_info(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], gears: Sequence[int] = ()
) -> bytes:
    """MODEL_INOUT_INFO: blocks of inputs, outputs and gears.

    Source: ge, base/common/model/model_introduction.cc and tlv/.
    """
    out = b""
    for kind, tensors in ((0, inputs), (1, outputs)):
        made = bytes(U32(len(tensors)))
        for one in tensors:
            size = math.prod(map(abs, one["dims"])) * ITEM_BYTES[one["dtype"]]
            layout = {"dtype": one["dtype"], "form": one["format"], "size": size}
            made += tensor_info(one["name"], one["dims"], **layout)
        out += block(kind, made)
    if gears:
        out += block(2, bytes(U32(len(gears))) + bytes((U64 * len(gears))(*gears)))
    return out


def write_om(
    path: Path,
    *,
    name: str,
    attributes: Mapping[str, Scalar],
    partitions: Mapping[int, bytes],
    age: Age = "today",
    **fields: int,
) -> None:
    """Write a whole .om: its header (`fields`), MODEL_DEF and the partitions, in atc's order."""
    parts = {MODEL_DEF: model_def(name, attributes), **partitions}
    if INOUT_INFO in parts:  # atc puts it first
        parts = {INOUT_INFO: parts.pop(INOUT_INFO), **parts}
    payload = table(list(parts.items()), tiny=age != "today")
    path.write_bytes(with_header(payload, name, age, **fields))
