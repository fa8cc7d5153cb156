"""--input_shape and --dynamic_batch_size: grammar, and the checks made before parsing.

Source: hicann/ge api/aclgrph/option_utils.cc, graph/preprocess/multi_batch_options.cc. Other gears
and shapes that stay unknown are no part of the product: the simulator has none of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cann.atc_simulator.flags import Flags
from cann.atc_simulator.messages import AtcError, fail, message

Shapes = dict[str, list[int]]

FEWEST_GEARS = 2
MOST_GEARS = 100
MOST_GEARS_950 = 256
_LARGEST = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class ShapePlan:
    """The inputs' shapes by the command line: -1 where a gear stands."""

    shapes: Shapes = field(default_factory=dict)
    gears: list[int] = field(default_factory=list)


def gears_and_shapes(flags: Flags) -> ShapePlan:
    """The checks made before the model is read: of gears; static shapes wait for the chip.

    Raises:
        AtcError: E10004, E10012, E10018, E10031, E10003, E19999, E10055 or one of a shape.
    """
    for name in ("input_shape_range", "dynamic_image_size", "dynamic_dims"):
        if flags[name]:
            raise fail("E10055", reason=f"the simulator has no --{name}")
    text = flags["dynamic_batch_size"]
    if not text:
        if "-1" in flags["input_shape"] or "~" in flags["input_shape"]:
            raise fail("E10055", reason="the simulator has no models of dynamic shape")
        return ShapePlan()
    if not flags["input_shape"]:
        raise fail("E10004", parameter="input_shape")
    shapes = _named(flags["input_shape"], smallest=-1)
    batches = []
    for shape in shapes.values():
        if not shape:
            raise fail("E10012")
        others = [index for index, dim in enumerate(shape[1:], 1) if dim < 0]
        if shape[0] == -1 and others:
            raise fail("E10018", shape=shape[others[0]], index=others[0])
        batches.append(shape[0] == -1)
    if not any(batches):
        raise fail("E10031")
    text = text.removesuffix(",")
    if not re.fullmatch(r"[0-9,]*", text):
        reason = 'It can only contain digits and ",".'
        raise fail("E10003", parameter="dynamic_batch_size", value=text, reason=reason)
    if not all(text.split(",")):
        reason = f"the gears [{text}] should not have a non-digital character"
        raise fail("E19999", reason=reason)
    return ShapePlan(shapes=shapes, gears=[int(token) for token in text.split(",")])


def static_shapes(text: str) -> ShapePlan:
    """Parse a static --input_shape; this happens only after the chip was accepted.

    Raises:
        AtcError: E10002, E10011, E10013 or E10014, then E10001.
    """
    try:
        return ShapePlan(shapes=_named(text, smallest=1))
    except AtcError as error:
        reason = "failed to parse the input shape."
        again = message("E10001", value=text, parameter="input_shape", reason=reason)
        raise AtcError(*error.messages, again) from None


def check_gears(gears: list[int], *, soc_version: str) -> None:
    """The checks made when the graph is prepared.

    Raises:
        AtcError: E10035, E10036, E10038 or E10039.
    """
    most = MOST_GEARS_950 if "950" in soc_version else MOST_GEARS
    if len(gears) < FEWEST_GEARS:
        raise fail("E10035", shapesize=len(gears), minshapesize=FEWEST_GEARS)
    if len(gears) > most:
        raise fail("E10036", shapesize=len(gears), maxshapesize=most)
    if 0 in gears:
        raise fail("E10038", dim=0)
    if len(set(gears)) != len(gears):
        raise fail("E10039")


def _named(text: str, *, smallest: int) -> Shapes:
    """`name:1,3,8,8;other:2`: split at the last colon, for names may hold colons."""
    shapes: Shapes = {}
    for item in text.split(";"):
        name, colon, dims = item.rpartition(":")
        if not colon:
            raise _malformed(item, "The shape must contain two parts: name and value")
        shapes[name.strip()] = [_dim(one, item, smallest) for one in dims.split(",") if dims]
    return shapes


def _dim(token: str, item: str, smallest: int) -> int:
    if "." in token:
        raise _malformed(item, "The float number is unsupported")
    number = re.match(r"\s*[+-]?[0-9]+", token)
    if not number:
        raise fail("E10014", parameter="input_shape", value=token)
    value = int(number.group())
    if abs(value) > _LARGEST:
        raise fail("E10013", parameter="input_shape", value=token)
    if not re.fullmatch(r"-?[0-9]+", token.strip()):
        raise _malformed(item, "It is not a digit")
    if value < smallest or not value:
        raise fail("E10011", shape=item, result=value)
    return value


def _malformed(item: str, reason: str) -> AtcError:
    return fail("E10002", shape=item, reason=reason, sample='"input_name1:1,3,224,224"')
