"""The pictures of the page, cut from the files again or from a recording's crops."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from parity.recording.recording import Recording, sha256_pixels
from parity.samples import Sample
from runtime.errors import InputError
from runtime.image import geometry
from runtime.image.draw import SHIFT, draw_ellipse, fixed
from runtime.image.geometry import F64
from runtime.model.topology import Topology

U8 = NDArray[np.uint8]

# Okabe and Ito's blue and orange, distinct for colour-blind readers; the shapes differ, too.
REFERENCE_BGR = (233, 180, 86)
CANDIDATE_BGR = (0, 159, 230)
OUTLINE_BGR = (20, 20, 20)
LINE_BGR = (255, 255, 255)
OUTSIDE_BGR = (128, 128, 128)
# Around the points' bounding box, as a share of its longer side.
FACE_MARGIN = 0.15
# Width of an enlarged cut, unless the error or the ellipses need more.
ZOOM_SIDE_PX = 16.0
ZOOM_BY_ERROR = 4.0
ZOOM_BY_SIGMA = 2.6
# colours in full resolution: the marks are small, and differ by their colours
JPEG = [
    *(cv2.IMWRITE_JPEG_QUALITY, 85),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """Pixels of one picture, (H, W, 3) BGR: all of it, or the crop of it that was recorded."""

    pixels: U8
    view_from_image: F64  # (3, 3), px to px


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """A square cut out of a view, (S, S, 3) BGR, which is `side_px` image px wide."""

    pixels: U8
    window_from_image: F64  # (3, 3), px to px
    side_px: float


def views(
    wanted: Collection[int], recordings: Sequence[Recording], samples: Sequence[Sample]
) -> Iterator[tuple[int, View]]:
    """The wanted pictures by index, from their files, or else from a recording's crops.

    A file that is gone or has changed since it was compared is left out.
    """
    header = recordings[0].header
    if samples:
        files = {sample.name: sample for sample in samples}
        for index in sorted(wanted):
            picture = _read(files[header.pictures[index].name])
            if picture is None or sha256_pixels(picture) != header.pictures[index].sha256_picture:
                continue
            yield index, View(pixels=picture, view_from_image=np.eye(3))
        return
    for recording in recordings:
        if recording.path is not None and recording.header.with_crops:
            for index, crop in enumerate(recording.crops()):
                if index in wanted:
                    place = np.linalg.inv(recording.image_from_crop[index])
                    yield index, View(pixels=crop, view_from_image=place)
            return


def have_pictures(recordings: Sequence[Recording], samples: Sequence[Sample]) -> bool:
    """Whether there is anything to cut from."""
    return bool(samples) or any(r.path is not None and r.header.with_crops for r in recordings)


def face_window(view: View, points_px: F64, side: int) -> Window:
    """Cut the face: the points' bounding box with a margin. `points_px` (..., 2) in image px."""
    flat = points_px.reshape(-1, 2)
    low, high = flat.min(axis=0), flat.max(axis=0)
    shown_px = float((high - low).max()) * (1 + 2 * FACE_MARGIN)
    return cut(view, (low + high) / 2, max(shown_px, ZOOM_SIDE_PX), side, cv2.INTER_CUBIC)


def zoom_window(view: View, points_px: F64, covariances_px2: F64, side: int) -> Window:
    """Enlarge around one point as both sides see it.

    Args:
        view: to cut from.
        points_px: (2, 2) the point in the reference and the candidate, image px.
        covariances_px2: (2, 3) of both, image px squared.
        side: of the cut in px.
    """
    error_px = float(np.hypot(*(points_px[1] - points_px[0])))
    sigma_px = float(np.sqrt(np.abs(covariances_px2[:, [0, 2]]).max()))
    shown_px = max(ZOOM_SIDE_PX, ZOOM_BY_ERROR * error_px, ZOOM_BY_SIGMA * sigma_px)
    # each pixel as the square it is, so that the error is seen beside one
    return cut(view, points_px.mean(axis=0), shown_px, side, cv2.INTER_NEAREST)


def cut(view: View, centre_px: F64, shown_px: float, side: int, enlarging: int) -> Window:
    """Cut a square out of a view, in the proportions of the picture.

    Args:
        view: to cut from.
        centre_px: (2,) image px.
        shown_px: side of the square in image px.
        side: of the cut in px.
        enlarging: OpenCV's interpolation where the cut is finer than the view.
    """
    scale = side / shown_px
    corner_px = centre_px - shown_px / 2
    # a pixel covers half a pixel on each side of its centre, in the cut as in the picture
    window_from_image = np.diag([scale, scale, 1])
    window_from_image[:2, 2] = -corner_px * scale - 0.5
    window_from_view = window_from_image @ np.linalg.inv(view.view_from_image)
    pixels, view_from_part = _part(view.pixels, window_from_view, side)
    window_from_part = window_from_view @ view_from_part
    finer = window_from_part[0, 0] > 1
    warped = cv2.warpAffine(
        pixels,
        window_from_part[:2],
        (side, side),
        flags=enlarging if finer else cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=OUTSIDE_BGR,
    ).astype(np.uint8, copy=False)
    return Window(pixels=warped, window_from_image=window_from_image, side_px=shown_px)


