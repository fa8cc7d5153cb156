"""Distributions of the errors, drawn by matplotlib. All axes of errors are logarithmic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from parity.html.svg import INK, as_svg, drawing
from parity.html.words import Words, power_of_ten
from parity.judging.differences import F64
from parity.judging.verdict import Limits, Unit
from parity.report.record import Part

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's, as on the pictures: distinct for colour-blind readers, on light and on dark.
BLUE, ORANGE, RED = "#3b8fc4", "#e69f00", "#d55e00"
BINS_A_DECADE = 6
MOST_DECADES = 12
CURVE_POINTS = 300
PERCENTILES = (50, 95, 99)
WIDTH_IN = 7.0
ROW_IN = 0.36
# margins around the axes
LEFT_IN, RIGHT_IN, BOTTOM_IN, TOP_IN = 0.8, 0.2, 0.62, 0.34
# margins for names at the left, and for each further row of the legend above
NAMES_IN, LEGEND_ROW_IN = 1.55, 0.26
# dashes of the limits' lines: the legend names them, above the axes, where no bar is
DASHES = ((4, 2), (1, 1.5), (7, 2), (4, 2, 1, 2))
LEGEND_COLUMNS = 2


def histogram(errors_px: F64, limits: Limits, words: Words) -> str:
    """Histogram of the errors.

    Args:
        errors_px: magnitudes of any shape, in the unit of the limits, with something above 0.
        limits: drawn as lines.
        words: the page's.
    """
    found = _drawable(errors_px)
    low, high = _range(found, limits)
    bins = 10 ** np.linspace(low, high, (high - low) * BINS_A_DECADE + 1)
    with drawing():
        figure, axes = _axes(3.7, top=_top(len(_lines(limits))))
        axes.hist(np.clip(found, bins[0], bins[-1]), bins.tolist(), color=BLUE, alpha=0.9)
        _error_axis(axes, low, high)
        axes.set_ylabel("coordinates")
        axes.grid(axis="y")
        _limit_lines(axes, limits)
        _legend(axes, LEGEND_COLUMNS)
        title = words("Histogram of the errors")
        return as_svg(figure, "histogram", title, _texts(words, limits.unit))


def cumulative(errors_px: F64, distances_px: F64, limits: Limits, words: Words) -> str:
    """Cumulative curve of the errors.

    Args:
        errors_px: magnitudes of coordinates, in the unit of the limits.
        distances_px: of points, likewise.
        limits: drawn as lines.
        words: the page's.
    """
    low, high = _range(_drawable(errors_px), limits)
    with drawing():
        figure, axes = _axes(3.7, top=_top(2 + len(_lines(limits))))
        shares = np.linspace(0, 1, CURVE_POINTS)
        for values, colour, style, label in (
            (distances_px, ORANGE, "--", "point distance"),
            (errors_px, BLUE, "-", "|dx|, |dy|"),
        ):
            finite = values[np.isfinite(values)]
            # quantiles: nobody can see a hundred thousand steps
            axes.plot(
                np.maximum(np.quantile(finite, shares), 10.0**low),
                shares * 100,
                color=colour,
                linestyle=style,
                linewidth=2,
                label=label,
            )
        finite = errors_px[np.isfinite(errors_px)]
        for q in PERCENTILES:
            at = max(float(np.percentile(finite, q)), 10.0**low)
            axes.plot([at], [q], "o", color=BLUE, markersize=6)
            if q != PERCENTILES[-1]:
                axes.annotate(
                    f"P{q}", (at, q), xytext=(-7, 3), textcoords="offset points", ha="right"
                )
        _error_axis(axes, low, high)
        axes.set_ylim(0, 104)
        axes.set_ylabel("share of all, %")
        axes.grid()
        _limit_lines(axes, limits)
        _legend(axes, LEGEND_COLUMNS)
        title = words("Cumulative curve of the errors")
        return as_svg(figure, "cumulative", title, _texts(words, limits.unit))


def regions(parts: Mapping[str, Part], limits: Limits, words: Words) -> str:
    """Mean, P95 and maximum of each region, largest mean first."""
    found = {name: part.px_in(limits.unit) for name, part in parts.items()}
    names = sorted(found, key=lambda name: found[name].mean)
    everything = np.array([[s.mean, s.p95, s.max] for s in found.values()])
    low, high = _range(_drawable(everything), limits)
    floor = 10.0**low
    with drawing():
        figure, axes = _axes(1.0 + ROW_IN * len(names), NAMES_IN)
        for row, name in enumerate(names):
            s = found[name]
            mean, p95, largest = (max(v, floor) for v in (s.mean, s.p95, s.max))
            axes.plot([mean, largest], [row, row], color=INK, alpha=0.35, linewidth=1.5)
            axes.plot([p95], [row], "|", color=INK, markersize=11, markeredgewidth=2)
            axes.plot([mean], [row], "o", color=BLUE, markersize=8)
            axes.plot([largest], [row], "D", color=ORANGE, markersize=7)
        # plain names, whose widths are known; `as_svg` replaces them
        places = [f"region {row:>3} of the face" for row in range(len(names))]
        axes.set_yticks(range(len(names)), places)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.tick_params(axis="y", length=0)
        _error_axis(axes, low, high)
        axes.grid(axis="x")
        for marker, colour, label in (("o", BLUE, "mean"), ("|", INK, "P95"), ("D", ORANGE, "max")):
            axes.plot([], [], marker, color=colour, label=label, markersize=8, markeredgewidth=2)
        _legend(axes, 3)
        texts = _texts(words, limits.unit) | dict(zip(places, map(words.known, names), strict=True))
        return as_svg(figure, "regions", words("Errors by region"), texts)


def stages(sides: Sequence[Mapping[str, float]], words: Words) -> str:
    """Milliseconds of each stage, one bar a side: reference and candidate."""
    names = list(dict.fromkeys(stage for side in sides for stage in side))
    places = ("reference", "candidate")
    with drawing():
        import matplotlib as mpl

        colours = mpl.colormaps["viridis"](np.linspace(0.05, 0.95, len(names)))
        figure, axes = _axes(2.7, NAMES_IN, TOP_IN + LEGEND_ROW_IN)
        for row, side in enumerate(sides):
            left = 0.0
            for stage, colour in zip(names, colours, strict=True):
                length = side.get(stage, 0.0)
                label = stage if row == 0 else None
                axes.barh([row], [length], left=[left], color=[colour], height=0.6, label=label)
                left += length
        axes.set_yticks(range(len(sides)), places)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_xlabel("median, ms")
        _legend(axes, (len(names) + 1) // 2)
        texts = {name: words.known(name) for name in names}
        texts |= {
            "reference": words("reference"),
            "candidate": words("candidate"),
            "median, ms": words("median, ms"),
        }
        return as_svg(figure, "stages", words("Latency by stage"), texts)


def _axes(height_in: float, left: float = LEFT_IN, top: float = TOP_IN) -> tuple[Figure, Axes]:
    """Axes with fixed margins: matplotlib would measure texts in a font that the page lacks."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height_in))
    width, height = WIDTH_IN - left - RIGHT_IN, height_in - BOTTOM_IN - top
    share = (left / WIDTH_IN, BOTTOM_IN / height_in, width / WIDTH_IN, height / height_in)
    return figure, figure.add_axes(share)


