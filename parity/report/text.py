"""The report as text, verdict first."""

from __future__ import annotations

import math

from parity.errors import ErrorStatistics
from parity.report.record import PictureReport, Report

SMALLEST_DECIMAL_PX = 0.001

ROWS = (
    ("mean", "mean_px"),
    ("max", "max_px"),
    ("std", "std_px"),
    ("P95", "p95_px"),
    ("P99", "p99_px"),
    ("< 0.5 px", "share_under_0_5"),
    ("< 1 px", "share_under_1"),
)


def as_text(report: Report) -> str:
    """Verdict, sources, statistics over |dx| and |dy| in both frames, and each picture."""
    verdict = report.verdict
    worst = verdict.worst
    limits = verdict.limits
    head = (
        f"mean {report.photo.mean_px:.4g} <= {limits.max_mean_px:g} px,"
        f" max {report.photo.max_px:.4g} <= {limits.max_error_px:g} px"
        if verdict.passed
        else "; ".join(verdict.exceeded)
    )
    counted = f"{len(report.pictures)} pictures x {report.points} points x 2"
    at = (
        f"reference ({worst.reference_xy_px[0]:.2f}, {worst.reference_xy_px[1]:.2f}),"
        f" candidate ({worst.candidate_xy_px[0]:.2f}, {worst.candidate_xy_px[1]:.2f})"
    )
    smallest = verdict.smallest_passing
    lines = [
        f"{'PASSED' if verdict.passed else 'FAILED'}: {head} (photo)",
        f"reference: {report.reference.source} [{report.reference.engine}]",
        f"candidate: {report.candidate.source} [{report.candidate.engine}]",
        f"{counted} = {report.photo.coordinates} coordinates, |dx| and |dy|",
        "",
        f"{'':<10}{'photo px':>12}{'crop px':>12}",
        *(
            f"{label:<10}{_cell(report.photo, field):>12}{_cell(report.crop, field):>12}"
            for label, field in ROWS
        ),
        "",
        f"{'picture':<28}{'mean photo':>12}{'max photo':>12}{'mean crop':>12}{'max crop':>12}",
        *(_row(picture) for picture in report.pictures),
        "",
        f"worst: {worst.picture}, point {worst.point}, {worst.axis}: {worst.error_px:.4g} px, {at}",
        (
            f"smallest limits that pass: --max-mean {_rounded_up(smallest.max_mean_px)}"
            f" --max-error {_rounded_up(smallest.max_error_px)}"
        ),
    ]
    return "\n".join(lines) + "\n"


def _row(picture: PictureReport) -> str:
    errors = (
        picture.photo.mean_px,
        picture.photo.max_px,
        picture.crop.mean_px,
        picture.crop.max_px,
    )
    return f"{picture.name:<28}" + "".join(f"{_px(error):>12}" for error in errors)


def _cell(statistics: ErrorStatistics, field: str) -> str:
    value: float = getattr(statistics, field)
    return f"{value:.2%}" if field.startswith("share") else _px(value)


def _px(value: float) -> str:
    """Four decimals, as the reference prints; what they would hide, in powers of ten."""
    return f"{value:.4f}" if value >= SMALLEST_DECIMAL_PX or value == 0 else f"{value:.1e}"


def _rounded_up(limit_px: float) -> str:
    """Six digits, never below the value: a limit copied from here must pass."""
    return f"{math.ceil(limit_px * 1e6) / 1e6:.6f}"
