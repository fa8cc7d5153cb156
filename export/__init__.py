"""Checkpoint to ONNX to simplified ONNX to a judged bundle."""

from runtime import __version__  # an own runtime.py in its place is named here

__all__ = ["__version__"]
