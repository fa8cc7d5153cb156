"""Who a plan is made from, and who judges it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from parity.judging.differences import statistics
from parity.plan.split import MOST_SEARCHED, margins, people_in, split_pictures


def errors(*largest_px: float) -> NDArray[np.float64]:
    """(N, 2, 2) of pictures with these largest errors."""
    shape = np.array([[1.0, -0.5], [0.25, 0.1]])
    return np.asarray(np.array(largest_px)[:, None, None] * shape)


@pytest.mark.parametrize(
    ("names", "people"),
    [
        # as Labeled Faces in the Wild names them, in a folder each or not
        (["A_B_0001.jpg", "A_B_0002.jpg", "C_D_0001.jpg"], [(0, 1), (2,)]),
        (["x/A_B_01.jpg", "y/C-02.jpg", "x/A_B_12.jpg"], [(0, 2), (1,)]),
        # numbers that count pictures
        ([f"frame_{n:04}.png" for n in range(5)], [(n,) for n in range(5)]),
        (["0001.jpg", "0002.jpg"], [(0,), (1,)]),
        (["test.jpg", "sample.jpg"], [(0,), (1,)]),
    ],
)
def test_pictures_of_a_person_differ_in_a_number(
    names: list[str], people: list[tuple[int, ...]]
) -> None:
    assert people_in(names) == people


def test_nobody_is_in_two_parts_and_the_hardest_is_searched_on() -> None:
    people = [(2 * n, 2 * n + 1) for n in range(8)]
    split = split_pictures(people, errors(*(n % 7 for n in range(16))))
    parts = (split.searched, split.margin, split.judged)

    assert sorted(sum(parts, ())) == list(range(16))
    assert [len(part) for part in parts] == [8, 4, 4]
    assert all({p ^ 1 for p in part} == set(part) for part in parts)
    assert 6 in split.searched


def test_two_pictures_leave_none_for_the_margin() -> None:
    split = split_pictures([(0,), (1,)], errors(1, 2))

    assert (split.searched, split.margin, split.judged) == ((1,), (), (0,))


def test_many_pictures_are_judged_on_and_few_searched_on() -> None:
    split = split_pictures([(n,) for n in range(100)], errors(*range(100)))

    assert len(split.searched) == MOST_SEARCHED
    assert abs(len(split.margin) - len(split.judged)) <= 1


def test_a_margin_covers_what_people_differ_by() -> None:
    """Nine of ten halves of a heavy-tailed crowd are within it of the other half."""
    rng = np.random.default_rng(5)
    people = [(n,) for n in range(24)]
    alone = errors(*np.exp(rng.normal(size=24)))
    learned = margins(people, alone, ["max", "mean"])
    ratios = []
    for _ in range(400):
        order = rng.permutation(24)
        one, other = (statistics(alone[half]).max for half in np.split(order, 2))
        ratios.append(other / one)

    assert 0.85 <= np.mean(np.array(ratios) <= learned["max"]) <= 0.97
    assert learned["mean"] > 1


def test_equal_people_need_no_margin_and_overflow_has_a_bounded_one() -> None:
    people = [(n,) for n in range(8)]

    assert margins(people, errors(*[2.0] * 8), ["max", "p99"]) == {"max": 1, "p99": 1}
    assert margins(people, errors(*[0.0] * 8), ["mean"]) == {"mean": 1}
    assert margins(people, errors(*[1.0] * 7, np.inf), ["max"]) == {"max": 4}
    assert margins(people[:3], errors(1, 2, 3), ["max"]) == {"max": 1}
