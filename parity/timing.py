"""How long a source takes: the network alone, end to end by stage, and batch by batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from parity.recording.recording import STAGES
from parity.samples import Sample
from parity.sources import is_rehearsal
from runtime.cli import command_line
from runtime.detector import Detector
from runtime.model.device import Device

Packed = NDArray[np.float32] | NDArray[np.uint8]

BATCHES = (1, 2, 4, 8)
BATCH_ROUNDS = 3
# As the reference's benchmark does them: (warm-up, runs).
ON_A_DEVICE = (10, 100)
ON_A_CPU = (3, 20)


class Latency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Milliseconds over single runs; fps is 1000 / mean."""

    runs: int
    min_ms: float
    mean_ms: float
    median_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    fps: float


class Throughput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pictures a second through the network at one batch size, median of a few rounds."""

    batch: int
    pictures_per_second: float


@dataclass(kw_only=True, eq=False)
class Stopwatch:
    """Collects one source's seconds.

    Attributes:
        warm_up, runs: how many single runs are thrown away, and kept.
        network_s: of `Backend.run` on one packed crop.
        stages_s: end to end by stage; none of a stage that the engine does not time.
        total_s: end to end, from the file to points in the picture.
    """

    source: str
    detector: Detector
    warm_up: int
    runs: int
    network_s: list[float] = field(default_factory=list)
    stages_s: dict[str, list[float]] = field(default_factory=dict)
    total_s: list[float] = field(default_factory=list)
    throughput: list[Throughput] = field(default_factory=list)

    def run_once(self, batch: Packed, sample: Sample, *, keep: bool) -> None:
        """One run of the network alone, and one from the file to the points."""
        network = self.seconds_of(batch)
        start = time.perf_counter()
        picture = sample.read()
        decoded = time.perf_counter() - start
        trace = self.detector.trace(
            picture, sample.box_xyxy, cropped=sample.is_crop_of(self.detector.spec.input.size)
        )
        total = time.perf_counter() - start
        if keep:
            self.network_s.append(network)
            self.total_s.append(total)
            for stage, seconds in {"decode": decoded, **trace.timings}.items():
                self.stages_s.setdefault(stage, []).append(seconds)

    def seconds_of(self, batch: NDArray[Any]) -> float:
        """Seconds of one run of the network alone."""
        start = time.perf_counter()
        self.detector.backend.run(batch)
        return time.perf_counter() - start

    def fill(self, batch: Packed) -> None:
        """Measure the throughput at each batch size."""
        for size in BATCHES:
            many = np.repeat(batch, size, axis=0)
            self.seconds_of(many)  # shapes that are new cost more the first time
            median = np.median([self.seconds_of(many) for _ in range(BATCH_ROUNDS)])
            self.throughput.append(Throughput(batch=size, pictures_per_second=size / float(median)))

    def stages(self) -> dict[str, Latency]:
        """End to end by stage, in the order in which they happen."""
        return {stage: latency(self.stages_s[stage]) for stage in STAGES if stage in self.stages_s}


def stopwatch(source: str, detector: Detector, runs: int | None) -> Stopwatch:
    """Choose warm-up and runs as the reference does; `runs` is for a device, and bounds a CPU's."""
    on_cpu = runs_on_cpu(detector.device)
    warm_up, usual = ON_A_CPU if on_cpu else ON_A_DEVICE
    kept = usual if runs is None else min(runs, usual) if on_cpu else runs
    return Stopwatch(source=source, detector=detector, warm_up=warm_up, runs=kept)


def latency_of(detector: Detector, crop: NDArray[np.uint8], runs: int) -> Latency:
    """Time the network alone on one crop, uint8 (S, S, 3), after the reference's warm-up."""
    watch = stopwatch("", detector, None)
    batch = detector.spec.input.pack(crop[None])
    rounds = watch.warm_up + runs
    progress = command_line.progress(range(rounds), "Timing", rounds)
    seconds = [watch.seconds_of(batch) for _ in progress]
    return latency(seconds[watch.warm_up :])


def measure(watches: Sequence[Stopwatch], samples: Sequence[Sample]) -> None:
    """Time all sources in one run, taking turns, so that a busy moment hits all alike.

    Raises:
        InputError: a picture that cannot be read.
        InferenceError: an engine failed.
    """
    batches = [_one_crop(watch.detector, samples[0]) for watch in watches]
    rounds = max(watch.warm_up + watch.runs for watch in watches)
    for index in command_line.progress(range(rounds), "Timing", rounds):
        for watch, batch in zip(watches, batches, strict=True):
            if index < watch.warm_up + watch.runs:
                if len(watches) > 1:
                    # not timed: the engine before it keeps its threads spinning for a while, which
                    # made torch after onnxruntime look twice as slow as it is
                    watch.detector.backend.run(batch)
                keep = index >= watch.warm_up
                watch.run_once(batch, samples[index % len(samples)], keep=keep)
    for watch, batch in zip(watches, batches, strict=True):
        watch.fill(batch)


def latency(seconds: Sequence[float]) -> Latency:
    """Summarise single runs."""
    ms = np.asarray(seconds) * 1e3
    p90, p95, p99 = np.percentile(ms, (90, 95, 99)).tolist()
    return Latency(
        runs=ms.size,
        min_ms=float(ms.min()),
        mean_ms=float(ms.mean()),
        median_ms=float(np.median(ms)),
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=float(ms.max()),
        fps=float(1e3 / ms.mean()),
    )


def runs_on_cpu(device: str) -> bool:
    """Whether a backend's device is a CPU; a rehearsal is a CPU's work, whatever it rehearses."""
    return Device.of(device.lower()).kind == "cpu" or is_rehearsal(device)


def _one_crop(detector: Detector, sample: Sample) -> Packed:
    picture = sample.read()
    crop = detector.crop(
        picture, sample.box_xyxy, cropped=sample.is_crop_of(detector.spec.input.size)
    )
    return detector.spec.input.pack(crop.pixels[None])
