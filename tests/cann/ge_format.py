"""The .om format by its public definition: the referee of the tests that hold others to it.

It shares no line with the product's reader: C's own rules of layout (ctypes) make the structs, and
Google's protobuf the messages. The simulated atc writes and the simulated acl reads by it, too.

Definitions: hicann/ge ffdcbc9f, inc/framework/common/framework_types_internal.h:672 (header),
:730 (tables), inc/framework/common/ge_model_inout_types.h (inputs and outputs),
graph_metadef/proto/ge_ir.proto (messages). Older headers: mindspore-ai/graphengine 5f763679
(March 2020), inc/framework/common/types.h:773 and 335e9e89 (December 2020).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

MODEL_DEF, WEIGHTS_DATA, INOUT_INFO = 0, 1, 8
HEADER_BYTES = 256
U8, U32, U64, I32 = ctypes.c_uint8, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int32

_BEGINNING: list[tuple[str, Any]] = [
    ("magic", U32),
    ("headsize", U32),
    ("version", U32),
    ("checksum", U8 * 64),
    ("length", U32),
    ("is_encrypt", U8),
    ("is_checksum", U8),
    ("modeltype", U8),
    ("genmode", U8),
    ("name", ctypes.c_char * 32),
    ("ops", U32),
    ("userdefineinfo", U8 * 32),
    ("om_ir_version", U32),
]


class Header(ctypes.LittleEndianStructure):
    """ModelFileHeader of today."""

    _fields_ = [
        *_BEGINNING,
        ("model_num", U32),
        ("platform_version", ctypes.c_char * 20),
        ("platform_type", U8),
        ("padd", U8 * 3),
        ("model_length", U64),
        ("need_check_os_cpu_info", U8),
        ("is_unknow_model", U8),
        ("reserved", U8 * 62),
    ]


class HeaderOf2021(ctypes.LittleEndianStructure):
    """With a count of models, and without what came after it."""

    _fields_ = [
        *_BEGINNING,
        ("model_num", U32),
        ("platform_version", ctypes.c_char * 20),
        ("platform_type", U8),
        ("reserved", U8 * 75),
    ]


class HeaderOf2020(ctypes.LittleEndianStructure):
    """Before models were counted."""

    _fields_ = [
        *_BEGINNING,
        ("platform_version", ctypes.c_char * 20),
        ("platform_type", U8),
        ("reserved", U8 * 79),
    ]


class Entry(ctypes.LittleEndianStructure):
    """ModelPartitionMemInfo of today."""

    _fields_ = [("type", U32), ("mem_offset", U64), ("mem_size", U64)]


class Count(ctypes.LittleEndianStructure):
    """The head of a ModelPartitionTable, whose entries are aligned to 8 bytes."""

    _fields_ = [("num", U32), ("entries", Entry * 0)]


class TinyEntry(ctypes.LittleEndianStructure):
    """TinyModelPartitionMemInfo, the entry of the older files."""

    _fields_ = [("type", U32), ("mem_offset", U32), ("mem_size", U32)]


class TinyCount(ctypes.LittleEndianStructure):
    """The head of their tables."""

    _fields_ = [("num", U32), ("entries", TinyEntry * 0)]


class TensorInfo(ctypes.LittleEndianStructure):
    """ModelTensorDescBaseInfo."""

    _fields_ = [
        ("size", U64),
        ("format", I32),
        ("dt", I32),
        ("name_len", U32),
        ("dims_len", U32),
        ("dimsV2_len", U32),
        ("shape_range_len", U32),
    ]


def table(parts: Sequence[tuple[int, bytes]], *, tiny: bool = False) -> bytes:
    """A partition table and the partitions behind it."""
    head, entry = (TinyCount, TinyEntry) if tiny else (Count, Entry)
    made, offset = bytes(head(num=len(parts))), 0
    for kind, content in parts:
        made += bytes(entry(type=kind, mem_offset=offset, mem_size=len(content)))
        offset += len(content)
    return made + b"".join(content for _, content in parts)


def om_file(payload: bytes, kind: Any = Header, **fields: Any) -> bytes:
    """A whole file: a header of one of the three ages that fits its payload."""
    today = kind is Header
    made = {
        "magic": 0x444F4D49,
        "headsize": HEADER_BYTES,
        "version": 0x20000000 if today else 0x10000000,
        "model_length" if today else "length": len(payload),
        "name": b"lane",
        "om_ir_version": 2,
        "platform_version": b"1.11.z.0",
    }
    return bytes(kind(**(made | fields))) + payload


def partitions(content: bytes, *, tiny: bool = False) -> dict[int, bytes]:
    """A file's partitions by type, in its order."""
    head, entry = (TinyCount, TinyEntry) if tiny else (Count, Entry)
    at = HEADER_BYTES + ctypes.sizeof(head)
    count = head.from_buffer_copy(content, HEADER_BYTES).num
    entries = (entry * count).from_buffer_copy(content, at)
    base = at + ctypes.sizeof(entries)
    return {
        one.type: content[base + one.mem_offset : base + one.mem_offset + one.mem_size]
        for one in entries
    }


