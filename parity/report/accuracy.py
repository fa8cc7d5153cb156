"""The report's part about accuracy, as text: both sources against what people marked."""

from __future__ import annotations

from parity.judging.accuracy import FEWEST_FOR_INTERVAL, AccuracyReport
from parity.judging.verdict import Limits
from parity.report.record import Report

HEADS = ("NME mean", "NME median", "FR at 8 %", "AUC at 8 %")
MOST_LEFT_OUT = 10


def accuracy_lines(report: Report) -> list[str]:
    """A table of both sources, the change with its interval, and what that means.

    Returns:
        Lines with an empty one at their end; none at all where nobody marked a point.
    """
    found = report.accuracy
    if found is None:
        missing = report.accuracy_missing
        return [f"accuracy: not available: {missing}", ""] if missing else []
    right, left = found.eye_corners
    shares = f"{found.pictures} annotated pictures of {len(report.pictures)}"
    lines = [
        f"accuracy on {shares}, NME by the outer eye corners {right} and {left}",
        f"{'':<10}" + "".join(f"{head:>12}" for head in HEADS),
    ]
    for name, side in (("reference", found.reference), ("candidate", found.candidate)):
        lines.append(
            f"{name:<10}{side.mean_nme_percent:>10.4f} %{side.median_nme_percent:>10.4f} %"
            f"{side.failure_rate:>11.2%} {side.auc:>11.4f}"
        )
    lines += [_change(found), *_reading(found, report.verdict.limits)]
    if found.left_out:
        named = ", ".join(found.left_out[:MOST_LEFT_OUT])
        lines.append(f"left out: eye corners in one place in {len(found.left_out)}: {named}")
    return [*lines, ""]


def _change(found: AccuracyReport) -> str:
    change = f"change    {found.change_points:+.4f} percentage points of mean NME"
    if found.interval_points is None:
        return f"{change} (fewer than {FEWEST_FOR_INTERVAL} pictures give no interval)"
    low, high = found.interval_points
    return f"{change}, {found.confidence:.0%} interval {low:+.4f} to {high:+.4f} (paired bootstrap)"


def _reading(found: AccuracyReport, limits: Limits) -> list[str]:
    """What the interval says, in a sentence."""
    if found.interval_points is None:
        return []
    lines: list[str] = []
    if not found.tells_a_change:
        lines.append("the interval contains 0: points may have moved, no change of accuracy shows")
    elif found.change_points > 0:
        lines.append("the interval lies above 0: the candidate is less accurate than the reference")
    else:
        lines.append("the interval lies below 0: the candidate is more accurate than the reference")
    limit = limits.max_nme_increase_points
    if limit is not None and found.change_points <= limit < found.interval_points[1]:
        lines.append(f"the interval reaches beyond the limit of {limit!r}: show it more pictures")
    return lines
