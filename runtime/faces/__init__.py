"""Faces in a picture: the finder of their boxes, and the record of each face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.errors import InputError
from runtime.faces.hog import DlibFaces as DlibFaces
from runtime.faces.yunet import YuNetFaces as YuNetFaces
from runtime.image.crop import Picture, check_picture, to_bgr8
from runtime.image.geometry import F64, check_box
from runtime.image.landmarks import F32, Landmarks
from runtime.tracing import Trace


class FaceFinder(Protocol):
    """Whatever finds the faces of a picture.

    Called with uint8 (H, W, 3) BGR; from several threads at once where pictures are read ahead.
    Gives (N, 4) boxes x1, y1, x2, y2 in image px, or (N, 5) with a score behind them; nothing, or
    an empty list, where there is no face.
    """

    def __call__(self, image: NDArray[np.uint8], /) -> ArrayLike | None:
        """Find them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Face:
    """One face of a picture.

    Attributes:
        box_xyxy: (4,) as its finder gave it, image px; None where the picture was taken as a whole.
        score: the finder's, None where it gives none.
        trace: everything seen on the way to its landmarks.
    """

    box_xyxy: F64 | None
    score: float | None
    trace: Trace

    @property
    def landmarks(self) -> Landmarks:
        """Its points, and how sure the network is of each."""
        return self.trace.landmarks

    @property
    def points_px(self) -> F32:
        """(P, 2) image px."""
        return self.landmarks.points_px

    @property
    def spread_px(self) -> F32:
        """(P,) see `Landmarks.spread_px`."""
        return self.landmarks.spread_px

    def record(self) -> dict[str, Any]:
        """Its points for JSON, rounded to a thousandth of a px; sigma where the bundle has one."""
        sigma_px = self.landmarks.sigma_px
        return {
            "points_px": self.points_px.astype(float).round(3).tolist(),
            "spread_px": self.spread_px.astype(float).round(3).tolist(),
            **({} if sigma_px is None else {"sigma_px": sigma_px.astype(float).round(3).tolist()}),
            "warnings": list(self.trace.warnings),
            "timings_ms": {stage: round(1e3 * s, 3) for stage, s in self.trace.timings.items()},
        }


def find_boxes(finder: FaceFinder, image: Picture) -> list[tuple[F64, float | None]]:
    """Run a finder, and check its boxes.

    Args:
        finder: see `FaceFinder`.
        image: see `runtime.image.crop.PICTURE_CONTRACT`.

    Returns:
        A box (4,) in image px and its score for each face.

    Raises:
        InputError: not a picture, or what was found are no boxes in it.
        InferenceError: a finder of ours failed.
    """
    picture = to_bgr8(check_picture(image))
    said = finder(picture)
    try:
        found = np.asarray([] if said is None else said, np.float64)
    except (TypeError, ValueError) as error:
        raise _no_boxes(type(said).__name__) from error
    if found.size == 0:
        return []
    if found.ndim != 2 or found.shape[1] not in (4, 5):
        raise _no_boxes(f"an array {found.shape}")
    height, width = picture.shape[:2]
    return [
        (
            check_box(row[:4], size_wh=(width, height)),
            float(row[4]) if len(row) > 4 else None,
        )
        for row in found
    ]


def _no_boxes(got: str) -> InputError:
    return InputError(
        "faces",
        expected="boxes (N, 4) as x1, y1, x2, y2 in image px, or (N, 5) with a score",
        got=got,
        action="Correct the face finder",
    )
