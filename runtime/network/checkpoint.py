"""From a checkpoint file to the network it holds, strictly and without running anything in it."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from runtime.errors import ArtifactError, one_line
from runtime.files import sha256_file
from runtime.machine.packages import importing
from runtime.model.spec import Architecture
from runtime.model.stages import MOST_CHANNELS, MOST_STACKS, STEM_STRIDE
from runtime.network.coord_conv import CoordConv, coordinate_planes
from runtime.network.hourglass import StackedHourglass

NAMED_FAULTS = 3
STATE_KEYS = ("net", "state_dict")
INPUT_SIDE_PX = 256
POSSIBLE = {
    "stacks": (1, MOST_STACKS),
    "depth": (1, 6),
    "channels": (2, MOST_CHANNELS),
    "stem": (2, 1024),
    "points": (1, 10_000),
    "contours": (1, 1000),
    "size": (32, 1024),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A checkpoint's tensors in float32, and the architecture its keys and shapes imply."""

    path: Path
    architecture: Architecture
    state: Mapping[str, Tensor]

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return sha256_file(self.path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a `.pkl`, `.pth` or `.safetensors` file of tensors.

    A pickle is read with `weights_only=True`: one that would run code is refused and does not run.
    Tensors stored as fp16 or bf16 become float32.

    Raises:
        ArtifactError: absent, truncated, not a checkpoint, other things than tensors in it, tensors
            that are not finite, or keys that are not this network's.
        BackendUnavailable: a `.safetensors` file, and the package of that name is missing.
    """
    if not path.is_file() or path.stat().st_size == 0:
        raise _refused(path, "an empty file" if path.is_file() else "no such file")
    if path.suffix.lower() == ".safetensors":
        state, metadata = _read_safetensors(path)
    else:
        state, metadata = _read_pickle(path), {}
    if not state:
        raise _refused(path, "no tensors")
    state = {key: _as_stored(path, key, tensor) for key, tensor in state.items()}
    return Checkpoint(path=path, architecture=_infer(path, state, metadata), state=state)


def build_network(checkpoint: Checkpoint) -> StackedHourglass:
    """Build the network a checkpoint holds, in evaluation mode.

    Raises:
        ArtifactError: missing or extra keys, or wrong shapes; the first few are named and all are
            counted.
    """
    with torch.device("meta"):  # shapes alone: a lying file must not make us allocate
        network = StackedHourglass(checkpoint.architecture)
    expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    found = {key: tuple(tensor.shape) for key, tensor in checkpoint.state.items()}
    missing = [key for key in expected if key not in found]
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


def _refused(path: Path, got: str, cause: str = "") -> ArtifactError:
    return ArtifactError(
        str(path),
        expected="a checkpoint: a .pkl, .pth or .safetensors file that holds only tensors",
        got=one_line(f"{got}: {cause}" if cause else got, 300),
        action="Copy the file again and compare its size with the original's",
    )


def _read_pickle(path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            # notes on pickle protocols, before the verdict that follows as an error
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own text advises weights_only=False: never passed on
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named is None:
            raise _refused(path, "not a readable pickle") from error
        raise ArtifactError(
            str(path),
            expected="a pickle that holds only tensors",
            got=f"one that would run {named.group(1)}; it was not run",
            action="Save it again on the machine it comes from, as"
            ' torch.save({"net": net.state_dict()}, path)',
        ) from error
    # a damaged file can fail anywhere inside torch's reader, with whatever that place raises
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"
        raise _refused(path, "a truncated or damaged file", detail) from error
    for key in STATE_KEYS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        raise _refused(path, f"a pickled {type(loaded).__name__}")
    return dict(loaded)


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    with importing(str(path)):
        from safetensors import SafetensorError
        from safetensors.torch import load
    try:
        # not by its path: that must be UTF-8, and the file is mapped into memory
        content = path.read_bytes()
        state = load(content)
        header = content[8 : 8 + int.from_bytes(content[:8], "little")]
        return state, json.loads(header).get("__metadata__", {})
    except (SafetensorError, AssertionError, KeyError, RuntimeError, ValueError) as error:
        raise _refused(path, "a truncated or damaged file", str(error)) from error


def _as_stored(path: Path, key: Any, tensor: Any) -> Tensor:
    if not isinstance(key, str) or not isinstance(tensor, Tensor):
        raise _refused(path, f"{type(tensor).__name__} under key {key!r}")
    plain = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta
    if not plain or tensor.is_complex():
        raise _refused(path, f"a tensor that is not plain numbers under {key!r}")
    # a stride of 0 lets a few bytes claim any size
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise _refused(path, f"{key} of shape {tuple(tensor.shape)}, larger than its storage")
    stored: Tensor = tensor.detach()
    if not stored.is_floating_point():
        return stored
    stored = stored.to(torch.float32)
    if not bool(torch.isfinite(stored).all()):
        raise _refused(path, f"NaN or infinity in {key}")
    return stored


def _infer(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Architecture:
    """Read the architecture off keys and shapes; a file's own metadata must agree with them."""
    depth = max((key.count("low2.") for key in state if key.startswith("hgs.0.")), default=0)
    try:
        inferred = Architecture(
            stacks=len({key.split(".")[1] for key in state if key.startswith("hgs.")}),
            depth=depth,
            channels=state["hgs.0.coordconv.conv.weight"].shape[0],
            stem=state["pre.0.conv.weight"].shape[0],
            points=state["out_heatmaps.0.conv.weight"].shape[0],
            contours=state["out_edgemaps.0.conv.weight"].shape[0],
            size=INPUT_SIDE_PX,
        )
    except (KeyError, IndexError) as error:
        first = ", ".join(sorted(state)[:NAMED_FAULTS])
        raise ArtifactError(
            str(path),
            expected="the keys of a stacked hourglass (pre., hgs., features., out_heatmaps., ...)",
            got=f"{len(state)} keys ({first}, …), none of which is {error}",
            action="Use the checkpoint of this network, whole and unchanged",
        ) from error
    if "architecture" in metadata:
        inferred = _checked_metadata(path, inferred, metadata["architecture"])
    _check_possible(path, inferred)
    return inferred


def _check_possible(path: Path, a: Architecture) -> None:
    """Refuse what no network of this family can be, before anything is built by it."""
    for name, (smallest, largest) in POSSIBLE.items():
        value = getattr(a, name)
        if not smallest <= value <= largest:
            raise _refused(path, f"{name} {value}, outside {smallest} to {largest}")
    if a.size % (STEM_STRIDE * 2**a.depth):
        raise _refused(path, f"an input side of {a.size} px that {a.depth} levels cannot halve")


def _checked_metadata(path: Path, inferred: Architecture, written: str) -> Architecture:
    """The side of the input cannot be read off shapes, so the metadata has the last word on it."""
    try:
        said = json.loads(written)
        # our files say "edges" where this code says "contours"
        said["contours"] = said.pop("edges", said.get("contours"))
        stated = msgspec.convert(said, Architecture)
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise _refused(path, "unreadable architecture in its metadata", str(error)) from error
    if msgspec.structs.replace(stated, size=inferred.size) != inferred:
        raise _refused(path, f"metadata that says {stated}, shapes that say {inferred}")
    return stated
