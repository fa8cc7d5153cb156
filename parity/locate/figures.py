"""How far two sources are apart in one stage: running sums, so that no picture's maps are kept."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


class Figures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage's differences over all pictures.

    `relative_l2` is |candidate - reference| / |reference|, both over all pictures together.
    All are None where a value was not finite. `worst_picture` has the largest relative L2.
    """

    cosine: float | None = None
    max_abs: float | None = None
    mean_abs: float | None = None
    relative_l2: float | None = None
    worst_picture: str


class MovedFigures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far the landmarks are apart, crop px."""

    mean_px: float
    max_px: float


class Sums:
    """The running sums behind one stage's figures, in float64."""

    def __init__(self) -> None:
        self.worst_picture = ""
        self._worst = -1.0
        self._count = 0
        self._abs = self._largest = 0.0
        self._dot = self._reference = self._candidate = self._apart = 0.0

    def add(self, picture: str, reference: F32, candidate: F32) -> None:
        """Add one picture's tensors, of equal shape."""
        a, b = reference.astype(np.float64).ravel(), candidate.astype(np.float64).ravel()
        with np.errstate(invalid="ignore", over="ignore"):  # such figures are None
            difference = b - a
            magnitudes = np.abs(difference)
            self._count += a.size
            self._abs += float(magnitudes.sum())
            self._largest = max(self._largest, float(magnitudes.max()))
            self._dot += float(a @ b)
            self._candidate += float(b @ b)
            apart, own = float(difference @ difference), float(a @ a)
        self._apart += apart
        self._reference += own
        relative = _relative(apart, own)
        worst = relative if math.isfinite(relative) else math.inf
        if worst > self._worst:
            self._worst, self.worst_picture = worst, picture

    def figures(self) -> Figures | None:
        """The figures over all pictures added; None where there were none."""
        if not self._count:
            return None
        if not math.isfinite(self._apart):
            return Figures(worst_picture=self.worst_picture)
        norms = math.sqrt(self._reference) * math.sqrt(self._candidate)
        cosine = self._dot / norms if norms else float(self._reference == self._candidate)
        return Figures(
            cosine=min(1.0, max(-1.0, cosine)),
            max_abs=self._largest,
            mean_abs=self._abs / self._count,
            relative_l2=_relative(self._apart, self._reference),
            worst_picture=self.worst_picture,
        )


class Moved:
    """How far landmarks moved, in crop px: distances over all points of all pictures."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = self._largest = 0.0

    def add(self, reference: F32, moved: F32, size_px: int) -> None:
        """Add one picture's landmarks (1, P, 2) in [-1, 1], before and after."""
        with np.errstate(invalid="ignore"):
            apart = (moved.astype(np.float64) - reference) * (size_px / 2)
            distances = np.hypot(apart[..., 0], apart[..., 1])
        self._count += distances.size
        self._sum += float(distances.sum())
        self._largest = max(self._largest, float(distances.max()))

    def figures(self) -> MovedFigures | None:
        """The figures over all pictures added; None where there were none, or not all finite."""
        if not self._count or not math.isfinite(self._sum):
            return None
        return MovedFigures(mean_px=self._sum / self._count, max_px=self._largest)


def relative_l2(reference: F32, candidate: F32) -> float | None:
    """Relative L2 of two tensors; None where one is not finite."""
    sums = Sums()
    sums.add("", reference, candidate)
    figures = sums.figures()
    return None if figures is None else figures.relative_l2


def _relative(squared_difference: float, squared_reference: float) -> float:
    """Relative L2 of two sums of squares; where the reference is all zero, 0 or 1; NaN stays."""
    if squared_reference == 0:
        return math.nan if math.isnan(squared_difference) else float(squared_difference > 0)
    return math.sqrt(squared_difference / squared_reference)
