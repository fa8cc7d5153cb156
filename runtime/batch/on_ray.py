"""Workers as actors of a Ray cluster, fed by Ray Data, which replaces those that die."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
from collections.abc import Generator, Sequence
from typing import Any

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
) -> Generator[int, None, None]:
    """Run partitions in actors of the cluster that is there (RAY_ADDRESS), or of this machine.

    Ray Data starts actors that die anew, and gives them their partition again.

    Yields:
        The pictures of each partition when it is done, in no order.

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
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        items = [{"partition": pickle.dumps(one)} for one in partitions]
        done = ray.data.from_items(items, override_num_blocks=len(items)).map(
            Actor,
            fn_constructor_args=(job,),
            compute=ray.data.ActorPoolStrategy(size=min(count, len(items))),
            **needs,
        )
        try:
            for row in done.iter_rows():
                if row["failure"]:
                    raise pickle.loads(row["failure"])  # noqa: S301  # of our own actor
                yield row["pictures"]
        except ray.exceptions.RayError as error:
            raise InferenceError(
                "--engine ray",
                expected="actors that start and answer",
                got=one_line(error, 300, kind=True),
                action="Look into Ray's logs; the same command goes on",
            ) from error
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


class Actor:
    """A worker in the form that Ray Data calls."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker: Worker | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Run the partition of a row."""
        # pickled: a name may be no text
        partition: Partition = pickle.loads(row["partition"])  # noqa: S301  # our own driver's
        try:
            # not when the actor begins: what is wrong there Ray tries again, and calls its death
            self._worker = self._worker or Worker(self._job)
            return {"pictures": self._worker.run(partition), "failure": b""}
        except (StarmarkError, OSError) as error:
            # returned as it is: Ray would wrap it twice, and log it with its own frames
            return {"pictures": 0, "failure": pickle.dumps(error.with_traceback(None))}


def import_ray() -> Any:
    """Ray with Ray Data.

    Raises:
        BackendUnavailable: it is missing.
    """
    with importing("--engine ray"):
        import ray
        import ray.data
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
