"""Which pictures the page shows, and the cuts of them, made one picture at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from parity.html.face import SIDE, FaceMap, mean_shape, most_typical, places_in
from parity.html.pictures import (
    View,
    as_data,
    draw_faces,
    draw_zoom,
    face_window,
    views,
    zoom_window,
)
from parity.html.rows import picture_rows
from parity.judging.differences import F64, ErrorTable
from parity.recording.recording import Recording
from parity.report.record import Report
from parity.samples import Sample
from runtime.image import geometry

# the worst ones: a page must not grow with the number of pictures beyond its numbers
MOST_SHOWN = 50
THUMBNAIL_PX, WORST_PX = 264, 528


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One picture's cuts, as addresses that hold them.

    Attributes:
        face: both sides' points on the face.
        zoom: the worst point, enlarged.
        zoom_px: what the enlarged cut is wide, in photo px.
    """

    face: str
    zoom: str
    zoom_px: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """Everything of the page that is made of pixels.

    Attributes:
        worst: cuts by the picture's index, of the worst pictures.
        first: larger cuts of the very worst; None where it cannot be shown.
        face: the face that the landmarks' errors are drawn on.
        face_name: whose that is; empty for the mean shape.
    """

    worst: dict[int, Shown]
    first: Shown | None
    face: FaceMap
    face_name: str


def gallery(
    report: Report,
    table: ErrorTable,
    sides: tuple[Recording, Recording],
    samples: Sequence[Sample],
) -> Gallery:
    """Cut what the page shows.

    Raises:
        InputError: a recording's crops are damaged.
    """
    order = picture_rows(report, table)[:MOST_SHOWN]
    points = {row.index: row.worst_point for row in order}
    typical = most_typical(table.points_px)
    worst: dict[int, Shown] = {}
    first = None
    statistics = tuple(
        part.photo_px if report.verdict.limits.unit == "photo" else part.crop_px
        for part in report.landmarks
    )
    topology = sides[0].header.spec.topology
    face = FaceMap(
        places=mean_shape(table.points_px),
        behind=None,
        topology=topology,
        landmarks=statistics,
    )
    face_name = ""
    for index, view in views({*points, typical}, sides, samples):
        if index in points:
            worst[index] = _shown(view, table, sides, index, points[index], THUMBNAIL_PX)
        if index == order[0].index:
            first = _shown(view, table, sides, index, points[index], WORST_PX)
        if index == typical:
            window = face_window(view, table.points_px[index], SIDE)
            face = FaceMap(
                places=places_in(window, table.points_px[index]),
                behind=cv2.cvtColor(window.pixels, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False),
                topology=topology,
                landmarks=statistics,
            )
            face_name = report.pictures[index].name
    return Gallery(worst=worst, first=first, face=face, face_name=face_name)


def _shown(
    view: View,
    table: ErrorTable,
    sides: tuple[Recording, Recording],
    index: int,
    point: int,
    side: int,
) -> Shown:
    here = table.points_px[index]
    both_px = np.stack([here, here + table.photo_px[index]])
    covariances_px2 = np.stack([_covariance_px2(recording, index, point) for recording in sides])
    contours = [(c.first, c.last, c.closed) for c in sides[0].header.spec.topology.contours]
    zoom = zoom_window(view, both_px[:, point], covariances_px2, side)
    return Shown(
        face=as_data(draw_faces(face_window(view, both_px, side), both_px, contours)),
        zoom=as_data(draw_zoom(zoom, both_px[:, point], covariances_px2)),
        zoom_px=zoom.side_px,
    )


def _covariance_px2(recording: Recording, index: int, point: int) -> F64:
    """(3,) xx, xy, yy in photo px squared."""
    half = recording.header.spec.input.size / 2
    linear = recording.image_from_crop[index, :2, :2] * half
    return geometry.carry_covariance(linear, recording.covariance[index, point])
