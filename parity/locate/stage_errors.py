"""How far two sources are apart in one stage: running sums, so that no picture's maps are kept."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray


class Figures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage's differences over all pictures.

    `relative_l2` is |candidate - reference| / |reference|, both over everything that was shown.
    All are None where a value was not finite. `worst_picture` has the largest relative L2.
    """

    cosine: float | None
    max_abs: float | None
    mean_abs: float | None
    relative_l2: float | None
    worst_picture: str


class MovedFigures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far the landmarks are apart, crop px."""

    mean_px: float
    max_px: float


class NotFinite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first value of a side, in the order of pictures and stages, that is not a number.

    `channel` is None in a tensor without channels.
    """

    side: str
    picture: str
    stage: str
    channel: int | None
    value: str


class Sums:
    """What the figures of one stage are made of, in float64."""

    def __init__(self) -> None:
        self._count = 0
        self._abs = self._largest = 0.0
        self._dot = self._reference = self._candidate = self._apart = 0.0
        self._worst = (-1.0, "")

    def add(
        self, picture: str, reference: NDArray[np.float32], candidate: NDArray[np.float32]
    ) -> None:
        """Add one picture's tensors, of equal shape."""
        a = reference.astype(np.float64).ravel()
        b = candidate.astype(np.float64).ravel()
        with np.errstate(invalid="ignore", over="ignore"):  # the figures say None
            apart = b - a
            magnitudes = np.abs(apart)
            self._count += a.size
            self._abs += float(magnitudes.sum())
            self._largest = max(self._largest, float(magnitudes.max()), key=_nan_last)
            self._dot += float(a @ b)
            self._candidate += float(b @ b)
            mine, reference_too = float(apart @ apart), float(a @ a)
        self._apart += mine
        self._reference += reference_too
        here = relative(mine, reference_too)
        self._worst = max(self._worst, (here, picture), key=lambda pair: _nan_last(pair[0]))

    def figures(self) -> Figures | None:
        """The figures of what was added; None where nothing was."""
        if not self._count:
            return None
        worst = self._worst[1]
        if not math.isfinite(self._apart):
            return Figures(
                cosine=None, max_abs=None, mean_abs=None, relative_l2=None, worst_picture=worst
            )
        norms = math.sqrt(self._reference) * math.sqrt(self._candidate)
        cosine = self._dot / norms if norms else float(self._reference == self._candidate)
        return Figures(
            cosine=min(1.0, max(-1.0, cosine)),
            max_abs=self._largest,
            mean_abs=self._abs / self._count,
            relative_l2=relative(self._apart, self._reference),
            worst_picture=worst,
        )


class Moved:
    """How far landmarks moved, in crop px: distances over all points of all pictures."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0.0
        self._largest = 0.0

    def add(self, reference: NDArray[np.float32], moved: NDArray[np.float32], size_px: int) -> None:
        """Add one picture's landmarks (1, P, 2) in [-1, 1], before and after."""
        with np.errstate(invalid="ignore"):
            apart = (moved.astype(np.float64) - reference) * (size_px / 2)
            distances = np.hypot(apart[..., 0], apart[..., 1])
        self._count += distances.size
        self._sum += float(distances.sum())
        self._largest = max(self._largest, float(distances.max()), key=_nan_last)

    def figures(self) -> MovedFigures | None:
        """The figures of what was added; None where nothing was, or where it is not finite."""
        if not self._count or not math.isfinite(self._sum):
            return None
        return MovedFigures(mean_px=self._sum / self._count, max_px=self._largest)


def relative(squared_difference: float, squared_reference: float) -> float:
    """Relative L2 of two sums of squares; where the reference is all zero, 0 or 1; NaN stays."""
    if squared_reference == 0:
        return math.nan if math.isnan(squared_difference) else float(squared_difference > 0)
    return math.sqrt(squared_difference / squared_reference)


def relative_l2(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> float:
    """Relative L2 of two tensors; NaN where one is not finite."""
    a, b = reference.astype(np.float64).ravel(), candidate.astype(np.float64).ravel()
    with np.errstate(invalid="ignore", over="ignore"):
        apart = b - a
        return relative(float(apart @ apart), float(a @ a))


def _nan_last(value: float) -> float:
    """NaN as the worst of all, which max() would otherwise pass over."""
    return math.inf if math.isnan(value) else value
