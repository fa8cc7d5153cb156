"""The benchmark's report: one strict record, its JSON schema, and its text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from parity.judging.digits import px
from parity.machine import GemmProbe
from parity.report.record import Report
from parity.report.text import MOST_PICTURES, first_points
from parity.sources import is_rehearsal
from parity.timing import Latency, Stopwatch, Throughput, latency
from runtime.cli.language import ENGLISH, Words, padded
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


def as_text(report: BenchmarkReport, say: Words = ENGLISH) -> str:
    """Validity first, then promises, accuracy, latency, stages, throughput, machine."""
    lines = [say("INVALID: {reason}", reason=r) for r in report.invalid] or [say("valid run")]
    lines += [say("left out: {reason}", reason=reason) for reason in report.left_out]
    heads = padded(say("promise of the reference"), 30) + padded(say("measured"), 10, right=True)
    lines += ["", f"{heads}  {say('holds')}"]
    lines += [_promise(promise, say) for promise in report.promises]
    for compared in report.accuracy:
        lines += ["", *_accuracy(compared, say)]
    lines += ["", *_latencies(report.sources, say)]
    for name, value in report.speed_up.items():
        lines.append(say("speed-up {name}: {value}x", name=name, value=f"{value:.2f}"))
    probe = report.gemm
    before, after = f"{probe.before_gflops:.0f}", f"{probe.after_gflops:.0f}"
    rss = f"{report.peak_rss_bytes / 2**20:.0f}"
    threads = ", ".join(f"{name} {count}" for name, count in report.threads.items())
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    lines += [
        "",
        say("GEMM probe: {before} before, {after} GFLOP/s after", before=before, after=after),
        say("peak memory: {size} MiB, all sources in one process", size=rss),
        say("threads: {threads}", threads=threads),
        say("machine: {machine}", machine=report.machine),
        say("versions: {versions}", versions=versions),
    ]
    # names come from files: a control character must not reach the terminal
    return "".join(f"{printable(line)}\n" for line in lines)


def _promise(promise: Promise, say: Words) -> str:
    measured = "-" if promise.measured is None else px(promise.measured)
    holds = {None: say("not measured"), True: say("yes"), False: say("NO")}[promise.holds]
    return f"{promise.promise:<30}{measured:>10}  {holds}"


def _accuracy(report: Report, say: Words) -> list[str]:
    """All coordinates, then each picture, then the first points of each, photo px."""
    found = report.photo_px.axis
    figures = ("mean", "max", "std", "p95", "p99")
    values = ", ".join(f"{name} {px(getattr(found, name))}" for name in figures)
    shares = ", ".join(f"{share:.2%} < {limit}" for limit, share in found.share_under.items())
    sides = {"candidate": report.candidate.source, "reference": report.reference.source}
    picture, mean = padded(say("picture"), 46), padded(say("mean"), 10, right=True)
    lines = [
        say("accuracy: {candidate} against {reference}, photo px", **sides),
        "  "
        + say("{values} over {count} coordinates: ", values=values, count=found.count)
        + shares,
        f"  {picture}{mean}{padded(say('max'), 10, right=True)}",
    ]
    for one in report.pictures:
        shown = f"{one.name} ({'x'.join(map(str, one.size_wh))}, {one.mode})"
        axis = one.photo_px.axis
        lines.append(f"  {shown:<46}{px(axis.mean):>10}{px(axis.max):>10}")
    return lines + [
        line for one in report.pictures[:MOST_PICTURES] for line in first_points(one, say)
    ]


def _latencies(sources: Sequence[SourceTiming], say: Words) -> list[str]:
    heads = (say("min"), say("mean"), say("median"), "P90", "P95", "P99", "FPS")
    lines = [
        padded(say("latency, batch 1, ms"), 38)
        + "".join(padded(head, 10, right=True) for head in heads)
    ]
    for timing in sources:
        size = "" if timing.parameters is None else f", {timing.parameters:,}"
        size = size and say("{count} parameters", count=size)
        lines.append(f"{timing.source} [{timing.engine}, {timing.device}{size}]")
        if is_rehearsal(timing.device):
            told = say("a rehearsal: the time this CPU takes with the rounding, no NPU's")
            lines.append(f"  {told}")
        lines.append(_row(f"  {say('network only')}", timing.network))
        lines.append(_row(f"  {say('end to end')}", timing.end_to_end))
        lines += [_row(f"    {stage}", found) for stage, found in timing.stages.items()]
        speeds = ", ".join(f"{t.batch}: {t.pictures_per_second:.1f}" for t in timing.throughput)
        lines.append("  " + say("pictures/s by batch: {speeds}", speeds=speeds))
    return lines


def _row(label: str, found: Latency) -> str:
    names = ("min_ms", "mean_ms", "median_ms", "p90_ms", "p95_ms", "p99_ms", "fps")
    return padded(label, 38) + "".join(f"{getattr(found, name):>10.2f}" for name in names)
