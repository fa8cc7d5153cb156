"""Workers as processes of this machine; one that dies is replaced."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from typing import Any

from runtime.batch.job import Job
from runtime.batch.reading import Partition
from runtime.batch.worker import Done, Worker
from runtime.errors import InferenceError

# Workers that may die one after the other without one partition finished in between: then it is
# the picture, or the machine's memory, and not chance.
MOST_DEATHS = 3

# Of a worker's process: what it is to open, and what it has opened.
_opens: list[tuple[Job, str]] = []
_workers: list[Worker] = []


def run_locally(
    job: Job, partitions: Sequence[Partition], devices: Sequence[str]
) -> Generator[Done, None, None]:
    """Run partitions in processes, one for each device that is named.

    Yields:
        Each partition when it is done, in no order.

    Raises:
        InferenceError: workers die whatever is done, or a device is lost.
        StarmarkError: as `Worker`.
        OSError: rows cannot be written.
    """
    left = {partition.index: partition for partition in partitions}
    deaths = 0
    while left:
        try:
            for done in _until_one_dies(job, [*left.values()], devices):
                del left[done.index]
                deaths = 0
                yield done
        except BrokenProcessPool as error:
            deaths += 1
            if deaths >= MOST_DEATHS:
                first = next(iter(left.values()))
                raise InferenceError(
                    f"batch: partition {first.index}",
                    expected="workers that live",
                    got=f"{deaths} killed in a row, with {len(left)} partitions left",
                    action="Look for what ends them (memory?); the same command goes on",
                ) from error


def _until_one_dies(
    job: Job, partitions: Sequence[Partition], devices: Sequence[str]
) -> Generator[Done, None, None]:
    # spawn: engines' threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    names = context.Queue()
    for device in devices:
        names.put(device)
    others = {process.pid for process in multiprocessing.active_children()}
    pool = ProcessPoolExecutor(len(devices), context, initializer=_begin, initargs=(job, names))
    try:
        coming = iter(partitions)
        running: set[Future[Done]] = set()
        while True:
            # two for each worker: none waits for the driver, and few are lost with one that dies
            while len(running) < 2 * len(devices):
                following = next(coming, None)
                if following is None:
                    break
                with _interrupts_held_back():  # the first call spawns the workers
                    running.add(pool.submit(_run, following))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for one in done:
                yield one.result()
    except BaseException:
        # what is running would go on to its end, which nobody waits for
        for process in multiprocessing.active_children():
            if process.pid not in others:
                process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C is the driver's to answer: what is blocked when a process begins stays so in it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(job: Job, names: Any) -> None:
    """Take a device of its own, and live no longer than the driver."""
    threading.Thread(target=_end_with_the_driver, daemon=True).start()
    _opens.append((job, names.get()))


def _end_with_the_driver() -> None:
    driver = multiprocessing.parent_process()
    assert driver is not None  # noqa: S101  # a pool's process has one
    wait_for([driver.sentinel])
    os._exit(1)


def _run(partition: Partition) -> Done:
    # here and not when the process begins: what goes wrong there only says that the pool is broken
    if not _workers:
        _workers.append(Worker(*_opens[0]))
    return _workers[0].run(partition)
