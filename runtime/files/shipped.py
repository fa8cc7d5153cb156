"""Files that come with the code: configurations, the starter's weights, the sample pictures.

A checkout has them in its root and a wheel in runtime/shipped/, with the same paths between them.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGED = ROOT / "runtime/shipped"
HOME = PACKAGED if PACKAGED.is_dir() else ROOT


def shipped(name: str) -> Path:
    """A file or folder that comes with the code, as the current folder sees it where it is below.

    Args:
        name: from the root of a checkout, for example configs/starter68.toml.
    """
    path, here = HOME / name, Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def own_or_shipped(path: Path) -> Path:
    """A path as it was given, or the shipped file of that name where there is no other."""
    found = shipped(str(path))
    return path if path.exists() or not found.exists() else found


def is_packaged(path: Path) -> bool:
    """Whether a file lies in an installed package, where nobody puts a file of their own."""
    return path.resolve().is_relative_to(PACKAGED)
