"""Where a difference starts, as one record and as text for readers new to the network."""

from __future__ import annotations

import msgspec

from parity.judging.digits import px
from parity.locate.figures import Figures, MovedFigures
from parity.locate.operators import Operator
from parity.recording.recording import Unreadable
from runtime.files import printable

MOST_OPERATORS = 6
MOST_WEIGHTS = 6


class SideReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One side of the comparison."""

    source: str
    engine: str
    checkpoint_sha256: str


class NotFinite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first value of a side, in the order of pictures and stages, that is not finite.

    `channel` is None in a tensor without channels.
    """

    side: str
    picture: str
    stage: str
    channel: int | None
    value: str


class StageReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage's readings; None where a reading could not be taken.

    Attributes:
        name: as in `runtime.model.stages`.
        accumulated: each side on its own inputs.
        isolated: both sides' stage on the same inputs.
        alone_px: how far this stage's isolated error alone moves the reference's landmarks.
        over_share: whether it differs by more than its share, or, where it could not be isolated,
            by much more than its inputs do.
    """

    name: str
    accumulated: Figures | None
    isolated: Figures | None
    alone_px: MovedFigures | None
    over_share: bool = False


class LocateReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole comparison. It holds no times: the same tensors give the same bytes.

    Attributes:
        located: the first stage over its share; None where there is none.
        reading: what that was judged on: "isolated" or "accumulated".
        fed_by: whose inputs both sides' stages were given; None where no stage was run alone.
        share: the largest isolated relative L2 that passes; None without any.
        operator: the part of that stage furthest apart; None where a side could not be cut.
        landmarks_px: how far the landmarks are apart, crop px.
        not_finite: the first of each side.
        stages: in their order.
        pictures: names.
        unreadable: pictures that were left out.
        reference: one side.
        candidate: the other.
    """

    located: str | None
    reading: str
    fed_by: str | None
    share: float | None
    operator: Operator | None
    landmarks_px: MovedFigures | None
    not_finite: tuple[NotFinite, ...]
    stages: tuple[StageReport, ...]
    pictures: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]
    reference: SideReport
    candidate: SideReport


def as_text(report: LocateReport) -> str:
    """The stage, how far it moves the landmarks, the operator, and the figures of all stages."""
    here, there = report.reference, report.candidate
    lines = [
        *_headline(report),
        *_not_finite(report),
        *_operator(report),
        f"reference: {here.source} [{here.engine}]",
        f"candidate: {there.source} [{there.engine}]",
    ]
    hashes = {here.checkpoint_sha256, there.checkpoint_sha256} - {""}
    if len(hashes) > 1:
        lines.append("WARNING: the two sources were made from different checkpoints")
    lines.append(f"pictures: {len(report.pictures)}")
    if report.unreadable:
        lines[-1] += f", {len(report.unreadable)} left out: {report.unreadable[0].error}"
    if report.fed_by is not None:
        lines += ["", *_isolated(report)]
    lines += ["", *_accumulated(report)]
    # names come from files and graphs: a control character must not reach the terminal
    return "".join(f"{printable(line)}\n" for line in lines)


def _headline(report: LocateReport) -> list[str]:
    apart = f"Landmarks apart in all: {_moved(report.landmarks_px)}."
    if report.located is None:
        widest = max(report.stages, key=lambda stage: _size(report, stage))
        if _size(report, widest) == 0:
            return ["NO DIFFERENCE: the two agree in every bit of every stage."]
        size = f"{_relative(report, widest)} of its own size"
        return [
            "NOTHING STANDS OUT: no stage differs by more than its share.",
            f"Furthest apart is {widest.name}: {size}{_against(report)}.",
            apart,
        ]
    stage = next(stage for stage in report.stages if stage.name == report.located)
    size = f"{_relative(report, stage)} of its own size"
    if report.reading == "accumulated":
        return [
            f"LOCATED: the difference grows first in stage {stage.name}, to {size}.",
            "No stage of either side could be run alone: this is what has accumulated.",
            apart,
        ]
    found = f"On the same inputs it differs by {size}{_against(report)}."
    lines = [f"LOCATED: the difference starts in stage {stage.name}. {found}"]
    if stage.alone_px is not None:
        lines.append(f"That alone moves the landmarks by {_moved(stage.alone_px)}.")
    return [*lines, apart]


