"""Reading a simulated .om, by the published layout and by nobody else's reader."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._objects import Artifact, Tensor
from ._state import Refused, state

HEADER = 256
MODEL_DEF, WEIGHTS_DATA = 0, 1
GEARS_INPUT = "ascend_mbatch_shape_data"
PRECISIONS = {"fp16", "fp32", "hf32", "mixed"}
# bytes of an element by aclDataType [V: acl_base.h]
ITEM_BYTES = {0: 4, 1: 2, 2: 1, 3: 4, 4: 1, 6: 2, 7: 2, 8: 4, 9: 8, 10: 8, 11: 8, 12: 1}


def read(path: str) -> Artifact:
    """Read a file as acl.mdl.load_from_file does.

    Raises:
        Refused: 145002 no such file; else as `parse`.
    """
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise Refused(145002, f"cannot read {path!r}: {error}") from error
    return parse(content)


def parse(content: bytes) -> Artifact:
    """Take a model apart.

    Raises:
        Refused: 145006 not an OM, or cut; 545001 and 545002 what is in it is broken; 507008 made
            for another chip; 545001 with E19999 made by a newer CANN.
    """
    parts = _partitions(content)
    if MODEL_DEF not in parts or WEIGHTS_DATA not in parts:
        raise Refused(545002, f"the model has the partitions {sorted(parts)} alone")
    try:
        attributes = _attributes(parts[MODEL_DEF])
        payload = json.loads(attributes["simulator"])
        artifact = _artifact(attributes, payload, parts[WEIGHTS_DATA])
    except (LookupError, ValueError, TypeError, AttributeError, struct.error) as error:
        raise Refused(545001, f"this is no model of the simulated atc: {error!r}") from error
    soc = state.settings.soc
    if artifact.soc != soc:
        raise Refused(
            507008, f"soc version is not supported: the model is for {artifact.soc}, this is {soc}"
        )
    if _version(artifact.atc_version) > _version(state.settings.cann):
        raise Refused(
            545001,
            f"E19999: the opp version of the model ({artifact.atc_version}) does not match the"
            f" runtime's ({state.settings.cann})",
        )
    return artifact


def _partitions(content: bytes) -> dict[int, bytes]:
    """Payloads by type, after every length is checked."""
    if len(content) < HEADER or content[:4] != b"IMOD":
        raise Refused(145006, "invalid om file: the magic number is wrong")
    head_size, _version_field = struct.unpack_from("<II", content, 4)
    (length,) = struct.unpack_from("<I", content, 76)
    (model_length,) = struct.unpack_from("<Q", content, 184)
    if head_size != HEADER or (model_length or length) != len(content) - HEADER:
        raise Refused(145006, "invalid om file: the length in its header is not the file's")
    if content[80]:
        raise Refused(145006, "invalid om file: it is encrypted")
    wide = model_length != 0
    entry, first = ("<IxxxxQQ", HEADER + 8) if wide else ("<III", HEADER + 4)
    try:
        (number,) = struct.unpack_from("<I", content, HEADER)
        if number > 64:
            raise Refused(545002, f"{number} partitions")
        step = struct.calcsize(entry)
        entries = [struct.unpack_from(entry, content, first + i * step) for i in range(number)]
    except struct.error as error:
        raise Refused(545002, "the partition table is cut") from error
    start = first + number * step
    parts: dict[int, bytes] = {}
    expected = 0
    for kind, offset, size in entries:
        if offset != expected or start + offset + size > len(content):
            raise Refused(545002, f"partition {kind} does not lie where it must")
        expected += size
        parts[kind] = content[start + offset : start + offset + size]
    return parts


def _artifact(attributes: dict[str, Any], payload: dict[str, Any], onnx: bytes) -> Artifact:
    gears = tuple(int(g) for g in payload["gears"])
    inputs, outputs = (
        tuple(
            Tensor(t["name"], tuple(t["dims"]), t["dtype"], t["format"]) for t in payload[direction]
        )
        for direction in ("inputs", "outputs")
    )
    if bool(gears) != (inputs[-1].name == GEARS_INPUT):
        raise ValueError(f"gears {gears} with the last input {inputs[-1].name}")
    if not gears and any(-1 in t.dims for t in inputs):
        # [V: output sizes are unknown then, and the call sequence is another one]
        raise Refused(207000, "the simulator runs no model of truly dynamic shape")
    if payload["precision"] not in PRECISIONS:
        raise ValueError(f"precision {payload['precision']!r}")
    if {t.dtype for t in (*inputs, *outputs)} - set(ITEM_BYTES):
        raise ValueError("an unknown dtype")
    return Artifact(
        soc=attributes["soc_version"].decode(),
        atc_version=attributes["atc_version"].decode(),
        work_bytes=int(attributes["memory_size"]),
        weight_bytes=int(attributes["weight_size"]),
        inputs=inputs,
        outputs=outputs,
        gears=gears,
        precision=payload["precision"],
        keep_fp32=tuple(payload["keep_fp32"]),
        aipp=payload["aipp"],
        onnx=onnx,
    )


def _version(text: str) -> tuple[int, ...]:
    """The leading numbers: 8.5.0.simulated is (8, 5, 0)."""
    numbers: list[int] = []
    for part in text.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _attributes(model_def: bytes) -> dict[str, Any]:
    """Field 11 of ge.proto.ModelDef: a map of AttrDef, scalars alone."""
    found: dict[str, Any] = {}
    for number, value in _fields(model_def):
        if number == 11 and isinstance(value, bytes):
            entry = dict(_fields(value))
            for kind, scalar in _fields(entry[2]):
                if kind in (2, 3, 4, 5):
                    found[entry[1].decode()] = scalar
    return found


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Protobuf's wire format: bytes for length-delimited and fixed fields, int for varints."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == 2:
            size, position = _varint(data, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if position + size > len(data):
            raise ValueError("a field runs past the end")
        yield number, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number of more than 10 bytes")
