"""Which of a checkpoint's dictionaries holds the weights, and the architecture that they imply."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from runtime.errors import ArtifactError, one_line
from runtime.files import printable, shown
from runtime.files.archive import MOST_INFLATED_BYTES
from runtime.model.checkpoint.container import (
    Container,
    StoredTensor,
    open_container,
    refused,
    tensor_of,
)
from runtime.model.checkpoint.pickled import Made, Named
from runtime.model.spec import Architecture
from runtime.model.stages import MOST_CHANNELS, MOST_STACKS, STEM_STRIDE

NAMED_FAULTS = 3
USUAL_SIDE_PX = 256
POSSIBLE = {
    "stacks": (1, MOST_STACKS),
    "depth": (1, 6),
    "channels": (2, MOST_CHANNELS),
    "stem": (2, 1024),
    "points": (1, 10_000),
    "contours": (0, 1000),
    "size": (32, 1024),
}
# The key that every network of this family has; what stands before it is a wrapper's prefix.
ANCHOR = "pre.0.conv.weight"
# Names that torch.compile and DataParallel put into keys, at any depth.
WRAPPER_NAMES = ("module", "_orig_mod")
# Beside weights, and not needed to run them: batch norms' counters, thop's, and AveragedModel's.
NOT_NEEDED = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
# Parts of a dictionary's name that mark an average of the weights that another one holds.
AVERAGES = ("ema", "swa", "avg", "average", "averaged", "shadow", "teacher")
BUFFERS = ("running_mean", "running_var")
BUFFERS_OF_CONTOURS = "e2h_transform."
MOST_DICTIONARIES = 1000
DEEPEST = 4
# Halves become float32; many tensors that share one storage could become any size.
MOST_FOR_A_BYTE = 2

logger = logging.getLogger("starmark")


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """The weights in a checkpoint.

    Attributes:
        key: the path of their dictionary, "" for the whole file.
        others: the paths of further dictionaries with weights of such a network.
        prefix: what was taken off their keys.
        left_out: what else is there: path -> what it is.
        stored: the tensors by the network's own keys.
    """

    path: Path
    container: Container
    key: str
    others: tuple[str, ...]
    prefix: str
    left_out: Mapping[str, str]
    stored: Mapping[str, StoredTensor]
    architecture: Architecture

    @property
    def parameters(self) -> int:
        """Number of parameters, buffers apart."""
        return sum(
            tensor.values
            for key, tensor in self.stored.items()
            if not key.endswith(BUFFERS) and not key.startswith(BUFFERS_OF_CONTOURS)
        )

    def described(self) -> str:
        """What was taken and what was left, in one line."""
        taken = f"weights from {self.key}" if self.key else "weights"
        parts = [f"{taken} without the prefix {self.prefix}" if self.prefix else taken]
        if self.others:
            parts.append(f"others in {', '.join(self.others)} (--weights-key takes them)")
        if self.left_out:
            shown_out = [f"{where} ({what})" for where, what in self.left_out.items()]
            more = ", …" if len(shown_out) > 2 * NAMED_FAULTS else ""
            parts.append(f"left out: {', '.join(shown_out[: 2 * NAMED_FAULTS])}{more}")
        return printable(one_line("; ".join(parts), 600))


@contextmanager
def open_contents(path: Path, key: str = "", size: int | None = None) -> Iterator[Contents]:
    """Find the weights in a checkpoint; for the length of the block, their numbers can be read.

    Args:
        path: of the file.
        key: the dictionary to take, as the log names it; "" finds it.
        size: side of the network's input, px, which no tensor's shape tells; None is what a
            safetensors file says of itself, or 256.

    Raises:
        ArtifactError: see `open_container`; no such weights; a network that cannot be.
    """
    with open_container(path) as container:
        states = dict(_states(container.content))
        taken = _chosen(path, states, key, container.content)
        prefix, stored, skipped = _own(path, states[taken])
        left_out = {**_beside(container.content, taken), **skipped}
        needed = sum(tensor.values * 4 for tensor in stored.values())
        if needed > MOST_FOR_A_BYTE * (container.bytes + MOST_INFLATED_BYTES):
            raise refused(path, f"tensors of {needed} bytes in a file of {container.bytes}")
        yield Contents(
            path=path,
            container=container,
            key=taken,
            others=tuple(_shown_key(one) for one in states if one != taken),
            prefix=prefix,
            left_out=left_out,
            stored=stored,
            architecture=_infer(path, stored, container.metadata, size),
        )


def _states(content: Any) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Every dictionary with weights of such a network, nearest first; each is looked at once."""
    level, seen = [("", content)], set[int]()
    for _ in range(DEEPEST):
        below: list[tuple[str, Any]] = []
        for path, value in level:
            items = _items(value)
            if items is None or id(items) in seen or len(seen) >= MOST_DICTIONARIES:
                continue
            seen.add(id(items))
            if any(isinstance(k, str) and k.endswith(ANCHOR) for k in items):
                yield path, items
            named = ((k, v) for k, v in items.items() if isinstance(k, str) and _items(v))
            below += [(f"{path}.{k}" if path else k, v) for k, v in named]
        level = below


