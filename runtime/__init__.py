"""Find facial landmarks with whatever engine this machine has. Importing this loads none."""

from runtime.backends import Settings, open_backend
from runtime.detector import Detector, FaceLandmarkDetector, Trace
from runtime.draw import draw_landmarks_with_contours
from runtime.errors import StarmarkError
from runtime.landmarks import Landmarks
from runtime.version import VERSION

__version__ = VERSION

__all__ = [
    "Detector",
    "FaceLandmarkDetector",
    "Landmarks",
    "Settings",
    "StarmarkError",
    "Trace",
    "__version__",
    "draw_landmarks_with_contours",
    "open_backend",
]
