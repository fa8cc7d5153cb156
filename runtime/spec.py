"""The facts about a model that every stage shares, and how crops become its input."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.topology import Topology, topology_of

INPUT_NAME = "image"
OUTPUT_NAMES = ("landmarks", "covariance")
# Metadata of our graphs: which weights they were made from.
CHECKPOINT_KEY = "starmark.checkpoint_sha256"


class Architecture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Widths of a stacked hourglass; `size` is the side of its square input in px."""

    stacks: int
    depth: int
    channels: int
    stem: int
    points: int
    contours: int
    size: int = 256


class InputSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the artifact's first tensor holds.

    float32 NCHW: `(pixel - mean) / scale`; uint8 NHWC: the crop's own bytes, normalised inside.
    """

    name: str = INPUT_NAME
    dtype: Literal["float32", "uint8"] = "float32"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    colour: Literal["BGR"] = "BGR"
    size: int = 256
    mean: float = 127.5
    scale: float = 127.5

    def pack(self, crops: NDArray[np.uint8]) -> NDArray[np.float32] | NDArray[np.uint8]:
        """Turn crops into the batch this input takes.

        Args:
            crops: uint8 (N, size, size, 3) BGR.

        Returns:
            float32 (N, 3, size, size), or the crops as they are where the input is uint8 NHWC.
        """
        if self.dtype == "uint8":
            return crops
        import cv2  # here: manifests and recordings are read where there is none

        batch = np.empty(self.shape(len(crops)), np.float32)
        for planes, crop in zip(batch, crops, strict=True):
            # split first: numpy takes twice as long to convert every third byte
            for plane, channel in zip(planes, cv2.split(crop), strict=True):
                plane[...] = channel
        # in place, and in the published order of operations: x / 127.5 - 1
        batch /= np.float32(self.scale)
        batch -= np.float32(self.mean / self.scale)
        return batch

    def shape(self, batch: int) -> tuple[int, int, int, int]:
        """Shape of a batch of that many crops."""
        if self.layout == "NCHW":
            return (batch, 3, self.size, self.size)
        return (batch, self.size, self.size, 3)


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A landmark model as its users see it."""

    topology: Topology
    input: InputSpec = InputSpec()
    outputs: tuple[str, str] = OUTPUT_NAMES

    @property
    def points(self) -> int:
        """Number of landmarks."""
        return self.topology.points


def spec_of(*, points: int, size: int = 256) -> ModelSpec:
    """Spec of a float32 model as this project exports it."""
    return ModelSpec(topology=topology_of(points), input=InputSpec(size=size))
