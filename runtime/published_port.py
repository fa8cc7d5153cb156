"""The published port's class, with its arguments and results, over `Detector`."""

from __future__ import annotations

import os
from types import TracebackType

from runtime.backends import Settings
from runtime.backends.base import DEFAULT_SETTINGS
from runtime.detector import Detector
from runtime.image.crop import Picture
from runtime.image.geometry import Box
from runtime.image.landmarks import F32


class FaceLandmarkDetector:
    """Finds landmarks as plain arrays: what the code of the published port expects.

    Example:
        >>> from runtime import read_picture
        >>> detector = FaceLandmarkDetector("assets/starter68.safetensors", device="cpu")
        >>> detector.detect(read_picture("assets/test.jpg")).shape
        (68, 2)

    Attributes:
        detector: gives covariances, batches and traces of the same model.

    Args:
        weights: a checkpoint, or any other source of `Detector`.
        device, settings: as for `Detector`.

    Raises:
        ConfigError, ArtifactError, BackendUnavailable: as `Detector`.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str],
        device: str = "auto",
        *,
        settings: Settings = DEFAULT_SETTINGS,
    ) -> None:
        self.detector = Detector(weights, device, settings=settings)

    @property
    def device(self) -> str:
        """Where it runs, as resolved."""
        return self.detector.device

    def detect(self, image: Picture, face_bbox: Box | None = None) -> F32:
        """Find the landmarks of the face in a box, or in the whole picture.

        Returns:
            float32 (P, 2), x right, y down, image px; the caller's own.

        Raises:
            InputError, InferenceError: as `Detector.detect`.
        """
        return self.detector.detect(image, face_bbox).points_px.copy()

    def detect_from_cropped(self, crop: Picture) -> F32:
        """Find the landmarks of a picture that already is the crop the network takes.

        Returns:
            As `detect`, in px of the crop.

        Raises:
            InputError, InferenceError: as `Detector.detect_from_cropped`.
        """
        return self.detector.detect_from_cropped(crop).points_px.copy()

    def close(self) -> None:
        """Release the engine; a second call does nothing."""
        self.detector.close()

    def __enter__(self) -> FaceLandmarkDetector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
