"""--insert_op_conf: the AIPP file, a protobuf text, and what it makes of the network's input.

Source: ATC manual, chapter AIPP; hicann graph_metadef/proto/insert_op.proto (fields). The simulated
device has one static operator on RGB888_U8 that neither crops nor pads.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from cann.atc_simulator.messages import AtcError, fail

INTEGERS: dict[str, tuple[int, int]] = {
    **{f"mean_chn_{n}": (0, 255) for n in range(4)},
    "related_input_rank": (0, 2**31 - 1),
    "src_image_size_w": (2, 4096),
    "src_image_size_h": (1, 4096),
}
FLOATS: dict[str, tuple[float, float]] = {
    **{f"min_chn_{n}": (0.0, 255.0) for n in range(4)},
    **{f"var_reci_chn_{n}": (-65504.0, 65504.0) for n in range(4)},
}
CHOICES = {
    "aipp_mode": ("static",),
    "input_format": ("RGB888_U8",),
    "rbuv_swap_switch": ("true", "false"),
    "csc_switch": ("false",),
}
_TOKEN = re.compile(r"\s+|#[^\n]*|(?P<word>[\w.+-]+)|(?P<mark>.)")


@dataclass(frozen=True, kw_only=True)
class Aipp:
    """One static AIPP operator, as far as the simulated device computes it."""

    height: int
    width: int
    mean: list[int]
    minimum: list[float]
    var_reci: list[float]
    rbuv_swap: bool

    def payload(self) -> dict[str, object]:
        """The object under "aipp" in the OM's description."""
        return {
            "mean": self.mean,
            "min": self.minimum,
            "var_reci": self.var_reci,
            "rbuv_swap": self.rbuv_swap,
        }


def invalid(reason: str) -> AtcError:
    """E10052 with its reason."""
    return fail("E10052", reason=reason)


def read(path: str) -> dict[str, str]:
    """Read the one aipp_op of a file, its fields checked for names, types and ranges.

    Raises:
        AtcError: E10052, also for what the simulated device cannot compute.
    """
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    tokens = [match.group() for match in _TOKEN.finditer(text) if match.lastgroup is not None]
    if tokens[:2] != ["aipp_op", "{"] or tokens[-1] != "}":
        raise invalid("expected aipp_op { ... }")
    fields: dict[str, str] = {}
    inside = [one for one in tokens[2:-1] if one not in {",", ";"}]
    for at in range(0, len(inside), 3):
        field, *rest = inside[at : at + 3]
        if len(rest) != 2 or rest[0] != ":":
            raise invalid(f"the field {field} has no value")
        if field in fields:
            raise invalid(f"the field {field} is set twice")
        _check(field, rest[1])
        fields[field] = rest[1]
    return fields


def _check(field: str, token: str) -> None:
    if field in CHOICES:
        if token not in CHOICES[field]:
            raise invalid(f"{field} {token} is none of {', '.join(CHOICES[field])}")
    elif field in {**INTEGERS, **FLOATS}:
        kind, (low, high) = (int, INTEGERS[field]) if field in INTEGERS else (float, FLOATS[field])
        try:
            number = kind(token)
        except ValueError:
            raise invalid(f"{field} is a number, not {token}") from None
        if not low <= number <= high:
            raise invalid(f"{field} {token} is out of [{low}, {high}]")
    else:
        raise invalid(f"unknown field {field}")


def understand(fields: dict[str, str], shape: list[int], input_format: str) -> Aipp:
    """Fit the operator to the network's one image input (NCHW dims).

    Raises:
        AtcError: E10052.
    """
    for name in ("aipp_mode", "input_format"):
        if name not in fields:
            raise invalid(f"{name} must be configured")
    if fields.get("related_input_rank", "0") != "0":
        raise invalid(f"related_input_rank {fields['related_input_rank']} must be less than 1")
    if input_format not in ("", "NCHW"):
        raise invalid(f"--input_format must be NCHW, it is {input_format}")
    if len(shape) != 4 or shape[1] != 3:
        raise invalid(f"AIPP gives 4 dims with 3 channels, the network takes {shape}")
    size = {"h": shape[2], "w": shape[3]}
    for axis, wanted in size.items():
        given = int(fields.get(f"src_image_size_{axis}", wanted))
        if given != wanted:
            raise invalid(f"AIPP gives {axis} {given}, the network takes {wanted}")
    return Aipp(
        height=size["h"],
        width=size["w"],
        mean=[int(fields.get(f"mean_chn_{n}", 0)) for n in range(3)],
        minimum=[float(fields.get(f"min_chn_{n}", 0.0)) for n in range(3)],
        var_reci=[_half(float(fields.get(f"var_reci_chn_{n}", 1.0))) for n in range(3)],
        rbuv_swap=fields.get("rbuv_swap_switch") == "true",
    )


def _half(value: float) -> float:
    """As AIPP holds it: a half-precision float."""
    (rounded,) = struct.unpack("<e", struct.pack("<e", value))
    return float(rounded)
