"""The report as one strict record. It holds no times: the same answers give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from parity.judging.accuracy import AccuracyReport, MeasuredAccuracy, measure_accuracy
from parity.judging.differences import (
    ErrorTable,
    FrameStatistics,
    Statistics,
    crops_that_differ,
    error_table,
    frame_statistics,
    statistics,
)
from parity.judging.expected import (
    Given,
    arithmetic_of,
    different_checkpoints,
    judged_by_table,
)
from parity.judging.uncertainty import Uncertainty, uncertainty_of
from parity.judging.verdict import Limits, Unit, Verdict
from parity.recording.recording import Recording, Unreadable

FIRST_POINTS = 5


class SourceReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One side of the comparison."""

    source: str
    engine: str
    device: str
    arithmetic: str
    parameters: int | None
    checkpoint_sha256: str
    machine: str
    versions: dict[str, str]


class FirstPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of a picture's first points on both sides, photo px."""

    point: int
    reference_xy_px: tuple[float, float]
    candidate_xy_px: tuple[float, float]


class PictureReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One picture's errors. `nme_percent` is the reference's and the candidate's, if annotated."""

    name: str
    mode: str
    size_wh: tuple[int, int]
    sha256_picture: str
    same_crop: bool
    photo_px: FrameStatistics
    crop_px: FrameStatistics
    nme_percent: tuple[float, float] | None
    first_points: tuple[FirstPoint, ...]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A region's or a landmark's errors over all pictures."""

    photo_px: Statistics
    crop_px: Statistics

    def px_in(self, unit: Unit) -> Statistics:
        """In px of the photo or of the crop."""
        return self.photo_px if unit == "photo" else self.crop_px


class EndToEnd(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Errors with each side's own crops, where those differ."""

    crops_that_differ: tuple[str, ...]
    photo_px: FrameStatistics
    crop_px: FrameStatistics


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole comparison. All statistics are those that were judged.

    `judged_on` is "same crops", "shared crops" (one side was run again on the other's), or
    "end to end" (the crops differ and neither recording has them). `spread_crop_px` is of both
    axes; `axis_degrees` is None where no ellipse is long enough for an axis. `accuracy` is None
    where no picture is annotated; `accuracy_missing` is the reason where some are.
    """

    verdict: Verdict
    judged_on: str
    photo_px: FrameStatistics
    crop_px: FrameStatistics
    percent_interocular: FrameStatistics | None
    spread_crop_px: Statistics
    axis_degrees: Statistics | None
    doubt: Uncertainty
    accuracy: AccuracyReport | None
    accuracy_missing: str
    end_to_end: EndToEnd | None
    pictures: tuple[PictureReport, ...]
    regions: Mapping[str, Part]
    landmarks: tuple[Part, ...]
    unreadable: tuple[Unreadable, ...]
    different_checkpoints: bool
    reference: SourceReport
    candidate: SourceReport

    @property
    def judged(self) -> FrameStatistics:
        """The statistics in the unit of the limits."""
        return self.photo_px if self.verdict.limits.unit == "photo" else self.crop_px


def make_report(
    reference: Recording,
    candidate: Recording,
    limits: Given | Limits,
    shared: tuple[Recording, Recording] | None = None,
    bound: Limits | None = None,
) -> Report:
    """Compare two recordings, and judge them.

    Args:
        reference: one side.
        candidate: the other.
        limits: what passes, as `given` of `judged_by_table`.
        shared: both sides on the same crops, where their own differ and one was run again.
        bound: a bundle's own limits, as there.

    Raises:
        InputError: recordings that cannot be compared, or carry different annotations; or a limit
            of the NME where no picture is annotated.
    """
    sides = (reference.header, candidate.header)
    ends = error_table(reference, candidate)
    differing = crops_that_differ(reference, candidate)
    again = shared if differing else None
    table = ends if again is None else error_table(*again)
    measured = measure_accuracy(*(again or (reference, candidate)))
    judged_on = "same crops"
    if differing:
        judged_on = "end to end" if again is None else "shared crops"
    has_eyes = bool(np.isfinite(table.interocular_px).all())
    return Report(
        verdict=judged_by_table(
            table,
            sides,
            limits,
            measured.report,
            bound,
            same_crops=judged_on != "end to end",
        ),
        judged_on=judged_on,
        photo_px=frame_statistics(table.photo_px),
        crop_px=frame_statistics(table.crop_px),
        percent_interocular=frame_statistics(table.percent) if has_eyes else None,
        spread_crop_px=statistics(table.spread_px),
        axis_degrees=statistics(axes) if (axes := table.elongated_deg).size else None,
        doubt=uncertainty_of(table),
        accuracy=measured.report,
        accuracy_missing=measured.missing,
        end_to_end=EndToEnd(
            crops_that_differ=differing,
            photo_px=frame_statistics(ends.photo_px),
            crop_px=frame_statistics(ends.crop_px),
        )
        if differing
        else None,
        pictures=_pictures(reference, table, measured, differing),
        regions=_regions(reference, table),
        landmarks=tuple(_part(table.of(points=[p])) for p in range(table.photo_px.shape[1])),
        unreadable=reference.header.unreadable,
        different_checkpoints=different_checkpoints(sides),
        reference=_source(reference),
        candidate=_source(candidate),
    )


def _first_points(table: ErrorTable, picture: int) -> tuple[FirstPoint, ...]:
    here = table.points_px[picture, :FIRST_POINTS]
    there = here + table.photo_px[picture, :FIRST_POINTS]
    return tuple(
        FirstPoint(
            point=index,
            reference_xy_px=(float(a[0]), float(a[1])),
            candidate_xy_px=(float(b[0]), float(b[1])),
        )
        for index, (a, b) in enumerate(zip(here, there, strict=True))
    )


def _pictures(
    reference: Recording, table: ErrorTable, measured: MeasuredAccuracy, differing: tuple[str, ...]
) -> tuple[PictureReport, ...]:
    different, nme = set(differing), measured.nme_percent
    return tuple(
        PictureReport(
            name=picture.name,
            mode=picture.mode,
            size_wh=picture.size_wh,
            sha256_picture=picture.sha256_picture,
            same_crop=picture.name not in different,
            photo_px=frame_statistics(table.photo_px[index]),
            crop_px=frame_statistics(table.crop_px[index]),
            nme_percent=None if np.isnan(nme[index]).any() else (*nme[index].tolist(),),
            first_points=_first_points(table, index),
        )
        for index, picture in enumerate(reference.header.pictures)
    )


def _regions(reference: Recording, table: ErrorTable) -> dict[str, Part]:
    """By contour of the mark-up, and the points on none."""
    regions = reference.header.spec.topology.regions.items()
    return {name: _part(table.of(points=points)) for name, points in regions}


def _part(table: ErrorTable) -> Part:
    return Part(photo_px=statistics(table.photo_px), crop_px=statistics(table.crop_px))


def _source(recording: Recording) -> SourceReport:
    """The fields of the header that describe the source."""
    fields = {name: getattr(recording.header, name) for name in SourceReport.__struct_fields__}
    return SourceReport(**fields | {"arithmetic": arithmetic_of(recording.header)})
