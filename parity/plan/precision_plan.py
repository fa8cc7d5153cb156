"""The precision plan of a network: searched on some pictures, judged on others."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from parity.judging.differences import error_table, statistics
from parity.judging.digits import px, told_apart
from parity.judging.verdict import Unit
from parity.plan.search import Budget, Kept, PlanStep, Search
from parity.plan.split import MOST_MARGIN, Indices, Split, margins, people_in, split_pictures
from parity.recording.recording import Recording
from parity.samples import Sample
from parity.sources import graph_of, rounded_backend
from runtime.cli import command_line
from runtime.errors import ConfigError, InferenceError
from runtime.image.crop import crop_as
from runtime.model.source import Source

logger = logging.getLogger("starmark")

BUDGET_KEYS = ("mean", "max", "p95", "p99")
# Fewer say little about the errors on others.
FEWEST_FOR_A_WORD = 16
# A margin that proves too small on the pictures set aside for it is enlarged so many times.
ROUNDS = 4
LEAST_ENLARGEMENT = 1.25

# Beside the list, which has room for names alone.
RECORD_SUFFIX = ".json"

NOTHING: Kept = frozenset()
Errors = Callable[[Kept, Indices], NDArray[np.float64]]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The budget's statistics over some of the pictures, in px of its unit.

    Attributes:
        pictures: their names.
        alone_px: with everything in fp16.
        left_px: with the plan.
    """

    pictures: tuple[str, ...]
    alone_px: Mapping[str, float]
    left_px: Mapping[str, float]


class PrecisionPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The operators that stay in fp32 in the graph's order, and what that buys.

    Attributes:
        file: that it is written to, if it passed.
        budget_px: that it is to hold, by statistic, in px of `unit`.
        margins: by what the budget was divided for the search.
        pictures, people: how many there were in all.
        searched: the pictures that it was made from.
        margin: those that the margin was enlarged by, if there were enough.
        judged: those that had no part in it.
        objections: why it is not written; empty where it is.
        operators: how many the graph has.
        lists_measured: how many different lists were run.
    """

    file: str
    budget_px: Mapping[str, float]
    unit: str
    margins: Mapping[str, float]
    pictures: int
    people: int
    searched: Part
    margin: Part
    judged: Part
    objections: tuple[str, ...]
    kept: tuple[str, ...]
    operators: int
    lists_measured: int
    steps: tuple[PlanStep, ...]


def record_of(file: Path) -> Path:
    """Where it is written what a plan's list rests on."""
    return file.with_name(file.name + RECORD_SUFFIX)


def parse_budget(text: str, unit: Unit) -> Budget:
    """Read max=0.5,p99=0.3; a ConfigError for another form or an impossible limit."""
    limits: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        try:
            limit = float(value)
        except ValueError:
            limit = math.nan
        if name not in BUDGET_KEYS or name in limits or not 0 <= limit < math.inf:
            raise ConfigError(
                f"--budget {text!r}",
                expected=f"STATISTIC=PX, each once, of {', '.join(BUDGET_KEYS)}; 0 px or more",
                got=repr(part),
                action="Write --budget max=0.5,p99=0.3, for example",
            )
        limits[name] = limit
    return Budget(limits_px=limits, unit=unit)


def plan_precision(
    source: Source, samples: Sequence[Sample], plain: Recording, budget: Budget, file: str
) -> PrecisionPlan:
    """Find the operators that must stay in fp32 when all others go to fp16.

    The list is searched on some of the pictures, for a budget divided by a margin. The margin is
    learned from the errors in fp16, and enlarged where the budget does not hold on a second part.
    The third part has the last word.

    Args:
        source: a bundle or an .onnx file.
        samples: the pictures of `plain`, two or more.
        plain: the source's answers in fp32.
        budget: what must hold.
        file: that the plan will be written to.

    Raises:
        ConfigError: one picture, or the budget does not hold with everything in fp32.
        StarmarkError: as `graph_of`, or the engine failed.
    """
    if len(samples) < 2:
        raise ConfigError(
            "--images",
            expected="two pictures or more: a plan is judged on others than it is made from",
            got=str(len(samples)),
            action="Name more: what the camera will show, some dozens of people",
        )
    if len(samples) < FEWEST_FOR_A_WORD:
        logger.warning(
            "WARNING: a plan from %d pictures: fewer than %d say little about other pictures",
            len(samples),
            FEWEST_FOR_A_WORD,
        )
    names = tuple(sample.name for sample in samples)
    nodes, errors = _opened(source, samples, plain, budget.unit)
    bench = _Bench(nodes=nodes, errors=errors, names=names, budget=budget)
    with command_line.step("precision plan", turning=False):
        alone_px = errors(NOTHING, tuple(range(len(names))))
        people = people_in(names)
        split = split_pictures(people, alone_px)
        learned = margins(people, alone_px, list(budget.limits_px))
        search, kept, learned = _searched(bench, split, learned)
        searched, margin, judged = (
            bench.part(kept, pictures) for pictures in (split.searched, split.margin, split.judged)
        )
    return PrecisionPlan(
        file=file,
        budget_px=budget.limits_px,
        unit=budget.unit,
        margins=learned,
        pictures=len(names),
        people=len(people),
        searched=searched,
        margin=margin,
        judged=judged,
        objections=bench.excesses(judged) + _worse_than_none(judged) + bench.excesses(margin),
        kept=kept,
        operators=len(nodes),
        lists_measured=search.runs,
        steps=tuple(search.steps),
    )


