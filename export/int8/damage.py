"""How far a quantised graph's landmarks are from the float graph's, as a quantiser can be told."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.int8.scope import quantised_convolutions
from parity.judging.differences import Statistics, statistics
from parity.plan.search import Budget
from runtime.backends.base import Backend, Settings
from runtime.cli import command_line
from runtime.errors import InferenceError
from runtime.machine import processor
from runtime.model.device import CPU
from runtime.model.source import Artifact
from runtime.model.spec import InputSpec

logger = logging.getLogger("starmark")

# The quantiser wants a number that falls as the damage grows, and divides by the float graph's.
FLAWLESS = 1000.0
# Whatever is worse is as bad: also landmarks that are no numbers.
WORST = 999.0
# As many candidates between two lines in the log.
LOGGED_EVERY = 25

Packed = NDArray[Any]


class Damage:
    """Runs graphs on the validation crops, in onnxruntime on the CPU.

    Attributes:
        items: the packed crops, one a batch.
        evaluations: how many times a graph was run on all of them.
        at_first: convolutions of the first candidate in int8, before anything was restored.
        best: the candidate in int8 with the least damage so far, as an ONNX file's bytes; None
            before the first.
    """

    def __init__(
        self,
        graph: onnx.ModelProto,
        crops: NDArray[np.uint8],
        spec: InputSpec,
        budget: Budget,
    ) -> None:
        self._half = spec.size / 2
        self._budget = budget
        self.items = [spec.pack(crop[None]) for crop in crops]
        self.evaluations = 0
        self.at_first: frozenset[str] = frozenset()
        self.best: bytes | None = None
        self._least = math.inf
        self._ranked: Iterator[int] = iter(())
        truth = self._run(graph, self.items)
        # by content: the quantiser hands out its own lists of the items
        self._truth = {item.tobytes(): said for item, said in zip(self.items, truth, strict=True)}

    def of(self, graph: onnx.ModelProto) -> Statistics:
        """Statistics over |dx| and |dy| of all crops, crop px.

        Raises:
            InferenceError: the graph gives something else than landmarks.
        """
        return statistics(self._differences(graph, self.items))

    def validate(
        self, graph: onnx.ModelProto, items: Iterable[Packed]
    ) -> tuple[float, list[float]]:
        """What NNCF asks for: one number for all items, and one for each; more is better."""
        given = list(items)
        try:
            differences = self._differences(graph, given)
        except InferenceError as error:
            logger.debug("a candidate is no landmark network any more: %s", error)
            return FLAWLESS - WORST, [FLAWLESS - WORST] * len(given)
        found = statistics(differences)
        if 1 < len(given) < len(self.items):
            next(self._ranked, None)
        if len(given) == len(self.items):
            self.evaluations += 1
            self._remember(graph, found)
        return self._score(found), [self._score(statistics(one)) for one in differences]

    def _remember(self, graph: onnx.ModelProto, found: Statistics) -> None:
        # a full-size network takes minutes; the first graph is the float one, the second all int8
        if self.evaluations % LOGGED_EVERY == 2:
            values = ", ".join(
                f"{name} {getattr(found, name):.3f}" for name in self._budget.limits_px
            )
            logger.info("  int8: candidate %d: %s crop px", self.evaluations, values)
        excess, int8 = self._budget.excess(found), quantised_convolutions(graph)
        if int8 and not self.at_first:
            self.at_first = frozenset(int8)
            # about as many: the quantiser ranks each with what feeds it
            ranked = command_line.progress(range(len(int8)), "Ranking operators", len(int8))
            self._ranked = iter(ranked)
        if excess < self._least and int8:
            self._least, self.best = excess, graph.SerializeToString()

    def _score(self, found: Statistics) -> float:
        return FLAWLESS - min(self._budget.excess(found), WORST)

    def _differences(self, graph: onnx.ModelProto, items: list[Packed]) -> NDArray[np.float64]:
        truth = np.concatenate([self._truth[item.tobytes()] for item in items])
        said = np.concatenate(self._run(graph, items))
        differences: NDArray[np.float64] = (said.astype(np.float64) - truth) * self._half
        return differences

    def _run(self, graph: onnx.ModelProto, items: list[Packed]) -> list[NDArray[np.float32]]:
        # one crop a core: threads inside a crop's small operators wait for each other half the time
        with _opened(graph) as backend, ThreadPoolExecutor(processor.cores()) as pool:
            return [outputs.landmarks for outputs in pool.map(backend.run, items)]


def _opened(graph: onnx.ModelProto) -> Backend:
    from runtime.backends.ort import OnnxRuntimeBackend  # an engine: when it is used

    artifact = Artifact(path=Path("candidate"), kind="onnx", graph=graph.SerializeToString())
    return OnnxRuntimeBackend(artifact, CPU, Settings(threads=1))
