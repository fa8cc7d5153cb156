"""From a picture to its landmarks, one path for users and for parity alike."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from types import TracebackType

import numpy as np

from runtime.backends import Backend, Settings, open_backend
from runtime.backends.base import DEBUG_BUNDLE, DEFAULT_SETTINGS
from runtime.errors import ConfigError, InputError
from runtime.faces import Face, FaceFinder, find_boxes
from runtime.image.crop import Crop, Picture, crop_as
from runtime.image.geometry import F64, Box
from runtime.image.landmarks import Landmarks
from runtime.image.picture import as_lists, naming_picture
from runtime.machine.buffers import Scratch
from runtime.model.source import Source
from runtime.refine import MOST_PASSES, next_box
from runtime.tracing import Trace, timed, traces_of

logger = logging.getLogger("starmark")

# More crops than this go through the network in several calls: a full-size network's
# intermediate maps take about 100 MB a picture.
LARGEST_BATCH = 32

_BATCH = Scratch()


class Detector:
    """Finds the landmarks of one face in a picture. Safe to share between threads.

    Example:
        >>> from runtime import Detector, read_picture
        >>> image = read_picture("assets/test.jpg")
        >>> with Detector("build/starter68") as detector:
        ...     points_px = detector.detect(image, face_bbox=(340, 270, 660, 575)).points_px
        >>> points_px.shape
        (68, 2)

    Args:
        source: `PATH[@[ENGINE/]DEVICE]`: a bundle, a checkpoint or an .onnx file; or a backend that
            is open already, which is then closed with this Detector.
        device: "auto", "cpu", "cuda:0", "npu:0" or an onnxruntime provider's name.
        settings: what else may be chosen about an engine.
        faces: finds the boxes for `detect_faces`.
        refine: how many times more a face is cut by the box of the points just found, and its
            points found anew, where the caller passes no box. One pass brings most of the gain.

    Raises:
        ConfigError, ArtifactError, BackendUnavailable: see `open_backend`; or `refine` cannot be.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Source | Backend,
        device: str = "auto",
        *,
        settings: Settings = DEFAULT_SETTINGS,
        faces: FaceFinder | None = None,
        refine: int = 0,
    ) -> None:
        if type(refine) is not int or not 0 <= refine <= MOST_PASSES:
            raise ConfigError(
                "refine", expected=f"0 to {MOST_PASSES}", got=repr(refine), action="Correct it"
            )
        self.faces, self.refine, self._source = faces, refine, source
        self.backend: Backend = (
            source
            if isinstance(source, Backend)
            else open_backend(source, device, settings=settings)
        )
        self.spec = self.backend.spec
        manifest = self.backend.manifest
        scale = None if manifest is None else manifest.error_scale_by_point
        self.error_scale = None if scale is None else np.array(scale, np.float32)
        if self.spec.taps:
            logger.warning("WARNING: %s: %s", self.backend.name, DEBUG_BUNDLE)
        if self.backend.reasons:
            logger.debug("%s: device auto: %s", source, "; ".join(self.backend.reasons))

    def __repr__(self) -> str:
        given = self._source
        source = given.name if isinstance(given, Backend) else str(given)
        state = ", closed" if self.backend.closed else ""
        return (
            f"{type(self).__name__}({source!r}, device={self.device!r},"
            f" engine={self.backend.name!r}, points={self.spec.points}{state})"
        )

    @property
    def device(self) -> str:
        """Where it runs, as resolved."""
        return self.backend.device

    @property
    def parameters(self) -> int | None:
        """Number of the model's parameters, None where nothing says."""
        return self.backend.parameters

    def detect(self, image: Picture, face_bbox: Box | None = None) -> Landmarks:
        """Find the landmarks of the face in a box, or in the whole picture.

        Args:
            image: uint8 (H, W, 3) BGR; grey, BGRA and 16-bit are converted.
            face_bbox: x1, y1, x2, y2 in image px; None takes the picture as one face.

        Raises:
            InputError: the picture or the box cannot be used.
            InferenceError: the engine failed.
        """
        return self.trace(image, face_bbox).landmarks

    def detect_from_cropped(self, crop: Picture) -> Landmarks:
        """Find the landmarks of a picture that already is the crop the network takes.

        Raises:
            InputError: not exactly the network's size.
            InferenceError: the engine failed.
        """
        return self.trace(crop, cropped=True).landmarks

    def detect_batch(
        self, images: Iterable[Picture], boxes: Iterable[Box | None] | None = None
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

    def detect_faces(self, image: Picture) -> list[Face]:
        """Find every face of a picture, and its landmarks; without a finder it is one face whole.

        Raises:
            InputError: the picture cannot be used, or the finder's result holds no valid boxes.
            InferenceError: the engine or the finder failed.
        """
        return self.detect_faces_batch([image])[0]

    def detect_faces_batch(self, images: Iterable[Picture]) -> list[list[Face]]:
        """As `detect_faces` for several pictures: all faces in as few calls of the engine as go.

        Raises:
            InputError: a picture cannot be used (its index is named), or the finder's result holds
                no valid boxes.
            InferenceError: the engine or the finder failed.
        """
        pictures, _ = as_lists(images, None)
        found: list[list[tuple[F64 | None, float | None]]] = []
        for index, image in enumerate(pictures):
            with naming_picture(index):
                whole: list[tuple[F64 | None, float | None]] = [(None, None)]
                found.append(whole if self.faces is None else [*find_boxes(self.faces, image)])
        shown = [image for image, boxes in zip(pictures, found, strict=True) for _ in boxes]
        boxes = [box for boxes in found for box, _ in boxes]
        # without a box it is refined there already
        boxed = [index for index, box in enumerate(boxes) if box is not None]
        traces = iter(self.refined(shown, self.trace_batch(shown, boxes), boxed))
        return [
            [Face(box_xyxy=box, score=score, trace=next(traces)) for box, score in boxes]
            for boxes in found
        ]

    def trace(
        self, image: Picture, face_bbox: Box | None = None, *, cropped: bool = False
    ) -> Trace:
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
        (trace,) = self._finish([crop], [timings])
        alone = face_bbox is None and not cropped
        return self.refined([image], [trace], [0])[0] if alone and self.refine else trace

    def trace_batch(
        self, images: Iterable[Picture], boxes: Iterable[Box | None] | None = None
    ) -> list[Trace]:
        """As `detect_batch`, with everything seen on the way but taps: tens of MB a picture.

        Raises:
            InputError: a picture or box cannot be used (its index is named), or the counts differ.
            InferenceError: the engine failed.
        """
        pictures, around = as_lists(images, boxes)
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
        whole = [i for i in range(len(crops)) if around is None or around[i] is None]
        return self.refined(pictures, self._finish_all(crops, timings), whole)

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

    def crop(self, image: Picture, face_bbox: Box | None = None, *, cropped: bool = False) -> Crop:
        """Cut out what the network will see of a picture; arguments as for `trace`.

        Raises:
            InputError: the picture or the box cannot be used.
        """
        return crop_as(image, face_bbox, self.spec.input.size, cropped=cropped)

    def refined(
        self, images: Sequence[Picture], traces: list[Trace], which: Iterable[int]
    ) -> list[Trace]:
        """Cut some pictures again by the points found in them, `refine` times.

        Args:
            images: one for each trace.
            traces: of the pass before; replaced in place.
            which: indices of those to refine.

        Raises:
            InferenceError: the engine failed.
        """
        going = list(which)
        for _ in range(self.refine):
            cuts: dict[int, Crop] = {}
            for index in going:
                box_xyxy = next_box(traces[index], images[index])
                if box_xyxy is not None:
                    cuts[index] = self.crop(images[index], box_xyxy)
            again = self._finish_all([*cuts.values()], [dict(traces[i].timings) for i in cuts])
            for index, trace in zip(cuts, again, strict=True):
                traces[index] = trace
            going = [*cuts]
        return traces

    def _finish_all(self, crops: list[Crop], timings: list[dict[str, float]]) -> list[Trace]:
        traces: list[Trace] = []
        for start in range(0, len(crops), LARGEST_BATCH):
            part = slice(start, start + LARGEST_BATCH)
            found = self._finish(crops[part], timings[part])
            traces += [replace(t, outputs=replace(t.outputs, taps={})) for t in found]
        return traces

    def _finish(self, crops: list[Crop], timings: list[dict[str, float]]) -> list[Trace]:
        shared: dict[str, float] = {}
        spec = self.spec.input
        # a trace refers to the crop and to the outputs, never to a batch of floats
        floats = spec.dtype == "float32"
        lent = _BATCH.lent(spec.shape(len(crops)), spec.dtype) if floats else nullcontext()
        with lent as memory:
            with timed(shared, "pack"):
                batch = spec.pack([crop.pixels for crop in crops], memory)
            said = self.backend.run(batch)
        shared.update(said.timings)
        return traces_of(crops, said, timings, shared, self.error_scale)
