"""`runtime.Stream` over a simulated device: is it kept busy, in order, in bounded memory?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

from benchmarks.suite.report import StreamRun
from benchmarks.suite.simulated import SimulatedDevice
from parity.machine import rss_bytes
from parity.samples import Sample
from runtime.detector import Detector
from runtime.image.picture import read_picture
from runtime.stream.stream import Stream

DEVICE_S = 0.005
READERS = 2
# Decoded pictures that are held for the run without files.
MOST_HELD = 16
# The share of the pictures after which the process has grown to its size.
EARLY = 0.1


class StreamWorker:
    """Streams the samples, repeated, in a process of its own: its memory is the stream's alone."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = list(samples)

    def files(self, pictures: int) -> StreamRun:
        """From files: readers decode, crop and pack."""
        items = [(sample.path, sample.box_xyxy) for sample in self._samples]
        return _streamed("files", items, pictures)

    def decoded(self, pictures: int) -> StreamRun:
        """From decoded pictures: readers crop and pack."""
        items = [(s.read(), s.box_xyxy) for s in self._samples[:MOST_HELD]]
        return _streamed("decoded", items, pictures)


def _streamed(given: str, items: Sequence[tuple[Any, Any]], pictures: int) -> StreamRun:
    expected = _answers(items)
    device = SimulatedDevice(DEVICE_S)
    early_after = max(1, int(pictures * EARLY))
    early = 0
    in_order = True
    start = time.perf_counter()
    with Stream(Detector(device), islice(cycle(items), pictures), readers=READERS) as stream:
        count = 0
        for row in stream:
            # by the device's answer to the pixels, not by the number the stream gave it
            answer = float(row.trace.outputs.landmarks[0, 0, 0]) if row.trace else None
            in_order &= row.index == count and answer == expected[count % len(items)]
            count += 1
            if count == early_after:
                early = rss_bytes()
        seconds = time.perf_counter() - start
    return StreamRun(
        given=given,
        pictures=count,
        distinct=len(items),
        device_ms=DEVICE_S * 1e3,
        readers=READERS,
        seconds=seconds,
        pictures_per_second=count / seconds,
        utilisation=device.busy_s / seconds,
        in_order=in_order and count == pictures,
        early_after=early_after,
        early_rss_bytes=early,
        late_rss_bytes=rss_bytes(),
    )


def _answers(items: Sequence[tuple[Any, Any]]) -> list[float]:
    """The device's answer to each picture alone, one picture in memory at a time."""
    found: list[float] = []
    with Detector(SimulatedDevice(0)) as detector:
        for item, box in items:
            picture = item if hasattr(item, "shape") else read_picture(item)
            found.append(float(detector.trace(picture, box).outputs.landmarks[0, 0, 0]))
    return found
