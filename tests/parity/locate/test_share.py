"""What stands out, and what is only a low precision."""

from __future__ import annotations

import pytest

from parity.locate.share import (
    CEILING,
    ROUNDING,
    growing,
    over_share,
    rounding_between,
    share,
)

HEALTHY = [4e-4, 8e-4, 3e-4, 2e-3, 4e-4]


@pytest.mark.parametrize(
    ("apart", "expected"),
    [
        # a low precision everywhere is no stage's fault
        (HEALTHY, [False] * 5),
        # far above the median
        ([*HEALTHY, 2e-2, 3e-3], [False] * 5 + [True, False]),
        # where all others agree in every bit, any difference counts
        ([0, 0, 1e-9, 0], [False, False, True, False]),
        # two engines add up in different orders
        ([1e-7, 1e-7, 1e-7, 0.9 * ROUNDING, 1.1 * ROUNDING], [False] * 4 + [True]),
        # what is not finite is over any share
        ([1e-3, None, 1e-3], [False, True, False]),
    ],
)
def test_what_stands_out_is_over_its_share(apart: list[float | None], expected: list[bool]) -> None:
    assert over_share(apart, rounding_between(apart)) == expected


def test_parts_that_round_nothing_do_not_make_a_rounding_stand_out() -> None:
    """A ReLU or a maximum gives back numbers that went in."""
    apart = [0.0, 0.0, 0.0, 2e-4, 3e-4, 0.4]

    assert over_share(apart, ROUNDING) == [False] * 5 + [True]


def test_where_all_are_bad_the_median_excuses_nobody() -> None:
    apart = [0.9, 0.8, 1.1]

    assert share(apart, ROUNDING) == CEILING
    assert over_share(apart, ROUNDING) == [True] * 3


@pytest.mark.parametrize(
    ("own", "inputs", "expected"),
    [
        # the second makes 50 times what it was given; the third passes it on
        ([1e-3, 5e-2, 6e-2, 1e-3], [0, 1e-3, 5e-2, 6e-2], [False, True, False, False]),
        # a low precision, and a gate that flips
        ([4e-4, 8e-4, 4e-3, 1e-4], [0, 4e-4, 8e-4, 4e-3], [False] * 4),
        # bit for bit up to the fault
        ([0, 0, 2e-5, 1e-5], [0, 0, 0, 2e-5], [False, False, True, False]),
        # the first stage: more than any rounding
        ([6e-2, 6e-2, 5e-2, 1e-2], [0, 6e-2, 6e-2, 5e-2], [True, False, False, False]),
        # not a number: the stage that made it, and none behind it
        ([1e-3, None, None, None], [0, 1e-3, None, None], [False, True, False, False]),
    ],
)
def test_a_stage_that_makes_much_more_than_it_was_given_is_found(
    own: list[float | None], inputs: list[float | None], expected: list[bool]
) -> None:
    assert growing(own, inputs) == expected
