"""The facts an .om file holds about itself, read without CANN and without trusting a byte of it.

An .om is a header of 256 bytes and then, for each model in it, a table of partitions and the
partitions one after another. One of them, MODEL_DEF, is a protobuf whose attributes name the chip,
the converter and the sizes.

Files of three ages are read: today's; those of 2021, whose tables have entries of 12 bytes; and
those of early 2020, whose header does not count its models.

Source: Huawei's open graph engine (ge), inc/framework/common/framework_types_internal.h,
om_file_helper.cc and model_parser_base.cc, for today's files; graphengine's
inc/framework/common/types.h for the older ones (March 2020; model_num since December 2020) [V].
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from runtime.errors import ArtifactError
from runtime.files import shown
from runtime.files.kind import HEAD_BYTES, no_file, seems_to_be
from runtime.files.wire_format import FileBytes, WireError
from runtime.model.model_def import ModelDef, Scalar, read_model_def
from runtime.model.om_tensors import OmTensors, read_graph, read_inout_info

MAGIC = b"IMOD"
HEADER_BYTES = 256
MODEL_TYPES = {0: "IR", 1: "standard", 2: "tiny", 3: "flow", 4: "lite", 5: "bundle"}
PARTITIONS = {
    0: "MODEL_DEF",
    1: "WEIGHTS_DATA",
    2: "TASK_INFO",
    3: "TBE_KERNELS",
    4: "CUST_AICPU_KERNELS",
    5: "SO_BINS",
    6: "FLOW_MODEL",
    7: "FLOW_SUBMODEL",
    8: "MODEL_INOUT_INFO",
    9: "STATIC_TASK_DESC",
    10: "DYNAMIC_TASK_DESC",
    11: "TASK_PARAM",
    12: "TILING_DATA",
    20: "PRE_MODEL_DESC",
    21: "PRE_MODEL_SQE",
    22: "PRE_MODEL_DESC_EXTEND",
    23: "PRE_MODEL_ARGS",
    24: "BUNDLE_MODEL_INFO",
    26: "CUSTOM_OPS",
}
MODEL_DEF, INOUT_INFO = PARTITIONS[0], PARTITIONS[8]
# kFwkTypeToStr: the attribute is text in every file that atc writes [V: ge_generator.cc,
# SetOmSystemInfo; a file of CANN 8.0]
FRAMEWORKS = {0: "Caffe", 1: "MindSpore", 3: "TensorFlow", 5: "Onnx"}
# Far above what a converter writes; what has more is damaged.
MOST_PARTITIONS = 4096
MOST_MODELS = 4096

Age = Literal["today", "2021", "2020"]

# magic .. userdefineinfo and om_ir_version, which have stayed; the rest depends on the age
_FIXED = struct.Struct("<4sII64sI4B32sI32sI")
_MODEL_NUM_AT, _LENGTH_AT, _DYNAMIC_AT = 156, 184, 193
_VERSION_BYTES = 20
# of a partition table: type, offset, size; the old one in files without a model_length
ENTRY = struct.Struct("<I4xQQ")
OLD_ENTRY = struct.Struct("<III")


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A part of the file: its type, where it begins in the file, and its size in bytes."""

    type: str
    offset: int
    size: int


@dataclass(frozen=True, kw_only=True)
class OmModel:
    """One model of a file: its partitions in the file's order, and the content of MODEL_DEF."""

    partitions: tuple[Partition, ...]
    definition: ModelDef

    @property
    def name(self) -> str:
        """Of its graph."""
        return self.definition.name

    @property
    def attributes(self) -> dict[str, Scalar]:
        """All that are one text or number."""
        return self.definition.scalars

    @property
    def other_attributes(self) -> tuple[str, ...]:
        """Names of those that are lists, tensors or very long."""
        lists = [k for k, v in self.definition.values.items() if isinstance(v, tuple)]
        return (*lists, *self.definition.others)


@dataclass(frozen=True, kw_only=True)
class OmHeader:
    """The first 256 bytes.

    Attributes:
        model_num: models in the file, as its header counts them.
        is_dynamic: whether its shapes are only known when it runs.
        is_encrypted: whether its header is marked so. GE's loader does not look at the mark [V].
    """

    age: Age
    name: str
    kind: str
    model_num: int
    ir_version: int
    platform_version: str
    is_dynamic: bool
    is_encrypted: bool


