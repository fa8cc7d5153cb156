"""The operator inside a stage that brings the difference in, and what of it is different."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from parity.locate.stage_errors import relative_l2
from parity.locate.stage_runs import F32, StagedSource
from parity.locate.worst_stage import over_share
from runtime.model.stages import Stage

# Channels are named while so few of them carry the error.
MOST_CHANNELS = 8
CARRIED = 0.99


class Operator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was found inside a stage.

    Attributes:
        stage: which.
        picture: on which it was looked for: the one the stage is worst on.
        compared: how many steps of the stage were compared, each on the same inputs on both sides.
        operators: what lies in the step that is furthest apart, in its order; the last makes
            `output`. Empty where all steps agree. Every step had the same inputs on both sides, so
            that an earlier one is no more to blame than a later one.
        stands_out: whether that step is over its share.
        output: the tensor it makes.
        relative_l2: of that step alone; None where it is not finite.
        channels: the few of `output` that carry the error; empty where it is spread over many.
        weights: what of the step's weights differs; empty where they could not be compared.
        composed: the checkpoint's modules that the step's weights were composed of at export: a
            fault there may come from any of them. Empty where each weight is one module's.
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

    One side gives the tensors inside the stage, the other is cut at those it shares and run from
    each to the next.

    Args:
        one: gives the tensors.
        other: is cut.
        stage: to look into.
        picture: its name.
        inputs: what the stage reads, for that picture.
        rounding: see `parity.locate.worst_stage.rounding_between`.
    """
    known = other.known_by(stage, {**inputs, **one.inside(stage, inputs)})
    steps = other.steps(stage, known)
    made: list[F32] = []
    errors: list[float | None] = []
    for step in steps:
        made.append(other.run_step(step, known))
        error = relative_l2(known[step.output], made[-1])
        errors.append(error if np.isfinite(error) else None)
    furthest = max(range(len(steps)), key=lambda i: _size(errors[i]), default=None)
    if furthest is None or errors[furthest] == 0:
        return Operator(stage=stage.name, picture=picture, compared=len(steps))
    step = steps[furthest]
    return Operator(
        stage=stage.name,
        picture=picture,
        compared=len(steps),
        operators=step.operators,
        stands_out=over_share(errors, rounding)[furthest],
        output=step.output,
        relative_l2=errors[furthest],
        channels=channels_apart(known[step.output], made[furthest]),
        weights=weights_apart(one.weights(step), other.weights(step)),
        composed=tuple(dict.fromkeys((*one.composed(step), *other.composed(step)))),
    )


def _size(error: float | None) -> float:
    return np.inf if error is None else error


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
    """What differs between two steps' weights, in words; empty where there are none to compare."""
    said: list[str] = []
    for name in one.keys() & other.keys():
        here, there = one[name].astype(np.float64), other[name].astype(np.float64)
        if here.shape != there.shape:
            continue
        apart = np.abs(there - here)
        count = int((apart > 0).sum())
        if count:
            at = np.unravel_index(int(np.argmax(apart)), apart.shape)
            index = ", ".join(str(int(i)) for i in at)
            said.append(
                f"{name}: {count} of {apart.size} values differ, most [{index}]:"
                f" {here[at]:.7g} and {there[at]:.7g}"
            )
        else:
            said.append(f"{name}: the same on both sides")
    return tuple(sorted(said))
