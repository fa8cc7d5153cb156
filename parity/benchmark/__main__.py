"""python -m parity.benchmark: accuracy and latency in one run, as the reference does it."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from operator import gt, lt
from pathlib import Path

from parity.benchmark.report import (
    BenchmarkReport,
    Promise,
    SourceTiming,
    as_text,
    source_timing,
)
from parity.judging.verdict import PROMISED_MAX_PX, PROMISED_MEAN_PX, Limits
from parity.machine import GemmProbe, gemm_gflops, machine, peak_rss_bytes, threads, versions
from parity.options import KeepOption, PictureOptions, check_range, files_read
from parity.recording.recorder import Recorder, record
from parity.recording.recording import Recording
from parity.report import Report, make_report
from parity.samples import Sample
from parity.sources import is_rehearsal, open_detector
from parity.timing import measure, runs_on_cpu, stopwatch
from runtime.cli import command_line
from runtime.cli.language import LanguageOption
from runtime.cli.options import DEFAULT_MODEL, EngineOptions
from runtime.detector import Detector
from runtime.errors import (
    EXIT_FAILED,
    EXIT_FOUND_WANTING,
    EXIT_OK,
    BackendUnavailable,
    ConfigError,
)
from runtime.files import check_target, json_text, shown, write_text_whole
from runtime.image.draw import draw_landmarks_with_contours
from runtime.image.picture import write_picture
from runtime.model.device import Device
from runtime.model.source import parse_source

MOST_RUNS = 100_000
# Below this a P99 is the maximum and a mean is luck.
FEWEST_RUNS = 10
MOST_OVERLAYS = 10
PROMISED_FPS = 30.0
PROMISED_SPEED_UP = 20.0


def main(argv: list[str] | None = None) -> int:
    """Measure, report on stdout and into a file.

    Returns:
        0; 1 where a promise does not hold; 4 where the run is invalid; or as `runtime.errors`
        lists.
    """
    return command_line.run(lambda: _benchmark(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "parity.benchmark",
        "Accuracy and latency of a model on an NPU against a CPU, or of any sources, taking turns\n"
        "in one run. Exit code 1: a promise of the reference (accuracy, FPS, speed-up) is broken.\n"
        "Exit code 4: the run is INVALID, and its latencies must not be quoted.",
        "python -m parity.benchmark --device_npu npu:0 --device_cpu cpu --runs 100",
    )
    add = parser.add_argument
    add("--suite", action="store_true", help=argparse.SUPPRESS)
    add("--device_npu", metavar="DEVICE", help="auto, none, npu:N (default auto)")
    add("--device_cpu", metavar="DEVICE", help="cpu or none (default cpu)")
    add("--model", metavar="PATH", help=f"(default {DEFAULT_MODEL})")
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
        help="(default benchmark_report.json); overlays go beside it, under its name",
    )
    PictureOptions.add(parser)
    KeepOption.add(parser)
    EngineOptions.add(parser)
    LanguageOption.add(parser)
    add("--json", action="store_true", help="print the report as JSON")
    arguments, _ = parser.parse_known_args(argv)
    if arguments.suite:
        parser.error("--suite is a program of its own, in a checkout: python -m benchmarks.suite")
    arguments = parser.parse_args(argv)
    arguments.command = shlex.join(sys.argv[1:] if argv is None else argv)
    return arguments


def _benchmark(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr()
    if arguments.runs is not None:
        check_range("--runs", arguments.runs, 1, MOST_RUNS)
    pictures = PictureOptions.of(arguments)
    samples = pictures.samples()
    names, optional = _names(
        arguments.sources, arguments.model, arguments.device_cpu, arguments.device_npu
    )
    sources = [parse_source(name) for name in (*names, *optional)]
    keep = KeepOption.of(arguments, sources)
    inputs = files_read(sources, samples, pictures.boxes, arguments.keep)
    check_target(arguments.output, "--output", inputs)
    left_out = ["the NPU, by request"] if arguments.device_npu == "none" else []
    opened: dict[str, Detector] = {}
    with ExitStack() as stack:
        for name, source in zip((*names, *optional), sources, strict=True):
            try:
                detector = open_detector(source, EngineOptions.of(arguments), keep)
            except BackendUnavailable as error:
                if name not in optional:
                    raise
                left_out.append(f"the NPU: {error}")
            else:
                opened[name] = stack.enter_context(detector)
        _check(bool(opened), "--device_npu", "a device", "; ".join(left_out))
        overlays = _overlays(arguments.output, samples, opened, inputs)
        before = gemm_gflops()
        watches = [stopwatch(name, detector, arguments.runs) for name, detector in opened.items()]
        recordings = record([Recorder(n, d) for n, d in opened.items()], samples, strict=True)
        measure(watches, samples)
        timings = [source_timing(watch) for watch in watches]
        _draw(overlays, opened)
    accuracy = [make_report(recordings[0], other, Limits()) for other in recordings[1:]]
    speed_up = _speed_up(timings)
    probe = GemmProbe(before_gflops=before, after_gflops=gemm_gflops())
    report = BenchmarkReport(
        invalid=_invalid(probe, timings),
        promises=_promises(accuracy, timings, speed_up, recordings),
        left_out=tuple(left_out),
        sources=tuple(timings),
        speed_up=speed_up,
        accuracy=tuple(accuracy),
        gemm=probe,
        peak_rss_bytes=peak_rss_bytes(),
        threads=threads(),
        machine=machine(),
        versions=versions(),
        command=f"python -m parity.benchmark {arguments.command}".strip(),
        created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    write_text_whole(arguments.output, json_text(report))
    text = json_text(report) if arguments.json else _text(report, arguments, len(overlays))
    print(text, end="")
    if report.invalid:
        return EXIT_FAILED
    broken = any(promise.holds is False for promise in report.promises)
    return EXIT_FOUND_WANTING if broken else EXIT_OK


def _text(report: BenchmarkReport, arguments: argparse.Namespace, overlays: int) -> str:
    say, name = LanguageOption.of(arguments), shown(arguments.output)
    written = say("written: {name}, {count} overlays beside it", name=name, count=overlays)
    return f"{as_text(report, say)}{written}\n"


def _names(
    sources: Sequence[str] | None, model: str | None, cpu: str | None, npu: str | None
) -> tuple[list[str], list[str]]:
    """The sources to open, the reference (the CPU) first, and those to use if they are there."""
    if sources:
        others = {"--model": model, "--device_cpu": cpu, "--device_npu": npu}
        given = " ".join(option for option, value in others.items() if value is not None)
        _check(not given, "--sources", "no other option that names a source", given)
        twice = [name for name in sources if sources.count(name) > 1]
        _check(not twice, "--sources", "each source once", f"{'/'.join(twice[:1])} twice")
        return list(sources), []
    model, cpu, npu = model or DEFAULT_MODEL, cpu or "cpu", npu or "auto"
    _check(cpu in ("cpu", "none"), "--device_cpu", "cpu or none", cpu)
    device = Device.of(npu)
    is_npu = device.kind == "npu" and not device.detail
    _check(is_npu or npu in ("auto", "none"), "--device_npu", "auto, none or npu:N", npu)
    names = [f"{model}@{device}" for device in (cpu, npu) if device not in ("none", "auto")]
    optional = [f"{model}@npu:0"] if npu == "auto" else []
    _check(bool(names or optional), "--device_npu, --device_cpu", "at least one device", "none")
    return names, optional


def _check(holds: bool, where: str, expected: str, got: str) -> None:
    if not holds:
        raise ConfigError(where, expected=expected, got=got, action="Correct it; see --help")


def _invalid(probe: GemmProbe, timings: Sequence[SourceTiming]) -> tuple[str, ...]:
    reasons = [probe.fault] if probe.fault else []
    reasons += [
        f"{timing.source}: {timing.network.runs} runs, expected at least {FEWEST_RUNS}"
        for timing in timings
        if timing.network.runs < FEWEST_RUNS
    ]
    return tuple(reasons)


def _speed_up(timings: Sequence[SourceTiming]) -> dict[str, float]:
    """Of each source over the first, by the mean of the network alone; of a rehearsal none."""
    first = timings[0]
    return {
        f"{other.source} over {first.source}": first.network.mean_ms / other.network.mean_ms
        for other in timings[1:]
        # its rounding costs the CPU time that no accelerator spends
        if not (is_rehearsal(other.device) or is_rehearsal(first.device))
    }


def _promises(
    accuracy: Sequence[Report],
    timings: Sequence[SourceTiming],
    speed_up: Mapping[str, float],
    recordings: Sequence[Recording],
) -> tuple[Promise, ...]:
    """Accuracy is every source's, the worst counts; speed is the last one's, if on a device."""
    on_device = not runs_on_cpu(recordings[-1].header.device)
    mean = max((one.photo_px.axis.mean for one in accuracy), default=None)
    largest = max((one.photo_px.axis.max for one in accuracy), default=None)
    fps = timings[-1].network.fps if on_device else None
    faster = list(speed_up.values())[-1] if on_device and speed_up else None
    promised: tuple[tuple[str, float | None, Callable[[float, float], bool], float], ...] = (
        (f"mean < {PROMISED_MEAN_PX:g} px", mean, lt, PROMISED_MEAN_PX),
        (f"max < {PROMISED_MAX_PX:g} px", largest, lt, PROMISED_MAX_PX),
        (f"> {PROMISED_FPS:g} FPS on the device", fps, gt, PROMISED_FPS),
        (f"> {PROMISED_SPEED_UP:g}x the CPU", faster, gt, PROMISED_SPEED_UP),
    )
    return tuple(
        Promise(promise=text, measured=value, holds=None if value is None else holds(value, limit))
        for text, value, holds, limit in promised
    )


def _overlays(
    report: Path, samples: Sequence[Sample], opened: Mapping[str, Detector], inputs: Sequence[Path]
) -> dict[tuple[str, Sample], Path]:
    """<report>_<device>_<picture>.jpg for each source and picture, under names that differ.

    Raises:
        ConfigError: one of them is a file that is read.
    """
    found: dict[tuple[str, Sample], Path] = {}
    devices = [detector.device for detector in opened.values()]
    for index, (name, detector) in enumerate(opened.items()):
        device = detector.device.replace(":", "").replace("/", "_")
        if devices.count(detector.device) > 1:  # the engine tells them apart, or the order
            device = f"{detector.backend.name.split()[0]}_{device}"
        for sample in samples[:MOST_OVERLAYS]:
            picture = Path(sample.name).stem
            path = report.with_name(f"{report.stem}_{device}_{picture}.jpg")
            if path in found.values():
                path = report.with_name(
                    f"{report.stem}_{device}_{index}_{len(found)}_{picture}.jpg"
                )
            check_target(path, "overlay", [*inputs, report])
            found[name, sample] = path
    return found


def _draw(overlays: Mapping[tuple[str, Sample], Path], opened: Mapping[str, Detector]) -> None:
    for (name, sample), path in overlays.items():
        picture = sample.read()
        trace = opened[name].trace(
            picture, sample.box_xyxy, cropped=sample.is_crop_of(opened[name].spec.input.size)
        )
        write_picture(path, draw_landmarks_with_contours(picture, trace.landmarks))


if __name__ == "__main__":
    sys.exit(main())