@dataclass(frozen=True, kw_only=True)
class OmFile(OmHeader):
    """The facts in an .om file. Where it holds several models, they are the first one's.

    Attributes:
        soc_version: the chip it was converted for; empty where the file names none, as those of
            CANN before 8.0 do.
        atc_version: of the converter: CANN's internal number, since 8.5 its release; empty where
            the file has none.
        atc_cmdline: the converter's command line; likewise.
        framework_type: "Onnx" and the like; likewise.
        memory_size: bytes of memory it works in; None, as for the next three, where the file does
            not hold it.
        tensors: inputs (of gears a hidden one, too), outputs and gears; empty where undescribed.
        models: each model that could be read, the first included.
        unread: what could not be read, a sentence each.
        remarks: what is unusual and changes nothing: the loader passes over it, or it only informs.
    """

    path: Path
    bytes: int
    soc_version: str
    atc_version: str
    atc_cmdline: str
    framework_type: str
    memory_size: int | None
    weight_size: int | None
    stream_num: int | None
    event_num: int | None
    tensors: OmTensors
    models: tuple[OmModel, ...]
    unread: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """Of the first model."""
        return self.models[0].partitions if self.models else ()

    @property
    def attributes(self) -> dict[str, Scalar]:
        """Of the first model."""
        return self.models[0].attributes if self.models else {}


def read_om(path: Path) -> OmFile:
    """Read header, partition tables and model attributes; weights are stepped over.

    A file that is an .om as long as its header promises is never refused: what else cannot be read
    stands in `OmFile.unread`, because the loader, not this reader, decides what runs.

    Raises:
        ArtifactError: not there, not an .om, truncated, or something was appended.
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
    """As `read_om`, from a file that is open."""
    data = FileBytes(file, size)
    unread: list[str] = []
    remarks: list[str] = []
    header = _read_header(path, data, remarks)
    models = _read_models(data, header, unread, remarks)
    scalars = models[0].attributes if models else {}
    name = models[0].name if models else ""
    facts = _Facts(scalars, remarks)
    return OmFile(
        path=path,
        bytes=size,
        **(vars(header) | {"name": name or header.name}),
        soc_version=facts.text("soc_version"),
        atc_version=facts.text("atc_version"),
        atc_cmdline=facts.text("atc_cmdline"),
        framework_type=facts.framework(),
        memory_size=facts.number("memory_size"),
        weight_size=facts.number("weight_size"),
        stream_num=facts.number("stream_num"),
        event_num=facts.number("event_num"),
        tensors=_tensors(data, models[0], unread) if models else OmTensors(),
        models=tuple(models),
        unread=tuple(unread),
        remarks=tuple(remarks),
    )


def refused(path: Path, got: str, expected: str = "", action: str = "") -> ArtifactError:
    """The error for a file that is no whole .om."""
    return ArtifactError(
        shown(path),
        expected=expected or "an .om file as atc writes it",
        got=got,
        action=action or "Copy the file again, or convert the model again",
    )


class _Facts:
    """The attributes that are facts of their own; one of another type than atc's is unknown."""

    def __init__(self, scalars: dict[str, Scalar], remarks: list[str]) -> None:
        self._scalars, self._remarks = scalars, remarks

    def text(self, key: str) -> str:
        value = self._scalars.get(key, "")
        return value if isinstance(value, str) else self._unknown(key, value)

    def number(self, key: str) -> int | None:
        value = self._scalars.get(key)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        self._unknown(key, value)
        return None

    def framework(self) -> str:
        value = self._scalars.get("framework_type", "")
        if isinstance(value, int) and value in FRAMEWORKS and not isinstance(value, bool):
            return FRAMEWORKS[value]
        return self.text("framework_type")

    def _unknown(self, key: str, value: Scalar) -> str:
        self._remarks.append(f"attribute {key} is {value!r:.60}, of another type than atc writes")
        return ""


