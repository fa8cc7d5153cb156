"""One row's measurements, in its own process."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.suite.first_landmarks import Opening
from benchmarks.suite.floor import Floor
from parity.machine import peak_rss_bytes
from parity.recording.recorder import Recorder, record
from parity.recording.recording import save_recording
from parity.samples import ASSETS, Sample
from runtime.image.picture import read_picture

# The stages that are the engine's own; the others are this project's, and cost the same whoever
# runs the network.
ENGINE_STAGES = ("h2d", "compute", "d2h")
PHOTO = ASSETS / "test.jpg"
# The face in it, as shares of its width and height.
FACE_SHARES = (340 / 1024, 270 / 768, 660 / 1024, 575 / 768)


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Seconds of one `detect(image, face_bbox)`.

    `around_s` is all but the engine's own call; `floor_s` the least that OpenCV needs in its place.
    """

    total_s: float
    stages_s: Mapping[str, float]
    around_s: float
    floor_s: float


class RowWorker:
    """Opens a row, or raises a StarmarkError, and does one thing at a time with it."""

    def __init__(self, opening: Opening) -> None:
        self._source = opening.source
        self._detector = opening.detector()
        self._batches: dict[int, NDArray[Any]] = {}
        self._pictures: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def describe(self) -> tuple[str, str, int | None]:
        """Engine, device, and the number of parameters."""
        backend = self._detector.backend
        return backend.name, backend.device, backend.parameters

    def record(self, samples: Sequence[Sample], path: Path) -> None:
        """Write its answers on the pictures into a file.

        Raises:
            InputError: a picture cannot be used.
            InferenceError: the engine failed.
        """
        (made,) = record([Recorder(self._source, self._detector)], samples, strict=True)
        save_recording(path, made)

    def network(self, size: int, runs: int) -> list[float]:
        """Seconds of each timed run of the network alone on a batch, after one untimed run."""
        if size not in self._batches:
            self._batches[size] = np.repeat(self._one_crop(), size, axis=0)
        batch, backend = self._batches[size], self._detector.backend
        # untimed: the row before left caches and clock in another state
        backend.run(batch)
        found: list[float] = []
        for _ in range(runs):
            start = time.perf_counter()
            backend.run(batch)
            found.append(time.perf_counter() - start)
        return found

    def detect(self, size_wh: tuple[int, int], runs: int) -> list[Detection]:
        """Time the whole way from a decoded picture and a box to points, after an untimed run.

        The floor is timed right behind a run of the network, too: it leaves the picture out of the
        cache, and its threads busy.
        """
        if size_wh not in self._pictures:
            self._pictures[size_wh] = photo(size_wh)
        picture, box = self._pictures[size_wh], face_box(size_wh)
        floor = Floor(self._detector.spec.input)
        crop = self._detector.trace(picture, box).crop
        batch = self._detector.spec.input.pack(crop.pixels[None])
        found: list[Detection] = []
        for _ in range(runs):
            start = time.perf_counter()
            trace = self._detector.trace(picture, box)
            total = time.perf_counter() - start
            engine = sum(trace.timings.get(stage, 0.0) for stage in ENGINE_STAGES)
            self._detector.backend.run(batch)
            found.append(
                Detection(
                    total_s=total,
                    stages_s=dict(trace.timings),
                    around_s=total - engine,
                    floor_s=floor.seconds(picture, box),
                )
            )
        return found

    def peak_bytes(self) -> int:
        """Largest resident set of this process so far."""
        return peak_rss_bytes()

    def _one_crop(self) -> NDArray[Any]:
        size_wh = (1024, 768)
        crop = self._detector.crop(photo(size_wh), face_box(size_wh))
        return self._detector.spec.input.pack(crop.pixels[None])


def photo(size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """The embedded photo at another size, uint8 (H, W, 3) BGR."""
    return np.asarray(cv2.resize(read_picture(PHOTO), size_wh), np.uint8)


def face_box(size_wh: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box of the face in `photo`, px of that size."""
    width, height = size_wh
    x1, y1, x2, y2 = FACE_SHARES
    return (x1 * width, y1 * height, x2 * width, y2 * height)
