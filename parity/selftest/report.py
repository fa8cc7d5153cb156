"""What a bundle's self-test found, as a record and in a few lines."""

from __future__ import annotations

from pathlib import Path

import msgspec

from parity.report.record import Report
from parity.report.text import printable, verdict_line
from parity.timing import Latency
from runtime.model.manifest import SELFTEST_NAME


class SelfTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The comparison, how long the network takes, and the recording to carry back."""

    report: Report
    latency: Latency
    recording: str


def as_text(found: SelfTest) -> str:
    """Verdict first, then the figures that the reference's own report gives."""
    report, times = found.report, found.latency
    lines = [
        verdict_line(report),
        f"reference: {report.reference.source} [{report.reference.engine}]",
        f"this machine: {report.candidate.source} [{report.candidate.engine}]",
        f"{len(report.pictures)} crops, {report.photo_px.axis.count} coordinates, |dx| and |dy|:",
    ]
    if report.different_checkpoints:
        lines.append("WARNING: the two sources were made from different checkpoints")
    for frame, statistics in (("photo px", report.photo_px.axis), ("crop px", report.crop_px.axis)):
        figures = (
            f"{label} {getattr(statistics, field):.4g}"
            for label, field in (("mean", "mean"), ("max", "max"), ("P95", "p95"), ("P99", "p99"))
        )
        lines.append(f"  {frame:<9} {', '.join(figures)}")
    figures = (
        f"{label} {value:.2f} ms"
        for label, value in (
            ("mean", times.mean_ms),
            ("median", times.median_ms),
            ("P95", times.p95_ms),
            ("P99", times.p99_ms),
        )
    )
    lines += [
        f"network alone, batch 1, {times.runs} runs: {', '.join(figures)} ({times.fps:.1f} FPS)",
        f"recording to carry back: {found.recording}",
        f"  there: python -m parity.compare BUNDLE/{SELFTEST_NAME} {Path(found.recording).name}",
    ]
    return "".join(f"{printable(line)}\n" for line in lines)
