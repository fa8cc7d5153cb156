"""Whether an error is small enough, and where it is largest."""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np

from parity.judging.accuracy import AccuracyReport, not_annotated
from parity.judging.differences import ErrorTable, statistics
from parity.judging.digits import signed, told_apart
from runtime.errors import ConfigError

Unit = Literal["photo", "crop"]
# Where limits come from: see parity.judging.expected.
Basis = Literal["rounding", "budget", "promise", "given"]

# What the reference deployment promises, px of the photo.
PROMISED_MEAN_PX = 0.1
PROMISED_MAX_PX = 0.5


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The largest errors that pass. A limit that is None is not judged.

    The defaults are the reference's promise for the landmarks, and for the covariance, of which it
    promises nothing, ten times what fp16 moves on our models.

    Attributes:
        max_mean_px, max_error_px, max_p95_px, max_p99_px: over |dx| and |dy| of the landmarks, in
            px of `unit`.
        max_spread_px, max_spread_p99_px: mean and P99 of the change of the spread along both axes,
            crop px.
        max_axis_deg, max_axis_p99_deg: likewise of the angle of the longer axis, degrees.
        max_nme_increase_points: of the mean NME, in percentage points; needs annotated pictures.
    """

    max_mean_px: float | None = PROMISED_MEAN_PX
    max_error_px: float | None = PROMISED_MAX_PX
    max_p95_px: float | None = None
    max_p99_px: float | None = None
    max_spread_px: float | None = 0.1
    max_spread_p99_px: float | None = 0.5
    max_axis_deg: float | None = 1.0
    max_axis_p99_deg: float | None = 5.0
    max_nme_increase_points: float | None = None
    unit: Unit = "photo"

    def check(self, where: str = "limits") -> Limits:
        """Refuse limits that cannot be meant.

        Raises:
            ConfigError: negative, NaN or infinite.
        """
        for field, (what, _) in JUDGED_BY.items():
            limit = getattr(self, field)
            if limit is not None and not (math.isfinite(limit) and limit >= 0):
                raise ConfigError(
                    f"{where}: {field.rpartition('_')[0]}",
                    expected=f"a finite number of {UNITS.get(what, 'px')}, 0 or more",
                    got=repr(limit),
                    action="Correct it, or leave it out for the default",
                )
        return self

    def named(self) -> list[tuple[str, str, float]]:
        """Each limit of the landmarks: name on the command line, statistic, value in px."""
        found = ((field, *JUDGED_BY[field], getattr(self, field)) for field in LANDMARK_FIELDS)
        return [
            (field.removeprefix("max_").removesuffix("_px"), statistic, limit)
            for field, _, statistic, limit in found
            if limit is not None
        ]


# field of the limits -> what it judges, and by which statistic
JUDGED_BY = {
    "max_mean_px": ("landmarks", "mean"),
    "max_error_px": ("landmarks", "max"),
    "max_p95_px": ("landmarks", "p95"),
    "max_p99_px": ("landmarks", "p99"),
    "max_spread_px": ("spread", "mean"),
    "max_spread_p99_px": ("spread", "p99"),
    "max_axis_deg": ("axis", "mean"),
    "max_axis_p99_deg": ("axis", "p99"),
    "max_nme_increase_points": ("NME", "increase"),
}
LANDMARK_FIELDS = tuple(field for field, (what, _) in JUDGED_BY.items() if what == "landmarks")
UNITS = {"spread": "crop px", "axis": "degrees", "NME": "percentage points"}
NOT_JUDGED = msgspec.structs.replace(Limits(), **dict.fromkeys(JUDGED_BY))


class Judged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One figure and its limit; `field` is the limit's in `Limits`."""

    field: str
    unit: str
    found: float
    limit: float

    @property
    def name(self) -> str:
        """What is judged: "mean" of the landmarks, "spread mean", "axis p99", "NME increase"."""
        what, statistic = JUDGED_BY[self.field]
        return statistic if what == "landmarks" else f"{what} {statistic}"

    @property
    def held(self) -> bool:
        """Up to the limit, and not a NaN."""
        return self.found <= self.limit

    @property
    def found_text(self) -> str:
        """With as many digits as show the side of the limit."""
        return told_apart(self.found, self.limit)

    def __str__(self) -> str:
        sign = "<=" if self.held else ">"
        return f"{self.name} {self.found_text} {sign} {self.limit!r} {self.unit}"


