"""How far two sources are apart, in pixels. Record where the engine is; compare anywhere."""

from runtime import __version__  # an own runtime.py in its place is named here

__all__ = ["__version__"]
