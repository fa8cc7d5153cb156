"""The report as text, verdict first."""

from __future__ import annotations

import math
from collections.abc import Iterable

from parity.judging.accuracy import FEWEST_FOR_INTERVAL, AccuracyReport
from parity.judging.differences import Statistics
from parity.judging.digits import px, signed
from parity.judging.expected import BASES
from parity.judging.uncertainty import sentence
from parity.judging.verdict import Limits
from parity.report.record import PictureReport, Report
from runtime.cli.language import ENGLISH, Words, padded
from runtime.files import printable

# that are named one by one
MOST_PICTURES = 10
FRAME_HEADS = ("mean photo", "max photo", "mean crop", "max crop")
ACCURACY_HEADS = ("NME mean", "NME median", "FR at 8 %", "AUC at 8 %")
ROWS = (
    ("mean", "mean"),
    ("max", "max"),
    ("std", "std"),
    ("P50", "p50"),
    ("P90", "p90"),
    ("P95", "p95"),
    ("P99", "p99"),
)


def as_text(report: Report) -> str:
    """Verdict, sources, statistics in all frames, regions, the worst pictures, the worst point."""
    counted = f"{len(report.pictures)} pictures x {len(report.landmarks)} points x 2"
    lines = [
        verdict_line(report),
        *limit_lines(report),
        f"reference: {report.reference.source} [{report.reference.engine}]",
        f"candidate: {report.candidate.source} [{report.candidate.engine}]",
        *_notes(report),
        f"{counted} = {report.photo_px.axis.count} coordinates",
        "",
        *_table(report),
        "",
        *_accuracy(report),
        *first_points(report.pictures[0]),
        "",
        _row("region", FRAME_HEADS),
        *(_errors(name, p.photo_px, p.crop_px) for name, p in report.regions.items()),
        "",
        *_pictures(report),
        "",
        *_end(report),
    ]
    # names come from files and recordings: a control character must not reach the terminal
    return "".join(f"{printable(line)}\n" for line in lines)


def verdict_line(report: Report) -> str:
    """Passed or failed, with the figures and limits."""
    verdict = report.verdict
    if not verdict.passed:
        return f"FAILED: {'; '.join(verdict.exceeded)}"
    return f"PASSED: {', '.join(map(str, verdict.judged))}"


def limit_lines(report: Report) -> list[str]:
    """Where the limits come from, and the reference's promise beside them."""
    verdict = report.verdict
    here, there = (side.arithmetic or "unknown" for side in (report.reference, report.candidate))
    kept = "kept" if all(one.held for one in verdict.promise) else "NOT kept"
    return [
        f"limits: {BASES[verdict.basis]} (arithmetic: {here} against {there})",
        f"the reference's promise is {kept}: {', '.join(map(str, verdict.promise))}",
    ]


def _notes(report: Report) -> list[str]:
    notes: list[str] = []
    if report.different_checkpoints:
        notes.append("WARNING: the two sources were made from different checkpoints")
    if report.end_to_end is not None:
        ends = report.end_to_end.photo_px.axis
        notes.append(
            f"WARNING: the crops of {len(report.end_to_end.crops_that_differ)} pictures differ"
            " (another OpenCV?); end to end"
            f" mean {px(ends.mean)}, max {px(ends.max)} photo px"
        )
        notes.append(
            "judged on the backend alone, on shared crops"
            if report.judged_on == "shared crops"
            else "judged end to end: --with-crops on one side would tell crop and backend apart"
        )
    if report.unreadable:
        named = ", ".join(one.name for one in report.unreadable[:MOST_PICTURES])
        notes.append(f"left out: {len(report.unreadable)} unreadable pictures: {named}")
    return notes


def _table(report: Report) -> list[str]:
    percent = report.percent_interocular
    columns: list[tuple[str, str, Statistics | None]] = [
        ("photo px", "|dx|,|dy|", report.photo_px.axis),
        ("photo px", "distance", report.photo_px.distance),
        ("crop px", "|dx|,|dy|", report.crop_px.axis),
        ("crop px", "distance", report.crop_px.distance),
        ("% of eyes", "distance", percent.distance if percent else None),
    ]
    lines = [
        _row("", (frame for frame, _, _ in columns), 10),
        _row("", (kind for _, kind, _ in columns), 10),
    ]
    for label, field in ROWS:
        cells = (px(getattr(found, field)) if found else "-" for _, _, found in columns)
        lines.append(_row(label, cells, 10))
    for limit in report.photo_px.axis.share_under:
        cells = (
            f"{found.share_under[limit]:.2%}" if found and frame != "% of eyes" else "-"
            for frame, _, found in columns
        )
        lines.append(_row(f"< {limit} px", cells, 10))
    spread, axis = report.spread_crop_px, report.axis_degrees
    lines.append(f"spread     mean {px(spread.mean)}, max {px(spread.max)} crop px apart")
    if axis is not None:
        lines.append(f"axis       mean {px(axis.mean)}, max {px(axis.max)} degrees apart")
    return lines


