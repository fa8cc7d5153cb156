"""Rules about Resize, as its plugin has it."""

from __future__ import annotations

from collections.abc import Iterator

from export.preflight import resize
from export.preflight.finding import Hit, rule
from export.preflight.graph import Graph, given, integer, integers, nodes_of, text

PLUGIN = "[V: ops-nn resize_onnx_plugin.cpp]"
KERNEL = "[V: ops-cv resize_nearest_neighbor_v2/op_kernel, of Ascend950; of other chips: I]"
DOCS = "[V: hiascend.com, ONNX operator Resize, CANN 8.0 to 9.1]"


@rule(
    "resize-size",
    "refused",
    source=f"{PLUGIN}; constant: {DOCS}",
    remedy="Fold it with onnxsim, or give it as a constant",
)
def resize_size(graph: Graph) -> Iterator[Hit]:
    """Resizes without a size, or with one that is computed."""
    for position, name, node in nodes_of(graph, "Resize"):
        scales, sizes = given(node, resize.SCALES), given(node, resize.SIZES)
        if len(node.input) <= resize.SCALES or not (scales or sizes):
            yield Hit(position, name, "neither scales nor sizes")
        elif graph.value(sizes or scales) is None:
            yield Hit(position, name, f"a computed size, {sizes or scales}")


@rule(
    "resize-mode",
    "refused",
    source=f"{PLUGIN}; no cubic: {DOCS}",
    remedy="Interpolate by nearest or linear",
)
def resize_mode(graph: Graph) -> Iterator[Hit]:
    """Interpolations ATC does not have."""
    for position, name, node in nodes_of(graph, "Resize"):
        mode = text(node, "mode", "nearest")
        if mode not in ("nearest", "linear"):
            yield Hit(position, name, f"mode {mode}")


@rule(
    "resize-rank",
    "refused",
    source=DOCS,
    remedy="Resize (N, C, H, W); a volume only linearly, with align_corners",
)
def resize_rank(graph: Graph) -> Iterator[Hit]:
    """Resizes of what is no image."""
    for position, name, node in nodes_of(graph, "Resize"):
        shape = graph.shape(given(node, 0))
        mode = text(node, "mode", "nearest")
        where = text(node, "coordinate_transformation_mode", "half_pixel")
        if shape is None or len(shape) == resize.IMAGE_RANK:
            continue
        volume = mode == "linear" and where in ("align_corners", "pytorch_half_pixel")
        if len(shape) != resize.IMAGE_RANK + 1 or not volume:
            yield Hit(position, name, f"{mode} ({where}) over {len(shape)} axes")


@rule(
    "resize-pixels",
    "changed",
    source=f"nearest_mode is ignored: {PLUGIN}; the chip's pixels: {KERNEL}",
    remedy="Upsample by a whole factor with asymmetric and floor, as torch does",
)
def resize_pixels(graph: Graph) -> Iterator[Hit]:
    """Nearest Resizes that take other pixels on the chip."""
    for position, name, node in nodes_of(graph, "Resize"):
        if text(node, "mode", "nearest") == "nearest":
            found = resize.nearest_fault(graph, node)
            if found:
                yield Hit(position, name, found)


@rule(
    "resize-ignored",
    "changed",
    source=PLUGIN,
    remedy="Export without them: one scale for each of the four axes, no antialias",
)
def resize_ignored(graph: Graph) -> Iterator[Hit]:
    """Attributes of opset 18 that the plugin reads over."""
    for position, name, node in nodes_of(graph, "Resize"):
        found = (
            [f"antialias {integer(node, 'antialias', 0)}"] if integer(node, "antialias", 0) else []
        )
        if integers(node, "axes") is not None:
            found.append("axes")
        policy = text(node, "keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            found.append(f"keep_aspect_ratio_policy {policy}")
        if found:
            yield Hit(position, name, f"{', '.join(found)}, not computed")


RULES = (
    resize_size,
    resize_mode,
    resize_rank,
    resize_pixels,
    resize_ignored,
)
