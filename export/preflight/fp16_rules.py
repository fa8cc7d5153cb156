"""Rules about numbers that fp16 cannot hold, where the precision mode lets fp16 in."""

from __future__ import annotations

from collections.abc import Iterator

from export.preflight.finding import Hit, rule
from export.preflight.graph import Graph


@rule(
    "fp16-weight-overflow",
    "changed",
    source="Clipped to 65504: [V: ge docs, --is_weight_clip]",
    remedy="Take precision_mode_v2=origin, or keep that node in fp32 with --keep_dtype",
)
def weight_overflow(graph: Graph) -> Iterator[Hit]:
    """Weights that ATC clips."""
    for one in graph.weights:
        if one.overflows:
            yield Hit(one.position, one.tensor, f"a weight of magnitude {one.largest:.4g}")


@rule(
    "fp16-weight-underflow",
    "risk",
    source="[I] below 6.1e-5 fp16 has no more than a few bits",
    remedy="Take precision_mode_v2=origin, or keep that node in fp32 with --keep_dtype",
)
def weight_underflow(graph: Graph) -> Iterator[Hit]:
    """Weights of which fp16 keeps a few bits at most."""
    for one in graph.weights:
        if one.vanishes:
            yield Hit(one.position, one.tensor, f"no weight above {one.largest:.4g}")


@rule(
    "fp16-activation-overflow",
    "risk",
    source="Beyond 65504: [V: ge docs, FAQ]",
    remedy="Take precision_mode_v2=origin, or keep that node in fp32 with --keep_dtype",
)
def activation_overflow(graph: Graph) -> Iterator[Hit]:
    """Activations that become infinite."""
    for one in graph.activations.magnitudes:
        if one.overflows:
            yield Hit(one.position, one.tensor, f"magnitude {one.largest:.4g} on a sample")


@rule(
    "fp16-activation-underflow",
    "risk",
    source="[I] below 6.1e-5 fp16 has no more than a few bits",
    remedy="Take precision_mode_v2=origin, or keep that node in fp32 with --keep_dtype",
)
def activation_underflow(graph: Graph) -> Iterator[Hit]:
    """Activations of which fp16 keeps a few bits at most."""
    for one in graph.activations.magnitudes:
        if one.vanishes:
            yield Hit(one.position, one.tensor, f"nothing above {one.largest:.4g} on any sample")


RULES = (
    weight_overflow,
    weight_underflow,
    activation_overflow,
    activation_underflow,
)
