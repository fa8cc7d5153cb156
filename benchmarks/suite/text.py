"""The suite's report as text: validity first, then each model's tables, the stream, the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.suite.report import (
    ManyRun,
    ModelRows,
    Ratio,
    RowFigures,
    StreamRun,
    SuiteReport,
    SuiteRow,
)

LABEL = 31
MIB = 2**20
Column = tuple[str, int, Callable[[RowFigures], str]]


def as_text(report: SuiteReport) -> str:
    """The whole record but the rounds' own figures."""
    lines = [f"INVALID: {reason}" for reason in report.invalid] or ["valid run"]
    lines += [f"left out: {what}" for what in report.left_out]
    lines.append(
        f"each row in a process of its own, one at a time, in random order (seed {report.seed}):"
        f" {report.rounds} rounds of 1 untimed and {report.timed_runs} timed runs"
    )
    for model in report.models:
        lines += ["", *_model(model, report.pictures)]
    lines += ["", *_stream(report)]
    lines += ["", *_many(report)]
    lines += [
        "",
        f"threads: {', '.join(f'{name} {count}' for name, count in report.threads.items())}",
        f"machine: {report.machine}",
        f"versions: {', '.join(f'{name} {v}' for name, v in report.versions.items())}",
        f"command: {report.command}",
        f"made: {report.created_utc}",
    ]
    return "\n".join(lines) + "\n"


def _model(model: ModelRows, pictures: int) -> list[str]:
    probe = model.gemm
    ran = [row for row in model.rows if row.figures is not None]
    before, after = probe.before_gflops, probe.after_gflops
    lines = [
        f"{model.name} ({model.checkpoint})",
        f"GEMM probe, fp32: {before:.0f} GFLOP/s before, {after:.0f} after"
        + (f"; measured {model.tries} times, the last counts" if model.tries > 1 else ""),
    ]
    if ran:
        for title, columns in TABLES:
            lines += ["", *_table(title.format(pictures=pictures), columns, ran)]
        lines += ["", *_end_to_end(ran)]
        lines += [
            f"{row.label}: no cold start: {row.figures.cold_start_failure}"
            for row in ran
            if row.figures and row.figures.cold_start_failure
        ]
    absent = [row for row in model.rows if row.figures is None]
    if absent:
        lines += ["", "not run"]
    for row in absent:
        lines.append(f"  {row.label}: {row.missing}")
        lines.append(f"    {row.remedy}")
    return lines


def _table(title: str, columns: Sequence[Column], rows: Sequence[SuiteRow]) -> list[str]:
    lines = [f"{title:<{LABEL}}" + "".join(f"{head:>{width}}" for head, width, _ in columns)]
    if len(title) >= LABEL:
        lines = [title, " " * LABEL + lines[0][len(title) :]]
    for row in rows:
        figures = row.figures
        if figures is not None:
            cells = "".join(f"{cell(figures):>{width}}" for _, width, cell in columns)
            lines.append(f"  {row.label:<{LABEL - 2}}{cells}")
    return lines


def _end_to_end(rows: Sequence[SuiteRow]) -> list[str]:
    lines = ["detect(image, face_bbox), ms: total, and what of it is not the engine's own call"]
    for row in rows:
        for found in row.figures.end_to_end if row.figures else ():
            stages = ", ".join(f"{stage} {ms:.2f}" for stage, ms in found.stages_ms.items())
            lines.append(
                f"  {row.label:<{LABEL - 2}}{found.size_wh[0]:>6} x {found.size_wh[1]:<5}"
                f"{found.total.median_ms:>9.2f}  around the engine {found.around_engine_ms:>6.2f}"
                f"  {times(found.over_floor)} the floor  ({stages})"
            )
    return lines


def _stream(report: SuiteReport) -> list[str]:
    lines = [_stream_run(run) for run in report.stream]
    if lines:
        one = report.stream[0]
        lines.insert(
            0, f"stream over a simulated device of {one.device_ms:g} ms, {one.readers} readers"
        )
    if report.stream_failure:
        lines.append(f"stream: {report.stream_failure}")
    return lines


