"""The report as one strict record, without clock or absolute path: same runs, same bytes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import msgspec
import numpy as np

from parity.errors import ErrorStatistics, ErrorTable, statistics
from parity.samples import Sample
from parity.verdict import Limits, Verdict, judge
from runtime.detector import Detector


class SourceReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One side of the comparison."""

    source: str
    engine: str
    device: str
    parameters: int | None


class PictureReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One picture's errors."""

    name: str
    sha256: str
    cropped: bool
    photo: ErrorStatistics
    crop: ErrorStatistics


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a comparison says. Statistics are over |dx| and |dy|; photo is image px."""

    verdict: Verdict
    photo: ErrorStatistics
    crop: ErrorStatistics
    pictures: tuple[PictureReport, ...]
    points: int
    reference: SourceReport
    candidate: SourceReport
    versions: dict[str, str]


def make_report(
    reference: tuple[str, Detector],
    candidate: tuple[str, Detector],
    samples: Sequence[Sample],
    table: ErrorTable,
    limits: Limits,
) -> Report:
    """Judge a table and gather what belongs beside it; a source is its name and its detector."""
    return Report(
        verdict=judge(table, limits),
        photo=statistics(table.photo_px),
        crop=statistics(table.crop_px),
        pictures=tuple(
            PictureReport(
                name=sample.name,
                sha256=sample.sha256,
                cropped=sample.cropped,
                photo=statistics(table.photo_px[index]),
                crop=statistics(table.crop_px[index]),
            )
            for index, sample in enumerate(samples)
        ),
        points=table.photo_px.shape[1],
        reference=_source(*reference),
        candidate=_source(*candidate),
        versions={"numpy": np.__version__, "opencv": cv2.__version__},
    )


def as_json(report: Report) -> str:
    """Indented JSON with a final line break."""
    encoded = msgspec.json.encode(report, order="deterministic")
    return msgspec.json.format(encoded, indent=2).decode() + "\n"


def _source(name: str, detector: Detector) -> SourceReport:
    return SourceReport(
        source=name,
        engine=detector.backend.name,
        device=detector.device,
        parameters=detector.parameters,
    )
