"""dlib's face detector, which comes as a package and needs no file."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.faces.scaled import LONGEST_SIDE_PX, check_longest_side, in_picture, scaled
from runtime.machine.packages import importing

# It finds faces from 80 px on: small pictures are searched at twice their size.
MOST_ENLARGED = 2.0


class DlibFaces:
    """Finds upright, frontal faces by dlib (histograms of gradients); safe to share by threads.

    YuNet is faster and finds smaller and turned faces, too; this one gives no scores.

    Args:
        longest_side_px: larger pictures are made smaller for the search, never for the landmarks.

    Raises:
        BackendUnavailable: dlib is not installed.
        ConfigError: a length that cannot be.
    """

    def __init__(self, *, longest_side_px: int = LONGEST_SIDE_PX) -> None:
        check_longest_side(longest_side_px)
        self._longest_side_px = longest_side_px
        self._thread = threading.local()  # dlib's object keeps the picture it works on
        self._detector()

    def __reduce__(self) -> tuple[Any, ...]:
        return _dlib, (self._longest_side_px,)

    def __call__(self, image: NDArray[np.uint8], /) -> NDArray[np.float64]:
        """Find the faces of uint8 (H, W, 3) BGR: (N, 4) x1, y1, x2, y2 in image px."""
        small, ratio = scaled(image, self._longest_side_px, MOST_ENLARGED)
        found = self._detector()(np.ascontiguousarray(small[..., ::-1]), 0)
        boxes = [[box.left(), box.top(), box.right(), box.bottom()] for box in found]
        height, width = image.shape[:2]
        return in_picture(np.array(boxes, np.float64).reshape(-1, 4), ratio, (width, height))

    def _detector(self) -> Any:
        if not hasattr(self._thread, "detector"):
            with importing("the face finder dlib"):
                import dlib

                self._thread.detector = dlib.get_frontal_face_detector()
        return self._thread.detector


def _dlib(longest_side_px: int) -> DlibFaces:
    return DlibFaces(longest_side_px=longest_side_px)
