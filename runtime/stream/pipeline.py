"""The threads of a stream: readers that prepare pictures, and one for each call of a device."""

from __future__ import annotations

import itertools
import logging
import math
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends import Outputs
from runtime.detector import Detector
from runtime.errors import InferenceError, InputError, one_line
from runtime.image.crop import Crop, Picture
from runtime.image.geometry import Box
from runtime.image.picture import naming_picture, read_picture
from runtime.tracing import timed

# A picture, its path, or one of these and its face box.
Shown = Picture | str | os.PathLike[str]
Item = Shown | tuple[Shown, Box | None]

logger = logging.getLogger("starmark")


class Job:
    """One picture on its way.

    Attributes:
        said: what the network says about it, with a batch axis of 1, or why it does not.
        crop, timings: as for `Trace`; there once `said` is.
        slot: where its packed crop lies, see `Pipeline`.
        device: which device ran it; empty until one does.
        lost_device: it failed because its device is of no more use.
    """

    crop: Crop
    slot: int

    def __init__(self, index: int, item: Item) -> None:
        self.index, self.item = index, item
        self.said: Future[Outputs] = Future()
        self.timings: dict[str, float] = {}
        self.device = ""
        self.lost_device = False

    def fail(self, error: BaseException) -> None:
        """End it with an error, unless it has an end."""
        if not self.said.done():
            self.said.set_exception(error)


