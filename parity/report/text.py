"""The report as text, verdict first."""

from __future__ import annotations

import math

from parity.errors import ErrorStatistics
from parity.report.record import Report

ROWS = (
    ("mean", "mean_px", ".4f"),
    ("max", "max_px", ".4f"),
    ("std", "std_px", ".4f"),
    ("P95", "p95_px", ".4f"),
    ("P99", "p99_px", ".4f"),
    ("< 0.5 px", "share_under_0_5", ".2%"),
    ("< 1 px", "share_under_1", ".2%"),
)


def as_text(report: Report) -> str:
    """Verdict, sources, statistics over |dx| and |dy| in both frames, and each picture."""
    verdict = report.verdict
    worst = verdict.worst
    limits = verdict.limits
    lines = [
        f"{'PASSED' if verdict.passed else 'FAILED'}: "
        + (
            f"mean {report.photo.mean_px:.4g} <= {limits.max_mean_px:g} px,"
            f" max {report.photo.max_px:.4g} <= {limits.max_error_px:g} px (photo)"
            if verdict.passed
            else "; ".join(verdict.exceeded) + " (photo)"
        ),
        f"reference: {report.reference.source} [{report.reference.engine}]",
        f"candidate: {report.candidate.source} [{report.candidate.engine}]",
        f"{len(report.pictures)} pictures x {report.points} points x 2 ="
        f" {report.photo.coordinates} coordinates, |dx| and |dy|",
        "",
        f"{'':<10}{'photo px':>12}{'crop px':>12}",
        *(
            f"{label:<10}{_cell(report.photo, field, form):>12}{_cell(report.crop, field, form):>12}"
            for label, field, form in ROWS
        ),
        "",
        f"{'picture':<28}{'mean px':>10}{'max px':>10}{'mean crop':>12}{'max crop':>10}",
        *(
            f"{picture.name:<28}{picture.photo.mean_px:>10.4f}{picture.photo.max_px:>10.4f}"
            f"{picture.crop.mean_px:>12.4f}{picture.crop.max_px:>10.4f}"
            for picture in report.pictures
        ),
        "",
        f"worst: {worst.picture}, point {worst.point}, {worst.axis}: {worst.error_px:.4g} px,"
        f" reference ({worst.reference_xy_px[0]:.2f}, {worst.reference_xy_px[1]:.2f}),"
        f" candidate ({worst.candidate_xy_px[0]:.2f}, {worst.candidate_xy_px[1]:.2f})",
        f"smallest limits that pass: --max-mean {_rounded_up(verdict.smallest_passing.max_mean_px)}"
        f" --max-error {_rounded_up(verdict.smallest_passing.max_error_px)}",
    ]
    return "\n".join(lines) + "\n"


def _cell(statistics: ErrorStatistics, field: str, form: str) -> str:
    return format(getattr(statistics, field), form)


def _rounded_up(limit_px: float) -> str:
    """Six digits, never below the value: a limit copied from here must pass."""
    return f"{math.ceil(limit_px * 1e6) / 1e6:.6f}"
