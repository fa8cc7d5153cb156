"""How busy a stream keeps its devices: python scripts/measure_stream.py FOLDER [ROWS].

With several devices and batches, which `python -m benchmarks.suite` does not try; devices
are its simulated ones, of 5 ms a call. The pictures of the folder are repeated as paths, so that
decoding is part of it. Utilisation is the time inside the devices' calls over the devices' number
and the wall's time.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.suite.simulated import SimulatedDevice
from parity.machine import peak_rss_bytes
from runtime.detector import Detector
from runtime.stream.stream import Stream

DEVICE_S = 5e-3
SUFFIXES = (".jpg", ".png")


def measure(paths: list[Path], rows: int, devices: int, batch: int) -> str:
    """One stream, as a line of text."""
    simulated = [SimulatedDevice(DEVICE_S) for _ in range(devices)]
    items = itertools.islice(itertools.cycle(paths), rows)
    start, processor = time.perf_counter(), time.process_time()
    with Stream([Detector(device) for device in simulated], items, batch=batch) as stream:
        order = [row.index for row in stream]
    wall, processor = time.perf_counter() - start, time.process_time() - processor
    utilisation = sum(device.busy_s for device in simulated) / (devices * wall)
    return (
        f"{devices} device(s), batch {batch}: utilisation {utilisation:.1%},"
        f" {rows / wall:.0f} rows/s, {processor / rows * 1e3:.2f} ms processor a row,"
        f" {'in order' if order == list(range(rows)) else 'OUT OF ORDER'},"
        f" peak {peak_rss_bytes() >> 20} MiB"
    )


def main() -> int:
    """Print a line for each number of devices and batch."""
    paths = sorted(p for p in Path(sys.argv[1]).iterdir() if p.suffix in SUFFIXES)
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    for devices, batch in ((1, 1), (2, 1), (1, 4), (2, 4)):
        sys.stdout.write(measure(paths, rows, devices, batch) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
