"""Which pictures the page shows, and the cuts of them, made one picture at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from parity.html.face import SIDE, FaceMap, mean_shape, most_typical
from parity.html.pictures import (
    View,
    as_data,
    draw_faces,
    draw_zoom,
    face_window,
    views,
    zoom_window,
)
from parity.judging.differences import F64, ErrorTable
from parity.recording.recording import Recording
from parity.samples import Sample
from runtime.image import geometry

# the worst ones: beyond them a page grows with the number of pictures by its numbers alone
MOST_SHOWN = 50
THUMBNAIL_PX, WORST_PX = 264, 528


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """One picture's face, and its worst point enlarged (`zoom_px` wide), as data addresses."""

    face: str
    zoom: str
    zoom_px: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """Everything on the page that is made of pixels.

    Attributes:
        worst: cuts by the picture's index, of the worst pictures.
        first: larger cuts of the very worst; None where it cannot be shown.
        face: where the landmarks' errors are drawn.
        face_name: the picture of that face; empty for the mean shape.
    """

    worst: dict[int, Cuts]
    first: Cuts | None
    face: FaceMap
    face_name: str


def gallery(
    order: Sequence[int],
    worst_points: Sequence[int],
    table: ErrorTable,
    sides: tuple[Recording, Recording],
    samples: Sequence[Sample],
) -> Gallery:
    """Cut the pictures that the page shows.

    Args:
        order: indices of all pictures, worst first.
        worst_points: of each picture, the point that is furthest off.
        table: the errors.
        sides: reference and candidate.
        samples: files of the pictures, or none.

    Raises:
        InputError: a recording's crops are damaged.
    """
    points = {index: worst_points[index] for index in order[:MOST_SHOWN]}
    typical = most_typical(table.points_px)
    worst: dict[int, Cuts] = {}
    first = None
    face, face_name = FaceMap(places=mean_shape(table.points_px), behind=None), ""
    for index, view in views({*points, typical}, sides, samples):
        if index in points:
            worst[index] = _cuts(view, table, sides, index, points[index], THUMBNAIL_PX)
        if index == order[0]:
            first = _cuts(view, table, sides, index, points[index], WORST_PX)
        if index == typical:
            window = face_window(view, table.points_px[index], SIDE)
            face = FaceMap(
                places=geometry.apply(window.window_from_image, table.points_px[index]),
                behind=cv2.cvtColor(window.pixels, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False),
            )
            face_name = table.names[index]
    return Gallery(worst=worst, first=first, face=face, face_name=face_name)


def _cuts(
    view: View,
    table: ErrorTable,
    sides: tuple[Recording, Recording],
    index: int,
    point: int,
    side: int,
) -> Cuts:
    here = table.points_px[index]
    both_px = np.stack([here, here + table.photo_px[index]])
    covariances_px2 = np.stack([_covariance_px2(recording, index, point) for recording in sides])
    zoom = zoom_window(view, both_px[:, point], covariances_px2, side)
    face = draw_faces(face_window(view, both_px, side), both_px, sides[0].header.spec.topology)
    return Cuts(
        face=as_data(face),
        zoom=as_data(draw_zoom(zoom, both_px[:, point], covariances_px2)),
        zoom_px=zoom.side_px,
    )


def _covariance_px2(recording: Recording, index: int, point: int) -> F64:
    """(3,) xx, xy, yy in photo px squared."""
    half = recording.header.spec.input.size / 2
    linear = recording.image_from_crop[index, :2, :2] * half
    return geometry.carry_covariance(linear, recording.covariance[index, point])
