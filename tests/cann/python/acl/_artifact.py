"""Reading a simulated .om, by the published layout of today and by nobody else's reader."""

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
# bytes of an element by aclDataType [V: acl_base.h]
ITEM_BYTES = {0: 4, 1: 2, 2: 1, 3: 4, 4: 1, 6: 2, 7: 2, 8: 4, 9: 8, 10: 8, 11: 8, 12: 1}


def read(path: str) -> Artifact:
    """Read a file as acl.mdl.load_from_file does.

    Raises:
        Refused: 145002 no such file; 145006 not an OM, or cut; 545001 its content is broken, or
            made by a newer CANN (E19999); 507008 made for another chip.
    """
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise Refused(145002, f"cannot read {path!r}: {error}") from error
    if len(content) < HEADER or content[:4] != b"IMOD":
        raise Refused(145006, "invalid om file: the magic number is wrong")
    if struct.unpack_from("<Q", content, 184)[0] != len(content) - HEADER:
        raise Refused(145006, "invalid om file: the length in its header is not the file's")
    if content[80]:
        raise Refused(145006, "invalid om file: it is encrypted")
    try:
        parts = _partitions(content)
        artifact = _artifact(dict(_attributes(parts[MODEL_DEF])), parts[WEIGHTS_DATA])
    except (LookupError, ValueError, TypeError, AttributeError, struct.error) as error:
        raise Refused(545001, f"this is no model of the simulated atc: {error!r}") from error
    here = state.settings
    if artifact.soc != here.soc:
        text = f"soc version is not supported: the model is for {artifact.soc}, this is {here.soc}"
        raise Refused(507008, text)
    if _version(artifact.atc_version) > _version(here.cann):
        text = f"the opp version of the model ({artifact.atc_version}) does not match the runtime's"
        raise Refused(545001, f"E19999: {text} ({here.cann})")
    return artifact


def _partitions(content: bytes) -> dict[int, bytes]:
    (number,) = struct.unpack_from("<I", content, HEADER)
    start = HEADER + 8 + number * 24
    parts: dict[int, bytes] = {}
    for index in range(number):
        kind, offset, size = struct.unpack_from("<IxxxxQQ", content, HEADER + 8 + index * 24)
        if start + offset + size > len(content):
            raise ValueError(f"partition {kind} does not lie where it must")
        parts[kind] = content[start + offset : start + offset + size]
    return parts


def _artifact(attributes: dict[str, Any], onnx: bytes) -> Artifact:
    told = json.loads(attributes["simulator"])
    inputs, outputs = (
        tuple(Tensor(one["name"], tuple(one["dims"]), one["dtype"]) for one in told[side])
        for side in ("inputs", "outputs")
    )
    if bool(told["gears"]) != (inputs[-1].name == GEARS_INPUT):
        raise ValueError(f"gears {told['gears']} with the last input {inputs[-1].name}")
    return Artifact(
        soc=attributes["soc_version"].decode(),
        atc_version=attributes["atc_version"].decode(),
        inputs=inputs,
        outputs=outputs,
        gears=tuple(told["gears"]),
        precision=told["precision"],
        keep_fp32=tuple(told["keep_fp32"]),
        aipp=told["aipp"],
        onnx=onnx,
    )


def _version(text: str) -> tuple[int, ...]:
    """The leading numbers: 8.5.0.simulated is (8, 5, 0)."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _attributes(model_def: bytes) -> Iterator[tuple[str, Any]]:
    """Field 11 of ge.proto.ModelDef: a map of AttrDef, of which field 2 is text."""
    for number, value in _fields(model_def):
        if number == 11 and isinstance(value, bytes):
            entry = dict(_fields(value))
            yield entry[1].decode(), dict(_fields(entry[2])).get(2)


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
        size = {1: 8, 5: 4}.get(wire)
        if size is None:
            size, position = _varint(data, position)
        if position + size > len(data):
            raise ValueError("a field runs past the end")
        yield number, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