def _items(value: Any) -> dict[Any, Any] | None:
    """A dictionary's items, or those of an object that was pickled as one."""
    if isinstance(value, Made):
        return value.items or None
    return value if isinstance(value, dict) else None


def _chosen(path: Path, states: Mapping[str, Any], key: str, content: Any) -> str:
    if key:
        if key in states:
            return key
        last = [one for one in states if one.rpartition(".")[2] == key]
        if len(last) == 1:
            return last[0]
        raise ArtifactError(
            f"{shown(path)}: --weights-key {key}",
            expected=", ".join(map(_shown_key, states)) or "weights of a stacked hourglass",
            got=f"{len(last)} of that name" if last else "no weights of such a network there",
            action="Name one of them, or leave it out",
        )
    if not states:
        raise _no_network(path, content)
    # an average is another set of weights, to be chosen by name
    plain = [one for one in states if not _is_average(one)]
    return (plain or list(states))[0]


def _is_average(path: str) -> bool:
    return any(word in AVERAGES for word in path.lower().replace(".", "_").split("_"))


def _shown_key(key: str) -> str:
    return printable(key[:80]) if key else "the file itself"


def _no_network(path: Path, content: Any) -> ArtifactError:
    items = _items(content)
    if items is None:
        kind = _kind(content)
        got = f"{kind}, which was not built" if isinstance(content, Made) else f"a pickled {kind}"
    else:
        named = [f"{key!s:.60} ({_kind(value)})" for key, value in items.items()]
        more = ", …" if len(named) > NAMED_FAULTS else ""
        got = f"{', '.join(named[:NAMED_FAULTS])}{more}" if named else "no tensors"
    return ArtifactError(
        shown(path),
        expected=f"a checkpoint of a stacked hourglass: tensors under {ANCHOR}, hgs.0., …",
        got=printable(got),
        action='Save the weights alone where they come from: torch.save({"net":'
        " net.state_dict()}, path)",
    )


def _kind(value: Any) -> str:
    if isinstance(value, (Made, Named)):
        tensor = isinstance(value, Made) and value.name.startswith("torch._utils._rebuild")
        return "tensor" if tensor else value.name
    if isinstance(value, StoredTensor):
        return "tensor"
    if isinstance(value, (dict, list)):
        return f"{len(value)} {'entry' if len(value) == 1 else 'entries'}"
    return type(value).__name__


