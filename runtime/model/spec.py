"""The facts about a model that every stage shares, and how crops become its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from runtime.machine.buffers import Scratch
from runtime.model.topology import Topology, topology_of

INPUT_NAME = "image"
OUTPUT_NAMES = ("landmarks", "covariance")
# Metadata of our graphs: which weights they were made from.
CHECKPOINT_KEY = "starmark.checkpoint_sha256"

_CHANNELS = Scratch()


class Architecture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Widths of a stacked hourglass; `size` is the side of its square input in px.

    Attributes:
        contours: 0 where the network was trained without edge and point maps (use_AAM=False).
        add_coord: False without coordinate channels; left out of files where it is True.
    """

    stacks: int
    depth: int
    channels: int
    stem: int
    points: int
    contours: int
    size: int = 256
    add_coord: bool | UnsetType = UNSET

    @property
    def has_contours(self) -> bool:
        """Whether heatmaps are weighed by point maps and by maps of the contours."""
        return self.contours > 0

    @property
    def has_coordinates(self) -> bool:
        """Whether its first convolutions see coordinate channels."""
        return self.add_coord is not False


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

    def pack(
        self,
        crops: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
        out: NDArray[Any] | None = None,
    ) -> NDArray[np.float32] | NDArray[np.uint8]:
        """Pack crops into a batch for this input.

        Args:
            crops: N of uint8 (size, size, 3) BGR.
            out: where to write the batch, of this input's shape and dtype; None is new memory, or
                for uint8 NHWC the crops' own where they are one array or one crop.

        Returns:
            float32 (N, 3, size, size), or the crops' own bytes where the input is uint8 NHWC.
        """
        if self.dtype == "uint8":
            if out is not None:
                return np.stack([*crops], out=out)
            if isinstance(crops, np.ndarray):
                return crops
            return crops[0][np.newaxis] if len(crops) == 1 else np.stack(crops)
        import cv2  # here: manifests and recordings are read where there is none

        batch = np.empty(self.shape(len(crops)), np.float32) if out is None else out
        scale, mean = np.float32(self.scale), np.float32(self.mean / self.scale)
        with _CHANNELS.lent((3, self.size, self.size), np.uint8) as channels:
            for planes, crop in zip(batch, crops, strict=True):
                # split first: numpy takes twice as long to convert every third byte
                for plane, channel in zip(planes, cv2.split(crop, [*channels]), strict=True):
                    plane[...] = channel
                    # in place, and in the published order of operations: x / 127.5 - 1
                    np.divide(plane, scale, out=plane)
                    np.subtract(plane, mean, out=plane)
        return batch

    def of_bytes(self) -> InputSpec:
        """The same input where the model normalises: the crops' own bytes."""
        return msgspec.structs.replace(self, dtype="uint8", layout="NHWC")

    def shape(self, batch: int) -> tuple[int, int, int, int]:
        """Shape of a batch of that many crops."""
        if self.layout == "NCHW":
            return (batch, 3, self.size, self.size)
        return (batch, self.size, self.size, 3)


# Channels, rows and columns of one picture's share of a tensor inside the network.
TapShape = tuple[int, int, int]


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A landmark model as its users see it."""

    topology: Topology
    input: InputSpec = InputSpec()
    outputs: tuple[str, str] = OUTPUT_NAMES
    # left out where there are none: what is written without taps keeps its bytes and its digest
    debug_taps: dict[str, TapShape] | UnsetType = msgspec.field(default=UNSET, name="taps")

    @property
    def taps(self) -> Mapping[str, TapShape]:
        """A debug bundle's further outputs, in its order; empty in any other."""
        return {} if self.debug_taps is UNSET else self.debug_taps

    @property
    def points(self) -> int:
        """Number of landmarks."""
        return self.topology.points


def spec_of(
    *,
    points: int,
    size: int = 256,
    taps: Mapping[str, TapShape] | None = None,
    bytes_in: bool = False,
) -> ModelSpec:
    """Spec of a model as this project exports it; with `bytes_in` it normalises crops itself."""
    spec = InputSpec(size=size)
    return ModelSpec(
        topology=topology_of(points),
        input=spec.of_bytes() if bytes_in else spec,
        debug_taps=dict(taps) if taps else UNSET,
    )


def without_taps(spec: ModelSpec) -> ModelSpec:
    """The same model without its taps."""
    return msgspec.structs.replace(spec, debug_taps=UNSET)
