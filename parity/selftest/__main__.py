"""python -m parity.selftest: test a bundle on the machine that it was carried to.

The bundle's selftest.npz holds a few crops, the checkpoint's answers on them, and the limits. The
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
from parity.npu_bound import network_bound_s
from parity.options import check_range, check_recording_name, files_read
from parity.recording.recorder import Recorder
from parity.recording.recorder import replay as run_again
from parity.recording.recording import Recording, load_recording, save_recording
from parity.report import Report, make_report
from parity.report.text import limit_lines, verdict_line
from parity.samples import Sample
from parity.timing import ON_A_DEVICE, Latency, latency_of
from runtime.cli import command_line
from runtime.detector import Detector
from runtime.errors import (
    EXIT_FOUND_WANTING,
    EXIT_OK,
    ArtifactError,
    one_line,
)
from runtime.files import json_text, printable
from runtime.model.device import Device
from runtime.model.manifest import MANIFEST_NAME, SELFTEST_NAME, check_file, read_manifest
from runtime.model.source import Source, parse_source

MOST_RUNS = 100_000


class SelfTestReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The comparison, how long the network takes, and the recording to carry back.

    Attributes:
        bound_ms: the least time for one picture by the chip's published figures, in fp16; None
            where it is no NPU, or one without figures here.
    """

    report: Report
    latency: Latency
    bound_ms: float | None = None
    recording: str


def make_selftest(
    path: Path, source: str, detector: Detector, samples: Sequence[Sample], limits: Limits
) -> None:
    """Write the reference's answers on each sample and on its mirror image, with the limits.

    The same inputs give the same bytes: time and place of the making are left out.

    Raises:
        InputError, InferenceError: as `Recorder.add`.
    """
    with tempfile.TemporaryFile(dir=path.parent) as crops:
        recorder = Recorder(source, detector, crops)
        for sample in samples:
            picture = sample.read()
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
        "Run a bundle on the crops it carries, compare with its checkpoint's answers,\n"
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
        # first: the answers have to cross the air gap, also if timing fails
        save_recording(output, found)
        times = latency_of(detector, next(reference.crops()), arguments.runs)
        bound_ms = _bound_ms(detector)
    check_comparable(reference, found)
    report = make_report(reference, found, {}, bound=limits)
    result = SelfTestReport(report=report, latency=times, bound_ms=bound_ms, recording=str(output))
    text = command_line.as_called(_as_text(result))
    print(json_text(result) if arguments.json else text, end="")
    return EXIT_OK if report.verdict.passed else EXIT_FOUND_WANTING


def _bound_ms(detector: Detector) -> float | None:
    """Of an NPU whose chip the bundle was converted for."""
    manifest = detector.backend.manifest
    if manifest is None or not manifest.om or Device.of(detector.device).kind != "npu":
        return None
    cost = manifest.onnx.cost
    seconds = network_bound_s(manifest.om[0].soc_version, cost.gflop, cost.parameters)
    return None if seconds is None else seconds * 1e3


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


def _as_text(found: SelfTestReport) -> str:
    """Verdict first, then the figures that the reference's own report gives."""
    report, times = found.report, found.latency
    lines = [
        verdict_line(report),
        *limit_lines(report),
        f"reference: {report.reference.source} [{report.reference.engine}]",
        f"this machine: {report.candidate.source} [{report.candidate.engine}]",
        f"{len(report.pictures)} crops, {report.photo_px.axis.count} coordinates, |dx| and |dy|:",
    ]
    if report.different_checkpoints:
        lines.append("WARNING: the two sources were made from different checkpoints")
    for frame, px in (("photo px", report.photo_px.axis), ("crop px", report.crop_px.axis)):
        figures = f"mean {px.mean:.4g}, max {px.max:.4g}, P95 {px.p95:.4g}, P99 {px.p99:.4g}"
        lines.append(f"  {frame:<9} {figures}")
    figures = f"mean {times.mean_ms:.2f} ms, median {times.median_ms:.2f} ms"
    figures += f", P95 {times.p95_ms:.2f} ms, P99 {times.p99_ms:.2f} ms"
    lines += [
        f"network alone, batch 1, {times.runs} runs: {figures} ({times.fps:.1f} FPS)",
        *_bound_lines(found),
        f"recording to carry back: {found.recording}",
        f"  there: python -m parity.compare BUNDLE/{SELFTEST_NAME} {Path(found.recording).name}",
    ]
    return "".join(f"{printable(line)}\n" for line in lines)


def _bound_lines(found: SelfTestReport) -> list[str]:
    if found.bound_ms is None:
        return []
    times = found.latency.median_ms / found.bound_ms
    bound = f"{found.bound_ms:.3f} ms in fp16"
    return [f"  {times:.0f} times the chip's bound on paper, {bound}: docs/npu_performance.md"]


if __name__ == "__main__":
    sys.exit(main())
