"""The precision plan of a network: its budget, and each list measured on the crops."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from parity.judging.differences import Statistics, error_table, statistics
from parity.judging.verdict import Unit
from parity.plan.search import Budget, Kept, PlanStep, Search
from parity.recording.recording import Recording
from parity.samples import Sample
from parity.sources import graph_of, rounded_backend
from runtime.cli import command_line
from runtime.errors import ConfigError, InferenceError
from runtime.image.crop import crop_as
from runtime.image.picture import read_picture
from runtime.model.source import Source

logger = logging.getLogger("starmark")

BUDGET_KEYS = ("mean", "max", "p95", "p99")


class PrecisionPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The operators that stay in fp32 in the graph's order, and what each step bought.

    Attributes:
        file: that it is written to.
        budget_px: that it holds, by statistic, in px of `unit`.
        operators: how many the graph has.
        lists_measured: how many different lists were run.
    """

    file: str
    budget_px: Mapping[str, float]
    unit: str
    kept: tuple[str, ...]
    operators: int
    lists_measured: int
    steps: tuple[PlanStep, ...]


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

    Every list is measured on the very graph that rehearses it, in a session of its own: opening one
    costs less than one run, and a graph whose rounding can be switched runs at half the speed and,
    where the engine chooses other convolutions for it, to other bits.

    Args:
        source: a bundle or an .onnx file.
        samples: the pictures of `plain`.
        plain: the source's answers in fp32.
        budget: what must hold.
        file: that the plan will be written to.

    Raises:
        ConfigError: the budget does not hold with everything in fp32.
        StarmarkError: as `graph_of`, or the engine failed.
    """
    from parity.onnx_weights import whole_graph  # onnx: only where a graph is changed
    from parity.rehearsal.graph import RoundableGraph

    artifact = graph_of(source)
    graph = RoundableGraph(whole_graph(artifact.path))
    fed = plain.header.spec.input
    # they stay in memory for the whole search
    batches = [
        fed.pack(
            crop_as(read_picture(s.path), s.box_xyxy, fed.size, cropped=s.cropped).pixels[None]
        )
        for s in samples
    ]

    def measure(kept: Kept) -> Statistics:
        rounded = replace(artifact, graph=graph.rounded("fp16", kept))
        try:
            with rounded_backend(rounded, "fp16", kept) as backend:
                found = [backend.run(batch).landmarks[0] for batch in batches]
        except InferenceError as error:
            # fp16 ends at 65504: no number at all is the largest error
            logger.debug("%d kept: %s", len(kept), error)
            return statistics(np.full(plain.landmarks.shape, np.inf))
        table = error_table(plain, replace(plain, landmarks=np.array(found, np.float32)))
        return statistics(table.px_in(budget.unit))

    search = Search(nodes=graph.operators, measure=measure, budget=budget)
    with command_line.step("precision plan", turning=False):
        kept = search.run()
    if kept is None:
        raise ConfigError(
            "--budget",
            expected="one that holds with every operator in fp32",
            got=f"{len(search.nodes)} operators in fp32 and still more",
            action="Allow more",
        )
    return PrecisionPlan(
        file=file,
        budget_px=budget.limits_px,
        unit=budget.unit,
        kept=kept,
        operators=len(search.nodes),
        lists_measured=search.runs,
        steps=tuple(search.steps),
    )
