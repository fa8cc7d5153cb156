"""The operator inside a stage where a difference starts, and which of its weights differ."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from parity.locate.figures import F32, relative_l2
from parity.locate.share import over_share
from parity.locate.stages import StagedSource
from runtime.model.stages import Stage

# Channels are named where at most so many of them carry this share of the squared error.
MOST_CHANNELS = 8
CARRIED = 0.99


class Operator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The step of a stage that is furthest apart.

    Attributes:
        stage: its name.
        picture: the one the stage is worst on; the steps were run on it.
        compared: how many steps were compared, each on the same inputs on both sides, so that an
            earlier one is no more to blame than a later one.
        operators: of that step, in the order they run; the last makes `output`. Empty where all
            steps agree.
        stands_out: whether that step is over its share.
        output: name of the tensor it makes.
        relative_l2: of that step alone; None where it is not finite.
        channels: the few of `output` that carry the error; empty where it is spread over many.
        weights: the differences between its weights, one line each; empty where none can be
            compared.
        composed: the checkpoint's modules that the step's weights were composed of at export, any
            of which may be at fault. Empty where each weight is one module's.
    """

    stage: str
    picture: str
    compared: int
    operators: tuple[str, ...] = ()
    stands_out: bool = False
    output: str = ""
    relative_l2: float | None = 0.0
    channels: tuple[int, ...] = ()
    weights: tuple[str, ...] = ()
    composed: tuple[str, ...] = ()


def find_operator(
    one: StagedSource,
    other: StagedSource,
    stage: Stage,
    picture: str,
    inputs: Mapping[str, F32],
    rounding: float,
) -> Operator:
    """Run a stage's steps on the same inputs on both sides, and name the one furthest apart.

    Args:
        one: gives the tensors inside the stage.
        other: is cut at those that it has, too, and run from each to the next.
        stage: to look into.
        picture: its name.
        inputs: the stage's, for that picture.
        rounding: as from `rounding_between`.
    """
    steps = other.steps(stage, {**inputs, **one.inside(stage, inputs)})
    made = [other.run_step(step) for step in steps]
    errors = [relative_l2(step.expected, m) for step, m in zip(steps, made, strict=True)]
    sizes = [np.inf if error is None else error for error in errors]
    if not any(sizes):
        return Operator(stage=stage.name, picture=picture, compared=len(steps))
    furthest = int(np.argmax(sizes))
    step = steps[furthest]
    return Operator(
        stage=stage.name,
        picture=picture,
        compared=len(steps),
        operators=step.operators,
        stands_out=over_share(errors, rounding)[furthest],
        output=step.output,
        relative_l2=errors[furthest],
        channels=channels_apart(step.expected, made[furthest]),
        weights=weights_apart(one.weights(step), other.weights(step)),
        composed=tuple(dict.fromkeys((*one.composed(step), *other.composed(step)))),
    )


def channels_apart(one: F32, other: F32) -> tuple[int, ...]:
    """The few channels (axis 1) that carry nearly all of a difference; none where it is spread."""
    if one.ndim < 2 or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return ()
    rest = tuple(axis for axis in range(one.ndim) if axis != 1)
    by_channel = np.square(other.astype(np.float64) - one).sum(axis=rest)
    largest_first = np.argsort(-by_channel, kind="stable")
    carried = np.cumsum(by_channel[largest_first]) >= CARRIED * by_channel.sum()
    count = int(np.argmax(carried)) + 1
    few = count <= min(MOST_CHANNELS, one.shape[1] // 2)
    return tuple(sorted(int(channel) for channel in largest_first[:count])) if few else ()


def weights_apart(one: Mapping[str, F32], other: Mapping[str, F32]) -> tuple[str, ...]:
    """One line for each weight that both have: how many of its values differ, and the largest."""
    lines: list[str] = []
    for name in one.keys() & other.keys():
        here, there = one[name].astype(np.float64), other[name].astype(np.float64)
        if here.shape != there.shape:
            continue
        apart = np.abs(there - here)
        count = int((apart > 0).sum())
        if count:
            at = np.unravel_index(int(np.argmax(apart)), apart.shape)
            index = ", ".join(str(int(i)) for i in at)
            lines.append(
                f"{name}: {count} of {apart.size} values differ, most [{index}]:"
                f" {here[at]:.7g} and {there[at]:.7g}"
            )
        else:
            lines.append(f"{name}: the same on both sides")
    return tuple(sorted(lines))
