"""The threads of a stream: readers that prepare pictures, and one thread for each device."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends import Outputs
from runtime.crop import Crop
from runtime.detector import Detector, naming_picture
from runtime.errors import InferenceError, InputError, one_line
from runtime.picture import read_picture
from runtime.tracing import timed

logger = logging.getLogger("starmark")


class Job:
    """One picture on its way.

    Attributes:
        said: what the network says about it, with a batch axis of 1, or why it does not.
        crop, timings: as for `Trace`; there once `said` is.
        device: which device ran it; empty until one does.
        lost_device: it failed because its device is of no more use.
    """

    crop: Crop

    def __init__(self, index: int, item: Any) -> None:
        self.index, self.item = index, item
        self.said: Future[Outputs] = Future()
        self.timings: dict[str, float] = {}
        self.device = ""
        self.lost_device = False
        self.packed: NDArray[Any] | None = None


class Pipeline:
    """Readers and devices at work on jobs, each of which comes to an end with a result or an error.

    Executors, not bare threads: the interpreter's end stops and joins theirs.

    Args:
        detectors: one for each device, all of one input.
        batch: as for `Stream`.
        readers: threads that decode, crop and pack.

    Attributes:
        batch: pictures in one call at most.
    """

    def __init__(self, detectors: Sequence[Detector], *, batch: int | None, readers: int) -> None:
        self.batch = batch or max(max(d.backend.batches, default=1) for d in detectors)
        self._cut, self._pack = detectors[0].crop, detectors[0].spec.input.pack
        self._idle = list(detectors)
        self._thread = threading.local()
        self._threads: set[int] = set()
        self._lock = threading.Lock()
        self._ready: deque[Job] = deque()
        self._stopping = False
        self._process = os.getpid()
        self._readers = ThreadPoolExecutor(readers, "starmark-reader", self._note_thread)
        self._devices = ThreadPoolExecutor(len(detectors), "starmark-device", self._take_device)

    def begin(self, job: Job) -> None:
        """Have a picture read and run."""
        self._readers.submit(self._prepare, job)

    def stop(self) -> None:
        """Drop what has not begun, and wait for what has."""
        if os.getpid() != self._process:
            return  # the threads did not come along into a fork
        self._stopping = True
        # a thread of ours that happens to collect the last reference cannot wait for itself
        wait = threading.get_ident() not in self._threads
        self._readers.shutdown(wait=wait, cancel_futures=True)
        self._devices.shutdown(wait=wait, cancel_futures=True)

    def _note_thread(self) -> None:
        self._threads.add(threading.get_ident())

    def _take_device(self) -> None:
        """Give the starting thread a device of its own: contexts belong to threads."""
        self._note_thread()
        detector = self._idle.pop(0)
        self._thread.detector = detector
        # made once: fresh memory for every batch costs more than copying into it
        spec = detector.spec.input
        self._thread.gathered = np.empty(spec.shape(self.batch), spec.dtype)

    def _prepare(self, job: Job) -> None:
        if self._stopping:
            return
        try:
            with naming_picture(job.index):
                self._read(job)
            with timed(job.timings, "pack"):
                job.packed = self._pack(job.crop.pixels[None])
            self._ready.append(job)
            self._devices.submit(self._run_ready)
        except (InputError, InferenceError) as error:
            job.said.set_exception(_without_frames(error))
        except BaseException as error:  # noqa: BLE001  # raised again where its row is due
            job.said.set_exception(error)

    def _read(self, job: Job) -> None:
        pair = isinstance(job.item, tuple) and len(job.item) == 2
        image, face_bbox = job.item if pair else (job.item, None)
        if isinstance(image, (str, os.PathLike)):
            with timed(job.timings, "read"):
                image = read_picture(Path(image))
        with timed(job.timings, "crop"):
            job.crop = self._cut(image, face_bbox)

    def _run_ready(self) -> None:
        """Run what is ready, up to a batch; others may have run it by now."""
        with self._lock:
            count = min(len(self._ready), self.batch)
            jobs = [self._ready.popleft() for _ in range(count)]
        if jobs and not self._stopping:
            self._run(self._thread.detector, jobs)

    def _run(self, detector: Detector, jobs: list[Job]) -> None:
        packed = [job.packed for job in jobs if job.packed is not None]
        try:
            said = detector.backend.run(self._gather(packed))
        except BaseException as error:  # noqa: BLE001  # raised again where its row is due
            lost = detector.backend.closed
            if isinstance(error, Exception) and len(jobs) > 1 and not lost:
                told = "%s: a batch of %d failed, and is run picture by picture: %s"
                logger.warning(told, detector.device, len(jobs), one_line(error, 300))
                for job in jobs:
                    self._run(detector, [job])
                return
            for job in jobs:
                job.device, job.lost_device, job.packed = detector.device, lost, None
                job.said.set_exception(error)
            return
        seconds = {stage: value / len(jobs) for stage, value in said.timings.items()}
        for index, job in enumerate(jobs):
            job.device, job.packed = detector.device, None
            job.timings.update(seconds)
            job.said.set_result(said.of(index))

    def _gather(self, packed: list[NDArray[Any]]) -> NDArray[Any]:
        """One batch of several; it is the next one's, too."""
        if len(packed) == 1:
            return packed[0]
        gathered: NDArray[Any] = self._thread.gathered[: len(packed)]
        return np.concatenate(packed, out=gathered)


def _without_frames(error: BaseException) -> BaseException:
    """Drop the frames an expected error came through: one of them holds the decoded picture."""
    seen: BaseException | None = error
    while seen is not None:
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
    return error
