"""The search for what must stay in fp32, on networks made of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.judging.differences import Statistics, statistics
from parity.plan.search import MOST_IN_BLOCK, Budget, Kept, Search, block_name, blocks_of

BUDGET = Budget(limits_px={"max": 1.0}, unit="photo")


def off_by(px: float) -> Statistics:
    return statistics(np.array([px]))


def search(
    nodes: Sequence[str], error_of: Callable[[Kept], float], budget: Budget = BUDGET
) -> Search:
    def measure(kept: Kept) -> Statistics:
        return off_by(error_of(kept))

    return Search(nodes=tuple(nodes), measure=measure, budget=budget)


def independent(damage: dict[str, float]) -> Callable[[Kept], float]:
    """Errors that add like noise."""
    return lambda kept: math.sqrt(sum(px**2 for node, px in damage.items() if node not in kept))


def test_nothing_is_kept_where_fp16_alone_holds() -> None:
    made = search("abc", independent({"a": 0.5, "b": 0.5, "c": 0.5}))

    assert made.run() == ()
    assert (made.runs, [step.kept for step in made.steps]) == (1, [0])


def test_a_budget_out_of_reach_is_told() -> None:
    assert search("abc", lambda _: 2.0).run() is None


def test_the_culprits_are_found_among_many() -> None:
    names = [f"/stage.{n // 10}/node{n}" for n in range(100)]
    damage = dict.fromkeys(names, 0.01) | {names[33]: 3.0, names[77]: 2.0}

    made = search(names, independent(damage))

    assert made.run() == (names[33], names[77])
    given_back = [step for step in made.steps if step.done.startswith("gave back ")]
    kept = [step.kept for step in made.steps]
    assert given_back
    for step in given_back:
        before = kept[made.steps.index(step) - 1]
        assert int(step.done.split()[2]) == before - step.kept > 0


def test_a_block_is_named_by_its_ends() -> None:
    assert block_name(("a",)) == "a"
    assert block_name(("a", "b", "c")) == "a to c (3)"


def test_a_run_that_must_be_kept_as_a_whole_is_found() -> None:
    """Storing fp16 anywhere between two operators undoes what keeping the others gained."""
    names = [f"/stage.{n // 8}/node{n}" for n in range(64)]
    chain = frozenset(names[17:23])

    assert search(names, lambda kept: 0.0 if chain <= kept else 5.0).run() == tuple(names[17:23])


@given(st.lists(st.floats(0, 2), min_size=1, max_size=40), st.floats(0.01, 3))
def test_every_plan_holds_and_none_of_it_can_be_left_out(
    damages: list[float], limit: float
) -> None:
    names = [f"/stage.{n // 7}/node{n}" for n in range(len(damages))]
    error_of = independent(dict(zip(names, damages, strict=True)))
    budget = Budget(limits_px={"max": limit}, unit="photo")
    made = search(names, error_of, budget)
    kept = made.run()

    assert kept is not None
    assert error_of(frozenset(kept)) <= limit
    assert all(error_of(frozenset(kept) - {name}) > limit for name in kept)
    assert list(kept) == [name for name in names if name in kept]
    # the last step tells what the plan leaves
    assert made.steps[-1].kept == len(kept)
    assert made.steps[-1].left_px["max"] == pytest.approx(error_of(frozenset(kept)))


def test_every_limit_counts_and_no_number_never_holds() -> None:
    budget = Budget(limits_px={"mean": 0.1, "p99": 0.3}, unit="crop")
    held = statistics(np.full(100, 0.1))
    beyond = statistics(np.concatenate([np.zeros(90), np.full(10, 0.4)]))
    nothing = msgspec.structs.replace(held, p99=math.nan)

    assert budget.holds(held)
    assert budget.excess(held) == pytest.approx(1.0)
    assert not budget.holds(beyond)
    assert budget.excess(beyond) == pytest.approx(4 / 3)
    assert (budget.holds(nothing), budget.excess(nothing)) == (False, math.inf)
    zero = Budget(limits_px={"max": 0.0}, unit="photo")
    assert (zero.holds(off_by(0)), zero.excess(off_by(0)), zero.excess(off_by(1))) == (
        True,
        0.0,
        math.inf,
    )


def test_blocks_are_neighbours_of_one_module_and_never_long() -> None:
    names = ["/hgs.0/a", "/hgs.0/low/b", "/c", "/d", "/hgs.0/e", *(f"/x/{n}" for n in range(40))]
    blocks = blocks_of(names)

    assert blocks[:3] == [("/hgs.0/a", "/hgs.0/low/b"), ("/c", "/d"), ("/hgs.0/e",)]
    assert [name for block in blocks for name in block] == names
    assert max(map(len, blocks)) <= MOST_IN_BLOCK


def test_operators_are_given_back_until_none_can_be() -> None:
    """Here /a/3 can go only once /a/2 has gone, and so on back to /a/0: one a round."""
    names = [f"/a/{n}" for n in range(4)]
    needless = [frozenset(names[:n]) | {"/b"} for n in range(5)]
    made = search([*names, "/b"], lambda kept: 0.0 if kept in needless else 5.0)

    assert made._give_back_singly(frozenset((*names, "/b")), [(*names, "/b")]) == {"/b"}
