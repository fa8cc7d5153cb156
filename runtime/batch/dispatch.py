"""Partitions to workers, one at a time each: what ends its worker twice is set aside."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Protocol

from runtime.batch.stored import Partition
from runtime.errors import InferenceError

# Once may be chance: a machine that is switched off, or memory that others had taken.
MOST_DEATHS = 2
# Partitions set aside before any is finished: then it is the machine and not its pictures.
MOST_SET_ASIDE = 3


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a partition: its pictures are done, or it ended its workers."""

    partition: Partition
    is_done: bool


class Seat(Protocol):
    """A worker that runs a partition at a time, and is started anew after it died."""

    def submit(self, partition: Partition) -> Future[int]:
        """Run a partition; the future has an error of the worker as its exception."""

    def abandon(self) -> None:
        """Forget a worker that died."""


def dispatch(
    partitions: Sequence[Partition], seats: Sequence[Seat], died: tuple[type[Exception], ...]
) -> Generator[Outcome, None, None]:
    """Run partitions on so many workers.

    Args:
        partitions: what is to be done.
        seats: of the workers.
        died: what a future raises whose worker died.

    Yields:
        Each partition when nothing more is done about it, in no order.

    Raises:
        InferenceError: workers die whatever they are given.
        Exception: what a worker has raised.
    """
    waiting, free = deque(partitions), deque(seats)
    running: dict[Future[int], tuple[Seat, Partition]] = {}
    deaths: Counter[int] = Counter()
    any_done, set_aside = False, 0
    while waiting or running:
        while waiting and free:
            seat, partition = free.popleft(), waiting.popleft()
            running[seat.submit(partition)] = seat, partition
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            seat, partition = running.pop(future)
            free.append(seat)
            try:
                future.result()
            except died as error:
                seat.abandon()
                deaths[partition.index] += 1
                if deaths[partition.index] < MOST_DEATHS:
                    waiting.append(partition)
                    continue
                set_aside += 1
                if not any_done and set_aside >= MOST_SET_ASIDE:
                    raise InferenceError(
                        "batch",
                        expected="workers that live",
                        got=f"{sum(deaths.values())} killed and no partition finished",
                        action="Look for what ends them (memory?); the same command goes on",
                    ) from error
                yield Outcome(partition=partition, is_done=False)
            else:
                any_done = True
                yield Outcome(partition=partition, is_done=True)