def draw_faces(window: Window, sides_px: F64, topology: Topology) -> U8:
    """Draw both sides' points on a copy, the candidate's inside the reference's, and the contours.

    `sides_px` (2, P, 2): reference and candidate, image px.
    """
    canvas = window.pixels.copy()
    here, there = (fixed(geometry.apply(window.window_from_image, side)) for side in sides_px)
    for contour in topology.contours:
        line = here[[*contour.indices]]
        cv2.polylines(canvas, [line], contour.closed, LINE_BGR, 1, cv2.LINE_AA, SHIFT)
    unit = len(canvas) / 264 * 2**SHIFT
    for radius, colour, side in (
        (3.6, OUTLINE_BGR, here),
        (3.0, REFERENCE_BGR, here),
        (1.6, CANDIDATE_BGR, there),
    ):
        for x, y in side:
            centre = (int(x), int(y))
            cv2.circle(canvas, centre, int(radius * unit), colour, -1, cv2.LINE_AA, SHIFT)
    return canvas


def draw_zoom(window: Window, points_px: F64, covariances_px2: F64) -> U8:
    """Draw one point as both sides see it, a ring and a cross, each in its one-sigma ellipse.

    Arguments as in `zoom_window`; a copy of the window is drawn on.
    """
    canvas = window.pixels.copy()
    unit = max(1, round(len(canvas) / 264))
    scale = window.window_from_image[0, 0]
    places = geometry.apply(window.window_from_image, points_px)
    colours = (REFERENCE_BGR, CANDIDATE_BGR)
    moments = covariances_px2 * scale**2
    for thickness, painted in ((3 * unit, (OUTLINE_BGR,) * 2), (2 * unit, colours)):
        for place, moment, colour in zip(places, moments, painted, strict=True):
            draw_ellipse(canvas, place, moment, 1.0, colour, thickness)
    arm = 8 * unit * 2**SHIFT
    for thickness, painted in ((4 * unit, (OUTLINE_BGR,) * 2), (2 * unit, colours)):
        (x, y), (u, v) = (tuple(int(c) for c in fixed(place)) for place in places)
        cv2.circle(canvas, (x, y), arm, painted[0], thickness, cv2.LINE_AA, SHIFT)
        for du, dv in ((arm, arm), (arm, -arm)):
            ends = (u - du, v - dv), (u + du, v + dv)
            cv2.line(canvas, *ends, painted[1], thickness, cv2.LINE_AA, SHIFT)
    return canvas


def as_data(picture: U8) -> str:
    """A picture as the data address of a JPEG."""
    _, encoded = cv2.imencode(".jpg", picture, JPEG)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def _read(sample: Sample) -> U8 | None:
    try:
        return sample.read()
    except InputError:
        return None  # gone since it was compared


def _part(pixels: U8, window_from_view: F64, side: int) -> tuple[U8, F64]:
    """The part of a view under a cut, shrunk by whole factors to little more than the cut needs.

    Returns:
        The part, at least one pixel large, and the matrix from its px to the view's.
    """
    view_from_window: F64 = np.linalg.inv(window_from_view).astype(np.float64)
    low = np.floor(geometry.apply(view_from_window, np.full(2, -0.5))) - 2
    high = np.ceil(geometry.apply(view_from_window, np.full(2, side - 0.5))) + 3
    step_x, step_y = (max(1, int(view_from_window[axis, axis])) for axis in (0, 1))
    height, width = pixels.shape[:2]
    x0, y0 = (int(v) for v in np.clip(low, 0, (width - 1, height - 1)))
    x1, y1 = (int(v) for v in np.clip(high, (x0 + 1, y0 + 1), (width, height)))
    part = pixels[y0:y1, x0:x1]
    small_wh = (max(1, (x1 - x0) // step_x), max(1, (y1 - y0) // step_y))
    across, down = (x1 - x0) / small_wh[0], (y1 - y0) / small_wh[1]
    view_from_part = np.diag([across, down, 1])
    view_from_part[:2, 2] = x0 + (across - 1) / 2, y0 + (down - 1) / 2
    if small_wh != (x1 - x0, y1 - y0):
        part = cv2.resize(part, small_wh, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return np.ascontiguousarray(part), view_from_part
