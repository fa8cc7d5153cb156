"""Rules about the chip: precision modes it lacks, and arithmetic its AI Core lacks."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from export.preflight.finding import GRAPH, Hit, rule
from export.preflight.graph import Graph, label, type_name
from export.preflight.operators import ARITHMETIC
from parity.rehearsal.arithmetic import CUBE_OPERATORS
from runtime.machine.soc import is_old_generation

# The chip has no arithmetic for them.
WIDE_TYPES = (onnx.TensorProto.INT64, onnx.TensorProto.UINT64, onnx.TensorProto.DOUBLE)


@rule(
    "64-bit-arithmetic",
    "risk",
    source="[I] the AI Core computes neither int64 nor double: the slow AI CPU does",
    remedy="Compute in float32 or int32, or fold it with onnxsim",
)
def wide_arithmetic(graph: Graph) -> Iterator[Hit]:
    """Sums and comparisons of 64-bit numbers that are left for the chip."""
    for position, node in enumerate(graph.nodes):
        to_double = node.op_type == "Cast" and any(
            graph.dtype(name) == onnx.TensorProto.DOUBLE for name in node.output
        )
        if node.op_type not in ARITHMETIC and not to_double:
            continue
        read = [name for name in node.input if name and name not in graph.fixed]
        computed = read if node.op_type in ARITHMETIC else []
        wide = {graph.dtype(name) for name in computed} & set(WIDE_TYPES)
        if wide or (to_double and read):
            kinds = ", ".join(sorted(map(type_name, wide))) or "double"
            yield Hit(position, label(node, position), f"{node.op_type} in {kinds}")


@rule(
    "no-fp32-on-chip",
    "risk",
    source="[I] the cube unit of this chip multiplies fp16 alone",
    remedy="Take precision_mode_v2=fp16, or expect slow or failing convolutions",
)
def no_fp32_cube(graph: Graph) -> Iterator[Hit]:
    """fp32 on a chip whose cube unit has none."""
    soc = graph.plan.soc
    if soc is not None and graph.plan.precision.doubtful_on(soc):
        count = sum(node.op_type in CUBE_OPERATORS for node in graph.nodes)
        if count:
            yield Hit(-1, GRAPH, f"{count} convolutions or products in fp32 on {soc.name}")


@rule(
    "mode-without-chip",
    "refused",
    source="[V: ge docs, --precision_mode, --precision_mode_v2]",
    remedy="Take a mode this chip has, for example precision_mode_v2=origin",
)
def mode_without_chip(graph: Graph) -> Iterator[Hit]:
    """A precision mode of other chips."""
    plan = graph.plan
    if plan.soc is not None and plan.precision.missing_on(plan.soc):
        yield Hit(-1, GRAPH, f"{plan.option}={plan.mode} on {plan.soc.name}")


@rule(
    "old-chip",
    "risk",
    source="[V: CANN runtime, src/platform/platform_config]",
    remedy="If npu-smi says 910B1 to 910B4, name that: Ascend910B4 and so on",
)
def old_chip(graph: Graph) -> Iterator[Hit]:
    """The name that is taken for another chip's most often."""
    soc = graph.plan.soc
    if soc is not None and is_old_generation(soc.name):
        yield Hit(-1, GRAPH, f"{soc.name}, the old 910 of NpuArch {soc.arch}")


RULES = (
    wide_arithmetic,
    no_fp32_cube,
    mode_without_chip,
    old_chip,
)
