"""The precision plan of a network: a budget from its text, and each candidate run on the crops."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from parity.judging.differences import Statistics, error_table, statistics
from parity.judging.verdict import Unit
from parity.plan.search import Budget, Kept, Search, Step
from parity.recording.recording import Recording
from parity.samples import Sample
from parity.sources import graph_of, rounded_backend
from runtime.cli import command_line
from runtime.detector import Detector
from runtime.errors import ConfigError, InferenceError
from runtime.image.picture import read_picture
from runtime.model.source import Source

logger = logging.getLogger("starmark")

BUDGET_KEYS = ("mean", "max", "p95", "p99")


@dataclass(frozen=True, kw_only=True)
class PrecisionPlan:
    """What must stay in fp32, and how it was found.

    Attributes:
        budget: that it holds.
        kept: names of nodes, in the graph's order.
        nodes: how many operators the graph has.
        runs: how many different lists were measured.
        steps: see `Search`.
    """

    budget: Budget
    kept: tuple[str, ...]
    nodes: int
    runs: int
    steps: tuple[Step, ...]


def parse_budget(text: str, unit: Unit) -> Budget:
    """Read max=0.5,p99=0.3.

    Raises:
        ConfigError: another form, an unknown statistic or one named twice, or no possible limit.
    """
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
    source: Source, samples: Sequence[Sample], plain: Recording, budget: Budget
) -> PrecisionPlan:
    """Find the operators that must stay in fp32 when all others go to fp16.

    Every list is measured on the very graph that rehearses it, in a session of its own: opening one
    costs less than one run, and a graph whose rounding can be switched runs at half the speed and,
    where the engine chooses other convolutions for it, to other bits.

    Args:
        source: a bundle or an .onnx file.
        samples: the pictures.
        plain: what the source says about them in fp32.
        budget: what must hold.

    Raises:
        ConfigError: the budget does not hold with everything in fp32.
        StarmarkError: as `graph_of` and `Detector`.
    """
    from parity.rehearsal.graph import RoundableGraph  # onnx: only where a graph is changed

    artifact = graph_of(source)
    graph = RoundableGraph(artifact.path.read_bytes())
    batches = _packed_crops(source, samples)

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
        return statistics(table.photo_px if budget.unit == "photo" else table.crop_px)

    def watch(blocks: Sequence[tuple[str, ...]], doing: str) -> Iterable[tuple[str, ...]]:
        return command_line.progress(blocks, doing, len(blocks))

    search = Search(nodes=graph.operators, measure=measure, budget=budget, watch=watch)
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
        budget=budget,
        kept=kept,
        nodes=len(search.nodes),
        runs=search.runs,
        steps=tuple(search.steps),
    )


def _packed_crops(
    source: Source, samples: Sequence[Sample]
) -> list[NDArray[np.float32] | NDArray[np.uint8]]:
    """Each picture's crop as the network takes it; they stay in memory for the whole search."""
    with ExitStack() as stack:
        detector = stack.enter_context(Detector(source))
        crops = [
            detector.trace(
                read_picture(sample.path), sample.box_xyxy, cropped=sample.cropped
            ).crop.pixels
            for sample in samples
        ]
        return [detector.spec.input.pack(crop[None]) for crop in crops]
