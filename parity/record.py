"""python -m parity.record: run a source where its engine is, and carry the answers away."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from parity.machine import machine, versions
from parity.options import (
    RECORDING_SUFFIX,
    add_picture_options,
    check_recording_name,
    chosen_samples,
    files_read,
)
from parity.recording import (
    STAGES,
    Header,
    PictureRecord,
    Recording,
    Unreadable,
    load_recording,
    save_recording,
    sha256_pixels,
)
from parity.samples import Sample, decoded
from parity.sources import open_detector
from runtime import command_line
from runtime.backends import Settings
from runtime.detector import Detector
from runtime.errors import EXIT_OK, InferenceError, InputError
from runtime.files import shown
from runtime.source import parse_source
from runtime.tracing import Trace

logger = logging.getLogger("starmark")


class Recorder:
    """Collects one source's answers, picture by picture, in memory that holds no pixels."""

    def __init__(self, source: str, detector: Detector, crops: IO[bytes] | None = None) -> None:
        self.source = shown(source)
        self.detector = detector
        self._crops = crops
        self._pictures: list[PictureRecord] = []
        self._rows: list[tuple[Any, ...]] = []
        self._other_mark_up = 0

    def add(self, sample: Sample, picture: NDArray[np.uint8], decode_s: float = np.nan) -> None:
        """Run the source on one picture.

        Raises:
            InputError: the picture or its box cannot be used, or its .pts is another mark-up's.
            InferenceError: the engine failed, or said something that is not a number.
        """
        annotation_px = self._annotation_of(sample)
        try:
            trace = self.detector.trace(picture, sample.box_xyxy, cropped=sample.cropped)
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
        trace = self.detector.trace(crop, cropped=True)
        self._pictures.append(msgspec.structs.replace(record, sha256_crop=sha256_pixels(crop)))
        self._keep(trace, place, np.nan, annotation_px)

    def finish(self, unreadable: Sequence[Unreadable] = ()) -> Recording:
        """Put everything together."""
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
            parameters=backend.parameters,
            checkpoint_sha256=backend.checkpoint_sha256,
            spec=spec,
            manifest=backend.manifest,
            versions=versions(),
            machine=machine(),
            pictures=tuple(self._pictures),
            unreadable=tuple(unreadable),
            with_crops=self._crops is not None,
            created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        n, p = len(self._rows), spec.points
        columns = list(zip(*self._rows, strict=True)) or [(), (), (), (), ()]
        return Recording(
            header=header,
            landmarks=np.array(columns[0], np.float32).reshape(n, p, 2),
            covariance=np.array(columns[1], np.float32).reshape(n, p, 3),
            image_from_crop=np.array(columns[2], np.float64).reshape(n, 3, 3),
            timings=np.array(columns[3], np.float64).reshape(n, len(STAGES)),
            annotations_px=np.array(columns[4], np.float64).reshape(n, p, 2),
        )

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
        timings = {**trace.timings, "decode": decode_s}
        self._rows.append(
            (
                trace.outputs.landmarks[0],
                trace.outputs.covariance[0],
                place,
                [timings.get(stage, np.nan) for stage in STAGES],
                annotation_px,
            )
        )


def record(
    recorders: Sequence[Recorder], samples: Sequence[Sample], *, jobs: int = 1, strict: bool = False
) -> list[Recording]:
    """Show every picture to every source, decoding ahead.

    Args:
        recorders: one a source; all see the same decoded picture.
        samples: the pictures.
        jobs: threads that decode.
        strict: an unreadable picture is an error instead of being left out and listed.

    Raises:
        InputError: no picture at all could be read, or one could not and `strict`.
        InferenceError: an engine failed.
    """
    unreadable: list[Unreadable] = []
    pictures = decoded(samples, jobs)
    for sample, picture, seconds in command_line.progress(pictures, "Recording", len(samples)):
        try:
            if isinstance(picture, InputError):
                raise picture
            for recorder in recorders:
                recorder.add(sample, picture, seconds)
        except InputError as error:
            if strict:
                raise
            logger.warning("left out: %s", error)
            unreadable.append(Unreadable(name=sample.name, error=str(error)))
    if len(unreadable) == len(samples):
        raise InputError(
            "pictures",
            expected="at least one that can be read",
            got=f"{len(unreadable)} unreadable, the first: {unreadable[0].error}"
            if unreadable
            else "none",
            action="Check --images",
        )
    return [recorder.finish(unreadable) for recorder in recorders]


def replay(
    detector: Detector, source: str, recording: Recording, crops: IO[bytes] | None = None
) -> Recording:
    """Run a source on the crops another recording carries.

    Raises:
        InputError: that recording has no crops, or they have another size.
        InferenceError: the engine failed.
    """
    recorder = Recorder(source, detector, crops)
    recorded = command_line.progress(recording.crops(), "Replaying", len(recording.landmarks))
    for index, crop in enumerate(recorded):
        place, marked = recording.image_from_crop[index], recording.annotations_px[index]
        recorder.replay(recording.header.pictures[index], crop, place, marked)
    return recorder.finish(recording.header.unreadable)


def main(argv: list[str] | None = None) -> int:
    """Record one source into a file.

    Returns:
        0, or as `runtime.errors` lists.
    """
    return command_line.run(lambda: _record(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "parity.record",
        "Run a source on pictures and write its answers into a file that parity.compare reads\n"
        "anywhere. --images RECORDING.npz runs it on the crops that recording carries.",
        "python -m parity.record build/star68@npu:0 --images photos/ --output npu.npz",
    )
    parser.add_argument("source", metavar="SOURCE", help="PATH[@[ENGINE/]DEVICE]")
    add_picture_options(parser)
    command_line.add_engine_options(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="NPZ", help="file to write")
    parser.add_argument("--with-crops", action="store_true", help="keep the crops (large)")
    return parser.parse_args(argv)


def _record(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr()
    output: Path = arguments.output
    with ExitStack() as stack:
        images = arguments.images or []
        again = len(images) == 1 and Path(images[0]).suffix == RECORDING_SUFFIX
        played = load_recording(Path(images[0])) if again else None
        samples = [] if again else chosen_samples(arguments)
        source = parse_source(arguments.source)
        inputs = files_read([source], samples, arguments.boxes) + [Path(image) for image in images]
        check_recording_name(output, "--output", inputs)
        # without a name, so that nothing is left of it however this process ends
        crops = (
            stack.enter_context(tempfile.TemporaryFile(dir=output.parent))
            if arguments.with_crops
            else None
        )
        settings = Settings(allow_hf32=arguments.allow_hf32, threads=arguments.threads)
        detector = stack.enter_context(open_detector(source, settings))
        if played is not None:
            made = replay(detector, arguments.source, played, crops)
        else:
            recorder = Recorder(arguments.source, detector, crops)
            (made,) = record([recorder], samples, jobs=arguments.jobs, strict=arguments.strict)
        save_recording(output, made, crops)
    left_out = f", {len(made.header.unreadable)} left out" if made.header.unreadable else ""
    print(f"recorded: {output} ({len(made.landmarks)} pictures{left_out})")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
