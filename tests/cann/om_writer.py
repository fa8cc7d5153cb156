"""Write an .om file as atc lays it out, with the standard library alone.

Written from the published layout and sharing nothing with the reader, so that a mistake of one
does not agree with itself. Source: Huawei's open graph engine (ge), framework_types_internal.h
and om_file_helper.cc.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

Scalar = str | int | float | bool
Age = Literal["today", "2021", "2020"]
# name, dims, dtype and format, the last two as ACL numbers them
Tensor = Mapping[str, Any]

MODEL_DEF = 0
WEIGHTS_DATA = 1
INOUT_INFO = 8
PLATFORM = b"1.11.z.0"
# bytes of an element, by aclDataType
ITEM_BYTES = {0: 4, 1: 2, 2: 1, 3: 4, 4: 1, 6: 2, 7: 2, 8: 4, 9: 8, 10: 8, 11: 8, 12: 1}


def varint(number: int) -> bytes:
    """An unsigned protobuf varint; a negative int64 takes ten bytes, as protobuf has it."""
    number &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while True:
        low, number = number & 0x7F, number >> 7
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def delimited(field: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def attribute(value: Scalar) -> bytes:
    """ge.proto.AttrDef of one scalar: 2 s, 3 i, 4 f, 5 b."""
    if isinstance(value, bool):
        return varint(5 << 3) + varint(int(value))
    if isinstance(value, int):
        return varint(3 << 3) + varint(value)
    if isinstance(value, float):
        return varint(4 << 3 | 5) + struct.pack("<f", value)
    return delimited(2, value.encode())


def model_def(name: str, attributes: Mapping[str, Scalar], graph: bytes = b"") -> bytes:
    """ge.proto.ModelDef: 1 name, 2 version, 3 custom_version, 7 graph, 11 attr {1 key, 2 value}."""
    out = delimited(1, name.encode()) + varint(2 << 3) + varint(2) + delimited(3, PLATFORM)
    if graph:
        out += delimited(7, graph)
    for key, value in attributes.items():
        out += delimited(11, delimited(1, key.encode()) + delimited(2, attribute(value)))
    return out


def header(
    name: str,
    length: int,
    *,
    age: Age = "today",
    is_dynamic: bool = False,
    encrypted: bool = False,
    model_type: int = 0,
    models: int = 1,
) -> bytes:
    """The 256 bytes before the partition table, field by field at its own offset.

    Checked against a file of CANN 8.0.0, whose unset fields, `is_checksum` included, are zero.
    """
    out = bytearray(256)
    out[0:4] = b"IMOD"
    struct.pack_into("<II", out, 4, 256, 0x20000000 if age == "today" else 0x10000000)
    if age != "today":
        struct.pack_into("<I", out, 76, length)
    out[80] = int(encrypted)
    out[82] = model_type
    cut = name.encode()[:31]
    out[84 : 84 + len(cut)] = cut
    struct.pack_into("<I", out, 152, 2)
    version_at = 160
    if age == "2020":
        version_at = 156
    else:
        struct.pack_into("<I", out, 156, models)
    out[version_at : version_at + len(PLATFORM)] = PLATFORM
    if age == "today":
        struct.pack_into("<Q", out, 184, length)
        out[193] = int(is_dynamic)
    return bytes(out)


def table(sizes: Mapping[int, int], *, age: Age = "today") -> bytes:
    """The partition table: 24-byte entries, or 12-byte ones in the older layouts."""
    out = struct.pack("<I", len(sizes)) + (bytes(4) if age == "today" else b"")
    offset = 0
    for kind, size in sizes.items():
        if age == "today":
            out += struct.pack("<II", kind, 0) + struct.pack("<QQ", offset, size)
        else:
            out += struct.pack("<III", kind, offset, size)
        offset += size
    return out


def inout_info(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], gears: Sequence[int] = ()
) -> bytes:
    """MODEL_INOUT_INFO: blocks of u32 type, u32 length, content; 0 inputs, 1 outputs, 2 gears.

    Source: ge, base/common/model/model_introduction.cc and tlv/.
    """
    out = b""
    for kind, tensors in ((0, inputs), (1, outputs)):
        if not tensors:
            continue
        block = struct.pack("<I", len(tensors))
        for one in tensors:
            name, dims = one["name"].encode(), struct.pack(f"<{len(one['dims'])}q", *one["dims"])
            count = math.prod(abs(dim) for dim in one["dims"])
            size = count * ITEM_BYTES[one["dtype"]]
            lengths = (len(name), len(dims), len(dims), 0)
            block += struct.pack("<QII4I", size, one["format"], one["dtype"], *lengths)
            block += name + dims + dims
        out += struct.pack("<II", kind, len(block)) + block
    if gears:
        block = struct.pack(f"<I{len(gears)}Q", len(gears), *gears)
        out += struct.pack("<II", 2, len(block)) + block
    return out


def write_om(
    path: Path,
    *,
    name: str,
    attributes: Mapping[str, Scalar],
    partitions: Mapping[int, bytes],
    age: Age = "today",
    is_dynamic: bool = False,
    encrypted: bool = False,
    model_type: int = 0,
) -> None:
    """Write a whole .om: header, table, MODEL_DEF and the given partitions in atc's order.

    Args:
        path: of the file.
        name: of the graph; the header holds its first 31 bytes, MODEL_DEF all of it.
        attributes: of the model, each one text, number or truth value.
        partitions: by type, besides MODEL_DEF, which is made here.
        age: of the layout; the older ones have 12-byte entries and no `model_length`.
        is_dynamic: `is_unknow_model` of the header; the older layouts have none.
        encrypted: set the header's flag; the content stays as it is.
        model_type: 0 for what atc writes; 3 flow, 4 lite, 5 bundle.
    """
    parts = {MODEL_DEF: model_def(name, attributes), **partitions}
    if INOUT_INFO in parts:  # atc puts it first
        parts = {INOUT_INFO: parts.pop(INOUT_INFO), **parts}
    listed = table({kind: len(content) for kind, content in parts.items()}, age=age)
    payload = listed + b"".join(parts.values())
    head = header(
        name,
        len(payload),
        age=age,
        is_dynamic=is_dynamic,
        encrypted=encrypted,
        model_type=model_type,
    )
    path.write_bytes(head + payload)
