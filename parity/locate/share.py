"""Which stages, or steps inside one, differ by more than their share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Measured on healthy pairs, isolated, the largest stage over the median one: the starter model in
# hf32, fp16_cube and fp16: 2.8, 2.7 and 1.8; a tiny network of random weights: 11, 10 and 4.
TIMES_MEDIAN = 20.0
# No rounding does this within one stage, even in fp16 (starter: 0.0008 at most); where most stages
# are worse, the median is no measure and this is.
CEILING = 0.05
# What float32 itself leaves open: two engines add up in different orders, and an instance norm of a
# nearly flat map magnifies it. Torch against onnxruntime: 1e-6 at most in the starter model, 7e-6
# in a tiny one of random weights.
ROUNDING = 1e-5
# Where a stage cannot be run alone, its error is held against that of its inputs.
TIMES_INPUTS = 10.0


def rounding_between(relative_l2: Sequence[float | None]) -> float:
    """The relative L2 below which a stage is the same on both sides in all but rounding.

    0 where most stages agree in every bit: both sides then run in one arithmetic and in one order,
    and any difference is a difference of the models.
    """
    return ROUNDING if _median(relative_l2) else 0.0


def share(relative_l2: Sequence[float | None], rounding: float) -> float:
    """The largest relative L2 that passes, given that of all; None stands for one not finite.

    A low precision shows alike wherever anything is rounded: an outlier from the median of those
    that differ at all is a fault, not a rounding.
    """
    if not rounding:
        return 0.0
    differing = [value for value in relative_l2 if value != 0]
    return max(rounding, min(TIMES_MEDIAN * _median(differing), CEILING))


def over_share(relative_l2: Sequence[float | None], rounding: float) -> list[bool]:
    """Which of them are over their share; None always is."""
    limit = share(relative_l2, rounding)
    return [value is None or value > limit for value in relative_l2]


def _median(relative_l2: Sequence[float | None]) -> float:
    return float(np.median([math.inf if v is None else v for v in relative_l2] or [0.0]))


def growing(own: Sequence[float | None], inputs: Sequence[float | None]) -> list[bool]:
    """Which stages add much more error than their inputs have.

    For sides of which neither can run a stage alone. This cannot tell a fault in the first stage
    from a low precision: the smallest error of any map is taken for rounding.

    Args:
        own: accumulated relative L2 of each stage's outputs, in their order, the landmarks last;
            None where it is not finite.
        inputs: the largest such among each stage's inputs, 0 for the picture.
    """
    # the landmarks are means over whole maps, in which errors cancel
    maps = [value for value in own[:-1] if value is not None]
    smallest = min(maps, default=0.0)
    base = max(ROUNDING, smallest) if smallest else 0.0  # some agree in every bit: none rounds
    found: list[bool] = []
    for mine, given in zip(own, inputs, strict=True):
        if mine is None or given is None:
            found.append(given is not None)  # with such inputs it is not this stage's fault
            continue
        limit = TIMES_INPUTS * max(given, base)
        found.append(mine > limit or (given == 0 and mine > CEILING))
    return found
