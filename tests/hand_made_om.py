"""Files of Ascend (.om) put together by hand, neither by the product nor by the simulator.

From the public header and tables (hicann/ge inc/framework/common/framework_types_internal.h,
ModelFileHeader and ModelPartitionTable; ModelDef's attributes: graph_metadef/proto/ge_ir.proto).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def text(value: str) -> bytes:
    """AttrDef { bytes s = 2; }."""
    return field(2, value.encode())


def model_def(attributes: Mapping[str, bytes]) -> bytes:
    """ModelDef { string name = 1; map<string, AttrDef> attr = 11; }."""
    entries = (field(1, key.encode()) + field(2, value) for key, value in attributes.items())
    return field(1, b"net") + b"".join(field(11, entry) for entry in entries)


def om(payload: bytes, *, dynamic: bool = False, short: int = 0, old: bool = False) -> bytes:
    """A header of 256 bytes over a table of one MODEL_DEF; `short` bytes are not there."""
    entry = struct.pack("<IIII", 1, 0, 0, len(payload))
    if not old:
        entry = struct.pack("<IIIIQQ", 1, 0, 0, 0, 0, len(payload))
    body = entry + payload
    header = bytearray(256)
    struct.pack_into("<4sII", header, 0, b"IMOD", 256, 0x20000000)
    struct.pack_into("<I", header, 76, len(body))
    struct.pack_into("<I", header, 156, 1)
    if not old:
        struct.pack_into("<Q", header, 184, len(body))
        header[193] = int(dynamic)
    return (bytes(header) + body)[: 256 + len(body) - short]


OURS = {"soc_version": text("Ascend310P3"), "framework_type": text("Onnx")}
