"""A rehearsal's report: the reference's NPU-against-CPU table, with rows for each arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from parity.judging.differences import Statistics, error_table, statistics
from parity.judging.digits import px, told_apart
from parity.judging.expected import Given
from parity.judging.verdict import Unit
from parity.plan.precision_plan import PrecisionPlan
from parity.recording.recording import Recording
from parity.report.record import Report, make_report
from parity.report.text import verdict_line
from runtime.files import printable

SCHEMA = 1
CAVEAT = "rehearsed on this CPU: the rounding is an NPU's, the order of its sums is not"
MODE_NAMES = {"whole": "photos", "box": "faces in photos", "crop": "face crops"}
FIGURES = (("mean", "mean"), ("max", "max"), ("std", "std"), ("P95", "p95"), ("P99", "p99"))


class TableRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Statistics over |dx| and |dy| of some of the pictures, in px of the photo or of the crop."""

    pictures: str
    unit: Unit
    statistics: Statistics


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One arithmetic against plain fp32. `kept` nodes stayed in fp32."""

    arithmetic: str
    kept: tuple[str, ...]
    rows: tuple[TableRow, ...]
    report: Report


class RehearsalReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole report. It holds no clock: same answers, same bytes.

    A plan is held to its budget on some of the pictures; the verdict in its report is still by the
    usual limits, on all of them.
    """

    schema: int = SCHEMA
    source: str
    caveat: str = CAVEAT
    rehearsals: tuple[Rehearsal, ...]
    plan: PrecisionPlan | None


def rehearsal(
    arithmetic: str, kept: Sequence[str], plain: Recording, rehearsed: Recording, limits: Given
) -> Rehearsal:
    """Compare one rehearsal with the plain run, and judge it."""
    return Rehearsal(
        arithmetic=arithmetic,
        kept=tuple(kept),
        rows=_rows(plain, rehearsed),
        report=make_report(plain, rehearsed, limits),
    )


def as_text(report: RehearsalReport) -> str:
    """Verdicts first, then the table, the plan, and the worst coordinate of each arithmetic."""
    lines: list[str] = []
    if report.plan is None:
        lines += [f"{one.arithmetic}: {verdict_line(one.report)}" for one in report.rehearsals]
    else:
        lines += [_plan_line(report.plan)]
    first = report.rehearsals[0].report
    lines += [f"source: {report.source} [{first.reference.engine}]", report.caveat, ""]
    heads = [f"{head:>10}" for head in (*(head for head, _ in FIGURES), "< 0.5 px", "count")]
    lines.append(f"{'':<42}" + "".join(heads))
    for one in report.rehearsals:
        kept = f", {len(one.kept)} operators in fp32" if one.kept else ""
        lines.append(f"{one.arithmetic}{kept}")
        lines += [_row(row) for row in one.rows]
    if report.plan is not None:
        lines += ["", *_plan(report.plan)]
    lines += ["", *(_worst(one) for one in report.rehearsals)]
    return "".join(f"{printable(line)}\n" for line in lines)


def _rows(plain: Recording, rehearsed: Recording) -> tuple[TableRow, ...]:
    """All coordinates as the reference counts them, each kind of picture, and all in crop px."""
    table = error_table(plain, rehearsed)
    modes = np.array([picture.mode for picture in plain.header.pictures])
    rows = [TableRow(pictures="all", unit="photo", statistics=statistics(table.photo_px))]
    kinds = [mode for mode in MODE_NAMES if (modes == mode).any()]
    if len(kinds) > 1:
        rows += [
            TableRow(
                pictures=MODE_NAMES[mode],
                unit="photo",
                statistics=statistics(table.photo_px[modes == mode]),
            )
            for mode in kinds
        ]
    return (*rows, TableRow(pictures="all", unit="crop", statistics=statistics(table.crop_px)))


def _row(row: TableRow) -> str:
    found = row.statistics
    cells = [f"{px(getattr(found, field)):>10}" for _, field in FIGURES]
    share = f"{found.share_under['0.5']:.2%}"
    return (
        f"  {row.pictures + f', {row.unit} px':<40}"
        + "".join(cells)
        + f"{share:>10}"
        + (f"{found.count:>10}")
    )


def _plan_line(plan: PrecisionPlan) -> str:
    if plan.objections:
        return f"NOT PLANNED: {'; '.join(plan.objections)} ({plan.unit})"
    held = ", ".join(
        f"{name} {told_apart(plan.judged.left_px[name], limit)} <= {limit!r} px"
        for name, limit in plan.budget_px.items()
    )
    held += f" on {len(plan.judged.pictures)} pictures that it was not made from ({plan.unit})"
    if not plan.kept:
        return f"PLANNED: fp16 alone holds the budget, nothing need stay in fp32: {held}"
    return f"PLANNED: {len(plan.kept)} of {plan.operators} operators in fp32: {held}"


def _plan(plan: PrecisionPlan) -> list[str]:
    names = list(plan.budget_px)
    heads = "".join(f"{name:>10}" for name in names)
    width = max(len(step.done) for step in plan.steps)
    lines = [f"{'step':<{width}}{'in fp32':>9}{heads}   {plan.unit} px left"]
    for step in plan.steps:
        left = "".join(f"{px(step.left_px[name]):>10}" for name in names)
        lines.append(f"{step.done:<{width}}{step.kept:>9}{left}")
    lines += [
        f"{plan.lists_measured} lists measured; the shortest found, not proven shortest",
        "",
        f"{f'{plan.pictures} pictures of {plan.people} people':<42}{'pictures':>10}"
        + "".join(f"{f'fp16 {name}':>10}{f'plan {name}':>10}" for name in names),
    ]
    tightened = ", ".join(f"{name} / {plan.margins[name]:.2f}" for name in names)
    for what, part in (
        (f"searched, for {tightened}", plan.searched),
        ("set the margin", plan.margin),
        ("judge", plan.judged),
    ):
        if part.pictures:
            cells = "".join(
                f"{px(part.alone_px[name]):>10}{px(part.left_px[name]):>10}" for name in names
            )
            lines.append(f"  {what:<40}{len(part.pictures):>10}{cells}")
    if plan.objections:
        lines.append("not written: allow more, or name more pictures with --images")
    elif plan.kept:
        lines.append(f"written: {plan.file}, for --keep here and --keep_dtype of atc")
    else:
        lines.append(f"written: {plan.file}, empty: leave --keep_dtype out")
    return lines


def _worst(one: Rehearsal) -> str:
    worst = one.report.verdict.worst
    error = f"{px(worst.error_px)} {one.report.verdict.limits.unit} px"
    return f"worst in {one.arithmetic}: {worst.picture}, point {worst.point}, {worst.axis}: {error}"
