"""The error of every landmark, drawn where it is on the face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from parity.html.pictures import FACE_MARGIN
from parity.html.svg import CLASS, INK, as_svg, drawing
from parity.html.words import Words
from parity.html.words import figure as as_digits
from parity.judging.differences import F64, Statistics
from runtime.model.topology import Topology

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE = 640
# from good to bad, told apart without colour vision, too
COLOURS = "RdYlBu_r"
# share of the contrast that the picture behind the points keeps
FADED_TO = 0.62
WIDTH_IN, HEIGHT_IN = 8.9, 7.0
# the colours' scale, right of the face: left, bottom, width, height as shares
BAR = (0.8, 0.15, 0.022, 0.7)
# size of a number, its possible distances from its point, and its least distance from any point
LABEL_WH, LABEL_AWAY, POINT_CLEAR = (21.0, 14.0), np.arange(15.0, 78.0, 3.0), 5.5
NEIGHBOURS = 6
# costs of a number's place beside its distance: covering something, a line over a number, another
# point nearer than its own, and the angle from the open side
COVERED, CROSSED, MISTAKEN, TURNED = 1000.0, 40.0, 30.0, 5.0
LONG_LEADER = 16.0


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceMap:
    """The face that the errors are drawn on.

    Attributes:
        places: (P, 2) points in a square of `SIDE` px.
        behind: uint8 (SIDE, SIDE) grey, or None where no picture can be shown.
    """

    places: F64
    behind: NDArray[np.uint8] | None


def most_typical(points_px: F64) -> int:
    """The picture whose face is nearest to the mean shape; of fewer than three, the first.

    Args:
        points_px: (N, P, 2).
    """
    if len(points_px) < 3:
        return 0
    shapes = _normalised(points_px)
    return int(np.argmin(np.square(shapes - shapes.mean(axis=0)).sum(axis=(1, 2))))


def mean_shape(points_px: F64) -> F64:
    """Mean of the faces, each brought to one place and size, in a square of `SIDE` px.

    Args:
        points_px: (N, P, 2).

    Returns:
        (P, 2).
    """
    shape = _normalised(points_px).mean(axis=0)
    low, high = shape.min(axis=0), shape.max(axis=0)
    scale = SIDE / (float((high - low).max()) * (1 + 2 * FACE_MARGIN) or 1.0)
    placed: F64 = (shape - (low + high) / 2) * scale + SIDE / 2
    return placed


def face_map(
    face: FaceMap, topology: Topology, landmarks: Sequence[Statistics], words: Words
) -> str:
    """Points in the colour of their mean error, with their numbers, on the face.

    Args:
        face: to draw on.
        topology: of the points.
        landmarks: each point's errors.
        words: the page's.
    """
    means = np.array([landmark.mean for landmark in landmarks])
    with drawing():
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize
        from matplotlib.figure import Figure

        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN))
        axes = figure.add_axes((0, 0, HEIGHT_IN / WIDTH_IN, 1))
        axes.set_axis_off()
        axes.set_xlim(0, SIDE)
        axes.set_ylim(SIDE, 0)
        axes.set_aspect("equal")
        if face.behind is not None:
            faded = 255 - (255 - face.behind.astype(np.float64)) * FADED_TO
            extent = (0, SIDE, SIDE, 0)
            axes.imshow(faded, cmap="gray", vmin=0, vmax=255, interpolation="none", extent=extent)
        _contours(axes, face.places, topology)
        _numbers(axes, face.places)
        largest = float(np.nanmax(means, initial=0.0)) or 1.0
        colours = ScalarMappable(Normalize(0, largest), COLOURS)
        for index, (x, y) in enumerate(face.places):
            axes.plot(
                [x],
                [y],
                "o",
                markersize=7.5,
                markerfacecolor=colours.to_rgba(means[index]),
                markeredgecolor="#333333",
                markeredgewidth=0.8,
                zorder=4,
                gid=_gid(index),
            )
        bar = figure.colorbar(colours, cax=figure.add_axes(BAR))
        bar.ax.tick_params(labelsize=11)
        ticks = np.linspace(0, largest, 5)
        bar.set_ticks(ticks.tolist(), labels=[as_digits(float(tick)) for tick in ticks])
        # above and not beside it: how wide its numbers are is up to the page's font
        bar.ax.set_title("mean error, px", fontsize=11, loc="left", pad=10)
        bar.outline.set_visible(False)
        titles = {
            _gid(index): words(
                "point {point}: mean {mean}, max {max} px",
                point=index,
                mean=as_digits(landmark.mean),
                max=as_digits(landmark.max),
            )
            for index, landmark in enumerate(landmarks)
        }
        texts = {"mean error, px": words("mean error, px")}
        return as_svg(figure, "face", words("Mean error of every landmark"), texts, titles)


def _contours(axes: Axes, places: F64, topology: Topology) -> None:
    for contour in topology.contours:
        line = places[[*contour.indices]]
        closed = np.vstack([line, line[:1]]) if contour.closed else line
        axes.plot(*closed.T, color="white", linewidth=3, alpha=0.6, zorder=2)
        axes.plot(*closed.T, color="#555555", linewidth=1, alpha=0.8, zorder=3)


def _numbers(axes: Axes, places: F64) -> None:
    """Each point's number beside it, away from its neighbours and from other numbers."""
    at = label_places(places)
    for index, ((x, y), (u, v)) in enumerate(zip(places, at, strict=True)):
        if np.hypot(u - x, v - y) > LONG_LEADER:
            axes.plot([x, u], [y, v], color="#222222", linewidth=0.8, zorder=3)
        axes.text(
            u,
            v,
            str(index),
            fontsize=10.5,
            ha="center",
            va="center_baseline",
            color=INK,
            gid=f"{CLASS}number",
            zorder=5,
            clip_on=True,
        )


