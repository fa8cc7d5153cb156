"""How far two recordings are apart: signed differences, and statistics over their magnitudes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from parity.recording.recording import Recording
from runtime.errors import InputError
from runtime.image.landmarks import ellipse_of
from runtime.model.topology import Topology

F64 = NDArray[np.float64]
SHARES_PX = (0.1, 0.25, 0.5, 1.0)
# An ellipse has a direction where its longer axis is so many times the shorter one.
ELONGATED = 1.5


class Statistics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Statistics over magnitudes, in the unit that the field holding them names.

    Percentiles interpolate linearly between order statistics, as numpy's default does; `std` is the
    population's (ddof 0). `share_under` maps a limit in px to a fraction of 1.
    """

    count: int
    mean: float
    std: float
    max: float
    p50: float
    p90: float
    p95: float
    p99: float
    share_under: Mapping[str, float]


class FrameStatistics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both ways to count: over |dx| and |dy| as the reference does, and over point distances."""

    axis: Statistics
    distance: Statistics


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorTable:
    """Signed differences, candidate minus reference.

    Attributes:
        names: of the pictures.
        photo_px: (N, P, 2) dx, dy in image px.
        crop_px: (N, P, 2) dx, dy in crop px.
        points_px: (N, P, 2) the reference's points in image px.
        spread_px: (N, P, 2) differences of the spreads along the covariance's longer and shorter
            axis (roots of its eigenvalues), crop px.
        axis_deg: (N, P) angle between the longer axes, 0 to 90 degrees; NaN where the reference's
            ellipse is too round for one.
        reference_spread_px: (N, P) the reference's own along the longer axis, crop px.
        interocular_px: (N,) distance of the reference's outer eye corners in image px; NaN where
            the mark-up has none.
    """

    names: tuple[str, ...]
    photo_px: F64
    crop_px: F64
    points_px: F64
    spread_px: F64
    axis_deg: F64
    reference_spread_px: F64
    interocular_px: F64

    @property
    def percent(self) -> F64:
        """(N, P, 2) dx, dy in percent of the inter-ocular distance."""
        return self.photo_px / self.interocular_px[:, None, None] * 100

    @property
    def elongated_deg(self) -> F64:
        """(K,) of the ellipses that have an axis."""
        return self.axis_deg[~np.isnan(self.axis_deg)]

    def px_in(self, unit: str) -> F64:
        """dx, dy in px of the photo or of the crop."""
        return self.photo_px if unit == "photo" else self.crop_px

    def of(self, picture: int | None = None, points: list[int] | None = None) -> ErrorTable:
        """One picture's part, or some points' part; None takes all."""
        n = slice(None) if picture is None else slice(picture, picture + 1)
        p = slice(None) if points is None else points
        return ErrorTable(
            names=self.names[n],
            photo_px=self.photo_px[n][:, p],
            crop_px=self.crop_px[n][:, p],
            points_px=self.points_px[n][:, p],
            spread_px=self.spread_px[n][:, p],
            axis_deg=self.axis_deg[n][:, p],
            reference_spread_px=self.reference_spread_px[n][:, p],
            interocular_px=self.interocular_px[n],
        )


def error_table(reference: Recording, candidate: Recording) -> ErrorTable:
    """Subtract two recordings of the same pictures.

    Differences are taken in the network's own unit, in float64, and carried by the crop's linear
    part: subtracting two rounded points 1000 px from the origin would add 1e-4 px of its own.

    Raises:
        InputError: as `check_comparable`.
    """
    check_comparable(reference, candidate)
    points_px = reference.points_px
    return table_of(
        reference,
        candidate,
        size=reference.header.spec.input.size,
        names=tuple(picture.name for picture in reference.header.pictures),
        linear=reference.image_from_crop[:, :2, :2],
        points_px=points_px,
        interocular_px=_interocular(points_px, reference.header.spec.topology),
    )


class Answers(Protocol):
    """Landmarks (N, P, 2) and covariance (N, P, 3) in the network's unit."""

    @property
    def landmarks(self) -> NDArray[np.float32]:
        """In [-1, 1]."""

    @property
    def covariance(self) -> NDArray[np.float32]:
        """As xx, xy, yy."""


