"""How far a source contradicts itself on one picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parity.samples import Sample
from runtime.detector import Detector
from runtime.image import geometry
from runtime.image.landmarks import spread_of
from runtime.model.topology import mirrored_points
from runtime.tracing import Trace

F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

SHIFTS = ((1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Stability:
    """How far one source contradicts itself on one picture, in crop px.

    Attributes:
        sample: the picture.
        flip_px: (P,) distance between the points and those of the mirrored crop, mirrored back;
            None where the mark-up's left and right are not known.
        shift_px: (P,) the largest distance between the points and those of a crop that lies one
            pixel further right, left, down or up, mapped back.
        spread_px: (P,) standard deviation of each point's map where it is widest.
        elongation: (P,) that deviation over the one across it: 1 is round.
    """

    sample: Sample
    flip_px: F64 | None
    shift_px: F64
    spread_px: F64
    elongation: F64


def stability_of(detector: Detector, sample: Sample, picture: U8) -> Stability:
    """Run one source six times on one picture: as it is, mirrored, and moved four ways.

    Raises:
        InputError: the picture or its box cannot be used.
        InferenceError: the engine failed.
    """
    trace = detector.trace(
        picture, sample.box_xyxy, cropped=sample.is_crop_of(detector.spec.input.size)
    )
    size = detector.spec.input.size
    scale = trace.crop.image_from_crop[[0, 1], [0, 1]]
    here_px = _points_px(trace, size)
    moved: list[F64] = []
    for dx, dy in SHIFTS:
        points_px = _points_after(detector, sample, picture, scale, (dx, dy))
        moved.append(np.linalg.norm((points_px - here_px) / scale, axis=-1))
    covariance = trace.outputs.covariance[0]
    return Stability(
        sample=sample,
        flip_px=_flip_px(detector, trace),
        shift_px=np.max(moved, axis=0),
        spread_px=spread_of(covariance).astype(np.float64) * size / 2,
        elongation=elongation_of(covariance),
    )


def elongation_of(covariance: NDArray[np.float32]) -> F64:
    """Root of the larger over the smaller eigenvalue of each covariance, (..., 3) as xx, xy, yy.

    Returns:
        (...) 1 or more. Second moments cannot tell a long ridge from two peaks: both are elongated.
    """
    xx, xy, yy = np.moveaxis(covariance.astype(np.float64), -1, 0)
    middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    # a map of one pixel has no extent in any direction, which is round
    floor = 1e-12
    ratio: F64 = np.sqrt((middle + half + floor) / (np.maximum(middle - half, 0) + floor))
    return ratio


def _flip_px(detector: Detector, trace: Trace) -> F64 | None:
    mirror = mirrored_points(detector.spec.topology)
    if mirror is None:
        return None
    size = detector.spec.input.size
    mirrored = detector.trace(np.ascontiguousarray(trace.crop.pixels[:, ::-1]), cropped=True)
    back_px = _crop_px(mirrored, size)[list(mirror)]
    back_px[:, 0] = size - 1 - back_px[:, 0]
    distance: F64 = np.linalg.norm(back_px - _crop_px(trace, size), axis=-1)
    return distance


def _points_after(
    detector: Detector, sample: Sample, picture: U8, scale: F64, by: tuple[int, int]
) -> F64:
    """(P, 2) image px of a crop that lies so many crop px further; pixels are sampled once."""
    size = detector.spec.input.size
    if sample.box_xyxy is not None:
        box_xyxy = np.asarray(sample.box_xyxy) + np.tile(scale * by, 2)
        return _points_px(detector.trace(picture, box_xyxy), size)
    # a whole picture is always shown as a whole: its content moves, by whole pixels
    across, down = (round(s * d) or d for s, d in zip(scale.tolist(), by, strict=True))
    again = detector.trace(
        _pulled(picture, across, down), cropped=sample.is_crop_of(detector.spec.input.size)
    )
    back_px: F64 = _points_px(again, size) + np.array([across, down])
    return back_px


def _pulled(picture: U8, across: int, down: int) -> U8:
    """The view of a window so many px further right and down; black beyond the picture."""
    found = np.zeros_like(picture)
    height, width = picture.shape[:2]
    seen = picture[max(down, 0) : height + min(down, 0), max(across, 0) : width + min(across, 0)]
    top, left = max(-down, 0), max(-across, 0)
    found[top : top + seen.shape[0], left : left + seen.shape[1]] = seen
    return found


def _crop_px(trace: Trace, size: int) -> F64:
    return geometry.crop_px_from_normalised(trace.outputs.landmarks[0], size)


def _points_px(trace: Trace, size: int) -> F64:
    return geometry.apply(trace.crop.image_from_crop, _crop_px(trace, size))