def _opened(
    source: Source, samples: Sequence[Sample], plain: Recording, unit: str
) -> tuple[tuple[str, ...], Errors]:
    """The graph's operators, and what measures a list of those kept on some of the pictures.

    Every list is measured on the very graph that rehearses it, in a session of its own: opening one
    costs less than one run, and a graph whose rounding can be switched runs at half the speed and,
    where the engine chooses other convolutions for it, to other bits.
    """
    from parity.onnx_weights import whole_graph  # onnx: only where a graph is changed
    from parity.rehearsal.graph import RoundableGraph

    artifact = graph_of(source)
    graph = RoundableGraph(whole_graph(artifact.path))
    fed = plain.header.spec.input
    # they stay in memory for the whole search
    batches = [
        fed.pack(
            crop_as(s.read(), s.box_xyxy, fed.size, cropped=s.is_crop_of(fed.size)).pixels[None]
        )
        for s in samples
    ]

    @cache
    def errors(kept: Kept, pictures: Indices) -> NDArray[np.float64]:
        """(N, P, 2) dx, dy of these pictures, in px of the unit."""
        rounded = replace(artifact, graph=graph.rounded("fp16", kept))
        landmarks = plain.landmarks.copy()
        try:
            with rounded_backend(rounded, "fp16", kept) as backend:
                for index in pictures:
                    landmarks[index] = backend.run(batches[index]).landmarks[0]
        except InferenceError as error:
            # fp16 ends at 65504: no number at all is the largest error
            logger.debug("%d kept: %s", len(kept), error)
            return np.full((len(pictures), *plain.landmarks.shape[1:]), np.inf)
        return error_table(plain, replace(plain, landmarks=landmarks)).px_in(unit)[list(pictures)]

    return graph.operators, errors


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """Where lists are measured: a graph's operators, the pictures, and what is to hold."""

    nodes: tuple[str, ...]
    errors: Errors
    names: tuple[str, ...]
    budget: Budget

    def part(self, kept: Sequence[str], pictures: Indices) -> Part:
        """What a list leaves on some of the pictures; of no pictures nothing."""
        alone, left = (
            _statistics(self.errors(one, pictures), self.budget) if pictures else {}
            for one in (NOTHING, frozenset(kept))
        )
        names = tuple(self.names[index] for index in pictures)
        return Part(pictures=names, alone_px=alone, left_px=left)

    def excesses(self, part: Part) -> tuple[str, ...]:
        """Where a plan exceeds the budget on pictures that it was not searched on."""
        return tuple(
            f"{name} {told_apart(left, limit)} > {limit!r} px {_on(part)}"
            for name, left in part.left_px.items()
            for limit in (self.budget.limits_px[name],)
            if not left <= limit
        )


def _worse_than_none(part: Part) -> tuple[str, ...]:
    return tuple(
        f"{name} {px(left)} px {_on(part)}, {px(part.alone_px[name])} px without a plan"
        for name, left in part.left_px.items()
        if left > part.alone_px[name]
    )


def _on(part: Part) -> str:
    return f"on {len(part.pictures)} pictures that it was not searched on"


def _searched(
    bench: _Bench, split: Split, learned: Mapping[str, float]
) -> tuple[Search, tuple[str, ...], Mapping[str, float]]:
    """The last search, what it kept, and the margin it was made with."""
    search = Search(
        nodes=bench.nodes,
        measure=lambda kept: statistics(bench.errors(kept, split.searched)),
        budget=bench.budget,
    )
    enlargement, kept = 1.0, bench.nodes
    for _ in range(ROUNDS):
        learned = {name: min(m * enlargement, MOST_MARGIN) for name, m in learned.items()}
        search = replace(search, budget=bench.budget.tightened(learned), steps=[])
        shortest = search.run()
        if shortest is None:
            raise ConfigError(
                "--budget",
                expected="one that holds with every operator in fp32",
                got=f"{len(bench.nodes)} operators in fp32 and still more",
                action="Allow more",
            )
        kept = shortest
        if not bench.excesses(bench.part(kept, split.margin)):
            break
        excess = bench.budget.excess(statistics(bench.errors(frozenset(kept), split.margin)))
        enlargement = max(LEAST_ENLARGEMENT, excess)
    return search, kept, learned


def _statistics(errors_px: NDArray[np.float64], budget: Budget) -> dict[str, float]:
    found = statistics(errors_px)
    return {name: getattr(found, name) for name in budget.limits_px}
