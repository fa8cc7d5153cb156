"""How far two sets of landmarks are apart, counted as the reference counts: over |dx| and |dy|."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.detector import Trace
from runtime.errors import InputError

F64 = NDArray[np.float64]
SHARES_PX = (0.5, 1.0)


class ErrorStatistics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Statistics over |dx| and |dy| together: 2 x points x pictures coordinates, in px.

    Percentiles interpolate linearly between order statistics, as numpy's default does; `std` is the
    population's (ddof 0). `share_under_*` are fractions of 1.
    """

    coordinates: int
    mean_px: float
    max_px: float
    std_px: float
    p95_px: float
    p99_px: float
    share_under_0_5: float
    share_under_1: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorTable:
    """Signed differences, candidate minus reference.

    Attributes:
        names: of the pictures.
        photo_px: (N, P, 2) dx, dy in image px.
        crop_px: (N, P, 2) dx, dy in crop px.
        points_px: (N, P, 2) the reference's points in image px.
    """

    names: tuple[str, ...]
    photo_px: F64
    crop_px: F64
    points_px: F64


def error_row(reference: Trace, candidate: Trace, size: int) -> tuple[F64, F64]:
    """One picture's differences in image px and in crop px, each (P, 2).

    They are taken where the network speaks, in float64, and carried by the crop's linear part:
    subtracting two rounded points 1000 px from the origin would add 1e-4 px of its own.

    Raises:
        InputError: the two mark other points, or looked at other crops.
    """
    here, there = reference.outputs.landmarks[0], candidate.outputs.landmarks[0]
    same_frame = np.array_equal(reference.crop.image_from_crop, candidate.crop.image_from_crop)
    if here.shape != there.shape or not same_frame:
        raise InputError(
            "comparison",
            expected=f"two sources with {len(here)} points in the same crop",
            got=f"{len(there)} points" if here.shape != there.shape else "crops that differ",
            action="Compare models of the same mark-up and input size",
        )
    crop_px = (there.astype(np.float64) - here) * (size / 2)
    return crop_px @ reference.crop.image_from_crop[:2, :2].T, crop_px


def statistics(differences_px: F64) -> ErrorStatistics:
    """Summarise signed differences of any shape; what counts is each coordinate's magnitude."""
    magnitudes = np.abs(differences_px).ravel()
    # an infinite error has no deviation and no percentile: they are NaN, as they should be
    with np.errstate(invalid="ignore"):
        return ErrorStatistics(
            coordinates=magnitudes.size,
            mean_px=float(magnitudes.mean()),
            max_px=float(magnitudes.max()),
            std_px=float(magnitudes.std()),
            p95_px=float(np.percentile(magnitudes, 95)),
            p99_px=float(np.percentile(magnitudes, 99)),
            share_under_0_5=float((magnitudes < SHARES_PX[0]).mean()),
            share_under_1=float((magnitudes < SHARES_PX[1]).mean()),
        )


def stack_rows(
    names: Sequence[str], rows: Sequence[tuple[F64, F64]], points_px: Sequence[F64]
) -> ErrorTable:
    """Put pictures' rows into one table.

    Raises:
        InputError: no picture at all.
    """
    if not rows:
        raise InputError(
            "comparison", expected="at least one picture", got="none", action="Name pictures"
        )
    return ErrorTable(
        names=tuple(names),
        photo_px=np.stack([photo for photo, _ in rows]),
        crop_px=np.stack([crop for _, crop in rows]),
        points_px=np.stack(points_px),
    )
