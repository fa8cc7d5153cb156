"""python -m parity.record: run a source where its engine is, and carry the answers away."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np

from parity.judging.error_scale import as_text, learn_scale
from parity.options import KeepOption, PictureOptions, check_recording_name, files_read
from parity.recording.recorder import Recorder, record, replay
from parity.recording.recording import (
    RECORDING_SUFFIX,
    Recording,
    load_recording,
    save_recording,
    tap_numbers,
)
from parity.sources import open_detector
from runtime.cli import command_line
from runtime.cli.options import EngineOptions
from runtime.detector import Detector
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK, ConfigError
from runtime.files import printable, shown
from runtime.model.manifest import MANIFEST_NAME, read_manifest, save_manifest
from runtime.model.source import parse_source

logger = logging.getLogger("starmark")

# 4 GB of a full-size network's taps, as much as anybody will want to carry.
MOST_TAPPED = 64


def main(argv: list[str] | None = None) -> int:
    """Record one source into a file.

    Returns:
        0; 1 where an error scale does not hold; or as `runtime.errors` lists.
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
    PictureOptions.add(parser)
    KeepOption.add(parser)
    EngineOptions.add(parser)
    parser.add_argument("--output", type=Path, metavar="NPZ", help="file to write")
    parser.add_argument(
        "--error-scale",
        action="store_true",
        help="learn from annotated pictures how wide errors are beside the covariance, judge it on"
        " pictures it was not learnt from, and keep it in the bundle's manifest",
    )
    parser.add_argument("--with-crops", action="store_true", help="keep the crops (large)")
    parser.add_argument(
        "--taps",
        action="store_true",
        help=f"keep what a debug bundle gives of its inside (tens of MB a picture, at most"
        f" {MOST_TAPPED} pictures)",
    )
    arguments = parser.parse_args(argv)
    if arguments.output is None and not arguments.error_scale:
        parser.error("--output: name a file, or learn --error-scale")
    if arguments.output is None and (arguments.with_crops or arguments.taps):
        parser.error("--with-crops and --taps are about --output: name a file")
    return arguments


def _record(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr()
    output: Path | None = arguments.output
    pictures = PictureOptions.of(arguments)
    images = [Path(image) for image in pictures.images]
    played = None
    if len(images) == 1 and images[0].suffix == RECORDING_SUFFIX:
        played = load_recording(images[0])
    samples = pictures.samples() if played is None else []
    source = parse_source(arguments.source)
    keep = KeepOption.of(arguments, [source])
    inputs = files_read([source], samples, pictures.boxes, arguments.keep, *images)
    if output is not None:
        check_recording_name(output, "--output", inputs)
    if arguments.error_scale and not (source.path / MANIFEST_NAME).is_file():
        raise ConfigError(
            "--error-scale",
            expected="a bundle, whose manifest keeps it",
            got=source.text,
            action="Name a folder that python -m export wrote",
        )
    with ExitStack() as stack:
        detector = stack.enter_context(open_detector(source, EngineOptions.of(arguments), keep))
        if arguments.taps:
            _check_taps(detector, len(samples) if played is None else len(played.landmarks))
        # without a name, so that nothing is left of it however this process ends
        crops, taps = (
            stack.enter_context(tempfile.TemporaryFile(dir=output.parent))
            if kept and output is not None
            else None
            for kept in (arguments.with_crops, arguments.taps)
        )
        if played is not None:
            made = replay(detector, arguments.source, played, crops, taps)
        else:
            recorder = Recorder(arguments.source, detector, crops, taps)
            (made,) = record([recorder], samples, jobs=pictures.jobs, strict=pictures.strict)
        if output is not None:
            save_recording(output, made, crops, taps)
            left_out = f", {len(made.header.unreadable)} left out" if made.header.unreadable else ""
            print(
                f"recorded: {printable(shown(output))} ({len(made.landmarks)} pictures{left_out})"
            )
    return _keep_scale(source.path, made) if arguments.error_scale else EXIT_OK


def _keep_scale(bundle: Path, made: Recording) -> int:
    """Write the scale into the manifest if it holds on pictures that it was not learnt from."""
    report = learn_scale(made)
    print(as_text(report), end="")
    if not report.holds:
        return EXIT_FOUND_WANTING
    save_manifest(bundle, msgspec.structs.replace(read_manifest(bundle), error_scale=report.scale))
    return EXIT_OK


def _check_taps(detector: Detector, pictures: int) -> None:
    """Refuse taps that cannot be kept before the first run; log how large they will be.

    Raises:
        ConfigError: the source gives none, or there are too many pictures for a file to carry.
    """
    spec = detector.spec
    if not spec.taps:
        raise ConfigError(
            "--taps",
            expected="a debug bundle",
            got=f"{detector.backend.name}, which gives its outputs alone",
            action="Make one with python -m export --taps, and record that",
        )
    picture_mb = tap_numbers(spec) * np.dtype(np.float32).itemsize / 1e6
    if pictures > MOST_TAPPED:
        raise ConfigError(
            "--taps",
            expected=f"at most {MOST_TAPPED} pictures, of {picture_mb:.0f} MB each",
            got=str(pictures),
            action="Name a few with --images; a difference shows in any of them",
        )
    logger.info("taps: %d pictures of %.0f MB before compression", pictures, picture_mb)


if __name__ == "__main__":
    sys.exit(main())
