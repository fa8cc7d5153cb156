"""--insert_op_conf: the AIPP file, a protobuf text, and what it makes of the network's input.

Source: ATC manual, chapter AIPP; hicann graph_metadef/proto/insert_op.proto (fields).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cann.atc_simulator.messages import AtcError, fail

Value = int | float | bool | str
Block = dict[str, Value]

_NUMBERED = {
    **{f"mean_chn_{n}": (0, 255) for n in range(4)},
    **{f"matrix_r{r}c{c}": (-32677, 32676) for r in range(3) for c in range(3)},
    **{f"output_bias_{n}": (0, 255) for n in range(3)},
    **{f"input_bias_{n}": (0, 255) for n in range(3)},
}
INTEGERS: dict[str, tuple[int, int]] = {
    **_NUMBERED,
    "related_input_rank": (0, 2**31 - 1),
    "max_src_image_size": (0, 2**32 - 1),
    "src_image_size_w": (0, 4096),
    "src_image_size_h": (0, 4096),
    "load_start_pos_w": (0, 4095),
    "load_start_pos_h": (0, 4095),
    "crop_size_w": (0, 4096),
    "crop_size_h": (0, 4096),
    "resize_output_w": (0, 4096),
    "resize_output_h": (0, 4096),
    "left_padding_size": (0, 32),
    "right_padding_size": (0, 32),
    "top_padding_size": (0, 32),
    "bottom_padding_size": (0, 32),
}
FLOATS: dict[str, tuple[float, float]] = {
    **{f"min_chn_{n}": (0.0, 255.0) for n in range(4)},
    **{f"var_reci_chn_{n}": (-65504.0, 65504.0) for n in range(4)},
    "padding_value": (-65504.0, 65504.0),
    "cpadding_value": (-65504.0, 65504.0),
}
SWITCHES = {
    *("crop", "resize", "padding", "csc_switch", "rbuv_swap_switch", "ax_swap_switch"),
    *("single_line_mode", "support_rotation"),
}
MODES = {"static": 1, "dynamic": 2}
# format -> (channels read per pixel, channels the network then sees)
FORMATS = {
    "YUV420SP_U8": (0, 3),
    "XRGB8888_U8": (4, 3),
    "RGB888_U8": (3, 3),
    "YUV400_U8": (1, 1),
}
_TOKEN = re.compile(
    r"\s+|#[^\n]*|(?P<word>[A-Za-z_]\w*)|(?P<number>[-+]?[0-9.][\w.+-]*)|(?P<mark>.)"
)
_NARROWEST = 2


@dataclass(frozen=True, kw_only=True)
class Aipp:
    """One static AIPP operator, as far as the simulated device computes it."""

    input_index: int
    height: int  # 0: the network's own
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


def read(path: str) -> list[Block]:
    """Read all aipp_op blocks of a file, each checked for fields, types and ranges.

    Raises:
        AtcError: E10052.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise invalid(f"the file {path} cannot be read: {error!r}") from None
    tokens = [match.group() for match in _TOKEN.finditer(text) if match.lastgroup is not None]
    blocks = []
    position = 0
    while position < len(tokens):
        if tokens[position : position + 2] == ["aipp_op", ":"]:
            del tokens[position + 1]
        if tokens[position : position + 2] != ["aipp_op", "{"]:
            raise invalid(f"expected aipp_op {{, found {tokens[position]}")
        block, position = _block(tokens, position + 2)
        blocks.append(block)
    if not blocks:
        raise invalid("the file holds no aipp_op")
    return blocks


def _block(tokens: list[str], position: int) -> tuple[Block, int]:
    block: Block = {}
    while position < len(tokens) and tokens[position] != "}":
        field = tokens[position]
        if tokens[position + 1 : position + 2] != [":"] or position + 2 >= len(tokens):
            raise invalid(f"the field {field} has no value")
        if field in block:
            raise invalid(f"the field {field} is set twice")
        block[field] = _value(field, tokens[position + 2])
        position += 3
        if position < len(tokens) and tokens[position] in ",;":
            position += 1
    if position >= len(tokens):
        raise invalid("aipp_op { is not closed")
    return block, position + 1


def _value(field: str, token: str) -> Value:
    if field == "aipp_mode":
        return _choice(field, token, MODES)
    if field == "input_format":
        return _choice(field, token, FORMATS)
    if field in SWITCHES:
        if token not in ("true", "false", "1", "0", "t", "f", "True", "False"):
            raise invalid(f"{field} is a switch, not {token}")
        return token in ("true", "1", "t", "True")
    if field in INTEGERS:
        if not re.fullmatch(r"-?[0-9]+", token):
            raise invalid(f"{field} is an integer, not {token}")
        return _within(field, int(token), *INTEGERS[field])
    if field in FLOATS:
        try:
            number = float(token.removesuffix("f"))
        except ValueError:
            raise invalid(f"{field} is a number, not {token}") from None
        low, high = FLOATS[field]
        if not low <= number <= high:
            raise invalid(f"{field} {token} is out of [{low}, {high}]")
        return number
    raise invalid(f"unknown field {field}")


