"""Whether a plan is written, on networks made of numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from parity.plan import precision_plan
from parity.plan.precision_plan import PrecisionPlan, parse_budget, plan_precision
from parity.plan.search import Kept
from parity.plan.split import Split

NODES = tuple(f"/n{index}" for index in range(40))


def planned(
    monkeypatch: pytest.MonkeyPatch, damage_px: NDArray[np.float64], budget: str
) -> PrecisionPlan:
    """A plan for pictures whose error from each node in fp16 is given, (pictures, nodes)."""

    def errors(kept: Kept, pictures: tuple[int, ...]) -> NDArray[np.float64]:
        rounded = [index for index, node in enumerate(NODES) if node not in kept]
        px = np.sqrt((damage_px[list(pictures)][:, rounded] ** 2).sum(axis=1))
        return np.asarray(px[:, None, None] * np.ones((1, 2, 2)))

    monkeypatch.setattr(precision_plan, "_opened", lambda *_: (NODES, errors))
    samples: Any = [SimpleNamespace(name=f"{index}.jpg") for index in range(len(damage_px))]
    unused: Any = None
    return plan_precision(unused, samples, unused, parse_budget(budget, "photo"), "keep.txt")


def test_what_all_pictures_have_in_common_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    damage = np.full((16, 40), 0.01)
    damage[:, 7] = 1.0
    plan = planned(monkeypatch, damage, "max=0.1")

    assert (plan.kept, plan.objections) == (("/n7",), ())
    assert (plan.pictures, plan.people) == (16, 16)
    assert plan.judged.alone_px["max"] > 1
    assert plan.judged.left_px["max"] == pytest.approx(0.01 * np.sqrt(39))


def test_a_plan_that_fits_only_its_own_pictures_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each picture has a node of its own, which no other picture shows to be one to keep."""
    damage = np.full((16, 40), 0.001)
    damage[range(16), range(16)] = 1.0
    plan = planned(monkeypatch, damage, "max=0.1")

    assert plan.searched.left_px["max"] <= 0.1
    assert plan.judged.left_px["max"] == pytest.approx(1, rel=0.01)
    (judged, margin) = plan.objections
    assert "max 1.0000 > 0.1 px on 4 pictures" in judged
    assert margin.startswith("max 1.0000 > 0.1 px on 4")


def test_the_margin_grows_until_the_second_part_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Next to equal in fp16, so that no margin is learned there, and a tenth harder in a plan."""
    damage = np.full((16, 40), 0.05)
    damage[:4] *= 1.1
    damage[:, 0] = 10.0
    parts = Split(searched=tuple(range(8, 16)), margin=(0, 1, 2, 3), judged=(4, 5, 6, 7))
    monkeypatch.setattr(precision_plan, "split_pictures", lambda *_: parts)
    plan = planned(monkeypatch, damage, "max=0.3")

    assert plan.objections == ()
    assert 1.25 <= plan.margins["max"] < 1.5
    assert plan.margin.left_px["max"] <= 0.3


def test_a_plan_worse_than_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    damage = np.full((16, 40), 0.01)
    damage[:, 7] = 1.0
    real = precision_plan.Part

    def worse_elsewhere(**given: Any) -> precision_plan.Part:
        if len(given["pictures"]) == 4:
            given["alone_px"] = {"max": 0.05}
        return real(**given)

    monkeypatch.setattr(precision_plan, "Part", worse_elsewhere)
    plan = planned(monkeypatch, damage, "max=0.1")

    (judged,) = plan.objections
    assert judged.endswith("px on 4 pictures that it was not searched on, 0.0500 px without a plan")


def test_few_pictures_are_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    planned(monkeypatch, np.full((15, 40), 0.01), "max=1")
    assert "a plan from 15 pictures: fewer than 16 say little" in caplog.text
    caplog.clear()
    planned(monkeypatch, np.full((16, 40), 0.01), "max=1")
    assert "few" not in caplog.text
