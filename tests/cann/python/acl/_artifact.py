"""Reading a simulated .om by the published layout of today."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from ._objects import Artifact, Tensor
from ._state import Refused, state

HEADER = 256
GEARS_INPUT = "ascend_mbatch_shape_data"
# bytes of an element by aclDataType [V: acl_base.h]
ITEM_BYTES = {0: 4, 1: 2, 2: 1, 3: 4, 4: 1, 6: 2, 7: 2, 8: 4, 9: 8, 10: 8, 11: 8, 12: 1}


def read(path: str) -> Artifact:
    """Read a file as acl.mdl.load_from_file does."""
    # here, so that `import acl` takes no time
    from cann.ge_format import MODEL_DEF, WEIGHTS_DATA, attribute_values, partitions
    from google.protobuf.message import DecodeError

    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise Refused(145002, f"cannot read {path!r}: {error}") from error
    if len(content) < HEADER or content[:4] != b"IMOD":
        raise Refused(145006, "invalid om file: the magic number is wrong")
    if struct.unpack_from("<Q", content, 184)[0] != len(content) - HEADER:
        raise Refused(145006, "invalid om file: the length in its header is not the file's")
    try:
        parts = partitions(content)
        artifact = _artifact(attribute_values(parts[MODEL_DEF]), parts[WEIGHTS_DATA])
    except (LookupError, ValueError, TypeError, AttributeError, DecodeError) as error:
        raise Refused(545001, f"this is no model of the simulated atc: {error!r}") from error
    if artifact.soc != state.settings.soc:
        raise Refused(507008, f"soc version is not supported: the model is for {artifact.soc}")
    return artifact


def _artifact(attributes: dict[str, Any], onnx: bytes) -> Artifact:
    told = json.loads(attributes["simulator"])
    inputs, outputs = (
        tuple(Tensor(one["name"], tuple(one["dims"]), one["dtype"]) for one in told[side])
        for side in ("inputs", "outputs")
    )
    if bool(told["gears"]) != (inputs[-1].name == GEARS_INPUT):
        raise ValueError(f"gears {told['gears']} with the last input {inputs[-1].name}")
    return Artifact(
        soc=attributes["soc_version"],
        inputs=inputs,
        outputs=outputs,
        gears=tuple(told["gears"]),
        precision=told["precision"],
        keep_fp32=tuple(told["keep_fp32"]),
        aipp=told["aipp"],
        onnx=onnx,
    )
