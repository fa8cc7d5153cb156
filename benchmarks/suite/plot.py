"""The suite's report as a picture: latency of every row with its ratios, pixel damage beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.suite.report import ModelRows, SuiteReport, SuiteRow
from benchmarks.suite.text import times
from parity.html.svg import drawing
from runtime.errors import one_line
from runtime.files import written_whole
from runtime.machine.packages import importing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 150
WIDTH_IN = 13.0
ROW_IN = 0.36
HEAD_IN = 1.1
FOOT_IN = 0.9
INK = "#1f2430"
QUIET = "#8a909c"
# By engine, told apart without colour vision, too: the labels say it as well.
COLOURS = {"torch": "#b5651d", "onnxruntime": "#2f6db3", "openvino": "#2a8c6e"}
PEERS_COLOUR = "#7d7d7d"
# Below this, points are the same but for rounding.
SMALLEST_PX = 1e-6
# Behind the longest bar there is room for what is written on it, and no more.
LATENCY_ROOM, DAMAGE_ROOM = 1.5, 6.0
LONGEST_REASON = 84


def check_drawing(option: str) -> None:
    """Find out that nothing can be drawn before the work that it would show.

    Raises:
        BackendUnavailable: matplotlib is missing.
    """
    with importing(option):
        import matplotlib.figure  # noqa: F401  # whether it can be imported is the question


def write_plot(path: Path, report: SuiteReport) -> None:
    """Draw all models, one under the other, into a PNG.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [len(model.rows) * ROW_IN + HEAD_IN for model in report.models]
    with drawing():
        figure = Figure(figsize=(WIDTH_IN, sum(heights) + FOOT_IN), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(
            len(report.models), 2, squeeze=False, width_ratios=(2.1, 1), height_ratios=heights
        )
        for model, (left, right) in zip(report.models, axes, strict=True):
            _latency(left, model)
            _damage(right, model)
        lines = [f"INVALID: {reason}" for reason in report.invalid]
        lines.append(
            f"{report.machine} · {report.rounds} interleaved rounds · {report.pictures} pictures ·"
            f" {report.created_utc[:10]}"
        )
        figure.supxlabel("\n".join(lines), fontsize=9, color="#b00020" if report.invalid else INK)
        with written_whole(path) as temporary:
            figure.savefig(temporary, dpi=DPI, facecolor="white")


def _latency(axes: Axes, model: ModelRows) -> None:
    _frame(axes, model)
    # text stands behind the line that shows how far a row's rounds lie apart
    p90s = [float(np.percentile(row.figures.rounds_ms, 90)) for row in model.rows if row.figures]
    axes.set_xlim(0, max([*p90s, 1e-3]) * LATENCY_ROOM)
    axes.set_yticks(range(len(model.rows)), [row.label for row in model.rows])
    for place, row in enumerate(model.rows):
        if row.figures is None:
            _write(axes, f"not run: {one_line(row.missing, LONGEST_REASON)}", 0, place, QUIET)
            continue
        found = row.figures
        median = found.network.median_ms
        p10, p90 = np.percentile(found.rounds_ms, (10, 90)).tolist()
        axes.barh(place, median, height=0.66, color=_colour(row))
        axes.plot([p10, p90], [place, place], "|-", color=INK, markersize=9, linewidth=1.3)
        ratios = f"{times(found.over_plain)} plain   {times(found.over_torch)} torch"
        _write(axes, f"{median:.1f} ms   {ratios}", max(median, p90), place)
    axes.set_title(
        f"{model.name}: network at batch 1, ms: median, and P10 to P90 of the rounds",
        loc="left",
        fontsize=12,
    )


def _damage(axes: Axes, model: ModelRows) -> None:
    _frame(axes, model)
    axes.set_xscale("log")
    found_px = [
        max(row.figures.difference.p99_px, SMALLEST_PX)
        for row in model.rows
        if row.figures and row.figures.difference
    ] or [SMALLEST_PX]
    axes.set_xlim(SMALLEST_PX, max(*found_px, 10 * SMALLEST_PX) * DAMAGE_ROOM)
    axes.set_yticks(range(len(model.rows)), [""] * len(model.rows))
    for place, row in enumerate(model.rows):
        found = row.figures.difference if row.figures else None
        if found is None:
            continue
        axes.barh(place, max(found.p99_px, SMALLEST_PX), height=0.66, color=_colour(row), alpha=0.6)
        text = f"{found.p99_px:.2g}" if found.p99_px else "0"
        _write(axes, text, max(found.p99_px, SMALLEST_PX), place)
    axes.set_title("P99 from plain onnxruntime, crop px", loc="left", fontsize=12)


def _frame(axes: Axes, model: ModelRows) -> None:
    axes.set_ylim(len(model.rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelsize=10, colors=INK)
    axes.tick_params(axis="x", labelsize=9, colors=QUIET)
    axes.grid(axis="x", color=INK, alpha=0.1)
    axes.spines["bottom"].set_color(QUIET)
    axes.spines["left"].set_color(QUIET)
    axes.title.set_color(INK)


def _write(axes: Axes, text: str, x: float, place: int, colour: str = INK) -> None:
    """Text behind a bar's end, in points and not in data: the same gap on both scales."""
    axes.annotate(
        text,
        (x, place),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        color=colour,
    )


def _colour(row: SuiteRow) -> str:
    _, at, device = row.source.rpartition("@")
    if not at:  # a peer's bundle
        return PEERS_COLOUR
    return COLOURS.get(device.partition("/")[0], COLOURS["torch"])
