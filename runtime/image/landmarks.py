"""From the network's outputs to points in the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from runtime.image import geometry
from runtime.image.crop import Crop
from runtime.image.geometry import Numbers

F32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Landmarks(NDArrayOperatorsMixin):
    """Points in the picture, and how sure the network is of each.

    Behaves like its points where an array is expected: `np.asarray(landmarks)`, `len()`, indexing,
    iteration and arithmetic all see `points_px`; `landmarks * 2` is a plain array.

    Attributes:
        points_px: float32 (P, 2), x right, y down, pixel centres at integers, image px.
        covariance_px2: float32 (P, 3) as xx, xy, yy, image px squared: raw, the second moments of
            the network's maps.
        error_scale: float32 (P,) of the bundle's manifest; None where it has none.
    """

    points_px: F32
    covariance_px2: F32
    error_scale: F32 | None = None

    @property
    def spread_px(self) -> F32:
        """(P,) standard deviation along the direction in which each point is least sure, px."""
        return spread_of(self.covariance_px2)

    @property
    def sigma_px(self) -> F32 | None:
        """(P,) standard deviation of each point's error along any axis, px; None without a scale.

        The error is round: measured, it is no longer along the map than across it.
        """
        if self.error_scale is None:
            return None
        variance_px2 = self.error_scale * area_of(self.covariance_px2)
        return np.sqrt(variance_px2).astype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of `points_px`."""
        return self.points_px.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        points: NDArray[Any] = self.points_px.astype(dtype or np.float32, copy=False)
        return points.copy() if copy else points

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if any(isinstance(out, Landmarks) for out in options.get("out", ())):
            del options["out"]  # `landmarks *= 2` makes a new array
        plain = (np.asarray(one) if isinstance(one, Landmarks) else one for one in inputs)
        return getattr(ufunc, method)(*plain, **options)

    def __len__(self) -> int:
        return len(self.points_px)

    def __getitem__(self, index: Any) -> Any:
        return self.points_px[index]

    def __iter__(self) -> Iterator[F32]:
        return iter(self.points_px)


# Points as callers give them: (P, 2) in image px.
Points = Landmarks | Numbers | Sequence[Sequence[float]]


def spread_of(covariance: F32) -> F32:
    """Root of the larger eigenvalue of each point's covariance.

    Args:
        covariance: (..., 3) as xx, xy, yy.

    Returns:
        (...) in the root of the covariance's unit.
    """
    spread: F32 = ellipse_of(covariance)[0][..., 0].astype(np.float32)
    return spread


def area_of(covariance: NDArray[np.floating]) -> NDArray[np.float64]:
    """Root of each covariance's determinant, (..., 3) to (...): its ellipse's area over pi."""
    xx, xy, yy = np.moveaxis(covariance.astype(np.float64), -1, 0)
    area: NDArray[np.float64] = np.sqrt(np.maximum(xx * yy - xy**2, 0))
    return area


def ellipse_of(covariance: F32) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each point's ellipse of one standard deviation.

    Args:
        covariance: (..., 3) as xx, xy, yy.

    Returns:
        (..., 2) roots of the larger and the smaller eigenvalue, in the root of the covariance's
        unit; (...) the angle of the longer axis in radians, from x towards y, within +-pi/2.
    """
    xx, xy, yy = np.moveaxis(covariance.astype(np.float64), -1, 0)
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    axes = np.sqrt(np.maximum(np.stack([mean + half, mean - half], -1), 0))
    return axes, np.arctan2(2 * xy, xx - yy) / 2


def to_image(
    landmarks: F32, covariance: F32, crop: Crop, error_scale: F32 | None = None
) -> Landmarks:
    """Map one picture's outputs into the picture.

    Args:
        landmarks: (P, 2) in [-1, 1].
        covariance: (P, 3) xx, xy, yy in the same unit squared.
        crop: the crop they were found in.
        error_scale: see `Landmarks`.

    Source: points by ((p + 1) S - 1) / 2 and the crop's matrix; covariance by A ((S/2)^2 C) A^T
    with A the matrix's linear part.
    """
    size = crop.pixels.shape[0]
    points_crop_px = geometry.crop_px_from_normalised(landmarks, size)
    linear = crop.image_from_crop[:2, :2] * (size / 2)
    return Landmarks(
        points_px=geometry.apply(crop.image_from_crop, points_crop_px).astype(np.float32),
        covariance_px2=geometry.carry_covariance(linear, covariance).astype(np.float32),
        error_scale=error_scale,
    )
