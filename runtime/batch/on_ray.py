"""Workers as actors of a Ray cluster; one that dies is replaced."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from typing import Any

from runtime.batch.dispatch import Outcome, dispatch
from runtime.batch.stored import Partition
from runtime.batch.workers import Job, Worker
from runtime.errors import BackendUnavailable, ConfigError, InferenceError, StarmarkError, one_line
from runtime.machine.packages import importing
from runtime.model.device import Device

# Ray's names of what a device needs; Ascend NPUs are known to it as NPU.
RESOURCES = {"npu": "NPU", "cuda": "GPU", "cpu": "CPU"}

logger = logging.getLogger("starmark")


def run_on_ray(
    job: Job, partitions: Sequence[Partition], workers: int | None
) -> Generator[Outcome, None, None]:
    """Run partitions in actors of the cluster that is there (RAY_ADDRESS), or of this machine.

    Yields:
        Each partition when it is done or was set aside, in no order.

    Raises:
        BackendUnavailable: Ray is missing, or the cluster has no such device.
        StarmarkError: as `Worker`.
    """
    ray = import_ray()
    ours = not ray.is_initialized()
    if ours:
        # its C++ core warns of actors that may restart, which these are meant to
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        _start(ray)
    try:
        needs, count = _needs(ray.cluster_resources(), job, workers)
        logger.info("ray: %d workers, each with %s", count, needs)
        seats = [_Seat(ray, job, needs) for _ in range(min(count, len(partitions)))]
        errors = ray.exceptions
        died = (errors.RayActorError, errors.WorkerCrashedError, errors.OutOfMemoryError)
        try:
            yield from dispatch(partitions, seats, died)
        except ray.exceptions.RayError as error:
            raise InferenceError(
                "--engine ray",
                expected="actors that start and answer",
                got=one_line(error, 300, kind=True),
                action="Look into Ray's logs; the same command goes on",
            ) from error
        finally:
            for seat in seats:
                seat.abandon()
    finally:
        if ours:
            ray.shutdown()


def _start(ray: Any) -> None:
    """Join the cluster of RAY_ADDRESS, or begin one here."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BackendUnavailable(
            "--engine ray",
            expected=f"a cluster at {os.environ.get('RAY_ADDRESS') or 'this machine'}",
            got=one_line(error, 200, kind=True),
            action="Start it with ray start --head, correct RAY_ADDRESS, or use --engine local",
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray's exits with a code of its own


class _Seat:
    """An actor, with what Ray reserves for it."""

    def __init__(self, ray: Any, job: Job, needs: dict[str, Any]) -> None:
        self._ray, self._job = ray, job
        self._kind = ray.remote(BatchWorker).options(max_restarts=0, **needs)
        self._actor: Any = None

    def submit(self, partition: Partition) -> Future[int]:
        self._actor = self._actor or self._kind.remote(self._job)
        # pickled: a name may be no text
        ended: Future[bytes] = self._actor.run.remote(pickle.dumps(partition)).future()
        return _unpacked(ended)

    def abandon(self) -> None:
        if self._actor is not None:
            self._ray.kill(self._actor)
            self._actor = None


def _unpacked(ended: Future[bytes]) -> Future[int]:
    """What the worker returned or raised, as it was there."""
    future: Future[int] = Future()

    def take(_: object) -> None:
        try:
            found = pickle.loads(ended.result())  # noqa: S301  # of our own actor
        except Exception as error:  # noqa: BLE001  # it is raised by the future
            found = error
        if isinstance(found, BaseException):
            future.set_exception(found)
        else:
            future.set_result(found)

    ended.add_done_callback(take)
    return future


class BatchWorker:
    """A worker as an actor."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker: Worker | None = None

    def run(self, pickled: bytes) -> bytes:
        """Run a partition; gives its pictures, or the error."""
        partition: Partition = pickle.loads(pickled)  # noqa: S301  # our own driver's
        try:
            # not when the actor begins: what is wrong there Ray calls its death
            self._worker = self._worker or Worker(self._job)
            return pickle.dumps(self._worker.run(partition))
        except (StarmarkError, OSError) as error:
            # returned as it is: Ray would wrap it twice, and log it with its own frames
            return pickle.dumps(error.with_traceback(None))


def import_ray() -> Any:
    """Ray.

    Raises:
        BackendUnavailable: it is missing.
    """
    with importing("--engine ray"):
        import ray
    return ray


def _needs(
    resources: dict[str, float], job: Job, workers: int | None
) -> tuple[dict[str, Any], int]:
    """What Ray reserves for each worker, and how many workers there are."""
    kind = Device.of(job.model.device).kind
    if kind not in RESOURCES:
        raise ConfigError(
            "--device",
            expected=f"{', '.join(RESOURCES)}: Ray reserves it for each worker",
            got=repr(job.model.device),
            action="Name one; Ray shows each worker its own as number 0",
        )
    name = RESOURCES[kind]
    each = (job.settings.threads or 1) if kind == "cpu" else 1
    room = int(resources.get(name, 0) // each)
    if room < 1:
        raise BackendUnavailable(
            "--engine ray",
            expected=f"{each} {name} for each worker",
            got=f"a cluster with {resources.get(name, 0):g}",
            action="Start Ray with it (ray start --resources), or name another --device",
        )
    reserved: dict[str, Any] = {"num_cpus": each}
    reserved |= {"num_gpus": 1} if kind == "cuda" else {}
    reserved |= {"resources": {name: 1}} if kind == "npu" else {}
    return reserved, min(workers or room, room)