class WorstCase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The coordinate that is furthest off, in the unit of the limits; places are in photo px."""

    picture: str
    point: int
    axis: str
    error_px: float
    reference_xy_px: tuple[float, float]
    candidate_xy_px: tuple[float, float]


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Passed or not, and why.

    Attributes:
        basis: where the limits come from.
        judged: every figure with its limit.
        promise: the reference's promise beside what was found, judged or not.
        smallest_passing: the limits that would just have passed.
    """

    passed: bool
    basis: Basis
    limits: Limits
    exceeded: tuple[str, ...]
    judged: tuple[Judged, ...]
    promise: tuple[Judged, ...]
    worst: WorstCase
    smallest_passing: Limits


def judge(
    table: ErrorTable,
    limits: Limits,
    accuracy: AccuracyReport | None = None,
    *,
    basis: Basis = "given",
    bound: Limits | None = None,
    faults: tuple[str, ...] = (),
) -> Verdict:
    """Hold a comparison against limits, and against a bundle's own where it has some.

    `faults` are reasons to fail that no figure shows.

    Raises:
        InputError: a limit of the NME without accuracy.
    """
    own = _judged(table, limits, accuracy)
    judged = own if bound is None else tuple(dict.fromkeys((*own, *_judged(table, bound))))
    promise = msgspec.structs.replace(
        NOT_JUDGED, max_mean_px=PROMISED_MEAN_PX, max_error_px=PROMISED_MAX_PX
    )
    passing = {one.field: max(0.0, one.found) for one in own}
    exceeded = (f"{one}{_interval(one, accuracy)}" for one in judged if not one.held)
    return Verdict(
        passed=not faults and all(one.held for one in judged),
        basis=basis,
        limits=limits,
        exceeded=(*faults, *exceeded),
        judged=judged,
        promise=_judged(table, promise),
        worst=_worst(table, limits.unit),
        smallest_passing=msgspec.structs.replace(NOT_JUDGED, unit=limits.unit, **passing),
    )


def _judged(
    table: ErrorTable, limits: Limits, accuracy: AccuracyReport | None = None
) -> tuple[Judged, ...]:
    if limits.max_nme_increase_points is not None and accuracy is None:
        raise not_annotated("none whose NME can be told")
    found = {
        "landmarks": statistics(table.px_in(limits.unit)),
        "spread": statistics(table.spread_px),
        # nowhere an ellipse that has an axis: nothing to be judged by
        "axis": statistics(axes) if (axes := table.elongated_deg).size else None,
        "NME": accuracy,
    }
    return tuple(
        Judged(
            field=field,
            unit=UNITS.get(what, f"{limits.unit} px"),
            found=getattr(found[what], "change_points" if what == "NME" else statistic),
            limit=limit,
        )
        for field, (what, statistic) in JUDGED_BY.items()
        if (limit := getattr(limits, field)) is not None and found[what] is not None
    )


def _interval(one: Judged, accuracy: AccuracyReport | None) -> str:
    """How sure the increase of an NME is; empty for other figures."""
    if one.unit != UNITS["NME"] or accuracy is None or accuracy.interval_points is None:
        return ""
    low, high = accuracy.interval_points
    return f", {accuracy.confidence:.0%} between {signed(low)} and {signed(high)}"


def _worst(table: ErrorTable, unit: Unit) -> WorstCase:
    magnitudes = np.abs(table.px_in(unit))
    picture, point, axis = np.unravel_index(int(np.argmax(magnitudes)), magnitudes.shape)
    x, y = table.points_px[picture, point]
    dx, dy = table.photo_px[picture, point]
    return WorstCase(
        picture=table.names[picture],
        point=int(point),
        axis="xy"[axis],
        error_px=float(magnitudes[picture, point, axis]),
        reference_xy_px=(float(x), float(y)),
        candidate_xy_px=(float(x + dx), float(y + dy)),
    )
