"""Workers of a batch: each opens the model once and runs partition after partition.

On one machine each is a pool with one process; one that dies is replaced.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.connection import wait as wait_for
from pathlib import Path

from runtime.backends import Settings
from runtime.batch.dispatch import Outcome, dispatch
from runtime.batch.results import Results
from runtime.batch.stored import Partition, digest_of_notes
from runtime.cli.options import FaceOptions
from runtime.detector import Detector
from runtime.errors import ArtifactError
from runtime.files import sha256_file
from runtime.many.heading import digest_of
from runtime.many.inputs import Noted, StoredPicture
from runtime.many.rows import rows_of
from runtime.many.search import search
from runtime.model.source import Source, find_artifact

# Of a worker's process: its job and device, and its worker once it has run a partition.
_given: list[tuple[Job, str]] = []
_workers: list[Worker] = []


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every worker is given; it travels to other processes and machines.

    Attributes:
        model: source of the Detector, by an absolute path and with the device of a worker.
        settings: of its engine.
        bundle_sha256: see `digest_of`; a worker's model must have the same.
        faces: how faces are found.
        output: folder or address of the results.
        heading_sha256: of the batch.
    """

    model: Source
    settings: Settings
    bundle_sha256: str
    faces: FaceOptions
    output: str
    heading_sha256: str = ""


class Worker:
    """Runs partitions in this process.

    Args:
        job: see `Job`.
        device: instead of the job's, where each worker has one of its own.

    Raises:
        ArtifactError: the model here is not the one the batch began with.
        StarmarkError: as `Detector`.
    """

    def __init__(self, job: Job, device: str = "") -> None:
        self._job = job
        found = digest_of(job.model)
        if found != job.bundle_sha256:
            raise ArtifactError(
                job.model.text,
                expected=f"the model of this batch, {job.bundle_sha256[:12]}",
                got=found[:12],
                action="Copy the same bundle to every machine",
            )
        meant = replace(job.model, device=device or job.model.device)
        settings = replace(job.settings, throughput=job.faces.side_by_side)
        self._detector = Detector(
            meant, settings=settings, faces=job.faces.finder(), refine=job.faces.refine
        )
        opened = replace(meant, device=self._detector.device)
        self._beside = {
            "engine": f"{self._detector.backend.name} on {self._detector.device}",
            "model_sha256": sha256_file(find_artifact(opened).path),
            "bundle_sha256": job.bundle_sha256,
        }
        self._results = Results(job.output, job.heading_sha256)

    def run(self, partition: Partition) -> int:
        """Run a partition's pictures and put its rows into place.

        Returns:
            How many pictures.

        Raises:
            InputError: its Parquet file cannot be read any more.
            InferenceError: the device is lost.
        """
        faces, noted = self._job.faces, list[Noted]()

        def pictures() -> Iterator[StoredPicture]:
            if not partition.is_of_files:
                yield from partition.pictures()
                return
            for picture, place in zip(partition.pictures(), partition.places, strict=True):
                noted.append(Noted(picture=picture, path=Path(place)))
                yield noted[-1]

        searched = search(
            self._detector,
            pictures(),
            readers=faces.readers,
            batch=faces.batch,
            max_pixels=faces.max_pixels,
        )
        rows = [rows_of(picture, rounded=False) for picture in searched]
        notes = [one.note for one in noted if one.note is not None]
        made_from = digest_of_notes(notes) if partition.is_of_files else ""
        self._results.write(partition, rows, self._beside, made_from)
        return len(rows)


def run_locally(
    job: Job, partitions: Sequence[Partition], devices: Sequence[str]
) -> Generator[Outcome, None, None]:
    """Run partitions in processes, one for each device that is named.

    Yields:
        Each partition when it is done or was set aside, in no order.

    Raises:
        InferenceError: workers die whatever they are given, or a device is lost.
        StarmarkError: as `Worker`.
    """
    others = {process.pid for process in multiprocessing.active_children()}
    seats = [_Process(job, device) for device in devices]
    try:
        yield from dispatch(partitions, seats, (BrokenProcessPool,))
    except BaseException:
        # what is running would go on to its end, which nobody waits for
        for process in multiprocessing.active_children():
            if process.pid not in others:
                process.terminate()
        raise
    finally:
        for seat in seats:
            seat.abandon()


class _Process:
    """A process of its own for a device: who of several had died would not be known."""

    def __init__(self, job: Job, device: str) -> None:
        self._given = job, device
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, partition: Partition) -> Future[int]:
        # Ctrl-C is the driver's to answer: what is blocked when a process begins stays so in it
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return self._living().submit(_run, partition)
        except BrokenProcessPool:  # it died between two partitions, and neither is to blame
            self.abandon()
            return self._living().submit(_run, partition)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _living(self) -> ProcessPoolExecutor:
        # spawn: engines' threads do not survive a fork
        context = multiprocessing.get_context("spawn")
        self._pool = self._pool or ProcessPoolExecutor(
            1, context, initializer=_begin, initargs=self._given
        )
        return self._pool

    def abandon(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def _begin(job: Job, device: str) -> None:
    """Note what this process is for, and end with the driver."""
    threading.Thread(target=_end_with_the_driver, daemon=True).start()
    _given.append((job, device))


def _end_with_the_driver() -> None:
    driver = multiprocessing.parent_process()
    assert driver is not None  # noqa: S101  # a pool's process has one
    wait_for([driver.sentinel])
    os._exit(1)


def _run(partition: Partition) -> int:
    # here and not when the process begins: an error there would be no more than a broken pool
    if not _workers:
        _workers.append(Worker(*_given[0]))
    return _workers[0].run(partition)