def table_of(
    reference: Answers,
    candidate: Answers,
    *,
    size: int,
    names: tuple[str, ...],
    linear: F64,
    points_px: F64,
    interocular_px: F64,
) -> ErrorTable:
    """Subtract two sets of answers to the same crops of `size` px; the rest as in `ErrorTable`."""
    half = size / 2
    crop_px = (candidate.landmarks.astype(np.float64) - reference.landmarks) * half
    (here, angle), (there, other) = map(ellipse_of, (reference.covariance, candidate.covariance))
    # axes have no sense of direction: 179 degrees apart is 1
    apart = np.abs((other - angle + np.pi / 2) % np.pi - np.pi / 2)
    return ErrorTable(
        names=names,
        photo_px=np.einsum("nij,npj->npi", linear, crop_px),
        crop_px=crop_px,
        points_px=points_px,
        spread_px=(there - here) * half,
        axis_deg=np.where(here[..., 0] > ELONGATED * here[..., 1], np.degrees(apart), np.nan),
        reference_spread_px=here[..., 0] * half,
        interocular_px=interocular_px,
    )


def check_comparable(reference: Recording, candidate: Recording) -> None:
    """Refuse two recordings of different things; name the first difference.

    Raises:
        InputError: other pictures, another order, other crops' places, or another mark-up or size.
    """
    here, there = reference.header, candidate.header
    if here.spec.points != there.spec.points or here.spec.input.size != there.spec.input.size:
        raise _unlike(
            f"{here.spec.points} points on {here.spec.input.size} px, as {here.source} has",
            f"{there.spec.points} points on {there.spec.input.size} px in {there.source}",
        )
    if not here.pictures:
        raise _unlike("at least one picture", "none")
    if len(here.pictures) != len(there.pictures):
        raise _unlike(
            f"the {len(here.pictures)} pictures of {here.source}",
            f"{len(there.pictures)} in {there.source}",
        )
    for index, (one, other) in enumerate(zip(here.pictures, there.pictures, strict=True)):
        for what, left, right in (
            ("picture", one.name, other.name),
            ("pixels", one.sha256_picture[:12], other.sha256_picture[:12]),
            ("mode", one.mode, other.mode),
            ("box", one.box_xyxy, other.box_xyxy),
        ):
            if left != right:
                where = f"{what} {left!r} as picture {index} ({one.name})"
                raise _unlike(where, f"{right!r} in {there.source}")
    if not np.array_equal(reference.image_from_crop, candidate.image_from_crop):
        raise _unlike("the same place for every crop", f"another one in {there.source}")


def crops_that_differ(reference: Recording, candidate: Recording) -> tuple[str, ...]:
    """Pictures whose crops are not the same bytes: OpenCV 4 and 5 warp differently, for example."""
    pairs = zip(reference.header.pictures, candidate.header.pictures, strict=True)
    return tuple(one.name for one, other in pairs if one.sha256_crop != other.sha256_crop)


def statistics(differences: F64) -> Statistics:
    """Summarise the magnitudes of signed differences of any shape."""
    magnitudes = np.abs(differences).ravel()
    # an infinite error has no deviation and no percentile: they are NaN, as they should be
    with np.errstate(invalid="ignore"):
        p50, p90, p95, p99 = np.percentile(magnitudes, (50, 90, 95, 99)).tolist()
        return Statistics(
            count=magnitudes.size,
            mean=float(magnitudes.mean()),
            std=float(magnitudes.std()),
            max=float(magnitudes.max()),
            p50=p50,
            p90=p90,
            p95=p95,
            p99=p99,
            share_under={f"{px:g}": float((magnitudes < px).mean()) for px in SHARES_PX},
        )


def frame_statistics(differences: F64) -> FrameStatistics:
    """Summarise (..., 2) signed differences both ways."""
    distances = np.hypot(differences[..., 0], differences[..., 1])
    return FrameStatistics(axis=statistics(differences), distance=statistics(distances))


def _interocular(points_px: F64, topology: Topology) -> F64:
    if topology.outer_eye_corners is None:
        return np.full(len(points_px), np.nan)
    right, left = topology.outer_eye_corners
    distance: F64 = np.linalg.norm(points_px[:, right] - points_px[:, left], axis=-1)
    # eyes in one place: a percentage of nothing is not a number
    return np.where(distance > 0, distance, np.nan)


def _unlike(expected: str, got: str) -> InputError:
    return InputError(
        "comparison",
        expected=expected,
        got=got,
        action="Record both sources with the same --images and --boxes",
    )
