"""The least that OpenCV can do for a face: what our own work around the engine is held against."""

from __future__ import annotations

import time
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.image import geometry
from runtime.model.spec import InputSpec


class Floor:
    """A warp into a kept buffer and one call that normalises and transposes, without any check."""

    def __init__(self, spec: InputSpec) -> None:
        self._size, self._packs = spec.size, spec.dtype == "float32"
        self._square = np.empty((spec.size, spec.size, 3), np.uint8)

    def seconds(self, image: NDArray[np.uint8], box_xyxy: Sequence[float]) -> float:
        """Time it once, on uint8 (H, W, 3) BGR and a box in px.

        For an input of uint8, the warp is all.
        """
        matrix = geometry.image_from_crop_of_box(np.asarray(box_xyxy), self._size)[:2]
        start = time.perf_counter()
        cv2.warpAffine(
            image,
            matrix,
            (self._size, self._size),
            dst=self._square,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        if self._packs:
            cv2.dnn.blobFromImage(self._square, 1 / 127.5, mean=(127.5, 127.5, 127.5))
        return time.perf_counter() - start
