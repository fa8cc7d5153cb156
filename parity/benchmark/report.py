"""The benchmark's report: one strict record, its JSON schema, and its text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from parity.judging.digits import px
from parity.machine import GemmProbe
from parity.report.record import Report
from parity.report.text import MOST_PICTURES, first_points
from parity.sources import is_rehearsal
from parity.timing import Latency, Stopwatch, Throughput, latency
from runtime.files import printable

SCHEMA = 1


class Promise(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the reference's promises. `holds` is None where this run could not tell."""

    promise: str
    measured: float | None
    holds: bool | None


class SourceTiming(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source's latency. `stages` are end to end, in order; compute is the engine's own."""

    source: str
    engine: str
    device: str
    parameters: int | None
    warm_up: int
    network: Latency
    end_to_end: Latency
    stages: Mapping[str, Latency]
    throughput: tuple[Throughput, ...]


class BenchmarkReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole report. `invalid` lists why its latencies must not be quoted."""

    schema: int = SCHEMA
    invalid: tuple[str, ...]
    promises: tuple[Promise, ...]
    left_out: tuple[str, ...]
    sources: tuple[SourceTiming, ...]
    speed_up: Mapping[str, float]
    accuracy: tuple[Report, ...]
    gemm: GemmProbe
    peak_rss_bytes: int
    threads: Mapping[str, str]
    machine: str
    versions: Mapping[str, str]
    command: str
    created_utc: str


def source_timing(watch: Stopwatch) -> SourceTiming:
    """Summarise a stopwatch."""
    backend = watch.detector.backend
    return SourceTiming(
        source=watch.source,
        engine=backend.name,
        device=backend.device,
        parameters=backend.parameters,
        warm_up=watch.warm_up,
        network=latency(watch.network_s),
        end_to_end=latency(watch.total_s),
        stages=watch.stages(),
        throughput=tuple(watch.throughput),
    )


def json_schema() -> str:
    """The schema of the JSON report, as docs/benchmark_report.schema.json holds it."""
    schema: dict[str, Any] = msgspec.json.schema(BenchmarkReport)
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def as_text(report: BenchmarkReport) -> str:
    """Validity first, then promises, accuracy, latency, stages, throughput, machine."""
    lines = [f"INVALID: {reason}" for reason in report.invalid] or ["valid run"]
    lines += [f"left out: {reason}" for reason in report.left_out]
    lines += ["", "promise of the reference        measured  holds"]
    lines += [_promise(promise) for promise in report.promises]
    for compared in report.accuracy:
        lines += ["", *_accuracy(compared)]
    heads = ("min", "mean", "median", "P90", "P95", "P99", "FPS")
    lines += ["", f"{'latency, batch 1, ms':<38}" + "".join(f"{head:>10}" for head in heads)]
    for timing in report.sources:
        size = "" if timing.parameters is None else f", {timing.parameters:,} parameters"
        lines.append(f"{timing.source} [{timing.engine}, {timing.device}{size}]")
        if is_rehearsal(timing.device):
            lines.append("  a rehearsal: the time this CPU takes with the rounding, no NPU's")
        lines.append(_row("  network only", timing.network))
        lines.append(_row("  end to end", timing.end_to_end))
        lines += [_row(f"    {stage}", found) for stage, found in timing.stages.items()]
        speeds = ", ".join(f"{t.batch}: {t.pictures_per_second:.1f}" for t in timing.throughput)
        lines.append(f"  pictures/s by batch: {speeds}")
    lines += [f"speed-up {name}: {value:.2f}x" for name, value in report.speed_up.items()]
    probe = report.gemm
    lines += [
        "",
        f"GEMM probe: {probe.before_gflops:.0f} before, {probe.after_gflops:.0f} GFLOP/s after",
        f"peak memory: {report.peak_rss_bytes / 2**20:.0f} MiB, all sources in one process",
        f"threads: {', '.join(f'{name} {count}' for name, count in report.threads.items())}",
        f"machine: {report.machine}",
        f"versions: {', '.join(f'{name} {v}' for name, v in report.versions.items())}",
    ]
    # names come from files: a control character must not reach the terminal
    return "".join(f"{printable(line)}\n" for line in lines)


def _promise(promise: Promise) -> str:
    measured = "-" if promise.measured is None else px(promise.measured)
    holds = {None: "not measured", True: "yes", False: "NO"}[promise.holds]
    return f"{promise.promise:<30}{measured:>10}  {holds}"


def _accuracy(report: Report) -> list[str]:
    """All coordinates, then each picture, then the first points of each, photo px."""
    found = report.photo_px.axis
    figures = ("mean", "max", "std", "p95", "p99")
    values = ", ".join(f"{name} {px(getattr(found, name))}" for name in figures)
    shares = ", ".join(f"{share:.2%} < {limit}" for limit, share in found.share_under.items())
    lines = [
        f"accuracy: {report.candidate.source} against {report.reference.source}, photo px",
        f"  {values} over {found.count} coordinates: {shares}",
        f"{'  picture':<48}{'mean':>10}{'max':>10}",
    ]
    for picture in report.pictures:
        shown = f"{picture.name} ({'x'.join(map(str, picture.size_wh))}, {picture.mode})"
        axis = picture.photo_px.axis
        lines.append(f"  {shown:<46}{px(axis.mean):>10}{px(axis.max):>10}")
    return lines + [line for one in report.pictures[:MOST_PICTURES] for line in first_points(one)]


def _row(label: str, found: Latency) -> str:
    names = ("min_ms", "mean_ms", "median_ms", "p90_ms", "p95_ms", "p99_ms", "fps")
    return f"{label:<38}" + "".join(f"{getattr(found, name):>10.2f}" for name in names)
