"""Files of Ascend (.om) by their public definition, neither by the product nor by the simulator."""

from __future__ import annotations

from collections.abc import Mapping

from cann.ge_format import MODEL_DEF, Header, HeaderOf2021, om_file, table
from cann.om_writer import delimited as field


def text(value: str) -> bytes:
    """AttrDef { bytes s = 2; }."""
    return field(2, value.encode())


def model_def(attributes: Mapping[str, bytes]) -> bytes:
    """ModelDef { string name = 1; map<string, AttrDef> attr = 11; }; any bytes for an AttrDef."""
    entries = (field(1, key.encode()) + field(2, value) for key, value in attributes.items())
    return field(1, b"net") + b"".join(field(11, entry) for entry in entries)


def om(payload: bytes, *, dynamic: bool = False, short: int = 0, old: bool = False) -> bytes:
    """A file of one MODEL_DEF, without its last `short` bytes."""
    body = table([(MODEL_DEF, payload)], tiny=old)
    kind, fields = (HeaderOf2021, {}) if old else (Header, {"is_unknow_model": int(dynamic)})
    made = om_file(body, kind, model_num=1, **fields)
    return made[: len(made) - short]


OURS = {"soc_version": text("Ascend310P3"), "framework_type": text("Onnx")}
