"""Differences of one step: its channels and its weights."""

from __future__ import annotations

import numpy as np

from parity.locate.operators import channels_apart, weights_apart


def test_channels_are_named_while_few_carry_the_difference() -> None:
    one = np.zeros((1, 20, 2, 2), np.float32)
    few, all_of_them = one.copy(), one + 1
    few[:, [3, 7]] = 5
    few[:, 11] = 1e-3

    assert channels_apart(one, few) == (3, 7)
    assert channels_apart(one, all_of_them) == ()


def test_weights_that_differ_are_counted_and_the_largest_shown() -> None:
    one = {"w": np.zeros((2, 3), np.float32), "b": np.ones(2, np.float32)}
    other = {"w": one["w"].copy(), "b": one["b"], "else": one["b"]}
    other["w"][1, 2] = 0.5
    other["w"][0, 0] = 0.1

    assert weights_apart(one, other) == (
        "b: the same on both sides",
        "w: 2 of 6 values differ, most [1, 2]: 0 and 0.5",
    )