def _stream_run(run: StreamRun) -> str:
    order = "in order" if run.in_order else "NOT IN ORDER"
    return (
        f"  {run.given:<8} {run.pictures:,} pictures ({run.distinct} files, repeated), {order}:"
        f" device busy {run.utilisation:.1%}, {run.pictures_per_second:.0f} pictures/s, RSS"
        f" {run.early_rss_bytes / MIB:.1f} MiB after {run.early_after:,},"
        f" {run.late_rss_bytes / MIB:.1f} at the end"
    )


def _many(report: SuiteReport) -> list[str]:
    lines = [_many_run(run) for run in report.many]
    if lines:
        lines.insert(0, f"many pictures, {report.models[0].name} on the CPU")
    if report.many_failure:
        lines.append(f"many pictures: {report.many_failure}")
    return lines


def _many_run(run: ManyRun) -> str:
    line = f"  {run.name:<{LABEL - 2}}{run.pictures:>7,} pictures{run.pictures_per_second:>8.1f}/s"
    if run.ratio is not None:
        line += f"  {run.ratio:.1%} of {run.over}"
    if run.ratios:
        line += f" ({min(run.ratios):.1%} to {max(run.ratios):.1%})"
    if run.late_rss_bytes:
        early, late = run.early_rss_bytes / MIB, run.late_rss_bytes / MIB
        line += f", RSS {early:.1f} MiB early, {late:.1f} at the end"
    return line


def times(found: Ratio | None) -> str:
    """A ratio in short; a dash where there is none."""
    return "-" if found is None else f"{found.median:.2f}x"


def _spread(found: Ratio | None) -> str:
    return "-" if found is None else f"{found.p10:.2f}-{found.p90:.2f}"


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _cold_start(figures: RowFigures) -> str:
    return f"{median(figures.cold_starts_s):.2f}" if figures.cold_starts_s else "-"


def _speed(batch: int) -> Callable[[RowFigures], str]:
    def cell(figures: RowFigures) -> str:
        found = {t.batch: t.pictures_per_second for t in figures.throughput}
        return _number(found.get(batch))

    return cell


def _pixels(name: str) -> Callable[[RowFigures], str]:
    def cell(figures: RowFigures) -> str:
        return "-" if figures.difference is None else f"{getattr(figures.difference, name):.2g}"

    return cell


TABLES: tuple[tuple[str, tuple[Column, ...]], ...] = (
    (
        "network, batch 1, ms",
        (
            ("median", 9, lambda f: _number(f.network.median_ms, 2)),
            ("P90", 9, lambda f: _number(f.network.p90_ms, 2)),
            ("P95", 9, lambda f: _number(f.network.p95_ms, 2)),
            ("P99", 9, lambda f: _number(f.network.p99_ms, 2)),
            ("over plain", 12, lambda f: times(f.over_plain)),
            ("P10-P90", 12, lambda f: _spread(f.over_plain)),
            ("over torch", 12, lambda f: times(f.over_torch)),
            ("GFLOP", 8, lambda f: _number(f.gflop, 2)),
            ("GFLOP/s", 9, lambda f: _number(f.gflops_reached, 0)),
            ("of GEMM", 9, lambda f: _percent(f.share_of_gemm)),
        ),
    ),
    (
        "pictures/s, memory, start",
        (
            ("batch 1", 9, _speed(1)),
            ("4", 8, _speed(4)),
            ("16", 8, _speed(16)),
            ("peak MiB", 11, lambda f: f"{f.peak_bytes / MIB:.0f}"),
            ("with 16", 9, lambda f: f"{f.peak_bytes_batched / MIB:.0f}"),
            ("cold start s", 14, _cold_start),
        ),
    ),
    (
        "from plain onnxruntime, crop px, {pictures} pictures",
        (
            ("mean", 10, _pixels("mean_px")),
            ("P95", 10, _pixels("p95_px")),
            ("P99", 10, _pixels("p99_px")),
            ("max", 10, _pixels("max_px")),
            ("NME %", 9, lambda f: _number(getattr(f.accuracy, "mean_nme_percent", None), 3)),
        ),
    ),
)
