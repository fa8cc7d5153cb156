"""Several pictures as an argument, and which of them an error is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from runtime.errors import InputError


def as_lists(images: Any, boxes: Any) -> tuple[list[Any], list[Any] | None]:
    """Anything that can be gone through; one picture alone would be taken for its rows."""
    if isinstance(images, np.ndarray) and images.ndim != 4:
        raise InputError(
            "detect_batch",
            expected="a list of pictures, or an array (N, H, W, 3)",
            got=f"an array {images.shape}",
            action="Use detect() for one picture",
        )
    try:
        return list(images), None if boxes is None else list(boxes)
    except TypeError as error:
        raise InputError(
            "detect_batch",
            expected="a list of pictures, and a list of boxes or None",
            got=f"{type(images).__name__} and {type(boxes).__name__}",
            action="Pass lists",
        ) from error


@contextmanager
def naming_picture(index: int) -> Iterator[None]:
    """Say which picture of a batch an error is about."""
    try:
        yield
    except InputError as error:
        raise InputError(
            f"picture {index}: {error.where}",
            expected=error.expected,
            got=error.got,
            action=error.action,
        ) from error
