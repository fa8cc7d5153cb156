"""Where a source contradicts itself, as a record and as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from parity.judging.differences import Statistics, statistics
from parity.recording.recording import Unreadable
from parity.stability.measure import F64, Stability
from runtime.detector import Detector
from runtime.files import printable, shown

# Beyond these a point is unsure, in crop px of 256. About 1 % of the starter's points on held-out
# faces lie beyond each; on noise the first two are 44 and 20 px in the median.
LARGEST_FLIP_PX = 11.0
LARGEST_SHIFT_PX = 3.0
LARGEST_SPREAD_PX = 24.0
LARGEST_ELONGATION = 4.5
# A picture with more unsure points than this is unsure as a whole.
LARGEST_UNSURE_SHARE = 0.1
MOST_PICTURES = 10
MOST_POINTS = 12


class Extent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question's answer over one picture's points."""

    mean: float
    max: float
    worst_point: int


class PictureStability(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One picture, in crop px; `unsure_points` are those beyond a limit of any question."""

    name: str
    mode: str
    flip_px: Extent | None
    shift_px: Extent
    spread_px: Extent
    elongation: Extent
    unsure_points: tuple[int, ...]
    unsure: bool


class LandmarkStability(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One landmark's means over all pictures, in crop px, and how often it is unsure."""

    flip_px: float | None
    shift_px: float
    spread_px: float
    elongation: float
    unsure_share: float


class StabilityReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole report, in crop px. It holds no clock.

    Attributes:
        flip_px: distance to the mirrored crop's points, mirrored back; None where the mark-up's
            left and right are not known.
        shift_px: largest distance to the points of a crop one pixel further, mapped back.
        spread_px: standard deviation of each point's map where it is widest.
        elongation: that over the one across it. The same for a long ridge and for two peaks.
        limits: beyond which a point is called unsure.
    """

    source: str
    engine: str
    device: str
    flip_px: Statistics | None
    shift_px: Statistics
    spread_px: Statistics
    elongation: Statistics
    limits: dict[str, float]
    pictures: tuple[PictureStability, ...]
    landmarks: tuple[LandmarkStability, ...]
    unreadable: tuple[Unreadable, ...]


def make_stability_report(
    source: str, detector: Detector, found: Sequence[Stability], unreadable: Sequence[Unreadable]
) -> StabilityReport:
    """Summarise at least one picture's `Stability`, and the pictures that were left out."""
    values: dict[str, F64 | None] = {
        name: np.stack([getattr(one, name) for one in found])
        for name in ("shift_px", "spread_px", "elongation")
    }
    flips = [one.flip_px for one in found if one.flip_px is not None]
    values["flip_px"] = np.stack(flips) if flips else None
    grown = detector.spec.input.size / 256
    limits = {
        "flip_px": LARGEST_FLIP_PX * grown,
        "shift_px": LARGEST_SHIFT_PX * grown,
        "spread_px": LARGEST_SPREAD_PX * grown,
        "elongation": LARGEST_ELONGATION,
    }
    beyond = [column > limits[name] for name, column in values.items() if column is not None]
    unsure = np.any(beyond, axis=0)
    # flip_px alone may be None
    over_all: dict[str, Any] = {
        name: None if column is None else statistics(column) for name, column in values.items()
    }
    by_point: dict[str, Any] = {
        name: [None] * unsure.shape[1] if column is None else [float(c.mean()) for c in column.T]
        for name, column in values.items()
    }
    shares = unsure.mean(axis=0).tolist()
    return StabilityReport(
        source=shown(source),
        engine=detector.backend.name,
        device=detector.backend.device,
        **over_all,
        limits=limits,
        pictures=tuple(_picture(one, marks) for one, marks in zip(found, unsure, strict=True)),
        landmarks=tuple(
            LandmarkStability(
                **{name: means[point] for name, means in by_point.items()}, unsure_share=share
            )
            for point, share in enumerate(shares)
        ),
        unreadable=tuple(unreadable),
    )


def as_text(report: StabilityReport) -> str:
    """The four questions over all points, the landmarks and the pictures that are least sure."""
    unsure = [picture for picture in report.pictures if picture.unsure]
    counted = f"{len(report.pictures)} pictures x {len(report.landmarks)} points, crop px"
    lines = [
        f"source: {report.source} [{report.engine}]",
        f"{counted}; unsure here: {len(unsure)} pictures",
        *(f"left out: {one.name}" for one in report.unreadable[:MOST_PICTURES]),
        "",
        f"{'':<34}{'mean':>9}{'P50':>9}{'P95':>9}{'P99':>9}{'max':>9}{'unsure >':>10}",
        _row("mirrored crop, mirrored back", report.flip_px, report.limits["flip_px"]),
        _row("crop one pixel further", report.shift_px, report.limits["shift_px"]),
        _row("spread of the map", report.spread_px, report.limits["spread_px"]),
        _row("longer over shorter axis", report.elongation, report.limits["elongation"]),
        "",
        *_landmarks(report),
        "",
        *_pictures(report),
    ]
    return "".join(f"{printable(line)}\n" for line in lines)


def _picture(one: Stability, unsure: NDArray[np.bool_]) -> PictureStability:
    return PictureStability(
        name=one.sample.name,
        mode=one.sample.mode,
        flip_px=None if one.flip_px is None else _extent(one.flip_px),
        shift_px=_extent(one.shift_px),
        spread_px=_extent(one.spread_px),
        elongation=_extent(one.elongation),
        unsure_points=tuple(int(point) for point in np.flatnonzero(unsure)),
        unsure=bool(unsure.mean() > LARGEST_UNSURE_SHARE),
    )


def _extent(values: F64) -> Extent:
    worst = int(np.argmax(values))
    return Extent(mean=float(values.mean()), max=float(values[worst]), worst_point=worst)


def _row(name: str, found: Statistics | None, limit: float) -> str:
    if found is None:
        return f"{name:<34}  not available: this mark-up's left and right are not known"
    figures = (found.mean, found.p50, found.p95, found.p99, found.max)
    return f"{name:<34}" + "".join(f"{value:>9.3f}" for value in figures) + f"{limit:>10g}"


def _landmarks(report: StabilityReport) -> list[str]:
    often = sorted(enumerate(report.landmarks), key=lambda pair: -pair[1].unsure_share)
    often = [(point, found) for point, found in often if found.unsure_share][:MOST_PICTURES]
    if not often:
        return ["no landmark is unsure in any picture"]
    named = ", ".join(f"{point} ({found.unsure_share:.0%})" for point, found in often)
    return [f"landmarks most often unsure: {named}"]


def _pictures(report: StabilityReport) -> list[str]:
    worst = sorted(report.pictures, key=lambda p: (-len(p.unsure_points), -p.shift_px.mean))
    heads = "".join(f"{head:>9}" for head in ("flip", "shift", "spread"))
    lines = [f"{'picture, least sure first':<34}{heads}  unsure points"]
    for picture in worst[:MOST_PICTURES]:
        flip = "-" if picture.flip_px is None else f"{picture.flip_px.mean:.3f}"
        points = ", ".join(map(str, picture.unsure_points[:MOST_POINTS])) or "none"
        more = len(picture.unsure_points) - MOST_POINTS
        unsure = f"{points} and {more} more" if more > 0 else points
        flag = "  <- unsure here" if picture.unsure else ""
        lines.append(
            f"{picture.name:<34}{flip:>9}{picture.shift_px.mean:>9.3f}"
            f"{picture.spread_px.mean:>9.3f}  {unsure}{flag}"
        )
    rest = len(report.pictures) - MOST_PICTURES
    return [*lines, f"... and {rest} surer ones, all in --json"] if rest > 0 else lines
