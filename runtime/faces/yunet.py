"""YuNet, the face finder whose file OpenCV's model zoo has."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ArtifactError, ConfigError, InferenceError, one_line
from runtime.faces.scaled import (
    LONGEST_SIDE_PX,
    SHORTEST_SIDE_PX,
    check_longest_side,
    in_picture,
    scaled,
)
from runtime.files import shown

ZOO_FILE = "face_detection_yunet_2023mar.onnx"
ZOO_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
WHERE_FROM = f"{ZOO_FILE} of github.com/opencv/opencv_zoo (MIT, 0.2 MB)"
# What OpenCV's own demonstration takes for a face is 0.9 and misses many; 0.6 is its default.
LEAST_SCORE = 0.6
OVERLAP = 0.3
MOST_FACES = 5000
# Of the black picture that tells whether a file is YuNet's.
TRIED_SIDE_PX = 64


class YuNetFaces:
    """Finds faces by YuNet, over OpenCV's FaceDetectorYN. Safe to share between threads.

    Example:
        >>> from runtime import Detector, read_picture
        >>> finder = YuNetFaces("face_detection_yunet_2023mar.onnx")
        >>> with Detector("build/starter68", faces=finder) as detector:
        ...     len(detector.detect_faces(read_picture("assets/test.jpg")))
        1

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
        check_longest_side(longest_side_px)
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
        small, ratio = scaled(image, self._longest_side_px)
        small_wh = small.shape[1], small.shape[0]
        detector = self._detector()
        try:
            detector.setInputSize(small_wh)
            _, found = detector.detect(small)
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
        boxes = np.concatenate([corners, found[:, -1:]], axis=1)
        return in_picture(boxes, ratio, (width, height))

    def _detector(self) -> Any:
        import cv2

        if not hasattr(self._thread, "detector"):
            if not self.model.is_file():
                raise self._refused("no such file")
            log = cv2.utils.logging
            level = log.getLogLevel()
            log.setLogLevel(log.LOG_LEVEL_FATAL)  # OpenCV 5 warns of a setting nobody made
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
            action=f"Take {WHERE_FROM}",
        )


def _yunet(model: str, least_score: float, longest_side_px: int) -> YuNetFaces:
    return YuNetFaces(model, least_score=least_score, longest_side_px=longest_side_px)
