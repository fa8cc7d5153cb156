"""From a checkpoint file to the network it holds, strictly and without running anything in it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from runtime.errors import ArtifactError
from runtime.files import sha256_file, shown
from runtime.model.checkpoint.container import Container, StoredTensor, refused
from runtime.model.checkpoint.contents import NAMED_FAULTS, NOT_NEEDED, open_contents
from runtime.model.spec import Architecture
from runtime.network.coord_conv import CoordConv, coordinate_planes
from runtime.network.hourglass import StackedHourglass

logger = logging.getLogger("starmark")


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A checkpoint's tensors in float32, and the architecture its keys and shapes imply.

    Attributes:
        left_out: what else it holds: key -> what it is.
    """

    path: Path
    architecture: Architecture
    state: Mapping[str, Tensor]
    left_out: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return sha256_file(self.path)


def load_checkpoint(path: Path, key: str = "", size: int | None = None) -> Checkpoint:
    """Read the weights in a checkpoint; see `open_contents`, also for `key` and `size`.

    Tensors stored as fp16, bf16 or float64 become float32.

    Raises:
        ArtifactError: as `open_contents`; numbers that are damaged or not finite.
    """
    with open_contents(path, key, size) as contents:
        logger.info("%s: %s", shown(path.name), contents.described())
        state = {
            name: _tensor(path, contents.container, name, stored)
            for name, stored in contents.stored.items()
        }
    return Checkpoint(
        path=path,
        architecture=contents.architecture,
        state=state,
        left_out=contents.left_out,
    )


def build_network(checkpoint: Checkpoint) -> StackedHourglass:
    """Build the network a checkpoint holds, in evaluation mode.

    Raises:
        ArtifactError: missing or extra keys, or wrong shapes; the first few are named and all are
            counted.
    """
    with torch.device("meta"):  # shapes alone: a lying file must not make us allocate
        network = StackedHourglass(checkpoint.architecture)
    expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    expected = {key: shape for key, shape in expected.items() if not key.endswith(NOT_NEEDED)}
    found = {key: tuple(tensor.shape) for key, tensor in checkpoint.state.items()}
    missing = [
        f"{key}, a {checkpoint.left_out[key]}" if key in checkpoint.left_out else key
        for key in expected
        if key not in found
    ]
    extra = [key for key in found if key not in expected]
    shapes = [
        f"{key} {found[key]} for {expected[key]}"
        for key in expected
        if key in found and found[key] != expected[key]
    ]
    kinds = [
        f"{key} {checkpoint.state[key].dtype}"
        for key, tensor in network.state_dict().items()
        if key in found and tensor.is_floating_point() != checkpoint.state[key].is_floating_point()
    ]
    if missing or extra or shapes or kinds:
        a = checkpoint.architecture
        raise ArtifactError(
            str(checkpoint.path),
            expected=f"the {len(expected)} keys of {a.stacks} stacks x {a.depth} levels,"
            f" {a.channels} channels, {a.points} points",
            got="; ".join(
                f"{len(faults)} {what} ({', '.join(faults[:NAMED_FAULTS])}"
                f"{', …' if len(faults) > NAMED_FAULTS else ''})"
                for what, faults in (
                    ("missing", missing),
                    ("unexpected", extra),
                    ("of wrong shape", shapes),
                    ("of wrong type", kinds),
                )
                if faults
            ),
            action="Use the checkpoint of this network, whole and unchanged",
        )
    # assigned to the shapes: to draw initial values takes longer than to read the file
    held = {
        key: checkpoint.state[key]
        .to(tensor.dtype)
        .clone(memory_format=torch.contiguous_format)  # the network's own
        if key in expected
        else torch.zeros((), dtype=tensor.dtype)  # a counter of batches
        for key, tensor in network.state_dict().items()
    }
    network.load_state_dict(held, strict=True, assign=True)
    for module in network.modules():
        if isinstance(module, CoordConv):  # its planes are in no file
            module.planes = coordinate_planes(module.planes.shape[-1])
    return network.eval()


def parameter_count(network: StackedHourglass) -> int:
    """Number of parameters, buffers apart."""
    return sum(parameter.numel() for parameter in network.parameters())


def _tensor(path: Path, container: Container, key: str, stored: StoredTensor) -> Tensor:
    content = container.read(stored.storage)
    if container.swapped:
        np.frombuffer(content, f"u{stored.itemsize}").byteswap(inplace=True)
    dtype = getattr(torch, stored.dtype)
    flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
    tensor = flat.as_strided(stored.shape, stored.stride, stored.offset)
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.to(torch.float32)
    if not bool(torch.isfinite(tensor).all()):
        raise refused(path, f"NaN or infinity in {key[:80]}")
    return tensor
