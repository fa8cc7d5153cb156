"""python -m parity.benchmark: accuracy and latency in one run, as the reference does it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

from parity.machine import gemm_gflops, machine, peak_rss_bytes, versions
from parity.record import Recorder, add_picture_options, chosen_samples, record
from parity.recording import Recording
from parity.report import Report, make_report
from parity.report.benchmark import (
    BenchmarkReport,
    GemmProbe,
    Promise,
    SourceTiming,
    as_json,
    as_text,
    source_timing,
)
from parity.samples import Sample
from parity.timing import measure, stopwatch
from parity.verdict import Limits
from runtime import command_line
from runtime.detector import Detector
from runtime.draw import draw_landmarks_with_contours
from runtime.errors import (
    EXIT_FOUND_WANTING,
    EXIT_OK,
    BackendUnavailable,
    ConfigError,
    InputError,
)
from runtime.files import check_target, write_text_whole
from runtime.picture import read_picture, write_picture
from runtime.source import parse_source

DEFAULT_MODEL = "build/starter68"
MOST_RUNS = 100_000
# Below this a P99 is the maximum and a mean is luck.
FEWEST_RUNS = 10
LARGEST_DRIFT = 0.10
MOST_OVERLAYS = 10
PROMISED_FPS = 30.0
PROMISED_SPEED_UP = 20.0
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main(argv: list[str] | None = None) -> int:
    """Measure, report on stdout and into a file.

    Returns:
        0, 1 where the accuracy is beyond the promises, or as `runtime.errors` lists.
    """
    return command_line.run(lambda: _benchmark(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "parity.benchmark",
        "Accuracy and latency of a model on an NPU against a CPU, or of any sources, taking turns\n"
        "in one run. Exit code 1: the accuracy is beyond the reference's promises.",
        "python -m parity.benchmark --device_npu npu:0 --device_cpu cpu --runs 100",
    )
    add = parser.add_argument
    add("--device_npu", default="auto", metavar="DEVICE", help="auto, none, npu:N (default auto)")
    add("--device_cpu", default="cpu", metavar="DEVICE", help="cpu or none (default cpu)")
    add("--model", default=DEFAULT_MODEL, metavar="PATH", help=f"(default {DEFAULT_MODEL})")
    add(
        "--sources",
        nargs="+",
        metavar="SOURCE",
        help="instead of these; the first is the reference",
    )
    add("--runs", type=int, metavar="N", help="on a device (default 100); a CPU makes 20 at most")
    add(
        "--output",
        type=Path,
        default=Path("benchmark_report.json"),
        metavar="JSON",
        help="(default benchmark_report.json); overlays go beside it",
    )
    add_picture_options(parser)
    add("--json", action="store_true", help="print the report as JSON")
    arguments = parser.parse_args(argv)
    arguments.command = shlex.join(sys.argv[1:] if argv is None else argv)
    return arguments


def _benchmark(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr()
    if arguments.runs is not None and not 1 <= arguments.runs <= MOST_RUNS:
        raise ConfigError(
            "--runs", expected=f"1 to {MOST_RUNS:,}", got=str(arguments.runs), action="Correct it"
        )
    check_target(arguments.output, "--output")
    samples = chosen_samples(arguments)
    with ExitStack() as stack:
        opened, left_out = _open(arguments, stack)
        before = gemm_gflops()
        watches = [stopwatch(name, detector, arguments.runs) for name, detector in opened.items()]
        recordings = record([Recorder(n, d) for n, d in opened.items()], samples, strict=True)
        measure(watches, samples)
        timings = [source_timing(watch) for watch in watches]
        _draw(arguments.output.parent, samples, opened)
    accuracy = [make_report(recordings[0], other, Limits()) for other in recordings[1:]]
    speed_up = _speed_up(timings)
    probe = GemmProbe(before_gflops=before, after_gflops=gemm_gflops())
    report = BenchmarkReport(
        invalid=_invalid(probe, timings),
        promises=_promises(accuracy, timings, speed_up, recordings),
        left_out=left_out,
        sources=tuple(timings),
        speed_up=speed_up,
        accuracy=tuple(accuracy),
        gemm=probe,
        peak_rss_bytes=peak_rss_bytes(),
        threads=_threads(),
        machine=machine(),
        versions=versions(),
        command=f"python -m parity.benchmark {arguments.command}".strip(),
        created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    write_text_whole(arguments.output, as_json(report))
    print(as_json(report) if arguments.json else as_text(report), end="")
    return EXIT_OK if all(one.verdict.passed for one in accuracy) else EXIT_FOUND_WANTING


def _open(
    arguments: argparse.Namespace, stack: ExitStack
) -> tuple[dict[str, Detector], tuple[str, ...]]:
    """Open the sources, the reference (the CPU) first."""
    if arguments.sources:
        for index, name in enumerate(arguments.sources):
            if name in arguments.sources[:index]:
                raise InputError(
                    "--sources",
                    expected="each source once",
                    got=f"{name} twice",
                    action="Name it once",
                )
        names: list[str] = list(arguments.sources)
    else:
        devices = [
            d for d in (arguments.device_cpu, arguments.device_npu) if d not in ("none", "auto")
        ]
        names = [f"{arguments.model}@{device}" for device in devices]
    opened = {name: stack.enter_context(Detector(parse_source(name))) for name in names}
    left_out: list[str] = []
    if not arguments.sources and arguments.device_npu == "none":
        left_out.append("the NPU, by request")
    if not arguments.sources and arguments.device_npu == "auto":
        name = f"{arguments.model}@npu:0"
        try:
            opened[name] = stack.enter_context(Detector(parse_source(name)))
        except BackendUnavailable as error:
            left_out.append(f"the NPU: {error}")
    if not opened:
        raise ConfigError(
            "--device_npu, --device_cpu",
            expected="at least one device",
            got="none",
            action="Name a device, or --sources",
        )
    return opened, tuple(left_out)


def _invalid(probe: GemmProbe, timings: Sequence[SourceTiming]) -> tuple[str, ...]:
    reasons: list[str] = []
    drift = probe.after_gflops / probe.before_gflops - 1
    if abs(drift) > LARGEST_DRIFT:
        reasons.append(f"the GEMM probe moved by {drift:+.0%}, allowed {LARGEST_DRIFT:.0%}")
    reasons += [
        f"{timing.source}: {timing.network.runs} runs, expected at least {FEWEST_RUNS}"
        for timing in timings
        if timing.network.runs < FEWEST_RUNS
    ]
    return tuple(reasons)


def _speed_up(timings: Sequence[SourceTiming]) -> dict[str, float]:
    """Of each source over the first, by the mean of the network alone."""
    first = timings[0]
    return {
        f"{other.source} over {first.source}": first.network.mean_ms / other.network.mean_ms
        for other in timings[1:]
    }


def _promises(
    accuracy: Sequence[Report],
    timings: Sequence[SourceTiming],
    speed_up: Mapping[str, float],
    recordings: Sequence[Recording],
) -> tuple[Promise, ...]:
    """The last source is the one promised for; speed is promised of a device, not of a CPU."""
    limits = Limits()
    on_device = not recordings[-1].header.device.lower().startswith("cpu")
    found = accuracy[-1].photo_px.axis if accuracy else None
    mean, largest = (found.mean, found.max) if found else (None, None)
    fps = timings[-1].network.fps if on_device else None
    faster = list(speed_up.values())[-1] if on_device and speed_up else None
    return (
        _promise(f"mean < {limits.max_mean_px:g} px", mean, limits.max_mean_px, below=True),
        _promise(f"max < {limits.max_error_px:g} px", largest, limits.max_error_px, below=True),
        _promise(f"> {PROMISED_FPS:g} FPS on the device", fps, PROMISED_FPS, below=False),
        _promise(f"> {PROMISED_SPEED_UP:g}x the CPU", faster, PROMISED_SPEED_UP, below=False),
    )


def _promise(text: str, measured: float | None, limit: float, *, below: bool) -> Promise:
    holds = None
    if measured is not None:
        holds = measured < limit if below else measured > limit
    return Promise(promise=text, measured=measured, holds=holds)


def _draw(folder: Path, samples: Sequence[Sample], opened: Mapping[str, Detector]) -> None:
    """benchmark_<device>_<picture>.jpg; the engine's name stands before a device that is shared."""
    devices = [detector.device for detector in opened.values()]
    for detector in opened.values():
        label = detector.device.replace(":", "")
        if devices.count(detector.device) > 1:
            label = f"{detector.backend.name.split()[0]}_{label}"
        for sample in samples[:MOST_OVERLAYS]:
            picture = read_picture(sample.path)
            trace = detector.trace(picture, sample.box_xyxy, cropped=sample.cropped)
            drawn = draw_landmarks_with_contours(picture, trace.landmarks)
            write_picture(folder / f"benchmark_{label}_{Path(sample.name).stem}.jpg", drawn)


def _threads() -> dict[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {"cores": str(cores)}
    return found | {name: os.environ[name] for name in THREAD_SETTINGS if name in os.environ}


if __name__ == "__main__":
    sys.exit(main())