class Pipeline:
    """Readers and devices at work on jobs, each of which comes to an end with a result or an error.

    Executors, not bare threads: the interpreter's end stops and joins theirs.

    Packed crops fill a fixed ring buffer; a batch is a contiguous slice of it, because copying
    crops together while a device waits would cost a fifth of its time. A slot is reused only after
    its crop has run: at most `ahead` jobs are in flight, and of those begun earlier at most one
    for each reader is packed later.

    Args:
        detectors: one for each device, all of one input.
        batch: as for `Stream`.
        readers: threads that decode, crop and pack.

    Attributes:
        batch: pictures in one call at most.
        ahead: jobs that may have begun and not ended, at most; to be kept by the caller.

    Raises:
        MemoryError: for the ring.
    """

    def __init__(self, detectors: Sequence[Detector], *, batch: int | None, readers: int) -> None:
        self.batch = batch or max(max(d.backend.batches, default=1) for d in detectors)
        calls = [detector for detector in detectors for _ in range(detector.backend.at_once)]
        # while every device runs its batches, the next lie ready and those after are being read
        self.ahead = 2 * (self.batch * len(calls) + readers)
        self._cut, self._input = detectors[0].crop, detectors[0].spec.input
        # whole batches, or each lap would break one
        self._slots = self.batch * math.ceil((self.ahead + readers) / self.batch)
        self._ring = np.empty(self._input.shape(self._slots), self._input.dtype)
        self._next_slot = itertools.count()
        self._ready: dict[int, Job] = {}
        self._idle, self._awake = calls, 0
        self._most_awake = len(calls)
        self._thread = threading.local()
        self._threads: set[int] = set()
        self._lock, self._door = threading.Lock(), threading.Lock()
        self._stopping = False
        self._process = os.getpid()
        self._readers = ThreadPoolExecutor(readers, "starmark-reader", self._note_thread)
        self._devices = ThreadPoolExecutor(len(calls), "starmark-device", self._note_thread)

    def begin(self, job: Job) -> None:
        """Have a picture read and run; after `stop` it is cancelled."""
        with self._door:
            if self._stopping:
                job.said.cancel()
            else:
                self._readers.submit(self._prepare, job)

    def stop(self) -> None:
        """Drop what has not begun, and wait for what has."""
        if os.getpid() != self._process:
            return  # the threads did not come along into a fork
        with self._door:
            self._stopping = True
        # a thread of ours that happens to collect the last reference cannot wait for itself
        wait = threading.get_ident() not in self._threads
        self._readers.shutdown(wait=wait, cancel_futures=True)
        self._devices.shutdown(wait=wait, cancel_futures=True)

    def _note_thread(self) -> None:
        self._threads.add(threading.get_ident())

    def _prepare(self, job: Job) -> None:
        if self._stopping:
            return
        try:
            with naming_picture(job.index):
                self._read(job)
            job.slot = next(self._next_slot)
            with timed(job.timings, "pack"):
                self._input.pack([job.crop.pixels], self._piece(job.slot, 1))
            self._hand_over(job)
        except (InputError, InferenceError) as error:
            job.fail(_without_frames(error))
        except BaseException as error:  # noqa: BLE001  # raised again where its row is due
            job.fail(error)

    def _read(self, job: Job) -> None:
        item: Any = job.item  # the caller's: anything, whatever its type was to be
        pair = isinstance(item, tuple) and len(item) == 2
        image, face_bbox = item if pair else (item, None)
        if isinstance(image, (str, os.PathLike)):
            with timed(job.timings, "read"):
                image = read_picture(Path(image))
        with timed(job.timings, "crop"):
            job.crop = self._cut(image, face_bbox)

    def _hand_over(self, job: Job) -> None:
        """Let the devices have a job, and wake one if any sleeps."""
        with self._lock:
            self._ready[job.slot] = job
            if self._awake == self._most_awake or self._stopping:
                return
            try:
                self._devices.submit(self._serve)
                self._awake += 1
            except (RuntimeError, MemoryError) as error:  # a thread cannot be started
                # one that runs goes on with all of them; where none does, nobody would
                stranded = [] if self._awake else [*self._ready.values()]
                for one in stranded:
                    del self._ready[one.slot]
                    one.lost_device = True
                    one.fail(_no_thread(error))

    def _serve(self) -> None:
        """Run what is ready, batch after batch, until nothing is."""
        while jobs := self._take():
            try:
                # a device of the thread's own: contexts belong to threads
                if not hasattr(self._thread, "detector"):
                    self._thread.detector = self._idle.pop()
                self._run(self._thread.detector, jobs)
            except BaseException as error:  # noqa: BLE001  # raised again where its row is due
                for job in jobs:
                    job.fail(error)

    def _take(self) -> list[Job]:
        """The jobs of the next batch: what is ready first, and what lies behind it in the ring."""
        with self._lock:
            if not self._ready or self._stopping:
                self._awake -= 1
                return []
            slot = min(self._ready)
            jobs = [self._ready.pop(slot)]
            while len(jobs) < self.batch and (slot := slot + 1) % self._slots:
                if slot not in self._ready:
                    break
                jobs.append(self._ready.pop(slot))
            return jobs

    def _run(self, detector: Detector, jobs: list[Job]) -> None:
        try:
            said = detector.backend.run(self._piece(jobs[0].slot, len(jobs)))
        except BaseException as error:  # noqa: BLE001  # raised again where its row is due
            lost = detector.backend.closed
            if isinstance(error, Exception) and len(jobs) > 1 and not lost:
                told = "%s: a batch of %d failed, and is run picture by picture: %s"
                logger.warning(told, detector.device, len(jobs), one_line(error, 300))
                for job in jobs:
                    self._run(detector, [job])
                return
            # another stream may have lost the device meanwhile: that is what ends this one, too
            cause = detector.backend.lost_to
            if cause is not None and cause.args != error.args:
                error = cause
            for job in jobs:
                job.device, job.lost_device = detector.device, lost
                job.fail(error)
            return
        seconds = {stage: value / len(jobs) for stage, value in said.timings.items()}
        if said.taps:
            said = replace(said, taps={})  # rows are kept, and taps take tens of MB a picture
        for index, job in enumerate(jobs):
            job.device = detector.device
            job.timings.update(seconds)
            job.said.set_result(said.of(index))

    def _piece(self, slot: int, count: int) -> NDArray[Any]:
        """Some slots of the ring, which do not go over its end."""
        start = slot % self._slots
        return self._ring[start : start + count]


def _no_thread(cause: BaseException) -> InferenceError:
    error = InferenceError(
        "stream",
        expected="a thread for its device",
        got=one_line(cause, 300, kind=True),
        action="Raise the limit of processes (ulimit -u), or run fewer streams",
    )
    error.__cause__ = cause
    return error


def _without_frames(error: BaseException) -> BaseException:
    """Drop the frames an expected error came through: one of them holds the decoded picture."""
    seen: BaseException | None = error
    while seen is not None:
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
    return error