def _read_header(path: Path, data: FileBytes, remarks: list[str]) -> OmHeader:
    head = data.read(0, min(HEAD_BYTES, data.size))
    if head[: len(MAGIC)] != MAGIC:
        raise refused(path, seems_to_be(head), action="Name the .om file itself")
    if len(head) < HEADER_BYTES:
        raise refused(
            path, f"{data.size}: it is truncated", f"more than the header's {HEADER_BYTES} bytes"
        )
    fields = _FIXED.unpack_from(head)
    _, headsize, _, _, length, encrypted, _, modeltype, _, name, _, _, ir_version = fields
    (model_num,) = struct.unpack_from("<I", head, _MODEL_NUM_AT)
    (model_length,) = struct.unpack_from("<Q", head, _LENGTH_AT)
    age: Age = "today" if model_length else "2021"
    version_at = _MODEL_NUM_AT + 4
    # text where the count should be: before December 2020 there was none
    if model_num > MOST_MODELS and 0x20 < head[_MODEL_NUM_AT] < 0x7F and not model_length:
        age, model_num, version_at = "2020", 1, _MODEL_NUM_AT
    # what the loader itself checks, and refuses with 145006 [V: model_parser_base.cc]
    declared = HEADER_BYTES + (model_length or length)
    if data.size != declared:
        how = "it is truncated" if data.size < declared else "something was appended"
        raise refused(path, f"{data.size}: {how}", f"{declared} bytes, as its header says")
    if headsize != HEADER_BYTES:
        remarks.append(f"the header gives its own size as {headsize}, not {HEADER_BYTES}")
    if modeltype not in MODEL_TYPES:
        remarks.append(
            f"model type {modeltype} is unknown; {max(MODEL_TYPES)} is the highest known"
        )
    return OmHeader(
        name=_c_string(name),
        kind=MODEL_TYPES.get(modeltype, f"type {modeltype}"),
        ir_version=ir_version,
        model_num=model_num or 1,
        platform_version=_c_string(head[version_at : version_at + _VERSION_BYTES]),
        # the older layouts have no such mark; gears are not dynamic [V: model_helper.cc]
        is_dynamic=age == "today" and bool(head[_DYNAMIC_AT]),
        is_encrypted=bool(encrypted),
        age=age,
    )


def _read_models(
    data: FileBytes, header: OmHeader, unread: list[str], remarks: list[str]
) -> list[OmModel]:
    """Every model's table, and its MODEL_DEF; the tables follow one another as the loader has it.

    Source: ge, OmFileLoadHelper::LoadModelPartitionTable [V].
    """
    models: list[OmModel] = []
    at = HEADER_BYTES
    wide = header.age == "today" or header.kind == MODEL_TYPES[3]
    for index in range(header.model_num):
        which = f"model {index + 1} of {header.model_num}: " if header.model_num > 1 else ""
        if index == MOST_MODELS:
            unread.append(f"the header counts {header.model_num:,} models; {index:,} were read")
            break
        try:
            partitions, at = _read_table(data, at, wide, remarks, which)
        except WireError as error:
            unread.append(f"{which}{error}")
            return models
        definition = _read_definition(data, partitions, unread, which)
        models.append(OmModel(partitions=partitions, definition=definition))
    if at != data.size:
        unread.append(f"{data.size - at:,} bytes follow the last partition")
    return models


def _read_table(
    data: FileBytes, start: int, wide: bool, remarks: list[str], which: str
) -> tuple[tuple[Partition, ...], int]:
    """Read one model's table; returns its partitions and where the last one ends."""
    entry, begin = (ENTRY, start + 8) if wide else (OLD_ENTRY, start + 4)
    (count,) = struct.unpack("<I", data.read(start, 4))
    if not 1 <= count <= MOST_PARTITIONS:
        raise WireError(f"a table of {count} partitions, where 1 to {MOST_PARTITIONS} are possible")
    at = begin + count * entry.size
    if at > data.size:
        raise WireError(f"a table of {count} partitions that ends after the file")
    base, moved = at, False
    partitions: list[Partition] = []
    for index, (kind, offset, size) in enumerate(entry.iter_unpack(data.read(begin, at - begin))):
        name = PARTITIONS.get(kind, f"type {kind}")
        if at + size > data.size:
            raise WireError(
                f"partition {index} ({name}) of {size} bytes, where {data.size - at} are left"
            )
        moved = moved or offset != at - base
        partitions.append(Partition(type=name, offset=at, size=size))
        at += size
    if moved:
        remarks.append(f"{which}the table's offsets are not where its sizes put the partitions")
    return tuple(partitions), at


def _read_definition(
    data: FileBytes, partitions: Sequence[Partition], unread: list[str], which: str
) -> ModelDef:
    found = [one for one in partitions if one.type == MODEL_DEF]
    try:
        if len(found) != 1:
            raise WireError(f"{len(found)} partitions {MODEL_DEF} where there must be 1")
        definition = read_model_def(data, found[0].offset, found[0].size)
    except WireError as error:
        unread.append(f"{which}{MODEL_DEF}: {error}")
        return ModelDef(name="", values={}, others=())
    unread += [f"{which}{MODEL_DEF}: {one}" for one in definition.unread]
    return definition


def _tensors(data: FileBytes, model: OmModel, unread: list[str]) -> OmTensors:
    described = next((one for one in model.partitions if one.type == INOUT_INFO), None)
    try:
        if described is not None:
            return read_inout_info(data, described.offset, described.size)
        return read_graph(data, model.definition)
    except WireError as error:
        unread.append(f"inputs and outputs: {error}")
        return OmTensors()


def _c_string(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")
