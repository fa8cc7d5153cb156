"""Write an .om file as atc lays it out, with the standard library alone.

Written from the published layout and sharing nothing with the reader, so that a mistake of one
does not agree with itself. Source: Huawei's open graph engine (ge), framework_types_internal.h
and om_file_helper.cc.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

Scalar = str | int | float | bool

MODEL_DEF = 0
WEIGHTS_DATA = 1


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
    """ge.proto.ModelDef: 1 name, 2 version, 7 graph, 11 attr (a map: 1 key, 2 value)."""
    out = delimited(1, name.encode()) + varint(2 << 3) + varint(1)
    if graph:
        out += delimited(7, graph)
    for key, value in attributes.items():
        out += delimited(11, delimited(1, key.encode()) + delimited(2, attribute(value)))
    return out


def header(
    name: str,
    length: int,
    *,
    is_dynamic: bool = False,
    encrypted: bool = False,
    old_layout: bool = False,
    model_type: int = 0,
) -> bytes:
    """The 256 bytes before the partition table, field by field at its own offset."""
    out = bytearray(256)
    out[0:4] = b"IMOD"
    struct.pack_into("<II", out, 4, 256, 0x10000000 if old_layout else 0x20000000)
    struct.pack_into("<I", out, 76, length & 0xFFFF_FFFF)
    out[80] = int(encrypted)
    out[81] = 1
    out[82] = model_type
    cut = name.encode()[:31]
    out[84 : 84 + len(cut)] = cut
    struct.pack_into("<I", out, 156, 1)
    if not old_layout:
        struct.pack_into("<Q", out, 184, length)
        out[193] = int(is_dynamic)
    return bytes(out)


def table(sizes: Mapping[int, int], *, old_layout: bool = False) -> bytes:
    """The partition table: 24-byte entries, or 12-byte ones in the layout of 2021."""
    out = struct.pack("<I", len(sizes)) + (b"" if old_layout else bytes(4))
    offset = 0
    for kind, size in sizes.items():
        if old_layout:
            out += struct.pack("<III", kind, offset, size)
        else:
            out += struct.pack("<II", kind, 0) + struct.pack("<QQ", offset, size)
        offset += size
    return out


def write_om(
    path: Path,
    *,
    name: str,
    attributes: Mapping[str, Scalar],
    partitions: Mapping[int, bytes],
    is_dynamic: bool = False,
    encrypted: bool = False,
    old_layout: bool = False,
    model_type: int = 0,
) -> None:
    """Write a whole .om: header, table, MODEL_DEF and the given partitions in their order.

    Args:
        path: of the file.
        name: of the graph; the header holds its first 31 bytes, MODEL_DEF all of it.
        attributes: of the model, each one text, number or truth value.
        partitions: by type, besides MODEL_DEF, which is made here.
        is_dynamic: `is_unknow_model` of the header; the layout of 2021 has none.
        encrypted: set the header's flag; the content stays as it is.
        old_layout: the layout of 2021, with 12-byte entries and no `model_length`.
        model_type: 0 for what atc writes; 3 flow, 4 lite, 5 bundle.
    """
    parts = {MODEL_DEF: model_def(name, attributes), **partitions}
    listed = table({kind: len(content) for kind, content in parts.items()}, old_layout=old_layout)
    payload = listed + b"".join(parts.values())
    head = header(
        name,
        len(payload),
        is_dynamic=is_dynamic,
        encrypted=encrypted,
        old_layout=old_layout,
        model_type=model_type,
    )
    path.write_bytes(head + payload)
