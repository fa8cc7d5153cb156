"""Faces in a picture: the finder of their boxes, and the record of each face."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ArtifactError, ConfigError, InferenceError, InputError, one_line
from runtime.files import shown
from runtime.image.crop import check_picture, to_bgr8
from runtime.image.geometry import F64, check_box
from runtime.image.landmarks import F32, Landmarks
from runtime.tracing import Trace

# YuNet was trained on faces of 10 to 300 px (OpenCV's face_detection_yunet): in a picture whose
# longer side is this, these are all but the closest portraits and the rear rows of a stadium.
LONGEST_SIDE_PX = 1280
# What OpenCV's own demonstration takes for a face is 0.9 and misses many; 0.6 is its default.
LEAST_SCORE = 0.6
OVERLAP = 0.3
MOST_FACES = 5000
# Of the black picture that tells whether a file is YuNet's.
TRIED_SIDE_PX = 64
# Smaller ones are no picture of a face, and some releases of OpenCV fail on them.
SHORTEST_SIDE_PX = 8


class FaceFinder(Protocol):
    """Whatever finds the faces of a picture.

    Called with uint8 (H, W, 3) BGR; from several threads at once where pictures are read ahead.
    Gives (N, 4) boxes x1, y1, x2, y2 in image px, or (N, 5) with a score behind them; nothing, or
    an empty list, where there is no face.
    """

    def __call__(self, image: NDArray[np.uint8], /) -> Any:
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


def find_boxes(finder: FaceFinder, image: Any) -> list[tuple[F64, float | None]]:
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


class YuNetFaces:
    """Finds faces by YuNet, over OpenCV's FaceDetectorYN. Safe to share between threads.

    Example:
        >>> finder = YuNetFaces("face_detection_yunet_2023mar.onnx")  # doctest: +SKIP
        >>> faces = Detector("build/starter68", faces=finder).detect_faces(image)  # doctest: +SKIP

    Args:
        model: YuNet's ONNX file.
        least_score: boxes below it are no faces, 0 to 1.
        longest_side_px: larger pictures are made smaller for the search, never for the landmarks.

    Raises:
        ArtifactError: not a model that OpenCV's FaceDetectorYN takes.
        ConfigError: a score or a length that cannot be.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        least_score: float = LEAST_SCORE,
        longest_side_px: int = LONGEST_SIDE_PX,
    ) -> None:
        self.model = Path(model)
        if not 0 <= least_score <= 1:
            raise ConfigError(
                "least_score", expected="0 to 1", got=repr(least_score), action="Correct it"
            )
        if longest_side_px < SHORTEST_SIDE_PX:
            raise ConfigError(
                "longest_side_px",
                expected=f"at least {SHORTEST_SIDE_PX}",
                got=repr(longest_side_px),
                action="Correct it",
            )
        self._least_score, self._longest_side_px = least_score, longest_side_px
        # OpenCV's object keeps the picture's size and its blobs: one for each thread
        self._thread = threading.local()
        try:
            self(np.zeros((TRIED_SIDE_PX, TRIED_SIDE_PX, 3), np.uint8))
        except InferenceError as error:  # another network: now, and not at every picture
            raise self._refused(error.got) from error

    def __reduce__(self) -> tuple[Any, ...]:
        # to worker processes, each of which opens the file anew
        return _yunet, (str(self.model), self._least_score, self._longest_side_px)

    def __call__(self, image: NDArray[np.uint8], /) -> NDArray[np.float64]:
        """Find the faces of uint8 (H, W, 3) BGR: (N, 5) x1, y1, x2, y2 in image px and the score.

        Raises:
            InferenceError: OpenCV failed.
        """
        import cv2

        height, width = image.shape[:2]
        if min(height, width) < SHORTEST_SIDE_PX:
            return np.empty((0, 5))
        scale = min(1.0, self._longest_side_px / max(height, width))
        # each axis by what it really became: a side of 3 px cannot become 1.2
        small_wh = tuple(max(SHORTEST_SIDE_PX, round(side * scale)) for side in (width, height))
        if small_wh != (width, height):
            image = np.asarray(cv2.resize(image, small_wh, interpolation=cv2.INTER_AREA), np.uint8)
        detector = self._detector()
        try:
            detector.setInputSize(small_wh)
            _, found = detector.detect(image)
        except cv2.error as error:
            raise InferenceError(
                str(self.model),
                expected=f"boxes for a picture of {small_wh[0]}x{small_wh[1]} px",
                got=one_line(error, 200),
                action="Check that the file is YuNet's for this release of OpenCV",
            ) from error
        if found is None:
            return np.empty((0, 5))
        x, y, wide, high = np.asarray(found[:, :4], np.float64).T
        corners = np.stack([x, y, x + wide, y + high], axis=1)
        ratio = np.array([width / small_wh[0], height / small_wh[1]] * 2)
        # pixel centres are integers, and OpenCV's resize keeps corners at corners
        corners = (corners + 0.5) * ratio - 0.5
        return _seen(np.concatenate([corners, found[:, -1:]], axis=1), (width, height))

    def _detector(self) -> Any:
        import cv2

        if not hasattr(self._thread, "detector"):
            if not self.model.is_file():
                raise self._refused("no such file")
            log = cv2.utils.logging
            level = log.getLogLevel()
            log.setLogLevel(log.LOG_LEVEL_ERROR)  # OpenCV 5 warns of a setting nobody made
            try:
                self._thread.detector = cv2.FaceDetectorYN.create(
                    str(self.model), "", (320, 320), self._least_score, OVERLAP, MOST_FACES
                )
            except cv2.error as error:
                raise self._refused(one_line(error, 200)) from error
            finally:
                log.setLogLevel(level)
        return self._thread.detector

    def _refused(self, got: str) -> ArtifactError:
        return ArtifactError(
            shown(self.model),
            expected="YuNet as an ONNX file, which OpenCV's FaceDetectorYN reads",
            got=got,
            action="Take face_detection_yunet_2023mar.onnx of OpenCV's model zoo (opencv_zoo)",
        )


def _yunet(model: str, least_score: float, longest_side_px: int) -> YuNetFaces:
    return YuNetFaces(model, least_score=least_score, longest_side_px=longest_side_px)


def _seen(found: NDArray[np.float64], size_wh: tuple[int, int]) -> NDArray[np.float64]:
    """Without boxes of no area or outside the picture, which a network may well predict."""
    x1, y1, x2, y2 = found[:, :4].T
    inside = (x2 > 0) & (y2 > 0) & (x1 < size_wh[0] - 1) & (y1 < size_wh[1] - 1)
    kept: NDArray[np.float64] = found[inside & (x2 - x1 >= 1) & (y2 - y1 >= 1)]
    return kept


def _no_boxes(got: str) -> InputError:
    return InputError(
        "faces",
        expected="boxes (N, 4) as x1, y1, x2, y2 in image px, or (N, 5) with a score",
        got=got,
        action="Correct the face finder",
    )
