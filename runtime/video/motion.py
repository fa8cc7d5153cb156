"""How points move from frame to frame: smoothed, and how much they tremble."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ConfigError
from runtime.image.geometry import F64


@dataclass(frozen=True, kw_only=True)
class OneEuro:
    """How points are smoothed: little lag where they move, little trembling where they rest.

    Attributes:
        least_cutoff_hz: of the low pass at rest; lower trembles less and lags more.
        speed_gain: how fast the cut-off rises with the speed, in Hz for each face's size a second:
            speeds are measured in the face's size, so that a near face and a far one are alike.
        speed_cutoff_hz: of the speed's own low pass.

    Raises:
        ConfigError: one of them cannot be.

    Source: Casiez, Roussel and Vogel, "1 Euro Filter", CHI 2012.
    """

    least_cutoff_hz: float = 1.0
    speed_gain: float = 10.0
    speed_cutoff_hz: float = 1.0

    def __post_init__(self) -> None:
        for name in ("least_cutoff_hz", "speed_gain", "speed_cutoff_hz"):
            value = getattr(self, name)
            lowest = 0 if name == "speed_gain" else math.ulp(0)
            if not (math.isfinite(value) and value >= lowest):
                raise ConfigError(
                    name,
                    expected="0 or more" if lowest == 0 else "above 0",
                    got=repr(value),
                    action="Correct it",
                )


class Smoothed:
    """One face's points through the filter."""

    def __init__(self, settings: OneEuro, points_px: F64, time_s: float) -> None:
        self._settings, self._time_s = settings, time_s
        self._points_px, self._speed = points_px, np.zeros_like(points_px)

    def next(self, points_px: F64, time_s: float) -> F64:
        """The smoothed points; times that do not go forward start anew."""
        elapsed_s = time_s - self._time_s
        self._time_s = time_s
        if elapsed_s <= 0:
            self._points_px, self._speed = points_px, np.zeros_like(points_px)
            return points_px
        size_px = max(float(np.ptp(points_px, axis=0).max()), 1.0)
        speed = (points_px - self._points_px) / elapsed_s
        fresh = _share(self._settings.speed_cutoff_hz, elapsed_s)
        self._speed = self._speed + fresh * (speed - self._speed)
        # of a point, not of its coordinates: or the filter would depend on the camera's tilt
        fast = np.linalg.norm(self._speed, axis=1, keepdims=True) / size_px
        cutoff_hz = self._settings.least_cutoff_hz + self._settings.speed_gain * fast
        step = _share(cutoff_hz, elapsed_s) * (points_px - self._points_px)
        self._points_px = self._points_px + step
        return self._points_px


def _share(cutoff_hz: Any, elapsed_s: float) -> Any:
    """How much of a new value a low pass lets in."""
    lag_s = 1 / (2 * math.pi * cutoff_hz)
    return 1 / (1 + lag_s / elapsed_s)


class Jitter:
    """How much points tremble about even motion, from frame to frame.

    Each frame's points are held against those between the frames before and after it: the
    difference of noise with standard deviation s in each coordinate is sqrt(1 + w^2 + (1 - w)^2) s
    in each, where w is the frame's place between the two in time; its length has the median
    sqrt(2 ln 2) of that (Rayleigh's distribution). Even motion gives 0, and quick turns count
    little, as medians are taken over points and frames.
    """

    def __init__(self) -> None:
        self._before: dict[int, deque[tuple[float, F64]]] = {}
        self._found_px: list[float] = []

    def add(self, points_px: Mapping[int, NDArray[np.floating]], time_s: float) -> None:
        """Take in the next frame.

        Args:
            points_px: (P, 2) of each face by its track's number. A face that is not in a frame
                does not move on from before.
            time_s: of the frame.
        """
        self._before = {track: self._before.get(track, deque()) for track in points_px}
        for track, points in points_px.items():
            seen = self._before[track]
            seen.append((time_s, points.astype(np.float64)))
            if len(seen) == 3:
                self._found_px += _tremble_px(*seen)
                seen.popleft()

    @property
    def px(self) -> float | None:
        """Standard deviation of a coordinate; None before a face was seen in three frames."""
        return float(np.median(self._found_px)) if self._found_px else None


def _tremble_px(
    first: tuple[float, F64], middle: tuple[float, F64], last: tuple[float, F64]
) -> list[float]:
    """Of one frame; nothing where the times do not go forward."""
    if not first[0] < middle[0] < last[0]:
        return []
    place = (middle[0] - first[0]) / (last[0] - first[0])
    expected_px = first[1] + place * (last[1] - first[1])
    away_px = np.linalg.norm(middle[1] - expected_px, axis=1)
    scale = math.sqrt(1 + place**2 + (1 - place) ** 2) * math.sqrt(2 * math.log(2))
    return [float(np.median(away_px)) / scale]
