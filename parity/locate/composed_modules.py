"""Which of a checkpoint's modules a module of the exported form is composed of.

`export.graph.inference_form` computes some things otherwise than the checkpoint does; what it makes
of several weights carries a name that no checkpoint has, and is explained here.
"""

from __future__ import annotations

import re

# The form's module, and the checkpoint's; the first group is the stack.
COMPOSED = (
    (
        r"merge_maps\.([0-9]+)",
        ("merge_heatmaps.{}.conv", "merge_pointmaps.{}.conv", "merge_edgemaps.{}.conv"),
    ),
    (
        r"out_maps\.([0-9]+)",
        ("out_heatmaps.{}.conv", "out_pointmaps.{}.conv", "out_edgemaps.{}.conv"),
    ),
    (
        r"features\.([0-9]+)\.from_(?:block|input)",
        ("features.{}.0.conv3.conv", "features.{}.1.conv", "features.{}.1.bn"),
    ),
    (r"hgs\.([0-9]+)\.coordconv\.(?:plane_conv|batch)", ("hgs.{}.coordconv.conv",)),
)


def composed_of(path: str) -> tuple[str, ...]:
    """Name the checkpoint's modules behind one of the form's; none where it is one of them itself.

    Args:
        path: of the module, as it stands in the names of the graph's nodes and weights.
    """
    for pattern, keys in COMPOSED:
        found = re.fullmatch(pattern, path)
        if found:
            return tuple(key.format(found.group(1)) for key in keys)
    return ()
