"""Find facial landmarks with whatever engine this machine has. Importing this loads none.

Names are loaded when they are first asked for, so that `python -m runtime.doctor` works where even
numpy is missing.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from runtime.errors import (
    ArtifactError,
    BackendError,
    BackendUnavailable,
    ConfigError,
    ExportError,
    InferenceError,
    InputError,
    StarmarkError,
)
from runtime.version import VERSION

if TYPE_CHECKING:
    from runtime.backends import Settings, open_backend
    from runtime.detector import Detector
    from runtime.faces import Face, FaceFinder, YuNetFaces
    from runtime.image.crop import Picture
    from runtime.image.draw import draw_landmarks_with_contours
    from runtime.image.geometry import Box
    from runtime.image.landmarks import Landmarks
    from runtime.image.picture import read_picture
    from runtime.published_port import FaceLandmarkDetector
    from runtime.stream.stream import Stream, StreamRow
    from runtime.tracing import Trace
    from runtime.video.motion import OneEuro
    from runtime.video.tracking import TrackedFace, Tracker

__version__ = VERSION

# onnxruntime 1.32, and onnxsim, which contains it, write a device's identity into the home folder
# when they are imported, and report to a server
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# OpenCV prints what is wrong with pictures and graphs to stderr; what matters of it is our error
os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")

if sys.argv[:1] == ["-m"]:  # `python -m` of a command, which imports this on its way there
    from runtime.cli import command_line

    sys.excepthook = command_line.on_uncaught

__all__ = [
    "ArtifactError",
    "BackendError",
    "BackendUnavailable",
    "Box",
    "ConfigError",
    "Detector",
    "ExportError",
    "Face",
    "FaceFinder",
    "FaceLandmarkDetector",
    "InferenceError",
    "InputError",
    "Landmarks",
    "OneEuro",
    "Picture",
    "Settings",
    "StarmarkError",
    "Stream",
    "StreamRow",
    "Trace",
    "TrackedFace",
    "Tracker",
    "YuNetFaces",
    "__version__",
    "draw_landmarks_with_contours",
    "open_backend",
    "read_picture",
]

_HOMES = {
    "Box": "runtime.image.geometry",
    "Detector": "runtime.detector",
    "Face": "runtime.faces",
    "FaceFinder": "runtime.faces",
    "FaceLandmarkDetector": "runtime.published_port",
    "Landmarks": "runtime.image.landmarks",
    "OneEuro": "runtime.video.motion",
    "Picture": "runtime.image.crop",
    "Settings": "runtime.backends",
    "Stream": "runtime.stream.stream",
    "StreamRow": "runtime.stream.stream",
    "Trace": "runtime.tracing",
    "TrackedFace": "runtime.video.tracking",
    "Tracker": "runtime.video.tracking",
    "YuNetFaces": "runtime.faces",
    "draw_landmarks_with_contours": "runtime.image.draw",
    "open_backend": "runtime.backends",
    "read_picture": "runtime.image.picture",
}


def __getattr__(name: str) -> Any:
    """Load a public name's module on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
