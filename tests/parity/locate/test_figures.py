"""Running sums against the same figures over everything at once."""

from __future__ import annotations

import numpy as np
import pytest

from parity.locate.figures import Moved, Sums, relative_l2


def test_sums_are_the_figures_over_all_pictures_at_once(rng: np.random.Generator) -> None:
    pairs = [(rng.normal(size=(1, 3, 4, 5)), rng.normal(size=(1, 3, 4, 5))) for _ in range(4)]
    pairs[2] = (pairs[2][0], pairs[2][0] + 50)
    sums = Sums()
    for index, (one, other) in enumerate(pairs):
        sums.add(f"{index}.jpg", one.astype(np.float32), other.astype(np.float32))
    a, b = (np.concatenate([p[i].astype(np.float32).ravel() for p in pairs]) for i in (0, 1))
    a, b = a.astype(np.float64), b.astype(np.float64)

    found = sums.figures()

    assert found is not None
    assert found.relative_l2 == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a))
    assert found.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert found.max_abs == pytest.approx(np.abs(b - a).max())
    assert found.mean_abs == pytest.approx(np.abs(b - a).mean())
    assert found.worst_picture == "2.jpg"


def test_what_is_not_finite_has_no_figures_and_is_the_worst() -> None:
    sums = Sums()
    for name, value in (("good", 1.0), ("bad", np.nan), ("large", 9.0)):
        sums.add(name, np.ones(4, np.float32), np.full(4, value, np.float32))
    found = sums.figures()

    assert found is not None
    assert found.relative_l2 is None
    assert found.worst_picture == "bad"
    assert Sums().figures() is None


def test_a_difference_from_nothing_is_all_of_it() -> None:
    nothing, something = np.zeros(3, np.float32), np.ones(3, np.float32)

    assert relative_l2(nothing, nothing) == 0
    assert relative_l2(nothing, something) == 1


def test_moved_landmarks_are_in_crop_px() -> None:
    moved = Moved()
    there = np.zeros((1, 4, 2), np.float32)
    there[0, 1] = (3 / 128, 4 / 128)
    moved.add(np.zeros((1, 4, 2), np.float32), there, 256)
    found = moved.figures()

    assert found is not None
    assert found.max_px == pytest.approx(5)
    assert found.mean_px == pytest.approx(5 / 4)
