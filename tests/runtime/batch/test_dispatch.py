"""Partitions on workers that live, die, and are started anew; without a model."""

from __future__ import annotations

import os
import signal
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="batches need the extra parquet")

from runtime.batch.dispatch import dispatch
from runtime.batch.stored import Partition
from runtime.batch.workers import _Process
from runtime.errors import InferenceError

PARTITIONS = [Partition(index=index, first=index, count=1) for index in range(5)]


class DiedError(Exception):
    """What a future raises whose worker is gone."""


class PlannedSeat:
    """Runs a partition at once; each of the deadly ones kills it so many times."""

    def __init__(self, deaths: dict[int, int]) -> None:
        self.left, self.run, self.abandoned = dict(deaths), list[int](), 0

    def submit(self, partition: Partition) -> Future[int]:
        self.run.append(partition.index)
        future: Future[int] = Future()
        if self.left.get(partition.index, 0):
            self.left[partition.index] -= 1
            future.set_exception(DiedError())
        else:
            future.set_result(1)
        return future

    def abandon(self) -> None:
        self.abandoned += 1


def outcomes(seat: PlannedSeat) -> dict[int, bool]:
    found = list(dispatch(PARTITIONS, [seat], (DiedError,)))
    assert len({one.partition.index for one in found}) == len(found)
    return {one.partition.index: one.is_done for one in found}


@pytest.mark.parametrize(("deaths", "is_done"), [(0, True), (1, True), (2, False), (9, False)])
def test_a_partition_has_two_tries(deaths: int, is_done: bool) -> None:
    """The second after all others: a worker that dies again must not take them with it."""
    seat = PlannedSeat({0: deaths})

    assert outcomes(seat) == {0: is_done, 1: True, 2: True, 3: True, 4: True}
    assert seat.run == [0, 1, 2, 3, 4, *([0] if deaths else [])]
    assert seat.abandoned == min(deaths, 2)


def test_three_set_aside_end_the_job_unless_one_is_done() -> None:
    """All that were begun died: that is the machine. With one done it is the pictures."""
    with pytest.raises(InferenceError, match=r"got \d killed and no partition finished"):
        outcomes(PlannedSeat(dict.fromkeys(range(5), 9)))
    assert outcomes(PlannedSeat(dict.fromkeys(range(1, 5), 9))) == {
        0: True,
        **dict.fromkeys(range(1, 5), False),
    }


def test_what_a_worker_raised_ends_the_job() -> None:
    """Only its death is counted; whatever else it says is true for every partition."""

    class Lost(PlannedSeat):
        def submit(self, partition: Partition) -> Future[int]:  # noqa: ARG002  # of the seat
            future: Future[int] = Future()
            future.set_exception(InferenceError("npu:0", expected="a", got="b", action="c"))
            return future

    with pytest.raises(InferenceError, match="npu:0"):
        outcomes(Lost({}))


@pytest.mark.slow
def test_a_process_that_dies_between_two_partitions_is_replaced() -> None:
    """For want of memory, say, while it has nothing to do: no partition is to blame."""
    job: Any = None  # none is needed: the partition's own failure is an answer of the new process
    seat = _Process(job, "cpu")
    try:
        pool = seat._living()
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        with suppress(BrokenProcessPool):  # when the pool has noticed
            while True:
                wait([pool.submit(os.getpid)], timeout=1)
        answer = seat.submit(PARTITIONS[0])

        assert isinstance(answer.exception(), AttributeError)
        assert seat._living() is not pool
    finally:
        seat.abandon()
