"""Running sources on pictures, or on a recording's crops, and keeping their answers."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import IO, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from parity.machine import machine, versions
from parity.recording.recording import (
    STAGES,
    Header,
    PictureRecord,
    Recording,
    Unreadable,
    columns_of,
    sha256_pixels,
)
from parity.samples import Sample, decoded
from runtime.cli import command_line
from runtime.detector import Detector
from runtime.errors import InferenceError, InputError
from runtime.files import shown
from runtime.model.spec import without_taps
from runtime.tracing import Trace

logger = logging.getLogger("starmark")


class Recorder:
    """Collects one source's answers, picture by picture, in memory that holds no pixels.

    Args:
        source: its name.
        detector: the source, open.
        crops, taps: open files for the crops and the debug tensors, if they are to be kept.
    """

    def __init__(
        self,
        source: str,
        detector: Detector,
        crops: IO[bytes] | None = None,
        taps: IO[bytes] | None = None,
    ) -> None:
        self.source = shown(source)
        self.detector = detector
        self._crops = crops
        self._taps = taps
        self._pictures: list[PictureRecord] = []
        # bytes, and not arrays: a small one kept between an engine's large ones holds their place,
        # so that the process would grow with the pictures
        self._columns: defaultdict[str, bytearray] = defaultdict(bytearray)
        self._other_mark_up = 0

    def add(self, sample: Sample, picture: NDArray[np.uint8], decode_s: float = np.nan) -> None:
        """Run the source on one picture.

        Raises:
            InputError: the picture or its box cannot be used, or its .pts is another mark-up's.
            InferenceError: the engine failed, or its answer is not finite.
        """
        annotation_px = self._annotation_of(sample)
        try:
            trace = self.detector.trace(
                picture, sample.box_xyxy, cropped=sample.is_crop_of(self.detector.spec.input.size)
            )
        except InferenceError as error:
            raise InferenceError(
                f"{self.source}: {sample.name}: {error.where}",
                expected=error.expected,
                got=error.got,
                action=error.action,
            ) from error
        self._pictures.append(
            PictureRecord(
                name=sample.name,
                mode=sample.mode,
                box_xyxy=sample.box_xyxy,
                size_wh=(picture.shape[1], picture.shape[0]),
                sha256_picture=sha256_pixels(picture),
                sha256_crop=sha256_pixels(trace.crop.pixels),
            )
        )
        self._keep(trace, trace.crop.image_from_crop, decode_s, annotation_px)

    def replay(
        self, record: PictureRecord, crop: NDArray[np.uint8], place: Any, annotation_px: Any
    ) -> None:
        """Run the source on another recording's crop, in that crop's place.

        Raises:
            InputError: a crop of another size than this source takes.
            InferenceError: the engine failed.
        """
        points = self.detector.spec.points
        if len(annotation_px) != points:
            self._other_mark_up += bool(np.isfinite(annotation_px).any())
            annotation_px = np.full((points, 2), np.nan)
        trace = self.detector.trace(crop, cropped=True)
        self._pictures.append(msgspec.structs.replace(record, sha256_crop=sha256_pixels(crop)))
        self._keep(trace, place, np.nan, annotation_px)

    def finish(self, unreadable: Sequence[Unreadable] = ()) -> Recording:
        """The recording of all pictures so far."""
        backend, spec = self.detector.backend, self.detector.spec
        if self._other_mark_up:
            logger.warning(
                "%s: annotations that cannot be used: %d pictures have other than %d points",
                self.source,
                self._other_mark_up,
                spec.points,
            )
        header = Header(
            source=self.source,
            engine=backend.name,
            device=backend.device,
            arithmetic=backend.arithmetic,
            parameters=backend.parameters,
            checkpoint_sha256=backend.checkpoint_sha256,
            spec=without_taps(spec) if self._taps is None else spec,
            manifest=backend.manifest,
            versions=versions(),
            machine=machine(),
            pictures=tuple(self._pictures),
            unreadable=tuple(unreadable),
            with_crops=self._crops is not None,
            created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        columns: dict[str, Any] = {
            name: np.frombuffer(bytes(self._columns[name]), dtype).reshape(-1, *row)
            for name, (row, dtype) in columns_of(spec.points).items()
        }
        return Recording(header=header, **columns)

    def _annotation_of(self, sample: Sample) -> Any:
        """(P, 2) image px; NaN where nobody marked this picture with this model's points."""
        known, annotation_px = self.detector.spec.points, sample.annotation_px
        if annotation_px is not None and len(annotation_px) == known:
            return annotation_px
        if annotation_px is not None and sample.boxed_by_annotation:
            # the box of five points, say, is not the face that this model was trained to see
            raise InputError(
                f"{sample.name}: its .pts",
                expected=f"{known} points, as {self.source} marks",
                got=str(len(annotation_px)),
                action="Use --boxes whole, or a file of boxes",
            )
        self._other_mark_up += annotation_px is not None
        return np.full((known, 2), np.nan)

    def _keep(self, trace: Trace, place: Any, decode_s: float, annotation_px: Any) -> None:
        if self._crops is not None:
            self._crops.write(trace.crop.pixels.tobytes())
        if self._taps is not None:
            for name in self.detector.spec.taps:
                self._taps.write(np.ascontiguousarray(trace.outputs.taps[name], "<f4").data)
        timings = {**trace.timings, "decode": decode_s}
        row: dict[str, Any] = {
            "landmarks": trace.outputs.landmarks[0],
            "covariance": trace.outputs.covariance[0],
            "image_from_crop": place,
            "timings": [timings.get(stage, np.nan) for stage in STAGES],
            "annotations_px": annotation_px,
        }
        for name, (_, dtype) in columns_of(self.detector.spec.points).items():
            self._columns[name] += np.asarray(row[name], dtype).tobytes()


