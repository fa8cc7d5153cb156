"""The search for the operators that must stay in fp32 when the rest goes to fp16.

It measures the error with each block of operators alone in fp16, keeps the worst blocks until the
budget holds, and then gives back what is not needed: halves of blocks first, at last single
operators, until none can be given back alone. The list is the shortest found, not proven shortest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from parity.judging.differences import Statistics
from runtime.cli.command_line import progress

MOST_IN_BLOCK = 16

Kept = frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The largest errors that a plan may leave, by the statistic's name, in px of the unit."""

    limits_px: Mapping[str, float]
    unit: str

    def excess(self, found: Statistics) -> float:
        """The largest share of a limit that is used up: up to 1 holds. NaN counts as infinite."""
        shares = [_share(getattr(found, name), limit) for name, limit in self.limits_px.items()]
        return max(shares)

    def tightened(self, margins: Mapping[str, float]) -> Budget:
        """The same with each limit divided by its margin."""
        limits_px = {name: limit / margins[name] for name, limit in self.limits_px.items()}
        return Budget(limits_px=limits_px, unit=self.unit)

    def holds(self, found: Statistics) -> bool:
        """Whether no limit is exceeded, compared as the verdict does."""
        return all(getattr(found, name) <= limit for name, limit in self.limits_px.items())


class PlanStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of the search, how many operators are in fp32 after it, and the errors left then.

    A statistic of a network that overflows in fp16 is infinite, which JSON writes as null.
    """

    done: str
    kept: int
    left_px: Mapping[str, float]


@dataclass(kw_only=True)
class Search:
    """One search.

    Attributes:
        measure: the errors with some of the nodes in fp32 and the rest in fp16.
        steps: those made so far.
        known: what was measured so far, which a search for another budget can begin with.
    """

    nodes: tuple[str, ...]
    measure: Callable[[Kept], Statistics]
    budget: Budget
    steps: list[PlanStep] = field(default_factory=list)
    known: dict[Kept, Statistics] = field(default_factory=dict)

    @property
    def runs(self) -> int:
        """How many different plans were measured."""
        return len(self.known)

    def run(self) -> tuple[str, ...] | None:
        """The operators that stay in fp32, in the graph's order; None: out of reach."""
        self._take("everything in fp16", frozenset())
        if self._holds(frozenset()):
            return ()
        if not self._holds(frozenset(self.nodes)):
            return None
        damage = self._damage(blocks_of(self.nodes))
        chosen, kept = self._keep_the_worst(sorted(damage, key=lambda block: -damage[block]))
        least_first = sorted(chosen, key=lambda block: damage[block])
        for block in progress(least_first, "Giving blocks back", len(least_first)):
            left = self._give_back(kept, block)
            self._note_given_back(kept, left, block)
            kept = left
        kept = self._give_back_singly(kept, least_first)
        return tuple(node for node in self.nodes if node in kept)

    def _damage(self, blocks: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], float]:
        """The share of the budget that each block uses up when it alone is in fp16."""
        everything = frozenset(self.nodes)
        return {
            block: self.budget.excess(self._measured(everything.difference(block)))
            for block in progress(blocks, "Measuring blocks in fp16", len(blocks))
        }

    def _keep_the_worst(
        self, worst_first: Sequence[tuple[str, ...]]
    ) -> tuple[list[tuple[str, ...]], Kept]:
        """Keep block after block until the budget holds; all of them together do."""
        chosen: list[tuple[str, ...]] = []
        kept: Kept = frozenset()
        for block in worst_first:
            chosen.append(block)
            kept |= frozenset(block)
            self._take(f"kept {block_name(block)}", kept)
            if self._holds(kept):
                break
        return chosen, kept

    def _give_back(self, kept: Kept, part: tuple[str, ...]) -> Kept:
        """Take a part out of fp32, or else its halves, as far as the budget holds."""
        fewer = kept.difference(part)
        if self._holds(fewer):
            return fewer
        if len(part) == 1:
            return kept
        middle = len(part) // 2
        return self._give_back(self._give_back(kept, part[:middle]), part[middle:])

    def _give_back_singly(self, kept: Kept, blocks: Sequence[tuple[str, ...]]) -> Kept:
        """Until no operator can be given back alone: each one given back changes the others."""
        before: Kept | None = None
        while kept != before:
            before = kept
            for block in progress(blocks, "Giving operators back", len(blocks)):
                for node in block:
                    if node in kept and self._holds(kept - {node}):
                        kept -= {node}
            self._note_given_back(before, kept, ())
        return kept

    def _note_given_back(self, before: Kept, after: Kept, block: tuple[str, ...]) -> None:
        if before != after:
            of = f" of {block_name(block)}" if block else ""
            self._take(f"gave back {len(before) - len(after)}{of}", after)

    def _take(self, done: str, kept: Kept) -> None:
        found = self._measured(kept)
        left_px = {name: getattr(found, name) for name in self.budget.limits_px}
        self.steps.append(PlanStep(done=done, kept=len(kept), left_px=left_px))

    def _holds(self, kept: Kept) -> bool:
        return self.budget.holds(self._measured(kept))

    def _measured(self, kept: Kept) -> Statistics:
        if kept not in self.known:
            self.known[kept] = self.measure(kept)
        return self.known[kept]


def blocks_of(nodes: Sequence[str]) -> list[tuple[str, ...]]:
    """Neighbours in the graph's order that belong together by name, at most 16.

    One operator in fp32 among neighbours that store fp16 gains next to nothing, so that runs of
    them are tried first: `/hgs.0/...`, or the nameless end of the network.
    """
    runs: list[list[str]] = []
    for node in nodes:
        if runs and _prefix(runs[-1][0]) == _prefix(node):
            runs[-1].append(node)
        else:
            runs.append([node])
    blocks: list[tuple[str, ...]] = []
    for run in runs:
        parts = -(-len(run) // MOST_IN_BLOCK)
        length = -(-len(run) // parts)
        blocks += [tuple(run[at : at + length]) for at in range(0, len(run), length)]
    return blocks


def block_name(block: Sequence[str]) -> str:
    """A block by its ends."""
    return block[0] if len(block) == 1 else f"{block[0]} to {block[-1]} ({len(block)})"


def _prefix(node: str) -> str:
    """The module that a node was exported from: /hgs.0/low1/Add is of hgs.0, /Mul of none."""
    return node.lstrip("/").rpartition("/")[0].partition("/")[0]


def _share(value: float, limit: float) -> float:
    if value <= limit:
        return value / limit if limit else 0.0
    # also NaN, which compares as not smaller
    return value / limit if limit and value > limit else float("inf")
