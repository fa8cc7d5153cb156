"""Code written for the published port gets the plain arrays that it expects."""

from __future__ import annotations

import numpy as np
import pytest
from builders import PHOTO_BOX, ROOT, STARTER
from numpy.typing import NDArray

from runtime import Detector, FaceLandmarkDetector, draw_landmarks_with_contours, read_picture


@pytest.mark.torch
def test_what_the_ports_code_does_with_landmarks_works(photo: NDArray[np.uint8]) -> None:
    """From weights alone: the three ways of its README, then arithmetic and assignment."""
    crop = read_picture(ROOT / "assets/sample.jpg")
    with FaceLandmarkDetector(str(STARTER), device="cpu") as detector:
        found = [
            detector.detect(photo),
            detector.detect(photo, face_bbox=PHOTO_BOX),
            detector.detect_from_cropped(crop),
        ]
    with Detector(STARTER, "cpu") as same:
        boxed = same.detect(photo, PHOTO_BOX)

    for landmarks in found:
        assert type(landmarks) is np.ndarray
        assert (landmarks.dtype.name, landmarks.shape) == ("float32", (68, 2))
    assert np.array_equal(found[1], boxed.points_px)
    assert (found[1] * 2).mean() == pytest.approx(2 * found[1].mean())
    assert found[1].astype(int)[30].tolist() == [int(v) for v in boxed.points_px[30]]
    found[1][0] = (1, 2)
    assert found[1][0].tolist() == [1, 2]
    assert not np.array_equal(draw_landmarks_with_contours(photo, found[0]), photo)
