"""--input_shape, --input_shape_range and the gears: grammar, and the checks made before parsing.

Source: hicann/ge api/aclgrph/option_utils.cc, graph/preprocess/multi_batch_options.cc.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cann.atc_simulator.flags import Flags
from cann.atc_simulator.messages import AtcError, bad, fail, message

Shapes = dict[str, list[int]]

GEAR_FLAGS = ("dynamic_batch_size", "dynamic_image_size", "dynamic_dims")
FEWEST_GEARS = 2
MOST_GEARS = 100
MOST_GEARS_950 = 256
_LARGEST = 2**63 - 1
_SAMPLE = '"input_name1:1,3,224,224"'
_DIGITS = "It is not a digit"
_RANK_OF_IMAGES = 4


@dataclass(frozen=True, kw_only=True)
class ShapePlan:
    """What the command line says about the inputs' shapes."""

    shapes: Shapes  # -1 where a gear, or the unknown, stands
    gear_flag: str  # one of GEAR_FLAGS, or ""
    gears: list[list[int]]
    unknown: bool  # -1 or a range without gears: a model of dynamic shape


def check_exclusive(flags: Flags) -> str:
    """Which kind of gears is asked for, "" for none.

    Raises:
        AtcError: E10040 or E10009.
    """
    kinds = [name for name in GEAR_FLAGS if flags[name]]
    if kinds and not flags["input_shape_range"] and "~" in flags["input_shape"]:
        raise fail("E10040")
    if len(kinds) + bool(flags["input_shape_range"]) > 1:
        raise fail("E10009")
    return kinds[0] if kinds else ""


def check_early(flags: Flags) -> ShapePlan:
    """The checks made before the model is read: gears and ranges, not yet static shapes.

    Raises:
        AtcError: one of the codes of section "dynamic" above.
    """
    kind = check_exclusive(flags)
    if kind:
        return _with_gears(flags, kind)
    if flags["input_shape_range"]:
        return ShapePlan(
            shapes=_ranges(flags["input_shape_range"]), gear_flag="", gears=[], unknown=True
        )
    text = flags["input_shape"]
    if "~" in text or "-1" in text:
        return ShapePlan(shapes=_unknown_dims(text), gear_flag="", gears=[], unknown=True)
    return ShapePlan(shapes={}, gear_flag="", gears=[], unknown=False)


def static_shapes(text: str) -> Shapes:
    """Parse a static --input_shape; this happens only after the chip was accepted.

    Raises:
        AtcError: E10002, E10011, E10013 or E10014, then E10001.
    """
    try:
        return _named(text, allow_unknown=False)
    except AtcError as error:
        again = message(
            "E10001",
            value=text,
            parameter="input_shape",
            reason="failed to parse the input shape.",
        )
        raise AtcError(*error.messages, again) from None


def check_gears(gears: list[list[int]], *, soc_version: str) -> None:
    """The checks made when the graph is prepared.

    Raises:
        AtcError: E10035 to E10039.
    """
    most = MOST_GEARS_950 if "950" in soc_version else MOST_GEARS
    if len(gears) < FEWEST_GEARS:
        raise fail("E10035", shapesize=len(gears), minshapesize=FEWEST_GEARS)
    if len(gears) > most:
        raise fail("E10036", shapesize=len(gears), maxshapesize=most)
    for gear in gears:
        if len(gear) != len(gears[0]):
            raise fail("E10037", shapesize1=len(gears[0]), shapesize2=len(gear))
        for dim in gear:
            if dim <= 0:
                raise fail("E10038", dim=dim)
    if len({tuple(gear) for gear in gears}) != len(gears):
        raise fail("E10039")


def _with_gears(flags: Flags, kind: str) -> ShapePlan:
    if not flags["input_shape"]:
        raise fail("E10004", parameter="input_shape")
    shapes = _named(flags["input_shape"], allow_unknown=True)
    reader = {
        "dynamic_batch_size": _batch_gears,
        "dynamic_image_size": _image_gears,
        "dynamic_dims": _dims_gears,
    }[kind]
    return ShapePlan(shapes=shapes, gear_flag=kind, gears=reader(flags, shapes), unknown=False)


def _batch_gears(flags: Flags, shapes: Shapes) -> list[list[int]]:
    found = 0
    wrong = []
    for dims in sorted(shapes.items()):
        shape = dims[1]
        if not shape:
            raise fail("E10012")
        if -1 not in shape or shape[0] != -1:
            continue
        others = [index for index, dim in enumerate(shape[1:], 1) if dim < 0]
        if others:
            wrong.append(message("E10018", shape=shape[others[0]], index=others[0]))
        else:
            found += 1
    if not found:
        raise AtcError(*wrong, message("E10031"))
    if wrong:
        # the sources go on here where another input is right; what comes out is undefined
        raise AtcError(*wrong)
    text = flags["dynamic_batch_size"].removesuffix(",")
    if not re.fullmatch(r"[0-9,]*", text):
        raise fail(
            "E10003",
            parameter="dynamic_batch_size",
            value=text,
            reason='It can only contain digits and ",".',
        )
    return [[_gear(token, text)] for token in text.split(",")]


