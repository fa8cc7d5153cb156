"""Everything seen on the way to a picture's landmarks, and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from runtime.backends import Outputs
from runtime.image.crop import Crop
from runtime.image.landmarks import F32, Landmarks, spread_of, to_image

# The spread that a tenth of the points exceed, over the longer side of the points' bounding box.
# docs/accuracy.md has what it was measured on, and what predicts failures better and worse.
UNSURE_PERCENTILE = 90.0
LARGEST_RELATIVE_SPREAD = 0.11


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """Everything on the way to one picture's landmarks; references, no copies.

    Attributes:
        crop: the network's input.
        outputs: its outputs, with a batch axis of 1.
        landmarks: the same in image px.
        timings: seconds by stage: crop, pack, the engine's own (h2d, compute, d2h), home. What a
            batch took together is shared out evenly.
    """

    crop: Crop
    outputs: Outputs
    landmarks: Landmarks
    timings: dict[str, float]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Doubts about these points, in words; computed on access.

        Most often there was no face's box, and the picture was taken as one face.
        """
        return _warnings(self.outputs)


def traces_of(
    crops: Sequence[Crop],
    said: Outputs,
    timings: Sequence[dict[str, float]],
    shared: Mapping[str, float],
    error_scale: F32 | None = None,
) -> list[Trace]:
    """Map a batch's outputs back to image coordinates, one Trace per picture.

    Args:
        crops: of the batch.
        said: the outputs for all of them.
        timings: seconds of each picture's own stages so far; they are added to.
        shared: seconds of the stages that the batch went through together.
        error_scale: see `Landmarks`.
    """
    traces: list[Trace] = []
    for index, (crop, timing) in enumerate(zip(crops, timings, strict=True)):
        timing.update({stage: seconds / len(crops) for stage, seconds in shared.items()})
        outputs = said.of(index)
        with timed(timing, "home"):
            landmarks = to_image(outputs.landmarks[0], outputs.covariance[0], crop, error_scale)
        traces.append(Trace(crop=crop, outputs=outputs, landmarks=landmarks, timings=timing))
    return traces


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Note the seconds that a stage took."""
    start = time.perf_counter()
    yield
    timings[stage] = time.perf_counter() - start


def _warnings(outputs: Outputs) -> tuple[str, ...]:
    extent = float(np.ptp(outputs.landmarks[0], axis=0).max())
    spread = float(np.percentile(spread_of(outputs.covariance[0]), UNSURE_PERCENTILE))
    if spread <= LARGEST_RELATIVE_SPREAD * extent:
        return ()
    found = f"{spread / max(extent, 1e-6):.1%} of the face's extent"
    return (
        (
            f"the points are unsure (a tenth of them have a spread above {found}, expected at most"
            f" {LARGEST_RELATIVE_SPREAD:.0%}): the face is too small in the crop, or absent"
        ),
    )