def attribute_values(model_def: bytes) -> dict[str, Any]:
    """The attributes of a MODEL_DEF that are text, numbers or truth values."""
    entries = MESSAGES["ModelDef"].FromString(model_def).attr
    kinds = [(one.key, one.value, one.value.WhichOneof("value")) for one in entries]
    values = {key: getattr(value, kind) for key, value, kind in kinds if kind in ("s", "i", "b")}
    return {key: v.decode() if isinstance(v, bytes) else v for key, v in values.items()}


def tensor_info(
    name: str, dims: Sequence[int], *, dtype: int, form: int, size: int, v2: Sequence[int] = ()
) -> bytes:
    """One input or output of MODEL_INOUT_INFO."""
    shapes = [bytes((ctypes.c_int64 * len(one))(*one)) for one in (dims, v2 or dims)]
    info = TensorInfo(
        size=size,
        format=form,
        dt=dtype,
        name_len=len(name.encode()),
        dims_len=len(shapes[0]),
        dimsV2_len=len(shapes[1]),
    )
    return bytes(info) + name.encode() + b"".join(shapes)


def block(kind: int, content: bytes) -> bytes:
    """A block of MODEL_INOUT_INFO: type, length, content."""
    return bytes((U32 * 2)(kind, len(content))) + content


_Field = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "bytes": _Field.TYPE_BYTES,
    "string": _Field.TYPE_STRING,
    "int64": _Field.TYPE_INT64,
    "uint32": _Field.TYPE_UINT32,
    "float": _Field.TYPE_FLOAT,
    "bool": _Field.TYPE_BOOL,
}
# message -> field, number, type ("*" repeated); DataType is an enum, which travels as int64
_MESSAGES = {
    "List": [("s", 2, "*bytes"), ("i", 3, "*int64"), ("b", 5, "*bool"), ("val_type", 20, "int64")],
    "AttrDef": [
        ("list", 1, "List"),
        ("s", 2, "bytes"),
        ("i", 3, "int64"),
        ("f", 4, "float"),
        ("b", 5, "bool"),
        ("bt", 7, "bytes"),
    ],
    "Entry": [("key", 1, "string"), ("value", 2, "AttrDef")],
    "Shape": [("dim", 1, "*int64")],
    "Tensor": [("name", 1, "string"), ("dtype", 2, "int64"), ("shape", 3, "Shape"),
               ("layout", 4, "string"), ("attr", 5, "*Entry")],
    "OpDef": [
        ("name", 1, "string"),
        ("type", 2, "string"),
        ("input", 5, "*string"),
        ("attr", 10, "*Entry"),
        ("id", 21, "int64"),
        ("src_name", 24, "*string"),
        ("src_index", 25, "*int64"),
        ("input_desc", 33, "*Tensor"),
        ("output_desc", 34, "*Tensor"),
    ],
    "GraphDef": [("name", 1, "string"), ("op", 6, "*OpDef"), ("attr", 11, "*Entry")],
    "ModelDef": [
        ("name", 1, "string"),
        ("version", 2, "uint32"),
        ("custom_version", 3, "string"),
        ("graph", 7, "*GraphDef"),
        ("attr", 11, "*Entry"),
    ],
}  # fmt: skip


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="ge_ir.proto", package="ge", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if name == "AttrDef":  # one of its fields, which is written even where it is 0
            message.oneof_decl.add(name="value")
        for field, number, kind in fields:
            bare = kind.lstrip("*")
            label = _Field.LABEL_REPEATED if kind != bare else _Field.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, label=label)
            made.type = _KINDS.get(bare, _Field.TYPE_MESSAGE)
            if name == "AttrDef":
                made.oneof_index = 0
            if bare not in _KINDS:
                made.type_name = f".ge.{bare}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"ge.{name}"))
        for name in _MESSAGES
    }


MESSAGES = _messages()


def attributes(**values: Any) -> list[Any]:
    """Map entries, each value by its Python type: text, number, truth, or a list of one of them."""
    entries = []
    for key, value in values.items():
        entry = MESSAGES["Entry"](key=key)
        if isinstance(value, (list, tuple)):
            kind = "s" if isinstance(value[0], str) else "b" if value[0] is True else "i"
            getattr(entry.value.list, kind).extend(
                one.encode() if isinstance(one, str) else one for one in value
            )
        elif isinstance(value, str):
            entry.value.s = value.encode()
        elif isinstance(value, bool):
            entry.value.b = value
        elif isinstance(value, float):
            entry.value.f = value
        else:
            entry.value.i = value
        entries.append(entry)
    return entries