def for_each_picture(
    samples: Sequence[Sample],
    work: Callable[[Sample, NDArray[np.uint8], float], None],
    doing: str,
    *,
    jobs: int,
    strict: bool,
) -> tuple[Unreadable, ...]:
    """Decode pictures ahead in `jobs` threads, and work on one after the other.

    Args:
        samples: the pictures.
        work: is given each sample, its picture, and the seconds that decoding took.
        doing: for the progress bar.
        jobs: threads that decode.
        strict: an unreadable picture is an error instead of being left out.

    Returns:
        The pictures that were left out.

    Raises:
        InputError: no picture at all could be read, or one could not and `strict`.
    """
    unreadable: list[Unreadable] = []
    pictures = decoded(samples, jobs)
    for sample, picture, seconds in command_line.progress(pictures, doing, len(samples)):
        try:
            if isinstance(picture, InputError):
                raise picture
            work(sample, picture, seconds)
        except InputError as error:
            if strict:
                raise
            logger.warning("left out: %s", error)
            unreadable.append(Unreadable(name=sample.name, error=str(error)))
    if len(unreadable) == len(samples):
        first = f"{len(unreadable)} unreadable, the first: {unreadable[0].error}" if samples else ""
        raise InputError(
            "pictures",
            expected="at least one that can be read",
            got=first or "none",
            action="Check --images",
        )
    return tuple(unreadable)


def record(
    recorders: Sequence[Recorder], samples: Sequence[Sample], *, jobs: int = 1, strict: bool = False
) -> list[Recording]:
    """Run every source on every picture; all see the same decoded one.

    Raises:
        InputError: as `for_each_picture`.
        InferenceError: an engine failed.
    """

    def add(sample: Sample, picture: NDArray[np.uint8], seconds: float) -> None:
        for recorder in recorders:
            recorder.add(sample, picture, seconds)

    unreadable = for_each_picture(samples, add, "Recording", jobs=jobs, strict=strict)
    return [recorder.finish(unreadable) for recorder in recorders]


def replay(
    detector: Detector,
    source: str,
    recording: Recording,
    crops: IO[bytes] | None = None,
    taps: IO[bytes] | None = None,
) -> Recording:
    """Run a source on the crops that another recording carries.

    Raises:
        InputError: that recording has no crops, or they have another size.
        InferenceError: the engine failed.
    """
    recorder = Recorder(source, detector, crops, taps)
    recorded = command_line.progress(recording.crops(), "Replaying", len(recording.landmarks))
    for index, crop in enumerate(recorded):
        place, marked = recording.image_from_crop[index], recording.annotations_px[index]
        recorder.replay(recording.header.pictures[index], crop, place, marked)
    return recorder.finish(recording.header.unreadable)
