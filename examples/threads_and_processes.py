"""Several threads, spawned and forked processes: what is allowed, and why.

    python examples/threads_and_processes.py build/starter68 assets/test.jpg

- One Detector, several threads: yes. Calls of one device wait for each other.
- Spawned processes, a Detector in each: yes. Divide the cores: Settings(threads=cores / processes).
- Forked processes, a Detector opened in each after the fork: on the CPU, as long as the parent has
  opened none. On an NPU spawn: CANN's state does not survive a fork.
- A Detector used in a fork of the process that opened it: no. It says so at once, where the engine
  would wait for ever for threads that stayed in the parent.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from runtime import Detector, Settings, StarmarkError
from runtime.image.picture import read_picture

WORKERS = 2
_detectors: list[Detector] = []


def open_here(bundle: str) -> None:
    """Begin as a worker process: with a Detector of its own, on its share of the cores."""
    threads = max(1, (os.cpu_count() or 1) // WORKERS)
    _detectors.append(Detector(bundle, "cpu", settings=Settings(threads=threads)))


def nose_of(path: str) -> list[float]:
    """The tip of the nose, found by this process's Detector."""
    points_px = _detectors[0].detect(read_picture(Path(path))).points_px
    found: list[float] = points_px[30].astype(float).round(1).tolist()
    return found


def by_processes(method: str, bundle: str, path: str) -> list[list[float]]:
    """The same picture in several processes."""
    context: Any = multiprocessing.get_context(method)
    with ProcessPoolExecutor(WORKERS, context, initializer=open_here, initargs=(bundle,)) as pool:
        return list(pool.map(nose_of, [path] * WORKERS))


def use_in_a_fork(detector: Detector, path: str) -> str:
    """What a Detector says in a fork of the process that opened it."""
    here, there = multiprocessing.Pipe()
    process = os.fork()
    if process == 0:
        try:
            detector.detect(read_picture(Path(path)))
            there.send("an answer")
        except StarmarkError as error:
            there.send(str(error))
        finally:
            os._exit(0)
    os.waitpid(process, 0)
    said: str = here.recv()
    return said


def main() -> int:
    """Try all four."""
    bundle, path = sys.argv[1:]
    # first: later on this process has an engine, and forks of it must not open another
    print("forked:", by_processes("fork", bundle, path))
    print("spawned:", by_processes("spawn", bundle, path))
    with Detector(bundle, "cpu") as detector:
        picture = read_picture(Path(path))
        with ThreadPoolExecutor(WORKERS) as pool:
            found = pool.map(lambda _: detector.detect(picture).points_px[30], range(WORKERS))
            print("threads:", [nose.astype(float).round(1).tolist() for nose in found])
        print("used in a fork:", use_in_a_fork(detector, path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
