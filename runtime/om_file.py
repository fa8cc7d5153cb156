"""What an .om file says about itself, read without CANN and without trusting a byte of it.

An .om is a header of 256 bytes, a table of partitions, and the partitions one after another. One
of them, MODEL_DEF, is a protobuf whose attributes name the chip, the converter and the sizes.

Source: Huawei's open graph engine (ge): framework_types_internal.h, om_file_helper.cc and
model_parser_base.cc; for the layout of 2021, graphengine's framework/common/types.h.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from runtime.errors import ArtifactError
from runtime.file_kind import HEAD_BYTES, no_file, seems_to_be
from runtime.files import shown
from runtime.model_def import ModelDef, Scalar, read_model_def
from runtime.wire_format import FileBytes, WireError

MAGIC = b"IMOD"
HEADER_BYTES = 256
MODEL_TYPES = {0: "IR", 1: "standard", 2: "tiny", 3: "flow", 4: "lite", 5: "bundle"}
# Containers of other models: only their headers are read here.
CONTAINERS = (3, 4, 5)
MODEL_DEF = 0
PARTITIONS = {
    0: "MODEL_DEF",
    1: "WEIGHTS_DATA",
    2: "TASK_INFO",
    3: "TBE_KERNELS",
    4: "CUST_AICPU_KERNELS",
    5: "SO_BINS",
    6: "FLOW_MODEL",
    8: "MODEL_INOUT_INFO",
    9: "STATIC_TASK_DESC",
    10: "DYNAMIC_TASK_DESC",
    11: "TASK_PARAM",
    12: "TILING_DATA",
    24: "BUNDLE",
    26: "CUSTOM_OPS",
}
# Far above what a converter writes; what has more is damaged.
MOST_PARTITIONS = 1024

# magic .. platform_version, as in the table of the header; the rest stands apart, for the layout
# of 2021 has none of it
_HEADER = struct.Struct("<4sII64sI4B32sI32sII20sB3xQBB62x")
_NEW_ENTRY = struct.Struct("<I4xQQ")
_OLD_ENTRY = struct.Struct("<III")


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A part of the file: its type, where it begins in the file, and its size in bytes."""

    type: str
    offset: int
    size: int


@dataclass(frozen=True, kw_only=True)
class OmFile:
    """An .om file's own words.

    Attributes:
        path: where it lies.
        bytes: size of the file.
        name: of the graph.
        soc_version: the chip it was converted for; empty where it does not say.
        atc_version: of the converter; empty where it does not say.
        atc_cmdline: the converter's command line; empty where it does not say.
        framework_type: 5 for ONNX; None where it does not say.
        memory_size: bytes of memory it works in; None where it does not say.
        weight_size: bytes of weights; None where it does not say.
        stream_num: streams it runs on; None where it does not say.
        event_num: events it waits for; None where it does not say.
        is_dynamic: whether its shapes are only known when it runs.
        ir_version: of the graph's form.
        platform_version: of the chip's description.
        model_num: models in the file; where there are several, this is about the first.
        modeltype: see `MODEL_TYPES`.
        partitions: in the file's order; empty for containers of other models.
        attributes: all of the model's attributes that are one text or number.
        other_attributes: names of those that are lists, tensors or very long.
    """

    path: Path
    bytes: int
    name: str
    soc_version: str
    atc_version: str
    atc_cmdline: str
    framework_type: int | None
    memory_size: int | None
    weight_size: int | None
    stream_num: int | None
    event_num: int | None
    is_dynamic: bool
    ir_version: int
    platform_version: str
    model_num: int
    modeltype: int
    partitions: tuple[Partition, ...]
    attributes: dict[str, Scalar]
    other_attributes: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The model type's name."""
        return MODEL_TYPES[self.modeltype]


@dataclass(frozen=True, kw_only=True)
class _Header:
    name: str
    modeltype: int
    ir_version: int
    model_num: int
    platform_version: str
    is_dynamic: bool
    new_layout: bool


def read_om(path: Path) -> OmFile:
    """Read header, partition table and model attributes; weights and graph are stepped over.

    Raises:
        ArtifactError: not there, not an .om, encrypted, truncated or damaged.
    """
    try:
        absent = no_file(path)
        if absent:
            raise refused(path, absent)
        with path.open("rb") as file:
            return read_om_from(path, file, file.seek(0, os.SEEK_END))
    except OSError as error:
        raise refused(path, error.strerror or str(error)) from error


def read_om_from(path: Path, file: BinaryIO, size: int) -> OmFile:
    """As `read_om`, from a file that is open.

    Raises:
        ArtifactError: as `read_om`.
    """
    data = FileBytes(file, size)
    try:
        return _read(path, data)
    except WireError as error:
        raise refused(path, f"damage: {error}") from error


def refused(path: Path, got: str, expected: str = "", action: str = "") -> ArtifactError:
    """The error for a file that is no .om that can be read."""
    return ArtifactError(
        shown(path),
        expected=expected or "an .om file as atc writes it",
        got=got,
        action=action or "Copy the file again, or convert the model again",
    )


