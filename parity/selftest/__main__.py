"""python -m parity.selftest: a bundle proves itself on the machine it was carried to.

The bundle's selftest.npz holds a few crops, what the checkpoint said of them, and the limits. The
box needs numpy, OpenCV, msgspec and the device's own runtime: no torch, no onnxruntime.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from parity.judging.differences import check_comparable
from parity.judging.verdict import Limits
from parity.options import check_range, check_recording_name, files_read
from parity.recording.recorder import Recorder
from parity.recording.recorder import replay as run_again
from parity.recording.recording import Recording, load_recording, save_recording
from parity.report import Report, make_report
from parity.samples import Sample
from parity.selftest.report import SelfTest, as_text
from parity.timing import ON_A_DEVICE, latency_of
from runtime.cli import command_line
from runtime.detector import Detector
from runtime.errors import (
    EXIT_FOUND_WANTING,
    EXIT_OK,
    ArtifactError,
    one_line,
)
from runtime.files import json_text
from runtime.image.picture import read_picture
from runtime.model.manifest import MANIFEST_NAME, SELFTEST_NAME, check_file, read_manifest
from runtime.model.source import Source, parse_source

MOST_RUNS = 100_000


def make_selftest(
    path: Path, source: str, detector: Detector, samples: Sequence[Sample], limits: Limits
) -> None:
    """Write what a bundle is held to elsewhere: each sample and its mirror image.

    The same inputs give the same bytes: nothing in it says when or where it was made.

    Args:
        path: of the file.
        source: the reference's name.
        detector: the reference, open.
        samples: pictures to cut crops from.
        limits: what passes.

    Raises:
        InputError, InferenceError: as `Recorder.add`.
    """
    with tempfile.TemporaryFile(dir=path.parent) as crops:
        recorder = Recorder(source, detector, crops)
        for sample in samples:
            picture = read_picture(sample.path)
            recorder.add(sample, picture)
            mirrored = replace(sample, name=f"mirrored {sample.name}")
            recorder.add(mirrored, np.ascontiguousarray(picture[:, ::-1]))
        made = recorder.finish()
        header = msgspec.structs.replace(
            made.header, machine="", created_utc="", limits=msgspec.to_builtins(limits)
        )
        timeless = np.full_like(made.timings, np.nan)
        save_recording(path, replace(made, header=header, timings=timeless), crops)


def read_selftest(path: Path) -> tuple[Recording, Limits]:
    """Read what `make_selftest` wrote.

    Raises:
        InputError: not a recording.
        ArtifactError: a recording without limits, or without crops.
    """
    recording = load_recording(path)
    try:
        limits = msgspec.convert(recording.header.limits, Limits)
    except msgspec.ValidationError as error:
        raise _not_ours(path, f"limits that cannot be read: {one_line(error)}") from error
    if not recording.header.with_crops:
        raise _not_ours(path, "a recording without crops")
    return recording, limits.check(str(path))


def main(argv: list[str] | None = None) -> int:
    """Run a bundle on its own crops, and judge.

    Returns:
        0 within the limits, 1 beyond them, or as `runtime.errors` lists.
    """
    return command_line.run(lambda: _selftest(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "parity.selftest",
        "Run a bundle on the crops it carries, compare with what its checkpoint said of them,\n"
        "and write a recording to carry back. Exit code 1: a limit is exceeded.",
        "python -m parity.selftest star68 --device npu:0",
    )
    add = parser.add_argument
    add("bundle", metavar="BUNDLE", help="the bundle's folder, or BUNDLE@DEVICE")
    add("--device", default="auto", help="npu:0, cpu, ... (default auto: npu:0 if it is there)")
    add("--output", type=Path, metavar="NPZ", help="recording (default selftest_DEVICE.npz)")
    add("--runs", type=int, default=ON_A_DEVICE[1], metavar="N", help="timed runs (default 100)")
    add("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args(argv)


def _selftest(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr()
    check_range("--runs", arguments.runs, 1, MOST_RUNS)
    source = parse_source(arguments.bundle, arguments.device)
    reference, limits = read_selftest(_selftest_file(source))
    inputs = files_read([source])
    if arguments.output is not None:
        check_recording_name(arguments.output, "--output", inputs)
    with Detector(source) as detector:
        output = arguments.output or Path(f"selftest_{detector.device.replace(':', '')}.npz")
        check_recording_name(output, "--output", inputs)
        found = run_again(detector, source.text, reference)
        # first: what the device said is what has to cross the air gap, also if timing it fails
        save_recording(output, found)
        times = latency_of(detector, next(reference.crops()), arguments.runs)
    check_comparable(reference, found)
    report: Report = make_report(reference, found, limits)
    result = SelfTest(report=report, latency=times, recording=str(output))
    print(json_text(result) if arguments.json else as_text(result), end="")
    return EXIT_OK if report.verdict.passed else EXIT_FOUND_WANTING


def _selftest_file(source: Source) -> Path:
    folder = source.path if source.path.is_dir() else source.path.parent
    if not (folder / MANIFEST_NAME).exists():
        raise ArtifactError(
            str(source.path),
            expected=f"a bundle: a folder with {MANIFEST_NAME} and {SELFTEST_NAME}",
            got="no such folder" if not folder.is_dir() else f"no {MANIFEST_NAME}",
            action="Name the bundle's folder",
        )
    return check_file(folder, read_manifest(folder), SELFTEST_NAME)


def _not_ours(path: Path, got: str) -> ArtifactError:
    return ArtifactError(
        str(path),
        expected="the self-test that python -m export writes",
        got=got,
        action="Make the bundle again with python -m export",
    )


if __name__ == "__main__":
    sys.exit(main())
