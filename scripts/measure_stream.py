"""How busy a stream keeps its devices: python scripts/measure_stream.py FOLDER [ROWS].

Devices are simulated: a call sleeps 5 ms, whatever its batch, and answers. The pictures of the
folder are repeated as paths, so that decoding is part of it. Utilisation is the time inside the
devices' calls over the devices' number and the wall's time, from the first call's start.
"""

from __future__ import annotations

import itertools
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from runtime.backends import Backend, Outputs
from runtime.detector import Detector
from runtime.spec import spec_of
from runtime.stream import Stream

DEVICE_S = 5e-3
SUFFIXES = (".jpg", ".png")


class Asleep(Backend):
    """A device that takes 5 ms a call and needs no processor for it."""

    def __init__(self, number: int, kind: str) -> None:
        self.name, self.device = "asleep", f"npu:{number}"
        self.spec = spec_of(points=68, bytes_in=kind == "uint8")
        self.busy_s, self.calls, self.first_s, self.last_s = 0.0, 0, 0.0, 0.0

    def _run(self, batch: NDArray[Any]) -> Outputs:
        start = time.perf_counter()
        time.sleep(DEVICE_S)
        self.last_s = time.perf_counter()
        self.first_s = self.first_s or start
        self.busy_s += self.last_s - start
        self.calls += 1
        return Outputs(
            landmarks=np.zeros((len(batch), 68, 2), np.float32),
            covariance=np.full((len(batch), 68, 3), 1e-3, np.float32),
            timings={"compute": self.last_s - start},
        )

    def _close(self) -> None:
        pass


def measure(paths: list[Path], rows: int, devices: int, batch: int, kind: str) -> str:
    """One stream, as a line of text."""
    backends = [Asleep(number, kind) for number in range(devices)]
    items = itertools.islice(itertools.cycle(paths), rows)
    processor = time.process_time()
    with Stream([Detector(backend) for backend in backends], items, batch=batch) as stream:
        order = [row.index for row in stream]
    processor = time.process_time() - processor
    wall = max(b.last_s for b in backends) - min(b.first_s for b in backends)
    utilisation = sum(backend.busy_s for backend in backends) / (devices * wall)
    calls = sum(backend.calls for backend in backends)
    return (
        f"{devices} device(s), batch {batch}, {kind}: utilisation {utilisation:.1%},"
        f" {rows / wall:.0f} rows/s, {rows / calls:.1f} rows a call,"
        f" {processor / rows * 1e3:.2f} ms processor a row,"
        f" {'in order' if order == list(range(rows)) else 'OUT OF ORDER'},"
        f" peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB"
    )


def main() -> int:
    """Print a line for each number of devices and batch."""
    paths = sorted(p for p in Path(sys.argv[1]).iterdir() if p.suffix in SUFFIXES)
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    for kind in ("float32", "uint8"):
        for devices, batch in ((1, 1), (2, 1), (1, 4), (2, 4)):
            sys.stdout.write(measure(paths, rows, devices, batch, kind) + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
