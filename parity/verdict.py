"""Whether an error is small enough, and where it is largest."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from parity.errors import ErrorTable, statistics
from runtime.errors import ConfigError


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The largest errors that pass, in photo px over |dx| and |dy|; the reference's promises."""

    max_mean_px: float = 0.1
    max_error_px: float = 0.5

    def check(self) -> Limits:
        """Refuse limits that cannot be meant.

        Raises:
            ConfigError: negative, NaN or infinite.
        """
        for name, value in (("max_mean", self.max_mean_px), ("max_error", self.max_error_px)):
            if not math.isfinite(value) or value < 0:
                raise ConfigError(
                    name,
                    expected="a finite number of px, 0 or more",
                    got=repr(value),
                    action="Leave it out for the reference's promise",
                )
        return self


class WorstCase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The coordinate that is furthest off."""

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


def judge(table: ErrorTable, limits: Limits) -> Verdict:
    """Hold a comparison against limits, in photo px."""
    found = statistics(table.photo_px)
    exceeded = tuple(
        f"{name} {value:.4g} px > {limit:g} px"
        for name, value, limit in (
            ("mean", found.mean_px, limits.max_mean_px),
            ("max", found.max_px, limits.max_error_px),
        )
        # "not <=" and not ">": a NaN must never pass
        if not value <= limit
    )
    return Verdict(
        passed=not exceeded,
        limits=limits,
        exceeded=exceeded,
        worst=_worst(table),
        smallest_passing=Limits(max_mean_px=found.mean_px, max_error_px=found.max_px),
    )


def _worst(table: ErrorTable) -> WorstCase:
    magnitudes = np.abs(table.photo_px)
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
