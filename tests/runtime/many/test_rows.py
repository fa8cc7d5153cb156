"""Rows: what is written of a face, and with how many digits."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from runtime.faces import Face
from runtime.image.landmarks import Landmarks
from runtime.many.inputs import PictureFile
from runtime.many.rows import rows_of
from runtime.many.search import Searched


def test_a_face_is_written_with_its_places_and_all_its_warnings() -> None:
    """Thousandths of a px and four digits of the score; a batch's are not rounded."""
    landmarks = Landmarks(
        points_px=np.array([[1.0006, 20.1234]], np.float32),
        covariance_px2=np.array([[4, 0, 1]], np.float32),
    )
    trace: Any = SimpleNamespace(landmarks=landmarks, warnings=("one", "two"))
    face = Face(box_xyxy=np.array([1.23456, 2, 3, 4]), score=0.87654, trace=trace)
    image = np.zeros((30, 40, 3), np.uint8)
    file = PictureFile(name="a.jpg", path=Path("a.jpg"))
    (row,) = rows_of(Searched(file=file, image=image, faces=[face]))
    (raw,) = rows_of(Searched(file=file, image=image, faces=[face]), rounded=False)

    assert (row.picture, row.status, row.width, row.height) == ("a.jpg", "ok", 40, 30)
    assert (row.faces, row.face, row.spread_px, row.warning) == (1, 0, [2], "one; two")
    assert [*(row.box_xyxy or ())] == [1.235, 2, 3, 4]
    assert row.score == 0.8765
    np.testing.assert_array_equal(row.points_px, [[1.001, 20.123]])
    assert [*(raw.box_xyxy or ())] == [1.23456, 2, 3, 4]
    assert raw.score == 0.87654
    np.testing.assert_array_equal(raw.points_px, landmarks.points_px)
