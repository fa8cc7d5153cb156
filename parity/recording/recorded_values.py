"""What the numbers of a recording cannot be, whoever wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.recording.archive import refused
from runtime.backends.base import LARGEST_OUTPUT
from runtime.errors import InputError

if TYPE_CHECKING:
    from parity.recording.recording import Header

# image px per crop px, and where a crop may begin: far beyond what `geometry.check_box` lets pass
POSSIBLE_SCALES = (1e-4, 1e5)
LARGEST_SHIFT_PX = 1e7


def check_values(path: Path, header: Header, arrays: dict[str, Any]) -> None:
    """Refuse NaN, overflow, annotations that are no points, and places that are no crop's.

    Args:
        path: the file.
        header: as read from it.
        arrays: by name, of the shapes that the header makes them.

    Raises:
        InputError: says what was found where.
    """
    for name in ("landmarks", "covariance"):
        # NaN compares as not smaller
        bad = np.argwhere(~(np.abs(arrays[name]) <= LARGEST_OUTPUT).all(axis=2))
        if len(bad):
            picture, point = (int(v) for v in bad[0])
            raise InputError(
                f"{path}: {name}",
                expected=f"finite numbers within {LARGEST_OUTPUT:g}",
                got=f"{arrays[name][picture, point].tolist()} at picture"
                f" {header.pictures[picture].name}, point {point}"
                f" (of {len(bad)} such points), from {header.source}",
                action="Check that source's precision mode: a tensor has overflowed",
            )
    marked = arrays["annotations_px"]
    inside = np.abs(marked) <= LARGEST_SHIFT_PX
    if not (inside.all(axis=(1, 2)) | np.isnan(marked).all(axis=(1, 2))).all():
        raise refused(path, "annotations that are no points")
    places = arrays["image_from_crop"]
    scales, shifts = places[:, [0, 1], [0, 1]], places[:, :2, 2]
    straight = places[:, [0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] == (0, 0, 0, 0, 1)
    smallest, largest = POSSIBLE_SCALES
    good = ((scales >= smallest) & (scales <= largest)).all() and straight.all()
    if not (good and (np.abs(shifts) <= LARGEST_SHIFT_PX).all()):
        raise refused(path, "a crop's place that no box gives")
