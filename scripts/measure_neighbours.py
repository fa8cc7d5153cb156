"""What a call loses where another process takes one core, engine by engine.

    python scripts/measure_neighbours.py BUNDLE@cpu BUNDLE@openvino/cpu weights.pkl@cpu

Each source runs in a process of its own; they take turns, each without and with a neighbour that
counts in a loop. Milliseconds of single calls at batch 1, P10 to P90; the last column is the median
beside the neighbour over the median without it. Only a machine without other work shows what is
lost; on any other, compare lines of the same run.
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

# A new process reaches the core that is idle, if there is one.
SETTLE_S = 0.1
STATES = (False, True)


def spin() -> None:
    """Take a core until the process is ended."""
    while True:
        pass


def serve(connection: Connection, source: str, threads: int | None) -> None:
    """Open a source, then time as many calls as are asked for, until 0 are."""
    detector = Detector(source, settings=Settings(threads=threads))
    size = detector.spec.input.size
    crops = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    batch = detector.spec.input.pack(crops)
    detector.backend.run(batch)
    connection.send(detector.backend.name)
    while calls := connection.recv():
        detector.backend.run(batch)  # the engine's threads are asleep by now
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            detector.backend.run(batch)
            seconds.append(time.perf_counter() - start)
        connection.send(seconds)


def main(argv: list[str] | None = None) -> int:
    """Print one line for each source."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sources", nargs="+", help="as parity.compare takes them")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--calls", type=int, default=10, help="in each round and state")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args(argv)
    context = get_context("spawn")
    served: list[tuple[str, Connection]] = []
    for source in arguments.sources:
        ours, theirs = context.Pipe()
        context.Process(target=serve, args=(theirs, source, arguments.threads), daemon=True).start()
        served.append((f"{source} [{ours.recv()}]", ours))
    seconds: dict[tuple[str, bool], list[float]] = {}
    for _ in range(arguments.rounds):
        for name, connection in served:
            for beside in STATES:
                neighbour = context.Process(target=spin, daemon=True) if beside else None
                if neighbour is not None:
                    neighbour.start()
                    time.sleep(SETTLE_S)
                connection.send(arguments.calls)
                seconds.setdefault((name, beside), []).extend(connection.recv())
                if neighbour is not None:
                    neighbour.kill()
                    neighbour.join()
    sys.stdout.write(f"{machine()}\n")
    for name, connection in served:
        connection.send(0)
        spread = [np.percentile(seconds[name, state], (10, 50, 90)) * 1e3 for state in STATES]
        alone, busy = ("/".join(f"{ms:.1f}" for ms in found) for found in spread)
        lost = spread[1][1] / spread[0][1]
        sys.stdout.write(f"{name}: {alone} alone, {busy} beside: {lost:.2f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