def label_places(places: F64) -> F64:
    """Place the numbers as near as possible without covering a point or another number.

    The most crowded point is placed first, in circles of growing radius around it.

    Args:
        places: (P, 2) points in a square of `SIDE` px.

    Returns:
        (P, 2) centres of the numbers.
    """
    distances = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    near = np.sort(distances, axis=1)[:, 1 : NEIGHBOURS + 1]
    around = np.argsort(distances, axis=1, kind="stable")[:, 1 : NEIGHBOURS + 1]
    labels = np.full_like(places, np.inf)
    for index in np.argsort(near.sum(axis=1), kind="stable"):
        offsets, costs = _choices(places[index] - places[around[index]].sum(axis=0) / NEIGHBOURS)
        centres = places[index] + offsets
        inside = np.abs(centres - SIDE / 2).max(axis=1) < SIDE / 2 - LABEL_WH[0] / 2
        costs = costs + np.where(inside, 0, COVERED)
        costs = costs + COVERED * _covered(centres, labels, np.array(LABEL_WH))
        costs = costs + COVERED * _covered(centres, places, np.array(LABEL_WH) / 2 + POINT_CLEAR)
        costs = costs + CROSSED * _covered(places[index] + offsets / 2, labels, np.array(LABEL_WH))
        nearest = np.hypot(*(centres[:, None] - places[None]).transpose(2, 0, 1)).argmin(axis=1)
        costs = costs + np.where(nearest == index, 0, MISTAKEN)
        labels[index] = centres[costs.argmin()]
    return labels


def _choices(away: F64) -> tuple[F64, F64]:
    """Offsets (C, 2) all around, and their costs: distance, and the angle from `away`."""
    angles, radii = np.meshgrid(np.arange(24) * np.pi / 12, LABEL_AWAY, indexing="ij")
    offsets = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * radii[..., None]
    wanted = np.arctan2(away[1], away[0])
    turned = np.abs(np.angle(np.exp(1j * (angles - wanted))))
    return offsets.reshape(-1, 2), (radii + TURNED * turned).ravel()


def _covered(centres: F64, others: F64, wanted: F64) -> F64:
    """(C,) how many of the others each place is nearer to than wanted, along both axes."""
    beside, above = (
        np.abs(centres[:, None, axis] - others[None, :, axis]) < wanted[axis] for axis in (0, 1)
    )
    found: F64 = (beside & above).sum(axis=1).astype(np.float64)
    return found


def _normalised(points_px: F64) -> F64:
    """Faces (N, P, 2) with their means at 0 and a root mean square distance of 1."""
    centred = points_px - points_px.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(centred).mean(axis=(1, 2), keepdims=True))
    shapes: F64 = centred / np.where(size > 0, size, 1)
    return shapes


def _gid(index: int) -> str:
    return f"point-{index}"
