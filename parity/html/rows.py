"""The tables of the page, row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from parity.judging.differences import F64, ErrorTable, Statistics
from parity.judging.verdict import told_apart
from parity.report.record import REST_OF_THE_FACE, Part, PictureReport, Report
from runtime.model.topology import Topology

LIMIT_NAMES = {"mean": "Mean", "max": "Maximum", "p95": "P95", "p99": "P99"}
STATISTICS = (
    ("Mean", "mean"),
    ("Maximum", "max"),
    ("Standard deviation", "std"),
    ("P50", "p50"),
    ("P90", "p90"),
    ("P95", "p95"),
    ("P99", "p99"),
)
FRAMES = ("photo px", "crop px", "% of eyes")
INCREASE_NAME = "Increase of the mean NME"


@dataclass(frozen=True, kw_only=True)
class LimitRow:
    """A limit, what was found, and whether it holds."""

    name: str
    found: float
    found_text: str
    limit: float
    unit: str
    held: bool

    @property
    def share(self) -> float:
        """What was found, of what is allowed: 0 to 1, where 1 also is more."""
        if self.held:
            return min(max(self.found / self.limit, 0.0), 1.0) if self.limit > 0 else 0.0
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of statistics; `path` is where the report's JSON has it."""

    frame: str
    kind: str
    path: str
    statistics: Statistics
    in_px: bool = True


@dataclass(frozen=True, kw_only=True)
class LandmarkRow:
    """A landmark, and the region it lies in."""

    index: int
    region: str
    part: Part


@dataclass(frozen=True, kw_only=True)
class PictureRow:
    """A picture, and the point that is furthest off on it."""

    index: int
    picture: PictureReport
    worst_point: int


def limit_rows(report: Report) -> list[LimitRow]:
    """Everything that was judged."""
    verdict = report.verdict
    unit = verdict.limits.unit
    found = report.photo_px.axis if unit == "photo" else report.crop_px.axis
    rows = [
        LimitRow(
            name=LIMIT_NAMES[field],
            found=getattr(found, field),
            found_text=told_apart(getattr(found, field), limit),
            limit=limit,
            unit="px",
            # as the verdict does: a NaN never passes
            held=getattr(found, field) <= limit,
        )
        for _, field, limit in verdict.limits.named()
    ]
    increase = verdict.limits.max_nme_increase_points
    if increase is not None and report.accuracy is not None:
        change = report.accuracy.change_points
        rows.append(
            LimitRow(
                name=INCREASE_NAME,
                found=change,
                found_text=told_apart(change, increase),
                limit=increase,
                unit="percentage points",
                held=change <= increase,
            )
        )
    return rows


def columns(report: Report) -> list[Column]:
    """All frames and both ways to count."""
    found = [
        Column(frame=frame, kind=kind, path=f"{name}.{field}", statistics=getattr(both, field))
        for frame, name, both in (
            (FRAMES[0], "photo_px", report.photo_px),
            (FRAMES[1], "crop_px", report.crop_px),
        )
        for kind, field in (("|dx|, |dy|", "axis"), ("distance", "distance"))
    ]
    if report.percent_interocular is not None:
        found.append(
            Column(
                frame=FRAMES[2],
                kind="distance",
                path="percent_interocular.distance",
                statistics=report.percent_interocular.distance,
                in_px=False,
            )
        )
    return found


def landmark_rows(report: Report, topology: Topology) -> list[LandmarkRow]:
    """Every landmark, worst maximum first."""
    rows = [
        LandmarkRow(index=index, region=region_of(index, topology), part=part)
        for index, part in enumerate(report.landmarks)
    ]
    by_photo = report.verdict.limits.unit == "photo"
    return sorted(rows, key=lambda r: -(r.part.photo_px if by_photo else r.part.crop_px).max)


def region_of(point: int, topology: Topology) -> str:
    """The contour that a point lies on, as the report names it."""
    for contour in topology.contours:
        if contour.first <= point <= contour.last:
            return contour.name
    return REST_OF_THE_FACE


def picture_rows(report: Report, table: ErrorTable) -> list[PictureRow]:
    """Every picture, worst maximum first."""
    magnitudes = np.abs(judged(table, report)).max(axis=2)
    rows = [
        PictureRow(index=index, picture=picture, worst_point=int(magnitudes[index].argmax()))
        for index, picture in enumerate(report.pictures)
    ]
    return sorted(rows, key=lambda row: -float(magnitudes[row.index].max()))


def judged(table: ErrorTable, report: Report) -> F64:
    """(N, P, 2) signed differences in the unit of the limits."""
    return table.photo_px if report.verdict.limits.unit == "photo" else table.crop_px
