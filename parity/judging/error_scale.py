"""How wide a point's error is beside its covariance, learnt from annotated pictures and checked.

The covariance is the second moment of a map, and no promise about an error: it holds too many
points, and its direction says nothing (along the maps of 48 held-out faces errors are 6.0 crop px,
across them 5.6, where the covariance has 12.1 and 4.9). Its area does say something. So the error
is taken as round, with a variance of `scale` times the root of the covariance's determinant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parity.judging.accuracy import HOW_TO_ANNOTATE
from parity.judging.digits import px, signed
from parity.recording.recording import Recording
from runtime.errors import InputError
from runtime.files import printable
from runtime.image.landmarks import area_of
from runtime.model.manifest import ErrorScale

F64 = NDArray[np.float64]
Shares = tuple[float, float]

# Within one and two standard deviations of a round Gaussian in the plane: 1 - exp(-k^2 / 2).
GAUSSIAN: Shares = (0.39347, 0.86466)
ASKED_FOR: Shares = (0.39, 0.86)
LARGEST_MISS = 0.04
FEWEST_PICTURES = 24
# Runs of neighbours in the list, so that the pictures of one person or video lie in one part.
PARTS = 6
# Of a map of one pixel, which has no area.
SMALLEST_AREA_PX2 = 1e-6


@dataclass(frozen=True, kw_only=True)
class ScaleReport:
    """A scale, and what it is worth.

    Attributes:
        scale: to keep; its `within` is of pictures that had no part in it.
        raw: the same shares by the covariance as it is.
        offset_crop_px: mean of annotation minus point: a habit of those who marked, which sigma
            then contains.
        rank_correlation: Spearman's, of sigma and distance over all points.
    """

    scale: ErrorScale
    raw: Shares
    offset_crop_px: Shares
    rank_correlation: float

    @property
    def holds(self) -> bool:
        """Whether one and two standard deviations hold what they should, within 4 % each."""
        pairs = zip(self.scale.within, ASKED_FOR, strict=True)
        return all(abs(found - share) <= LARGEST_MISS for found, share in pairs)


def learn_scale(recording: Recording) -> ScaleReport:
    """Learn a scale for each region of the mark-up, and check it by cross-validation.

    Raises:
        InputError: fewer than 24 annotated pictures.
    """
    used = np.flatnonzero(~np.isnan(recording.annotations_px).all(axis=(1, 2)))
    if len(used) < FEWEST_PICTURES:
        raise InputError(
            "--error-scale",
            expected=f"at least {FEWEST_PICTURES} annotated pictures",
            got=str(len(used)),
            action=HOW_TO_ANNOTATE,
        )
    spec = recording.header.spec
    linear = recording.image_from_crop[used, :2, :2]
    error_px = (recording.annotations_px - recording.points_px)[used]
    error = np.einsum("nij,npj->npi", np.linalg.inv(linear), error_px)  # crop px
    covariance = recording.covariance[used] * np.float64(spec.input.size / 2) ** 2
    # round in the photo, whatever the crop's axes are
    distance = np.linalg.norm(error_px, axis=-1) / np.sqrt(np.linalg.det(linear))[:, None]
    area = np.maximum(area_of(covariance), SMALLEST_AREA_PX2)
    squared, regions = distance**2 / area, spec.topology.regions
    scales = {name: _scale_of(squared[:, points]) for name, points in regions.items()}
    by_point, held_out = np.empty(spec.points), np.empty_like(squared)
    everything = np.arange(len(used))
    for name, points in regions.items():
        by_point[points] = scales[name]
        for part in np.array_split(everything, PARTS):
            others = np.setdiff1d(everything, part)
            here = part[:, None], points
            held_out[here] = squared[here] / _scale_of(squared[others][:, points])
    marked = ~np.isnan(squared)
    sigma = np.sqrt(area * by_point)
    x, y = error[marked].mean(axis=0).tolist()
    return ScaleReport(
        scale=ErrorScale(regions=scales, pictures=len(used), within=_shares(held_out[marked])),
        raw=_shares(_mahalanobis(error, covariance)[marked]),
        offset_crop_px=(x, y),
        rank_correlation=_rank_correlation(sigma[marked], distance[marked]),
    )


def as_text(report: ScaleReport) -> str:
    """The shares beside a Gaussian's, what the scale cannot help, and the scale itself."""
    scale, (x, y) = report.scale, report.offset_crop_px
    rows = (
        ("a Gaussian", GAUSSIAN),
        ("covariance, raw", report.raw),
        ("scaled", scale.within),
    )
    verdict = "holds" if report.holds else "does NOT hold: not kept"
    lines = [
        f"error scale of {scale.pictures} pictures, judged where it was not learnt: {verdict}",
        f"{'points within':<20}{'1 sigma':>10}{'2 sigma':>10}",
        *(f"{name:<20}{one:>10.1%}{two:>10.1%}" for name, (one, two) in rows),
        f"on average the marks lie ({signed(x)}, {signed(y)}) crop px off; sigma contains that",
        f"rank correlation of sigma and error: {report.rank_correlation:.2f}",
        ", ".join(f"{name} {px(value)}" for name, value in scale.regions.items()),
    ]
    return "".join(f"{printable(line)}\n" for line in lines)


def _scale_of(squared: F64) -> float:
    """The scale by which the shares within one and two sigma are closest to a Gaussian's."""
    ordered = np.sort(squared[~np.isnan(squared)])
    if not ordered.size or not ordered[-1]:
        raise InputError(
            "--error-scale",
            expected="marked points in every region, apart from the network's",
            got="none in one region",
            action=HOW_TO_ANNOTATE,
        )
    least, most = np.quantile(ordered, (0.2, 0.7)).tolist()
    tried = np.geomspace(least, most, 400)
    counts = (np.searchsorted(ordered, sigmas * tried) for sigmas in (1, 4))
    misses = [count / ordered.size - share for count, share in zip(counts, GAUSSIAN, strict=True)]
    return float(tried[np.argmin(np.square(misses).sum(axis=0))])


def _shares(squared: F64) -> Shares:
    return float((squared <= 1).mean()), float((squared <= 4).mean())


def _mahalanobis(error: F64, covariance: F64) -> F64:
    """Squared distance in standard deviations, (..., 2) and (..., 3) as xx, xy, yy to (...)."""
    (x, y), (xx, xy, yy) = np.moveaxis(error, -1, 0), np.moveaxis(covariance, -1, 0)
    squared: F64 = (yy * x * x - 2 * xy * x * y + xx * y * y) / np.maximum(
        xx * yy - xy**2, SMALLEST_AREA_PX2**2
    )
    return squared


def _rank_correlation(one: F64, other: F64) -> float:
    """Spearman's; here and not from scipy: comparing needs nothing but numpy."""
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    correlation: F64 = np.asarray(np.corrcoef(ranks))
    return float(correlation[0, 1])