def _read(path: Path, data: FileBytes) -> OmFile:
    header = _read_header(path, data)
    partitions: tuple[Partition, ...] = ()
    model = ModelDef(name="", scalars={}, others=())
    if header.modeltype not in CONTAINERS:
        partitions = _read_table(data, new_layout=header.new_layout)
        definitions = [one for one in partitions if one.type == PARTITIONS[MODEL_DEF]]
        if len(definitions) != 1:
            raise WireError(f"{len(definitions)} partitions MODEL_DEF where there must be 1")
        model = read_model_def(data, definitions[0].offset, definitions[0].size)
    scalars = model.scalars
    return OmFile(
        path=path,
        bytes=data.size,
        name=model.name or header.name,
        soc_version=_text(scalars, "soc_version"),
        atc_version=_text(scalars, "atc_version"),
        atc_cmdline=_text(scalars, "atc_cmdline"),
        framework_type=_number(scalars, "framework_type"),
        memory_size=_number(scalars, "memory_size"),
        weight_size=_number(scalars, "weight_size"),
        stream_num=_number(scalars, "stream_num"),
        event_num=_number(scalars, "event_num"),
        is_dynamic=header.is_dynamic,
        ir_version=header.ir_version,
        platform_version=header.platform_version,
        model_num=header.model_num,
        modeltype=header.modeltype,
        partitions=partitions,
        attributes=scalars,
        other_attributes=model.others,
    )


def _text(scalars: dict[str, Scalar], key: str) -> str:
    value = scalars.get(key, "")
    if not isinstance(value, str):
        raise WireError(f"attribute {key} = {value!r}, which must be text")
    return value


def _number(scalars: dict[str, Scalar], key: str) -> int | None:
    value = scalars.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise WireError(f"attribute {key} = {value!r:.60}, which must be a whole number")
    return value


def _read_header(path: Path, data: FileBytes) -> _Header:
    head = data.read(0, min(HEAD_BYTES, data.size))
    if head[: len(MAGIC)] != MAGIC:
        raise refused(path, seems_to_be(head), action="Name the .om file itself")
    if len(head) < HEADER_BYTES:
        raise WireError(f"{data.size} bytes: the header alone has {HEADER_BYTES}")
    fields = _HEADER.unpack(head[:HEADER_BYTES])
    _, headsize, _, _, length, encrypted, _, modeltype, _, name, _, _, *rest = fields
    ir_version, model_num, platform_version, _, model_length, _, is_dynamic = rest
    if headsize != HEADER_BYTES:
        raise WireError(f"a header that says it has {headsize} bytes instead of {HEADER_BYTES}")
    if encrypted:
        raise refused(
            path,
            "an encrypted one" if encrypted == 1 else f"encryption flag {encrypted}",
            "an .om that is not encrypted",
            "Use the model as atc wrote it, before it was encrypted",
        )
    if modeltype not in MODEL_TYPES:
        raise WireError(f"model type {modeltype}, where 0 to {max(MODEL_TYPES)} are known")
    _check_length(path, data.size, HEADER_BYTES + (model_length or length))
    return _Header(
        name=_c_string(name),
        modeltype=modeltype,
        ir_version=ir_version,
        model_num=model_num,
        platform_version=_c_string(platform_version),
        is_dynamic=bool(is_dynamic),
        new_layout=model_length != 0,
    )


def _check_length(path: Path, size: int, declared: int) -> None:
    # what the loader itself checks first, and refuses with 145006
    if size != declared:
        how = "it is truncated" if size < declared else "something was appended"
        raise refused(path, f"{size}: {how}", f"{declared} bytes, as its header says")


def _read_table(data: FileBytes, *, new_layout: bool) -> tuple[Partition, ...]:
    """The first model's table, every entry inside the file and none over another."""
    entry, at = (_NEW_ENTRY, HEADER_BYTES + 8) if new_layout else (_OLD_ENTRY, HEADER_BYTES + 4)
    (count,) = struct.unpack("<I", data.read(HEADER_BYTES, 4))
    if not 1 <= count <= MOST_PARTITIONS:
        raise WireError(f"a table of {count} partitions, where 1 to {MOST_PARTITIONS} are possible")
    base = at + count * entry.size
    if base > data.size:
        raise WireError(f"a table of {count} partitions that ends after the file")
    partitions: list[Partition] = []
    following = 0
    for index, (kind, offset, size) in enumerate(entry.iter_unpack(data.read(at, base - at))):
        name = PARTITIONS.get(kind, f"type {kind}")
        if offset != following:
            raise WireError(
                f"partition {index} ({name}) at offset {offset}, where the one before ends"
                f" at {following}"
            )
        following = offset + size
        if base + following > data.size:
            raise WireError(
                f"partition {index} ({name}) of {size} bytes, where"
                f" {data.size - base - offset} are left"
            )
        partitions.append(Partition(type=name, offset=base + offset, size=size))
    return tuple(partitions)


def _c_string(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")
