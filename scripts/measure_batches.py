"""Pictures a second by batch and by threads, engine by engine.

    python scripts/measure_batches.py BUNDLE@cpu BUNDLE@openvino/cpu weights.pkl@cpu
    python scripts/measure_batches.py BUNDLE@cpu --batches 1 4 --threads 1 2

Each source runs in a process of its own for each number of threads, one process at a time; in it
the batches, and single pictures side by side (`Settings(throughput=True)`), take turns in a random
order, so that a machine that changes its speed changes all of them. A figure is the pictures a
second over those at batch 1 in the same round: median and P10 to P90 of the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from parity.machine import machine
from runtime.backends import Backend, Settings
from runtime.detector import Detector
from runtime.machine.processor import cores

BATCHES = (1, 2, 4, 8, 16, 32)
ROUNDS = 7
ALONE = "batch 1"
SIDE_BY_SIDE = "side by side"
CALLS_EACH = 4


def serve(
    connection: Connection, source: str, threads: int, batches: list[int], rounds: int
) -> None:
    """Send the engine's name, then for each way its pictures a second, round by round."""
    random = np.random.default_rng(0)
    with ExitStack() as opened:

        def backend(*, throughput: bool) -> Backend:
            settings = Settings(threads=threads, throughput=throughput)
            return opened.enter_context(Detector(source, settings=settings)).backend

        alone, several = backend(throughput=False), backend(throughput=True)
        spec = alone.spec.input
        connection.send(alone.name)
        crop = spec.pack(random.integers(0, 256, (1, spec.size, spec.size, 3), np.uint8))
        ways: dict[str, tuple[int, Callable[[], object]]] = {
            f"batch {size}": (size, partial(alone.run, np.repeat(crop, size, axis=0)))
            for size in batches
        }
        pool = opened.enter_context(ThreadPoolExecutor(several.at_once))
        calls = [crop] * (several.at_once * CALLS_EACH)
        ways[SIDE_BY_SIDE] = len(calls), lambda: [*pool.map(several.run, calls)]
        speeds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way in random.permutation([*ways]).tolist():
                pictures, run = ways[way]
                run()  # the batch before left memory of another shape
                start = time.perf_counter()
                run()
                speeds[way].append(pictures / (time.perf_counter() - start))
        connection.send(speeds)


def main(argv: list[str] | None = None) -> int:
    """Print a line for each source, number of threads and way."""
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
                name, speeds = here.recv(), here.recv()
            except EOFError:
                return 1  # the process has said why
            process.join()
            sys.stdout.write(f"{source} [{name}], {threads} threads\n")
            for way, found in speeds.items():
                ratios = np.array(found) / speeds[ALONE]
                low, middle, high = np.percentile(ratios, (10, 50, 90))
                sys.stdout.write(
                    f"  {way:12}  {np.median(found):6.1f} pictures/s"
                    f"  {middle:.2f}x of {ALONE} ({low:.2f} to {high:.2f})\n"
                )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
