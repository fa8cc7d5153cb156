"""The distance of two sources from what people marked, and whether one is worse: NME, FR, AUC.

Agreement is how far two sources are apart; accuracy is whether that matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from parity.recording.recording import Recording
from parity.samples import Sample
from runtime.errors import InputError
from runtime.model.topology import FACE_68, Topology

F64 = NDArray[np.float64]

FAILURE_PERCENT = 8.0
CONFIDENCE = 0.95
RESAMPLES = 10_000
SEED = 0
# Measured on normal differences: its 95 % hold in 86 % of cases with 5 pictures, in 90 % with 10,
# in 93 % with 20, in 94.5 % with 48.
FEWEST_FOR_INTERVAL = 10
LARGEST_DRAW = 1 << 20

HOW_TO_ANNOTATE = (
    "Put a .pts file with the model's points beside each picture, or give the published TSV as"
    " --boxes"
)


class SourceAccuracy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source against the annotations.

    Attributes:
        mean_nme_percent: mean over the pictures of each picture's NME, percent.
        median_nme_percent: their median, percent.
        failure_rate: share of the pictures whose NME is above 8 %, as a fraction of 1.
        auc: area under the cumulative distribution of the NME from 0 to 8 %, over 8 %: 1 is best.
        auc_at_star_limit: the same, exact, at the limit that STAR's code takes.
        star_auc, star_failure_rate: at that limit, as its code computes them: see `star_rates`.
    """

    mean_nme_percent: float
    median_nme_percent: float
    failure_rate: float
    auc: float
    auc_at_star_limit: float
    star_auc: float
    star_failure_rate: float


class AccuracyReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both sources against the annotations, and the change from reference to candidate.

    Attributes:
        pictures: how many were judged here: annotated, with a normaliser.
        left_out: annotated pictures whose normaliser is not marked, or lies in one place.
        normaliser: the annotation's two points whose distance normalises.
        normaliser_name: what they are.
        unmarked_points: of these pictures' points, how many nobody marked; no NME has them.
        star_limit_percent: of the NME, where STAR's code ends FR and AUC.
        change_points: candidate's mean NME minus the reference's, in percentage points; positive
            means the candidate is worse.
        interval_points: of the change, by a paired percentile bootstrap over the pictures; None
            where there are fewer than 10.
        confidence: of the interval.
        resamples: that the bootstrap drew.
    """

    pictures: int
    left_out: tuple[str, ...]
    normaliser: tuple[int, int]
    normaliser_name: str
    unmarked_points: int
    star_limit_percent: float
    reference: SourceAccuracy
    candidate: SourceAccuracy
    change_points: float
    interval_points: tuple[float, float] | None
    confidence: float = CONFIDENCE
    resamples: int = RESAMPLES

    @property
    def tells_a_change(self) -> bool | None:
        """Whether the interval excludes 0; None where there is no interval."""
        if self.interval_points is None:
            return None
        low, high = self.interval_points
        return not low <= 0 <= high


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredAccuracy:
    """The accuracy of a comparison.

    Attributes:
        report: None where it is not known.
        missing: why not, in words; empty where it is, and where nobody marked a point.
        nme_percent: (N, 2) of reference and candidate, each picture; NaN where it has none.
    """

    report: AccuracyReport | None
    missing: str
    nme_percent: F64


def measure_accuracy(reference: Recording, candidate: Recording) -> MeasuredAccuracy:
    """Hold two comparable recordings against the annotations they carry.

    Raises:
        InputError: the two carry different annotations of a picture.
    """
    marked_px = _annotations_of(reference, candidate)
    marked = ~np.isnan(marked_px[..., 0])
    annotated = marked.any(axis=1)
    topology = reference.header.spec.topology
    if not annotated.any():
        return _missing("", len(marked_px))
    if topology.normaliser is None:
        missing = f"the mark-up {topology.name} names no points that normalise"
        return _missing(missing, len(marked_px))
    name, pair = topology.normaliser
    sides = [nme_percent(side.points_px, marked_px, pair) for side in (reference, candidate)]
    table = np.stack(sides, axis=1)
    usable = np.isfinite(table).all(axis=1)
    names = [picture.name for picture in reference.header.pictures]
    left_out = tuple(names[i] for i in np.flatnonzero(annotated & ~usable))
    if not usable.any():
        return _missing(f"the annotations' {name} are unmarked or in one place", len(table))
    one, other = table[usable].T
    limit = star_limit_percent(topology)
    report = AccuracyReport(
        pictures=len(one),
        left_out=left_out,
        normaliser=pair,
        normaliser_name=name,
        unmarked_points=int((~marked[usable]).sum()),
        star_limit_percent=limit,
        reference=summarised(one, limit),
        candidate=summarised(other, limit),
        change_points=float((other - one).mean()),
        interval_points=bootstrap_interval(other - one),
    )
    return MeasuredAccuracy(report=report, missing="", nme_percent=table)


def _missing(why: str, pictures: int) -> MeasuredAccuracy:
    return MeasuredAccuracy(report=None, missing=why, nme_percent=np.full((pictures, 2), np.nan))


def nme_percent(points_px: F64, marked_px: F64, normaliser: tuple[int, int]) -> F64:
    """Each picture's normalised mean error over its marked points: (N,) percent, NaN without one.

    Args:
        points_px: (N, P, 2) a source's points, image px.
        marked_px: (N, P, 2) the annotation, image px; NaN where nobody marked.
        normaliser: the annotation's points whose distance normalises.

    Source: the metric of 300W, WFLW and COFW: mean distance of the points over that of these two.
    """
    right, left = normaliser
    distance = np.linalg.norm(points_px - marked_px, axis=-1)
    marked = ~np.isnan(distance)
    # not nanmean, which warns of a picture without any
    distance = np.where(marked, distance, 0).sum(axis=-1) / np.maximum(marked.sum(axis=-1), 1)
    between = np.linalg.norm(marked_px[:, right] - marked_px[:, left], axis=-1)
    nme: F64 = distance / np.where(between > 0, between, np.nan) * 100
    return nme


def summarised(nme: F64, star_limit: float) -> SourceAccuracy:
    """Mean, median, FR and AUC of (N,) NMEs in percent.

    The cumulative distribution is a step function: each picture adds 1/N from its own NME on. Its
    area from 0 to 8 % is therefore the mean of max(0, 8 - NME), with no sampling of the curve.
    """
    star_auc, star_failure_rate = star_rates(nme, star_limit)
    return SourceAccuracy(
        mean_nme_percent=float(nme.mean()),
        median_nme_percent=float(np.median(nme)),
        failure_rate=float((nme > FAILURE_PERCENT).mean()),
        auc=float(np.maximum(0, 1 - nme / FAILURE_PERCENT).mean()),
        auc_at_star_limit=float(np.maximum(0, 1 - nme / star_limit).mean()),
        star_auc=star_auc,
        star_failure_rate=star_failure_rate,
    )


def star_limit_percent(topology: Topology) -> float:
    """Where STAR's code ends both curves: 5 % for the 68 points of 300W, 10 % for all others."""
    return 5.0 if topology == FACE_68 else 10.0