def _legend(axes: Axes, columns: int) -> None:
    """Above the axes, where nothing is drawn."""
    if not axes.get_legend_handles_labels()[0]:
        return
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        frameon=False,
        borderaxespad=0.2,
        borderpad=0.2,
        handlelength=1.6,
        columnspacing=1.6,
    )


def _drawable(errors_px: F64) -> F64:
    """Errors that a logarithmic axis can show: finite and above 0."""
    return errors_px[np.isfinite(errors_px) & (errors_px > 0)]


def _range(errors_px: F64, limits: Limits) -> tuple[int, int]:
    """The powers of ten around errors and limits, at most `MOST_DECADES` apart."""
    shown = [*errors_px.tolist(), *(limit for _, _, limit in limits.named() if limit > 0)]
    high = math.ceil(math.log10(max(shown)) + 1e-9)
    # a stray coordinate that is almost exact must not squeeze all others together
    smallest = float(np.percentile(errors_px, 0.5)) if errors_px.size else min(shown)
    low = math.floor(math.log10(min(smallest, *shown[errors_px.size :] or [smallest])))
    return max(min(low, high - 1), high - MOST_DECADES), high


def _error_axis(axes: Axes, low: int, high: int) -> None:
    axes.set_xscale("log")
    axes.set_xlim(10.0**low, 10.0**high)
    step = max(1, (high - low + 7) // 8)
    powers = range(low, high + 1, step)
    axes.set_xticks([10.0**p for p in powers], [_power(p) for p in powers])
    axes.minorticks_off()
    axes.set_xlabel("error, px")


def _power(power: int) -> str:
    """0.01, 1, 100; further out as a power of ten."""
    return f"{10.0**power:g}" if -3 <= power <= 4 else power_of_ten(power)


def _lines(limits: Limits) -> list[tuple[str, float]]:
    """Labels and places of the limits that an axis of errors can show."""
    return [
        (f"limit of the landmarks' {name}", limit) for name, _, limit in limits.named() if limit > 0
    ]


def _top(entries: int) -> float:
    """The margin above the axes for a legend of so many entries, in inches."""
    return TOP_IN + LEGEND_ROW_IN * max(0, math.ceil(entries / LEGEND_COLUMNS) - 1)


def _limit_lines(axes: Axes, limits: Limits) -> None:
    for (label, limit), dashes in zip(_lines(limits), DASHES, strict=False):
        axes.axvline(limit, color=RED, linewidth=1.5, linestyle=(0, dashes), label=label)


def _texts(words: Words, unit: Unit) -> dict[str, str]:
    return {
        "error, px": words("error, photo px") if unit == "photo" else words("error, crop px"),
        "coordinates": words("coordinates"),
        "share of all, %": words("share of all, %"),
        "point distance": words("point distance"),
        "mean": words("mean"),
        "max": words("max"),
        "limit of the landmarks' mean": words("limit of the mean"),
        "limit of the landmarks' error": words("limit of the maximum"),
        "limit of the landmarks' p95": words("limit of P95"),
        "limit of the landmarks' p99": words("limit of P99"),
    }
