"""Rows in processes of their own, of which exactly one works at a time, in random order."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.suite.apart import Apart
from benchmarks.suite.plan import RowPlan
from benchmarks.suite.row_worker import RowWorker
from runtime.cli import command_line
from runtime.errors import StarmarkError

# torch's compiler takes minutes for a large network, a batch size at a time.
PATIENCE_S = 1800.0
# Before each turn: threads of the row before spin on for a while, on the cores of this one.
REST_S = 0.05


class Crew:
    """The rows of one model that are running, and why the others are not.

    Attributes:
        failures: by the row's key; a row that failed is not asked again.
    """

    def __init__(self, seed: int) -> None:
        self.failures: dict[str, StarmarkError] = {}
        self._working: dict[str, Apart] = {}
        self._random = np.random.default_rng(seed)

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(at_once=error is not None)

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the rows that are running."""
        return tuple(self._working)

    def open(self, row: RowPlan) -> None:
        """Start a row's process and wait until its engine is open."""
        apart = Apart(row.label, row.alone(), RowWorker, row.opening)
        self._working[row.key] = apart
        try:
            apart.opened(PATIENCE_S)
        except StarmarkError as error:
            self._drop(row.key, error)

    def ask(self, key: str, method: str, *arguments: Any) -> Any:
        """Let one row work; None where it failed, now or before."""
        if key not in self._working:
            return None
        try:
            return self._working[key].call(method, *arguments, timeout_s=PATIENCE_S)
        except StarmarkError as error:
            self._drop(key, error)
            return None

    def each(self, method: str, *arguments: Any) -> dict[str, Any]:
        """Let every row work once; those that failed are absent."""
        said = {key: self.ask(key, method, *arguments) for key in self.keys}
        return {key: answer for key, answer in said.items() if key in self._working}

    def rounds(self, count: int, what: str, method: str, *arguments: Any) -> dict[str, list[Any]]:
        """Let every row work once a round, in another random order each round.

        Args:
            count: of rounds.
            what: is being done, for the progress bar.
            method: of `RowWorker`.
            *arguments: of the method.

        Returns:
            Each row's answers, one a round; a row that failed in any round is absent.
        """
        said: dict[str, list[Any]] = {key: [] for key in self.keys}
        for _ in command_line.progress(range(count), what, count):
            for index in self._random.permutation(len(said)):
                key = list(said)[index]
                time.sleep(REST_S)
                said[key].append(self.ask(key, method, *arguments))
        return {key: answers for key, answers in said.items() if key in self._working}

    def close(self, *, at_once: bool = False) -> None:
        """End all processes."""
        while self._working:
            _, apart = self._working.popitem()
            if at_once:
                apart.kill()
            else:
                apart.close()

    def _drop(self, key: str, error: StarmarkError) -> None:
        self.failures[key] = error
        self._working.pop(key).kill()