def _own(
    path: Path, items: Mapping[Any, Any]
) -> tuple[str, dict[str, StoredTensor], dict[str, str]]:
    """The network's tensors under its own names, the prefix, and what is left out."""
    named = {key: _without_wrappers(key) for key in items if isinstance(key, str)}
    before = [one.removesuffix(ANCHOR) for one in named.values() if one.endswith(ANCHOR)]
    prefix = min(before, key=len)
    stored: dict[str, StoredTensor] = {}
    left_out: dict[str, str] = {}
    wrappers: set[str] = set()
    for key, plain in named.items():
        if not plain.startswith(prefix) or plain.rpartition(".")[2] in NOT_NEEDED:
            continue
        own = plain[len(prefix) :]
        tensor = tensor_of(items[key])
        if tensor is None:
            left_out[key[:80]] = _kind(items[key])
            continue
        if own in stored:
            raise refused(path, f"two tensors for {own[:80]}, one of them under {key[:80]}")
        stored[own] = tensor
        wrappers |= {f"{word}." for word in key.split(".") if word in WRAPPER_NAMES}
    outside = [key for key, plain in named.items() if not plain.startswith(prefix)]
    if outside:
        left_out[f"{len(outside)} keys without {prefix}"] = f"{outside[0][:60]}, …"
    return "".join(sorted(wrappers, reverse=True)) + prefix, stored, left_out


def _without_wrappers(key: str) -> str:
    if not any(word in key for word in WRAPPER_NAMES):
        return key
    return ".".join(word for word in key.split(".") if word not in WRAPPER_NAMES)


def _beside(content: Any, taken: str) -> dict[str, str]:
    """The other entries of the file, by their names."""
    if not taken:
        return {}
    items = _items(content) or {}
    first = taken.split(".", maxsplit=1)[0]
    return {str(k)[:60]: _kind(v) for k, v in items.items() if k != first}


def _infer(
    path: Path,
    stored: Mapping[str, StoredTensor],
    metadata: Mapping[str, str],
    size: int | None,
) -> Architecture:
    """Read the architecture off keys and shapes; a file's own metadata must agree with them."""
    depth = max((key.count("low2.") for key in stored if key.startswith("hgs.0.")), default=0)
    try:
        edges = stored.get("out_edgemaps.0.conv.weight")
        inferred = Architecture(
            stacks=len({key.split(".")[1] for key in stored if key.startswith("hgs.")}),
            depth=depth,
            channels=stored["hgs.0.up1.bn1.weight"].shape[0],
            stem=stored[ANCHOR].shape[0],
            points=stored["out_heatmaps.0.conv.weight"].shape[0],
            contours=edges.shape[0] if edges else 0,
            size=size or USUAL_SIDE_PX,
            add_coord=msgspec.UNSET if "hgs.0.coordconv.conv.weight" in stored else False,
        )
    except (KeyError, IndexError) as error:
        first = ", ".join(sorted(stored)[:NAMED_FAULTS])
        raise ArtifactError(
            shown(path),
            expected="the keys of a stacked hourglass (pre., hgs., features., out_heatmaps., ...)",
            got=printable(f"{len(stored)} keys ({first}, …), none of which is {error}"),
            action="Use the checkpoint of this network, whole and unchanged",
        ) from error
    if "architecture" in metadata:
        inferred = _checked_metadata(path, inferred, metadata["architecture"], size)
    for name, (smallest, largest) in POSSIBLE.items():
        value = getattr(inferred, name)
        if not smallest <= value <= largest:
            raise refused(path, f"{name} {value}, outside {smallest} to {largest}")
    if inferred.size % (STEM_STRIDE * 2**inferred.depth):
        a = inferred
        raise refused(path, f"an input side of {a.size} px that {a.depth} levels cannot halve")
    return inferred


def _checked_metadata(
    path: Path, inferred: Architecture, written: str, size: int | None
) -> Architecture:
    """The side of the input cannot be read off shapes, so the metadata has the last word on it."""
    try:
        said = json.loads(written)
        # our files say "edges" where this code says "contours"
        said["contours"] = said.pop("edges", said.get("contours"))
        stated = msgspec.convert(said, Architecture)
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise refused(path, f"unreadable architecture in its metadata: {error}") from error
    if msgspec.structs.replace(stated, size=inferred.size) != inferred:
        raise refused(path, f"metadata that says {stated}, shapes that say {inferred}")
    if size not in (None, stated.size):
        raise refused(path, f"metadata that says {stated.size} px, where {size} are asked for")
    return stated
