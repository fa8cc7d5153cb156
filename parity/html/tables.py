"""The tables of the page, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
import numpy as np

from parity.judging.differences import Statistics
from parity.judging.verdict import Judged
from parity.recording.recording import STAGES, Recording
from parity.report.record import Report
from runtime.model.topology import REST_OF_THE_FACE, Topology

LIMIT_NAMES = {
    "max_mean_px": "Mean",
    "max_error_px": "Maximum",
    "max_p95_px": "P95",
    "max_p99_px": "P99",
    "max_spread_px": "Spread, mean",
    "max_spread_p99_px": "Spread, P99",
    "max_axis_deg": "Axis, mean",
    "max_axis_p99_deg": "Axis, P99",
    "max_nme_increase_points": "Increase of the mean NME",
}
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
# the facts about a side that every comparison has
SIDE_FIELDS = ("source", "engine", "device", "parameters", "checkpoint_sha256", "machine")

Value = TypeVar("Value")


@dataclass(frozen=True)
class Column:
    """One column of statistics; `path` is its place in the report's JSON."""

    frame: str
    kind: str
    path: str
    statistics: Statistics

    @property
    def in_px(self) -> bool:
        """Whether shares under limits in px have a meaning."""
        return self.frame != FRAMES[2]


@dataclass(frozen=True)
class TwoSided(Generic[Value]):
    """A name, and its value on both sides; None where a side has none."""

    name: str
    reference: Value | None
    candidate: Value | None

    @property
    def differs(self) -> bool:
        """Whether the values are different."""
        return self.reference != self.candidate


def share_of(one: Judged) -> float:
    """The part of the limit that is used up, 0 to 1."""
    if one.held:
        return max(one.found / one.limit, 0.0) if one.limit > 0 else 0.0
    return 1.0


def columns(report: Report) -> list[Column]:
    """All frames and both ways to count."""
    found = [
        Column(frame, kind, f"{name}.{field}", getattr(getattr(report, name), field))
        for frame, name in zip(FRAMES, ("photo_px", "crop_px"), strict=False)
        for kind, field in (("|dx|, |dy|", "axis"), ("distance", "distance"))
    ]
    percent = report.percent_interocular
    if percent is not None:
        path = "percent_interocular.distance"
        found.append(Column(FRAMES[2], "distance", path, percent.distance))
    return found


def region_of(point: int, topology: Topology) -> str:
    """The contour that a point lies on, as the report names it."""
    for contour in topology.contours:
        if point in contour.indices:
            return contour.name
    return REST_OF_THE_FACE


def facts(report: Report) -> list[TwoSided[str]]:
    """What ran where, and with which versions."""
    here, there = (
        {name: _text(getattr(side, name)) for name in SIDE_FIELDS}
        | {f"versions.{name}": version for name, version in sorted(side.versions.items())}
        for side in (report.reference, report.candidate)
    )
    return _beside(here, there)


def manifest_facts(reference: Recording, candidate: Recording) -> list[TwoSided[str]]:
    """Both manifests, entry by entry, differing ones first; empty where neither side has one."""
    manifests = (side.header.manifest for side in (reference, candidate))
    here, there = (dict(_flat(msgspec.to_builtins(m))) if m else {} for m in manifests)
    return sorted(_beside(here, there), key=lambda fact: not fact.differs)


def stage_times(reference: Recording, candidate: Recording) -> list[TwoSided[tuple[float, float]]]:
    """Median and P95 of each stage in ms during this comparison; unmeasured stages are left out."""
    here, there = (_milliseconds(side) for side in (reference, candidate))
    times = _beside(here, there)
    return sorted(times, key=lambda time: STAGES.index(time.name))


def _milliseconds(side: Recording) -> dict[str, tuple[float, float]]:
    found = {}
    for stage, seconds in zip(STAGES, side.timings.T, strict=True):
        measured = seconds[np.isfinite(seconds)] * 1e3
        if measured.size:
            median, p95 = np.percentile(measured, (50, 95)).tolist()
            found[stage] = (median, p95)
    return found


def _beside(here: Mapping[str, Value], there: Mapping[str, Value]) -> list[TwoSided[Value]]:
    names = dict.fromkeys((*here, *there))
    return [TwoSided(name, here.get(name), there.get(name)) for name in names]


def _flat(value: object, name: str = "") -> list[tuple[str, str]]:
    """Nested entries as dotted names with a text each."""
    if isinstance(value, dict) and value:
        return [
            entry
            for key, inner in value.items()
            for entry in _flat(inner, f"{name}.{key}" if name else str(key))
        ]
    if isinstance(value, (list, tuple)) and any(isinstance(inner, dict) for inner in value):
        return [entry for i, inner in enumerate(value) for entry in _flat(inner, f"{name}[{i}]")]
    return [(name, _text(value))]


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
