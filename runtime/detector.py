"""From a picture to its landmarks, one path for users and for parity alike."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np

from runtime.backends import Backend, Settings, open_backend
from runtime.backends.base import DEBUG_BUNDLE, FOR_PARITY
from runtime.crop import Crop, crop_as
from runtime.errors import InputError
from runtime.landmarks import Landmarks
from runtime.scratch import Scratch
from runtime.source import Source
from runtime.tracing import Trace, timed, traces_of

logger = logging.getLogger("starmark")

# More crops than this go through the network in several calls: a full-size network's
# intermediate maps take about 100 MB a picture.
LARGEST_BATCH = 32

_BATCH = Scratch()


class Detector:
    """Finds the landmarks of one face in a picture. Safe to share between threads.

    Example:
        >>> with Detector("build/starter68") as detector:  # doctest: +SKIP
        ...     points_px = detector.detect(image, face_bbox=(80, 60, 320, 300)).points_px

    Args:
        source: `PATH[@[ENGINE/]DEVICE]`: a bundle, a checkpoint or an .onnx file; or a backend that
            is open already, which is then closed with this Detector.
        device: "auto", "cpu", "cuda:0", "npu:0" or an onnxruntime provider's name.
        settings: what else may be chosen about an engine.

    Raises:
        ConfigError, ArtifactError, BackendUnavailable: see `open_backend`.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Source | Backend,
        device: str = "auto",
        *,
        settings: Settings = FOR_PARITY,
    ) -> None:
        self.backend: Backend = (
            source
            if isinstance(source, Backend)
            else open_backend(source, device, settings=settings)
        )
        self.spec = self.backend.spec
        if self.spec.taps:
            logger.warning("WARNING: %s: %s", self.backend.name, DEBUG_BUNDLE)
        if self.backend.reasons:
            logger.info("%s: device auto: %s", source, "; ".join(self.backend.reasons))

    @property
    def device(self) -> str:
        """Where it runs, as resolved."""
        return self.backend.device

    @property
    def parameters(self) -> int | None:
        """Number of the model's parameters, None where nothing says."""
        return self.backend.parameters

    def detect(self, image: Any, face_bbox: Any = None) -> Landmarks:
        """Find the landmarks of the face in a box, or in the whole picture.

        Args:
            image: uint8 (H, W, 3) BGR; grey, BGRA and 16-bit are converted.
            face_bbox: x1, y1, x2, y2 in image px; None takes the picture as one face.

        Raises:
            InputError: the picture or the box cannot be used.
            InferenceError: the engine failed.
        """
        return self.trace(image, face_bbox).landmarks

    def detect_from_cropped(self, crop: Any) -> Landmarks:
        """Find the landmarks of a picture that already is the crop the network takes.

        Raises:
            InputError: not exactly the network's size.
            InferenceError: the engine failed.
        """
        return self.trace(crop, cropped=True).landmarks

    def detect_batch(
        self, images: Iterable[Any], boxes: Iterable[Any] | None = None
    ) -> list[Landmarks]:
        """Find the landmarks of several pictures, in as few calls of the engine as possible.

        Args:
            images: pictures, of any sizes.
            boxes: one box (or None) a picture; None where there is none at all.

        Raises:
            InputError: a picture or box cannot be used (its index is named), or the counts differ.
            InferenceError: the engine failed.
        """
        return [trace.landmarks for trace in self.trace_batch(images, boxes)]

    def trace(self, image: Any, face_bbox: Any = None, *, cropped: bool = False) -> Trace:
        """As `detect`, with everything seen on the way.

        Args:
            image: the picture, or the crop itself where `cropped`.
            face_bbox: x1, y1, x2, y2 in image px.
            cropped: the picture already is the crop.

        Raises:
            InputError: the picture or the box cannot be used.
            InferenceError: the engine failed.
        """
        timings: dict[str, float] = {}
        with timed(timings, "crop"):
            crop = self.crop(image, face_bbox, cropped=cropped)
        return self._finish([crop], [timings])[0]

    def trace_batch(self, images: Iterable[Any], boxes: Iterable[Any] | None = None) -> list[Trace]:
        """As `detect_batch`, with everything seen on the way but taps: tens of MB a picture.

        Raises:
            InputError: a picture or box cannot be used (its index is named), or the counts differ.
            InferenceError: the engine failed.
        """
        pictures, around = _as_lists(images, boxes)
        if around is not None and len(around) != len(pictures):
            raise InputError(
                "detect_batch",
                expected=f"one box for each of the {len(pictures)} pictures",
                got=f"{len(around)} boxes",
                action="Pass None for a picture without a box",
            )
        crops: list[Crop] = []
        timings: list[dict[str, float]] = []
        for index, image in enumerate(pictures):
            timings.append({})
            with timed(timings[-1], "crop"), naming_picture(index):
                crops.append(self.crop(image, None if around is None else around[index]))
        traces: list[Trace] = []
        for start in range(0, len(crops), LARGEST_BATCH):
            part = slice(start, start + LARGEST_BATCH)
            found = self._finish(crops[part], timings[part])
            traces += [replace(t, outputs=replace(t.outputs, taps={})) for t in found]
        return traces

    def close(self) -> None:
        """Release the engine; a second call does nothing."""
        self.backend.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def crop(self, image: Any, face_bbox: Any = None, *, cropped: bool = False) -> Crop:
        """Cut out what the network will see of a picture; arguments as for `trace`.

        Raises:
            InputError: the picture or the box cannot be used.
        """
        return crop_as(image, face_bbox, self.spec.input.size, cropped=cropped)

    def _finish(self, crops: list[Crop], timings: list[dict[str, float]]) -> list[Trace]:
        shared: dict[str, float] = {}
        spec = self.spec.input
        # a trace refers to the crop and to what the network said, never to a batch of floats
        floats = spec.dtype == "float32"
        lent = _BATCH.lent(spec.shape(len(crops)), spec.dtype) if floats else nullcontext()
        with lent as memory:
            with timed(shared, "pack"):
                batch = spec.pack([crop.pixels for crop in crops], memory)
            said = self.backend.run(batch)
        shared.update(said.timings)
        return traces_of(crops, said, timings, shared)


class FaceLandmarkDetector(Detector):
    """`Detector` under the reference's name and with its arguments.

    Example:
        >>> detector = FaceLandmarkDetector("pytorch_model.pkl", device="npu:0")  # doctest: +SKIP
    """

    def __init__(
        self,
        weights: str | os.PathLike[str],
        device: str = "auto",
        *,
        settings: Settings = FOR_PARITY,
    ) -> None:
        super().__init__(weights, device, settings=settings)


def _as_lists(images: Any, boxes: Any) -> tuple[list[Any], list[Any] | None]:
    """Anything that can be gone through; one picture alone would be taken for its rows."""
    if isinstance(images, np.ndarray) and images.ndim != 4:
        raise InputError(
            "detect_batch",
            expected="a list of pictures, or an array (N, H, W, 3)",
            got=f"an array {images.shape}",
            action="Use detect() for one picture",
        )
    try:
        return list(images), None if boxes is None else list(boxes)
    except TypeError as error:
        raise InputError(
            "detect_batch",
            expected="a list of pictures, and a list of boxes or None",
            got=f"{type(images).__name__} and {type(boxes).__name__}",
            action="Pass lists",
        ) from error


@contextmanager
def naming_picture(index: int) -> Iterator[None]:
    """Say which picture of a batch an error is about."""
    try:
        yield
    except InputError as error:
        raise InputError(
            f"picture {index}: {error.where}",
            expected=error.expected,
            got=error.got,
            action=error.action,
        ) from error