def _choice(field: str, token: str, choices: Mapping[str, object]) -> str:
    if token not in choices:
        raise invalid(f"{field} {token} is none of {', '.join(choices)}")
    return token


def _within(field: str, number: int, low: int, high: int) -> int:
    if not low <= number <= high:
        raise invalid(f"{field} {number} is out of [{low}, {high}]")
    if field.startswith("src_image_size_w") and 0 < number < _NARROWEST:
        raise invalid(f"{field} {number} is out of [{_NARROWEST}, {high}]")
    return number


def understand(blocks: list[Block], shapes: list[list[int]], input_format: str) -> Aipp:
    """Fit the blocks to the network's inputs (NCHW dims).

    Raises:
        AtcError: E10052, or E10055 for what the simulated device cannot compute.
    """
    ranks = [int(block.get("related_input_rank", 0)) for block in blocks]
    if len(set(ranks)) != len(ranks):
        raise invalid("two aipp_op have the same related_input_rank")
    for block, rank in zip(blocks, ranks, strict=True):
        if "aipp_mode" not in block:
            raise invalid("aipp_mode must be configured")
        if rank >= len(shapes):
            raise invalid(f"related_input_rank {rank} must be less than {len(shapes)}")
        if input_format != "NCHW":
            raise invalid(f"--input_format must be NCHW, it is {input_format}")
    if len(blocks) > 1:
        raise fail("E10055", reason="the simulator has one aipp_op per model")
    block, shape = blocks[0], shapes[ranks[0]]
    if block["aipp_mode"] == "dynamic":
        if not block.get("max_src_image_size"):
            raise invalid("dynamic AIPP needs max_src_image_size")
        raise fail("E10055", reason="the simulator has no dynamic AIPP")
    return _static(block, shape, ranks[0])


def _static(block: Block, shape: list[int], rank: int) -> Aipp:
    if "input_format" not in block:
        raise invalid("input_format must be configured in static mode")
    if len(shape) != 4:
        raise invalid(f"the input has {len(shape)} dims, AIPP needs 4")
    channels = FORMATS[str(block["input_format"])][1]
    if shape[1] != channels:
        raise invalid(
            f"{block['input_format']} gives {channels} channels, the network takes {shape[1]}"
        )
    height, width = _source(block, shape, "h"), _source(block, shape, "w")
    _check_geometry(block, shape, height, width)
    for switch in ("csc_switch", "crop", "padding", "resize", "ax_swap_switch"):
        if block.get(switch):
            raise fail("E10055", reason=f"the simulated device does not compute AIPP's {switch}")
    if block["input_format"] != "RGB888_U8":
        raise fail("E10055", reason=f"the simulated device does not read {block['input_format']}")
    return Aipp(
        input_index=rank,
        height=height,
        width=width,
        mean=[int(block.get(f"mean_chn_{n}", 0)) for n in range(3)],
        minimum=[float(block.get(f"min_chn_{n}", 0.0)) for n in range(3)],
        var_reci=[_half(float(block.get(f"var_reci_chn_{n}", 1.0))) for n in range(3)],
        rbuv_swap=bool(block.get("rbuv_swap_switch", False)),
    )


def _source(block: Block, shape: list[int], axis: str) -> int:
    return int(block.get(f"src_image_size_{axis}", 0)) or shape[{"h": 2, "w": 3}[axis]]


def _check_geometry(block: Block, shape: list[int], height: int, width: int) -> None:
    """What leaves AIPP must be exactly what the network takes."""
    if block.get("resize"):
        raise invalid("resize is not supported")
    if block["input_format"] == "YUV420SP_U8" and (height % 2 or width % 2):
        raise invalid("YUV420SP_U8 needs an even width and height")
    sizes = {"h": height, "w": width}
    for axis, before, after in (("h", "top", "bottom"), ("w", "left", "right")):
        size = sizes[axis]
        if block.get("crop"):
            start = int(block.get(f"load_start_pos_{axis}", 0))
            cut = int(block.get(f"crop_size_{axis}", 0)) or size
            if start + cut > size:
                raise invalid(f"the crop leaves the image: {start} + {cut} > {size}")
            size = cut
        if block.get("padding"):
            size += int(block.get(f"{before}_padding_size", 0))
            size += int(block.get(f"{after}_padding_size", 0))
        wanted = shape[{"h": 2, "w": 3}[axis]]
        if size != wanted:
            raise invalid(f"AIPP gives {axis} {size}, the network takes {wanted}")


def _half(value: float) -> float:
    """As AIPP holds it: a half-precision float."""
    (rounded,) = struct.unpack("<e", struct.pack("<e", value))
    return float(rounded)
