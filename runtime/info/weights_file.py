"""Facts of a checkpoint file: without torch, and nothing in it is run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from runtime.model.checkpoint.contents import open_contents


def read_weights(path: Path) -> dict[str, Any]:
    """What `open_contents` finds, and whether all of its numbers are whole.

    Raises:
        ArtifactError: as `open_contents`.
    """
    with open_contents(path) as contents:
        tensors = contents.stored.values()
        for key in {tensor.storage for tensor in tensors}:
            contents.container.read(key)
    architecture = contents.architecture
    return {
        "bytes": contents.container.bytes,
        "container": contents.container.kind,
        "weights_key": contents.key,
        **({"other_weights": list(contents.others)} if contents.others else {}),
        **({"prefix": contents.prefix} if contents.prefix else {}),
        **({"left_out": dict(contents.left_out)} if contents.left_out else {}),
        "tensors": len(tensors),
        "dtypes": dict(sorted(Counter(tensor.dtype for tensor in tensors).items())),
        "metadata": contents.container.metadata,
        "parameters": contents.parameters,
        "points": architecture.points,
        "input_size_px": architecture.size,
        "architecture": msgspec.to_builtins(architecture),
    }