def _image_gears(flags: Flags, shapes: Shapes) -> list[list[int]]:
    found = 0
    for shape in shapes.values():
        if -1 not in shape:
            continue
        if len(shape) != _RANK_OF_IMAGES:
            raise fail("E10019")
        if flags["input_format"] != "NCHW":
            raise fail(
                "E10003",
                parameter="input_format",
                value=flags["input_format"],
                reason="When --dynamic_image_size is set, only NCHW or NHWC is supported.",
            )
        if shape[2:] != [-1, -1] or shape.count(-1) != 2:
            raise fail("E10019")
        found += 1
    if not found:
        raise fail("E10019")
    text = flags["dynamic_image_size"].removesuffix(";")
    if not re.fullmatch(r"[0-9,; ]*", text):
        raise fail(
            "E10003",
            parameter="dynamic_image_size",
            value=text,
            reason='It can only contain digits, ",", " " and ";".',
        )
    groups = [group.split(",") for group in text.split(";")]
    if any(len(group) != 2 for group in groups):
        raise fail("E10020", dynamic_image_size=text)
    return [[_gear(token, text) for token in group] for group in groups]


def _dims_gears(flags: Flags, shapes: Shapes) -> list[list[int]]:
    unknown = sum(shape.count(-1) for shape in shapes.values())
    if not unknown:
        raise bad(
            "--input_shape's dynamic dim num",
            0,
            "At least one dim should be -1 when dynamic_dims is set.",
        )
    text = flags["dynamic_dims"].removesuffix(";")
    if not text:
        raise fail("E10058", parameter="--dynamic_dims")
    if flags["input_format"] != "ND":
        raise bad("--input_format", flags["input_format"], "dynamic_dims needs the format ND")
    groups = [group.split(",") for group in text.split(";")]
    for group in groups:
        if len(group) != unknown:
            raise fail(
                "E10003",
                parameter="dynamic_dims",
                value=text,
                reason="Each setting needs as many values as input_shape has -1.",
            )
        for token in group:
            if not re.fullmatch(r"[0-9]*", token):
                raise bad("--dynamic_dims", token, "Dynamic dims must be a positive integer.")
    return [[_gear(token, text) for token in group] for group in groups]


def _gear(token: str, text: str) -> int:
    if not token.strip().isdigit():
        raise fail("E19999", reason=f"the gears [{text}] should not have a non-digital character")
    return int(token)


def _named(text: str, *, allow_unknown: bool) -> Shapes:
    """`name:1,3,8,8;other:2`: split at the last colon, for names may hold colons."""
    shapes: Shapes = {}
    for item in text.split(";"):
        name, colon, dims = item.rpartition(":")
        if not colon:
            raise _malformed(item, "The shape must contain two parts: name and value")
        values = [_dim(token, item, allow_unknown=allow_unknown) for token in dims.split(",")]
        shapes.setdefault(name.strip(), values if dims else [])
    return shapes


def _dim(token: str, item: str, *, allow_unknown: bool) -> int:
    if not token and item.endswith(":"):
        return 1  # a scalar: its list of dims is dropped
    if "." in token:
        raise _malformed(item, "The float number is unsupported")
    number = re.match(r"\s*[+-]?[0-9]+", token)
    if not number:
        raise fail("E10014", parameter="input_shape", value=token)
    value = int(number.group())
    if abs(value) > _LARGEST:
        raise fail("E10013", parameter="input_shape", value=token)
    if not re.fullmatch(r"-?[0-9]+", token.strip()):
        raise _malformed(item, _DIGITS)
    if value <= 0 and not (allow_unknown and value == -1):
        raise fail("E10011", shape=item, result=value)
    return value


def _unknown_dims(text: str) -> Shapes:
    """`name:-1,3,8~16,8` without gears: every unknown dim becomes -1."""
    shapes: Shapes = {}
    for item in text.split(";"):
        name, colon, dims = item.rpartition(":")
        if not colon or not name:
            raise _malformed(item, "The shape must contain two parts: name and value")
        if not re.fullmatch(r"[0-9 ,~-]*", dims):
            raise _malformed(dims, "The shape must contain two parts: name and value")
        shapes[name.strip()] = [_range(token, text) for token in dims.split(",")] if dims else []
    return shapes


def _ranges(text: str) -> Shapes:
    shapes: Shapes = {}
    for item in text.split(";"):
        name, colon, dims = item.rpartition(":")
        if not colon:
            raise _bad_range(text, "The shape must contain two parts: name and value")
        if not re.fullmatch(r"\[[^\[\]]*\]", dims):
            raise _bad_range(dims, "The value can only contains a pair of '[]'")
        shapes[name.strip()] = [_range(token, text) for token in dims[1:-1].split(",")]
    return shapes


def _range(word: str, text: str) -> int:
    word = word.strip()
    if re.fullmatch(r"[0-9]+~([0-9]+|-1)", word) or word == "-1":
        return -1
    if not re.fullmatch(r"[0-9]+", word):
        raise _bad_range(text, "The current string cannot be converted to a number")
    return int(word)


def _bad_range(text: str, reason: str) -> AtcError:
    return fail("E10048", shape_range=text, reason=reason, sample='"input_name1:[n1~n2,c1,h1,w1]"')


def _malformed(item: str, reason: str) -> AtcError:
    return fail("E10002", shape=item, reason=reason, sample=_SAMPLE)