def star_rates(nme: F64, limit: float) -> tuple[float, float]:
    """AUC and FR of (N,) NMEs in percent as STAR computes them, for figures that compare with its.

    The curve is sampled at every 0.01 % and integrated by Simpson's rule. At 5 % the last sample is
    5.01 %, by a rounding of its numpy.arange, so that both differ from their definition.

    Source: lib/metric/fr_and_auc.py of github.com/ZhenglinZhou/STAR; scipy.integrate.simpson, with
    its correction for an odd number of intervals (scipy 1.11 and later).
    """
    step = 1e-4
    at = np.arange(0, limit / 100 + step, step)
    share = np.searchsorted(np.sort(nme / 100), at, side="right") / len(nme)
    paired = share if len(share) % 2 else share[:-1]
    area = (paired[:-2:2] + 4 * paired[1::2] + paired[2::2]).sum() * step / 3
    if len(paired) < len(share):
        area += (5 * share[-1] + 8 * share[-2] - share[-3]) * step / 12
    return float(area / (limit / 100)), float(1 - share[-1])


def bootstrap_interval(differences: F64) -> tuple[float, float] | None:
    """The 95 % interval of the mean of (N,) paired differences; None below 10.

    Percentile bootstrap with one seed: the same numbers every time. Here and not from scipy:
    comparing needs nothing but numpy, on every machine.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13.
    """
    count = len(differences)
    if count < FEWEST_FOR_INTERVAL:
        return None
    rng = np.random.default_rng(SEED)
    means = np.empty(RESAMPLES)
    rows = max(1, LARGEST_DRAW // count)  # a few MB at a time, however many pictures there are
    for start in range(0, RESAMPLES, rows):
        part = means[start : start + rows]
        part[:] = differences[rng.integers(0, count, (len(part), count))].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2 * 100
    low, high = np.percentile(means, (tail, 100 - tail)).tolist()
    return low, high


def check_annotations(samples: Sequence[Sample], points: int) -> None:
    """Refuse annotations that could have no part in a limit on the NME.

    Raises:
        InputError: an annotation cannot be read, or does not have the model's number of points.
    """
    for sample in samples:
        fault = sample.annotation_fault
        if sample.annotation_px is not None and len(sample.annotation_px) != points:
            fault = f"{len(sample.annotation_px)} points"
        if fault:
            raise InputError(
                f"--max-nme-increase: the annotation of {sample.name}",
                expected=f"{points} points, as the model marks",
                got=fault,
                action="Correct it, or take it away: such a picture has no part in the NME",
            )


def not_annotated(got: str) -> InputError:
    """The error of a limit on the NME without accuracy."""
    return InputError(
        "--max-nme-increase",
        expected="annotated pictures, which alone have an NME",
        got=got,
        action=HOW_TO_ANNOTATE,
    )


def _annotations_of(reference: Recording, candidate: Recording) -> F64:
    """(N, P, 2) image px: what either side carries, where the two agree."""
    one, other = reference.annotations_px, candidate.annotations_px
    both = ~np.isnan(one).all(axis=(1, 2)) & ~np.isnan(other).all(axis=(1, 2))
    differ = (one != other) & ~(np.isnan(one) & np.isnan(other))
    unlike = np.flatnonzero(both & differ.any(axis=(1, 2)))
    if len(unlike):
        name = reference.header.pictures[int(unlike[0])].name
        raise InputError(
            f"annotations of {name}",
            expected=f"those that {reference.header.source} was recorded with",
            got=f"others in {candidate.header.source} (of {len(unlike)} such pictures)",
            action="Record both sources with the same annotations",
        )
    return np.where(np.isnan(one), other, one)
