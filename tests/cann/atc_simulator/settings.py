"""Precision and AIPP: what options and their files make of an OM, as the simulated acl computes it.

Source: ATC manual, --precision_mode(_v2), --op_precision_mode, --keep_dtype and chapter AIPP;
hicann/ge fe_context_utils.cc (force_fp16 is the default), insert_op.proto. HF32: chips whose
platform file lists h322f32.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import NodeProto

ORIGIN = ("origin", "must_keep_origin_dtype")
HALF = ("", "fp16", "force_fp16", "mixed_float16", "allow_mix_precision")
HF32_CHIPS = ("Ascend910B", "Ascend910_93", "Ascend310B", "Ascend031", "Ascend950", "Ascend350")
FULL_CONVOLUTIONS = "Conv2D=enable_float_32_execution"
CHANNELS = range(3)
NUMBERS = ("mean_chn", "min_chn", "var_reci_chn")
CHOICES = {"aipp_mode": "static", "input_format": "RGB888_U8", "csc_switch": "false"}


def arithmetic(flags: Mapping[str, str], nodes: Iterable[NodeProto]) -> tuple[str, list[str]]:
    """The arithmetic as `parity.rehearsal` knows it, and the nodes kept in fp32 by --keep_dtype."""
    mode = flags["precision_mode_v2"] or flags["precision_mode"]
    if mode in ORIGIN:
        soc = flags["soc_version"]
        # Ascend910B without a digit is the first 910
        hf32 = soc.startswith(HF32_CHIPS) and soc != "Ascend910B"
        full = FULL_CONVOLUTIONS in _lines(flags["op_precision_mode"])
        return "hf32" if hf32 and not full else "fp32", []
    listed = _lines(flags["keep_dtype"])
    types = {"Conv" if "Conv2D" in one else one[8:] for one in listed if one.startswith("OpType::")}
    kept = [node.name for node in nodes if node.name in listed or node.op_type in types]
    return "fp16" if mode in HALF else "mixed", kept


def aipp(path: str, shape: list[int]) -> dict[str, Any] | None:
    """The one static operator of a file, for an input of NCHW dims; None where there is no file."""
    if not path:
        return None
    text = re.sub(r"#.*", "", Path(path).read_text())
    inside = re.fullmatch(r"\s*aipp_op\s*\{((?:\s*\w+\s*:\s*[\w.+-]+)+)\s*\}\s*", text)
    if not inside:
        raise ValueError(f"{path}: expected aipp_op {{ ... }}")
    fields = dict(re.findall(r"(\w+)\s*:\s*([\w.+-]+)", inside[1]))
    swap = fields.pop("rbuv_swap_switch", "false") == "true"
    numbers = {
        name: [float(fields.pop(f"{name}_{n}", name == "var_reci_chn")) for n in CHANNELS]
        for name in NUMBERS
    }
    expected = {**CHOICES, "related_input_rank": "0"}
    expected |= {"src_image_size_h": str(shape[2]), "src_image_size_w": str(shape[3])}
    wrong = {name: one for name, one in fields.items() if expected.get(name) != one}
    if wrong or not {"aipp_mode", "input_format"} <= set(fields):
        raise ValueError(f"AIPP configuration is invalid: {wrong or 'no mode or format'}")
    halves = [struct.unpack("<e", struct.pack("<e", one))[0] for one in numbers["var_reci_chn"]]
    mean = [int(one) for one in numbers["mean_chn"]]
    return {"mean": mean, "min": numbers["min_chn"], "var_reci": halves, "rbuv_swap": swap}


def _lines(path: str) -> list[str]:
    """Of an option's file, blanks taken out; none where the option was not given."""
    return [re.sub(r"\s", "", one) for one in Path(path).read_text().splitlines()] if path else []
