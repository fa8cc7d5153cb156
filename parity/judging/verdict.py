"""Whether an error is small enough, and where it is largest."""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np

from parity.judging.accuracy import AccuracyReport, not_annotated
from parity.judging.differences import ErrorTable, Statistics, statistics
from parity.judging.digits import signed, told_apart
from runtime.errors import ConfigError

Unit = Literal["photo", "crop"]

# What the reference deployment promises, px of the photo.
PROMISED_MEAN_PX = 0.1
PROMISED_MAX_PX = 0.5


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The largest errors that pass, over |dx| and |dy|, in px of the photo or of the crop.

    Mean and maximum are the reference's promises. A limit that is None is not judged. The increase
    of the mean NME, in percentage points, needs annotated pictures.
    """

    max_mean_px: float | None = PROMISED_MEAN_PX
    max_error_px: float | None = PROMISED_MAX_PX
    max_p95_px: float | None = None
    max_p99_px: float | None = None
    max_nme_increase_points: float | None = None
    unit: Unit = "photo"

    def check(self, where: str = "limits") -> Limits:
        """Refuse limits that cannot be meant.

        Raises:
            ConfigError: negative, NaN or infinite.
        """
        increase = self.max_nme_increase_points
        given = [(name, limit, "px") for name, _, limit in self.named()]
        given += [] if increase is None else [("nme_increase", increase, "percentage points")]
        for name, limit, unit in given:
            if not math.isfinite(limit) or limit < 0:
                raise ConfigError(
                    f"{where}: max_{name}",
                    expected=f"a finite number of {unit}, 0 or more",
                    got=repr(limit),
                    action="Correct it, or leave it out for the default",
                )
        return self

    def named(self) -> list[tuple[str, str, float]]:
        """Each limit in px that is given: name on the command line, statistic, value."""
        given = (
            ("mean", "mean", self.max_mean_px),
            ("error", "max", self.max_error_px),
            ("p95", "p95", self.max_p95_px),
            ("p99", "p99", self.max_p99_px),
        )
        return [(name, field, limit) for name, field, limit in given if limit is not None]


NOT_JUDGED = Limits(max_mean_px=None, max_error_px=None)


class WorstCase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The coordinate that is furthest off, in the unit of the limits; places are in photo px."""

    picture: str
    point: int
    axis: str
    error_px: float
    reference_xy_px: tuple[float, float]
    candidate_xy_px: tuple[float, float]


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Passed or not, and why. `smallest_passing` are the limits that would just have passed."""

    passed: bool
    limits: Limits
    exceeded: tuple[str, ...]
    worst: WorstCase
    smallest_passing: Limits


def judge(table: ErrorTable, limits: Limits, accuracy: AccuracyReport | None = None) -> Verdict:
    """Hold a comparison against limits.

    Raises:
        InputError: a limit of the NME without accuracy.
    """
    found = statistics(table.px_in(limits.unit))
    exceeded = tuple(
        f"{field} {told_apart(getattr(found, field), limit)} px > {limit!r} px"
        for _, field, limit in limits.named()
        # "not <=" and not ">": a NaN must never pass
        if not getattr(found, field) <= limit
    )
    exceeded += _exceeded_nme(limits.max_nme_increase_points, accuracy)
    return Verdict(
        passed=not exceeded,
        limits=limits,
        exceeded=exceeded,
        worst=_worst(table, limits.unit),
        smallest_passing=_smallest(found, limits, accuracy),
    )


def _exceeded_nme(limit: float | None, accuracy: AccuracyReport | None) -> tuple[str, ...]:
    if limit is None:
        return ()
    if accuracy is None:
        raise not_annotated("none whose NME can be told")
    if accuracy.change_points <= limit:
        return ()
    around = ""
    if accuracy.interval_points is not None:
        low, high = accuracy.interval_points
        around = f", {accuracy.confidence:.0%} between {signed(low)} and {signed(high)}"
    change = told_apart(accuracy.change_points, limit)
    return (f"NME +{change} points > {limit!r} points{around}",)


def _smallest(found: Statistics, limits: Limits, accuracy: AccuracyReport | None) -> Limits:
    passing = {f"max_{name}_px": getattr(found, field) for name, field, _ in limits.named()}
    if limits.max_nme_increase_points is not None and accuracy is not None:
        passing["max_nme_increase_points"] = max(0.0, accuracy.change_points)
    return msgspec.structs.replace(NOT_JUDGED, unit=limits.unit, **passing)


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
