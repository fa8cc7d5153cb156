"""Which face finder a command line takes: the one that was named, or one that is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from runtime.errors import ConfigError
from runtime.faces.yunet import WHERE_FROM, ZOO_FILE
from runtime.files import shown

AUTO, NONE, DLIB = "auto", "none", "dlib"
# What people call YuNet's file; OpenCV's own name first. The int8 ones find less.
USUAL_NAMES = (ZOO_FILE, "yunet.onnx", "face_detection_yunet_*.onnx", "yunet_*.onnx")
HOW_TO_GET = f"Get {WHERE_FROM}, or run pip install dlib-bin, which finds frontal faces"


def cache_folder() -> Path:
    """Where files lie that all checkouts and bundles of this user may use."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "starmark"


def has_dlib() -> bool:
    """Whether the package is installed; it is not imported."""
    return find_spec("dlib") is not None


def usual_folders(model: Path) -> tuple[Path, ...]:
    """Where YuNet's file is looked for: beside the model, in the current folder, in the cache."""
    return model.absolute().parent, Path.cwd(), cache_folder()


def chosen(asked: str, model: Path, *, required: bool) -> Path | str | None:
    """Find out which finder is meant.

    Args:
        asked: "auto", "none", "dlib" or the name of YuNet's file.
        model: bundle, checkpoint or graph, beside which that file may lie.
        required: whether "auto" must find one.

    Returns:
        YuNet's file, `DLIB`, or None.

    Raises:
        ConfigError: there is none, and one is required.
    """
    if asked == NONE:
        return None
    if asked == DLIB:
        return DLIB
    if asked != AUTO:
        return Path(asked).resolve()
    there = next(_files(model), None)
    if there is not None:
        return there.resolve()
    if has_dlib():
        return DLIB
    if not required:
        return None
    folders = dict.fromkeys(shown(folder) for folder in usual_folders(model))
    raise ConfigError(
        "--faces auto",
        expected=f"YuNet's file in {', '.join(folders)}, or the package dlib",
        got="neither",
        action=HOW_TO_GET,
    )


def _files(model: Path) -> Iterator[Path]:
    for folder in usual_folders(model):
        for name in USUAL_NAMES:
            yield from (file for file in sorted(folder.glob(name)) if "int8" not in file.name)