def _against(report: LocateReport) -> str:
    if report.share is None:
        return ""
    if report.share == 0:
        return "; most stages agree in every bit"
    return f"; its share is {report.share:.1e}"


def _not_finite(report: LocateReport) -> list[str]:
    return [
        f"NOT A NUMBER: {one.value} in the {one.side}'s {one.stage}"
        + (f", channel {one.channel}" if one.channel is not None else "")
        + f", picture {one.picture}: a number that the precision cannot hold, or a damaged weight"
        for one in report.not_finite
    ]


def _operator(report: LocateReport) -> list[str]:
    found = report.operator
    if report.located is None:
        return []
    if found is None:
        return ["operator: not looked for: both sides' stages must be runnable, not recordings"]
    if not found.compared:
        return ["operator: not looked for: both sides share no part inside this stage"]
    if not found.operators:
        none = f"operator: none of the {found.compared} parts of the stage that both sides share"
        return [
            f"{none} differs: what differs lies between them (relu, instance norm, sigmoid, sums)"
        ]
    shown = found.operators[-MOST_OPERATORS:]
    named = f"{'... ' if len(shown) < len(found.operators) else ''}{', '.join(shown)}"
    size = "not a number" if found.relative_l2 is None else f"{found.relative_l2:.1e} of its size"
    rank = "the furthest apart" + ("" if found.stands_out else ", though not by much,")
    lines = [
        f"operator: {named}",
        f"  {rank} of {found.compared} parts compared on the same inputs, {size} ({found.picture})",
    ]
    if found.compared == 1 and len(found.operators) > 1:
        lines.append("  the two sides share no tensor inside this stage: it was compared whole")
    if found.channels:
        channels = ", ".join(str(channel) for channel in found.channels)
        lines.append(f"  nearly all of it in channel {channels} of {found.output}")
    if found.composed:
        lines.append(f"  composed at export of the checkpoint's {', '.join(found.composed)}")
    return lines + [f"  weight {weight}" for weight in found.weights[:MOST_WEIGHTS]]


def _isolated(report: LocateReport) -> list[str]:
    title = f"isolated (inputs: {report.fed_by}'s)"
    lines = [f"{_heads(title)}{'alone px':>10}"]
    for stage in report.stages:
        moved = px(stage.alone_px.max_px) if stage.alone_px else "-"
        mark = "  <- over its share" if stage.over_share else ""
        lines.append(f"{_row(stage.name, stage.isolated)}{moved:>10}{mark}")
    return lines


def _accumulated(report: LocateReport) -> list[str]:
    lines = [_heads("accumulated (own inputs)")]
    for stage in report.stages:
        marked = stage.over_share and report.reading == "accumulated"
        lines.append(f"{_row(stage.name, stage.accumulated)}{'  <- grows' if marked else ''}")
    return lines


def _heads(title: str) -> str:
    return f"{title:<30}{'rel. L2':>10}{'cosine':>13}{'max abs':>10}{'mean abs':>10}"


def _row(name: str, figures: Figures | None) -> str:
    row = f"{name:<30}"
    for field, width, form in (
        ("relative_l2", 10, ".1e"),
        ("cosine", 13, ".8f"),
        ("max_abs", 10, ".1e"),
        ("mean_abs", 10, ".1e"),
    ):
        value = None if figures is None else getattr(figures, field)
        missing = "-" if figures is None else "nan"
        row += f"{missing if value is None else format(value, form):>{width}}"
    return row


def _size(report: LocateReport, stage: StageReport) -> float:
    figures = stage.isolated if report.reading == "isolated" else stage.accumulated
    if figures is None:
        return 0.0
    return float("inf") if figures.relative_l2 is None else figures.relative_l2


def _relative(report: LocateReport, stage: StageReport) -> str:
    size = _size(report, stage)
    return "more than any number" if size == float("inf") else f"{size:.1e}"


def _moved(moved: MovedFigures | None) -> str:
    if moved is None:
        return "not a number"
    return f"up to {px(moved.max_px)} crop px (mean {px(moved.mean_px)})"
