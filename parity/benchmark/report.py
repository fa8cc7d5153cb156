"""The benchmark's report: one strict record, its JSON schema, and its text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from parity.machine import GemmProbe
from parity.report.record import Report
from parity.sources import is_rehearsal
from parity.timing import Latency, Stopwatch, Throughput, latency

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
        lines.append(f"{timing.source} [{timing.engine}]")
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
    return "\n".join(lines) + "\n"


def _promise(promise: Promise) -> str:
    measured = "-" if promise.measured is None else f"{promise.measured:.4g}"
    holds = {None: "not measured", True: "yes", False: "NO"}[promise.holds]
    return f"{promise.promise:<30}{measured:>10}  {holds}"


def _accuracy(report: Report) -> list[str]:
    found = report.photo_px.axis
    names = f"{report.candidate.source} against {report.reference.source}"
    share = f"{found.share_under['0.5']:.2%} < 0.5 px"
    figures = ("mean", "max", "std", "p95", "p99")
    values = ", ".join(f"{name} {getattr(found, name):.4f}" for name in figures)
    return [
        f"accuracy: {names}, photo px",
        f"  {values}, {share} over {found.count} coordinates",
    ]


def _row(label: str, found: Latency) -> str:
    names = ("min_ms", "mean_ms", "median_ms", "p90_ms", "p95_ms", "p99_ms", "fps")
    return f"{label:<38}" + "".join(f"{getattr(found, name):>10.2f}" for name in names)
