"""Pictures a second by batch and by threads, engine by engine.

    python scripts/measure_batches.py BUNDLE@cpu BUNDLE@openvino/cpu weights.pkl@cpu
    python scripts/measure_batches.py BUNDLE@cpu --batches 1 4 --threads 1 2

Each source runs in a process of its own for each number of threads, one process at a time; in it
the batches take turns in a random order, so that a machine that changes its speed changes all of
them. A batch's figure is its pictures a second over those at batch 1 in the same round: median and
P10 to P90 of the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from parity.machine import machine
from runtime.backends.base import Settings
from runtime.detector import Detector
from runtime.machine.processor import cores

BATCHES = (1, 2, 4, 8, 16, 32)
ROUNDS = 7


def serve(
    connection: Connection, source: str, threads: int, batches: list[int], rounds: int
) -> None:
    """Send the engine's name, then for each batch the seconds of its runs, round by round."""
    random = np.random.default_rng(0)
    with Detector(source, settings=Settings(threads=threads)) as detector:
        spec, run = detector.spec.input, detector.backend.run
        connection.send(detector.backend.name)
        crop = random.integers(0, 256, (1, spec.size, spec.size, 3), np.uint8)
        fed = {size: np.repeat(spec.pack(crop), size, axis=0) for size in batches}
        seconds: dict[int, list[float]] = {size: [] for size in batches}
        for _ in range(rounds):
            for size in random.permutation(batches).tolist():
                run(fed[size])  # the batch before left memory of another shape
                start = time.perf_counter()
                run(fed[size])
                seconds[size].append(time.perf_counter() - start)
        connection.send(seconds)


def main(argv: list[str] | None = None) -> int:
    """Print a line for each source, number of threads and batch."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sources", nargs="+", help="as parity.compare takes them")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--threads", type=int, nargs="+", default=[cores()])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args(argv)
    batches = sorted({1, *arguments.batches})
    sys.stdout.write(f"{machine()}\n")
    context = get_context("spawn")
    for source in arguments.sources:
        for threads in arguments.threads:
            here, there = context.Pipe()
            options = (there, source, threads, batches, arguments.rounds)
            process = context.Process(target=serve, args=options)
            process.start()
            there.close()
            try:
                name, seconds = here.recv(), here.recv()
            except EOFError:
                return 1  # the process has said why
            process.join()
            sys.stdout.write(f"{source} [{name}], {threads} threads\n")
            alone = np.array(seconds[1])
            for size, found in seconds.items():
                speeds = size / np.array(found)
                low, middle, high = np.percentile(speeds * alone, (10, 50, 90))
                sys.stdout.write(
                    f"  batch {size:2}  {np.median(speeds):6.1f} pictures/s"
                    f"  {middle:.2f}x of batch 1 ({low:.2f} to {high:.2f})\n"
                )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
