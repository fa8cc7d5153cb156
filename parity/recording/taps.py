"""The tensors inside the network, as a recording carries them.

All of a picture's lie one after the other, in the order of the spec, and one picture's after the
other's: a box writes them as they come, and who reads them holds one picture's at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parity.recording.archive import check_array, open_archive, open_member, read_exactly, refused
from runtime.model.spec import ModelSpec

F32 = NDArray[np.float32]

TAPS = "taps"


def tap_numbers(spec: ModelSpec) -> int:
    """How many numbers the taps of one picture are."""
    return sum(math.prod(shape) for shape in spec.taps.values())


def read_taps(path: Path, spec: ModelSpec, pictures: int) -> Iterator[dict[str, F32]]:
    """Read them picture by picture.

    Args:
        path: of a recording with taps.
        spec: of its header, which was checked: the shapes are those of a network.
        pictures: how many there are.

    Yields:
        float32 (C, H, W) each, by name.

    Raises:
        InputError: not as many numbers as the spec makes them, or damage.
    """
    dtype = np.dtype("<f4")
    with open_archive(path) as archive, open_member(path, archive, TAPS) as file:
        check_array(path, TAPS, file, (pictures, tap_numbers(spec)), dtype)
        for _ in range(pictures):
            # one by one: a zip file's reader needs several times the room of what it is asked for
            yield {
                name: np.frombuffer(
                    read_exactly(path, TAPS, file, math.prod(shape) * dtype.itemsize), dtype
                ).reshape(shape)
                for name, shape in spec.taps.items()
            }
        if file.read(1):
            raise refused(path, f"{TAPS} longer than their shape")