def _accuracy(report: Report) -> list[str]:
    """NME of both sources, the change with its interval, and its meaning; ends with a blank."""
    found = report.accuracy
    if found is None:
        missing = report.accuracy_missing
        return [f"accuracy: not available: {missing}", ""] if missing else []
    right, left = found.normaliser
    shares = f"{found.pictures} annotated pictures of {len(report.pictures)}"
    star = f"{found.star_limit_percent:g} %"
    heads = (*ACCURACY_HEADS, f"AUC at {star}", "STAR's AUC", "STAR's FR")
    lines = [
        f"accuracy on {shares}, NME by the {found.normaliser_name} {right} and {left}",
        _row("", heads, 10),
    ]
    for name, side in (("reference", found.reference), ("candidate", found.candidate)):
        lines.append(
            f"{name:<10}{side.mean_nme_percent:>10.4f} %{side.median_nme_percent:>10.4f} %"
            f"{side.failure_rate:>12.2%}{side.auc:>12.4f}{side.auc_at_star_limit:>12.4f}"
            f"{side.star_auc:>12.4f}{side.star_failure_rate:>12.2%}"
        )
    lines.append(f"STAR's: at {star}, sampled and integrated as its code does")
    lines += [_change(found), *_interval(found, report.verdict.limits)]
    if found.left_out:
        named = ", ".join(found.left_out[:MOST_PICTURES])
        why = f"{found.normaliser_name} unmarked or in one place"
        lines.append(f"left out: {why} in {len(found.left_out)}: {named}")
    if found.unmarked_points:
        lines.append(f"left out: {found.unmarked_points} points that nobody marked")
    return [*lines, ""]


def _change(found: AccuracyReport) -> str:
    change = f"change    {signed(found.change_points)} percentage points of mean NME"
    if found.interval_points is None:
        return f"{change} (fewer than {FEWEST_FOR_INTERVAL} pictures give no interval)"
    low, high = found.interval_points
    interval = f"{found.confidence:.0%} interval {signed(low)} to {signed(high)}"
    return f"{change}, {interval} (paired bootstrap)"


def _interval(found: AccuracyReport, limits: Limits) -> list[str]:
    """The interval's meaning, in a sentence."""
    if found.interval_points is None:
        return []
    lines = ["the interval contains 0: points may have moved, no change of accuracy shows"]
    if found.tells_a_change:
        side, more = ("above", "less") if found.change_points > 0 else ("below", "more")
        lines = [f"the interval lies {side} 0: the candidate is {more} accurate than the reference"]
    limit = limits.max_nme_increase_points
    if limit is not None and found.change_points <= limit < found.interval_points[1]:
        lines.append(f"the interval reaches beyond the limit of {limit!r}: show it more pictures")
    return lines


def first_points(picture: PictureReport, say: Words = ENGLISH) -> list[str]:
    """A picture's first points on both sides, and the candidate's minus the reference's."""
    heads = ((say("reference"), 26), (say("candidate"), 22), (say("difference"), 26))
    lines = [say("{name}: the first points, photo px", name=picture.name)]
    lines.append("".join(padded(head, columns, right=True) for head, columns in heads))
    for point in picture.first_points:
        pair = point.reference_xy_px, point.candidate_xy_px
        here, there = (f"({x + 0.0:.2f}, {y + 0.0:.2f})" for x, y in pair)
        dx, dy = (signed(b - a) for a, b in zip(*pair, strict=True))
        lines.append(f"{point.point:>4}{here:>22}{there:>22}{f'({dx}, {dy})':>26}")
    return lines


def _pictures(report: Report) -> list[str]:
    frame = f"{report.verdict.limits.unit}_px"
    worst = sorted(report.pictures, key=lambda p: -getattr(p, frame).axis.max)[:MOST_PICTURES]
    rest = len(report.pictures) - len(worst)
    lines = [_row("picture, worst first", FRAME_HEADS)]
    lines += [_errors(p.name, p.photo_px.axis, p.crop_px.axis) for p in worst]
    return [*lines, f"... and {rest} better ones, all in --json"] if rest else lines


def _end(report: Report) -> list[str]:
    worst = report.verdict.worst
    at = (
        f"reference ({worst.reference_xy_px[0]:.2f}, {worst.reference_xy_px[1]:.2f}),"
        f" candidate ({worst.candidate_xy_px[0]:.2f}, {worst.candidate_xy_px[1]:.2f})"
    )
    error = f"{px(worst.error_px)} {report.verdict.limits.unit}"
    # within the limits there is nothing to explain
    doubts = [] if report.verdict.passed else [sentence(report.doubt)]
    return [
        f"worst: {worst.picture}, point {worst.point}, {worst.axis}: {error} px, {at}",
        *doubts,
        f"smallest limits that pass: {passing_options(report.verdict.smallest_passing)}",
    ]


def passing_options(limits: Limits) -> str:
    """The options of these limits, rounded up to six decimals: copied, they must pass."""
    options = [f"--max-{name} {_rounded_up(limit)}" for name, _, limit in limits.named()]
    # without these, the defaults would hold
    options += ["--max-mean none"] if limits.max_mean_px is None else []
    options += ["--max-error none"] if limits.max_error_px is None else []
    for name, limit in (("spread", limits.max_spread_px), ("axis", limits.max_axis_deg)):
        options.append(f"--max-{name} {'none' if limit is None else _rounded_up(limit)}")
    if limits.max_nme_increase_points is not None:
        options.append(f"--max-nme-increase {_rounded_up(limits.max_nme_increase_points)}")
    return " ".join([*options, *(["--unit crop"] if limits.unit == "crop" else [])])


def _errors(name: str, photo: Statistics, crop: Statistics) -> str:
    return _row(name, map(px, (photo.mean, photo.max, crop.mean, crop.max)))


def _row(name: str, cells: Iterable[str], width: int = 28) -> str:
    return f"{name:<{width}}" + "".join(f"{cell:>12}" for cell in cells)


def _rounded_up(limit_px: float) -> str:
    millionths = limit_px * 1e6
    if not math.isfinite(millionths):
        return "inf"
    rounded = math.ceil(millionths)
    # the product was itself rounded, perhaps down
    return f"{(rounded if rounded / 1e6 >= limit_px else rounded + 1) / 1e6:.6f}"
