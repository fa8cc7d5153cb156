"""Rules about numbers that fp16 cannot hold: weights as they stand, activations as they run.

What counts as safe in fp16:
- A tensor of zeros alone: 0 is exact.
- A tensor with some numbers below the smallest normal fp16: only its largest magnitude is judged,
  for what is small beside it is lost in the sums it enters anyway.
- A constant that only bounds others (Clip, Max, Min): it guards a number that is measured itself,
  such as the sum of a heatmap that the decoder clamps at 1e-6. fp16 holds 1e-6 as a subnormal, and
  a bound beyond 65504 bounds nothing that fp16 could hold.
- What ATC folds before the chip runs: constants and shapes alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.preflight.finding import GRAPH, Hit, node_rule, rule
from export.preflight.graph import Graph, dims_of, given
from parity.onnx_weights import take_in
from parity.rehearsal.arithmetic import CUBE_OPERATORS
from parity.samples import default_samples
from runtime.errors import one_line
from runtime.image.crop import crop_straight, crop_whole
from runtime.model.spec import InputSpec

LARGEST_FP16 = 65504.0
SMALLEST_NORMAL_FP16 = 6.1e-5
# operator -> its inputs that bound others
BOUNDS = {"Clip": (1, 2), "Max": None, "Min": None}
# What comes out is 0 where what goes in is.
ZERO_STAYS = {"Cast", "Expand", "Flatten", "Identity", "Reshape", "Sqrt", "Squeeze", "Unsqueeze"}
LOOPS = ("Loop", "Scan")
IMAGE_RANK = 4
COLOURS = 3
# Beyond it the graph is no network for crops, and too slow to measure.
LARGEST_SIDE_PX = 2048
# Numbers in one tensor: 1 GiB in fp32, hundreds of times what a network for crops holds.
LARGEST_TENSOR = 1 << 28
FATAL_SEVERITY = 4

CLIPPED = "Clipped to 65504: [V: ge docs, --is_weight_clip]"
BEYOND = "Beyond 65504: [V: ge docs, FAQ]"
FEW_BITS = "[I] below 6.1e-5 fp16 has no more than a few bits"
KEEP_FP32 = "Take precision_mode_v2=origin, or keep that node in fp32 with --keep_dtype"


@dataclass(frozen=True, kw_only=True)
class Magnitude:
    """A tensor's largest magnitude; `position` is that of the node that makes it, or -1."""

    tensor: str
    position: int
    largest: float

    @property
    def overflows(self) -> bool:
        """Whether fp16 cannot hold it; NaN has overflowed already."""
        return not self.largest <= LARGEST_FP16

    @property
    def vanishes(self) -> bool:
        """Whether fp16 holds none of it with its full 11 bits."""
        return 0 < self.largest < SMALLEST_NORMAL_FP16


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Activations on real crops; `reason` is why there are none, or not all."""

    magnitudes: tuple[Magnitude, ...] = ()
    reason: str = ""


@rule("fp16-weight-overflow", "changed", source=CLIPPED, remedy=KEEP_FP32)
def weight_overflow(graph: Graph) -> Iterator[Hit]:
    """Weights that ATC clips."""
    for one in weights(graph):
        if one.overflows:
            yield Hit(one.position, one.tensor, f"a weight of magnitude {one.largest:.4g}")


@rule("fp16-weight-underflow", "risk", source=FEW_BITS, remedy=KEEP_FP32)
def weight_underflow(graph: Graph) -> Iterator[Hit]:
    """Weights of which fp16 keeps a few bits at most."""
    for one in weights(graph):
        if one.vanishes:
            yield Hit(one.position, one.tensor, f"no weight above {one.largest:.4g}")


@rule("fp16-activation-overflow", "risk", source=BEYOND, remedy=KEEP_FP32)
def activation_overflow(graph: Graph) -> Iterator[Hit]:
    """Activations that become infinite."""
    for one in activations(graph).magnitudes:
        if one.overflows:
            yield Hit(one.position, one.tensor, f"magnitude {one.largest:.4g} on a sample")


@rule("fp16-activation-underflow", "risk", source=FEW_BITS, remedy=KEEP_FP32)
def activation_underflow(graph: Graph) -> Iterator[Hit]:
    """Activations of which fp16 keeps a few bits at most."""
    for one in activations(graph).magnitudes:
        if one.vanishes:
            yield Hit(one.position, one.tensor, f"nothing above {one.largest:.4g} on any sample")


@node_rule(
    "fp16-guard",
    "risk",
    "Max",
    "Clip",
    source="[I] fp16 holds nothing between 0 and 3e-8, so the guard against 0 is 0",
    remedy="Guard with 1e-6 or more, or keep that node in fp32 with --keep_dtype",
)
def guard(graph: Graph, node: onnx.NodeProto) -> str:
    """Lower bounds of divisors that fp16 rounds to 0."""
    places = range(len(node.input)) if node.op_type == "Max" else (1,)
    for name in (given(node, place) for place in places):
        bound = graph.value(name) if graph.dtype(name) == onnx.TensorProto.FLOAT else None
        if bound is None or not (bound > 0).any() or not _reached(graph, name):
            continue
        with np.errstate(over="ignore"):
            kept = bound.astype(np.float16).any()
        divided = "" if kept else _divided_by(graph, list(node.output))
        if divided:
            return f"the bound {float(bound.max()):.3g} of what {divided} divides by, 0 in fp16"
    return ""


def _divided_by(graph: Graph, names: list[str]) -> str:
    """The node that divides by one of them, as it is or in another shape; empty where none does."""
    waiting = list(filter(None, names))
    for tensor in waiting:
        for node, index in graph.users.get(tensor, ()):
            if node.op_type == "Reciprocal" or (node.op_type == "Div" and index == 1):
                return node.name or node.op_type
            if node.op_type in ZERO_STAYS and index == 0:
                waiting += [made for made in node.output if made and made not in waiting]
    return ""


@rule(
    "unmeasured",
    "risk",
    source="[I] a tensor beyond 65504 shows only when the graph runs",
    remedy="Compare the converted model with its reference (python -m parity.compare)",
)
def unmeasured(graph: Graph) -> Iterator[Hit]:
    """Activations that were not measured."""
    if activations(graph).reason:
        yield Hit(-1, GRAPH, f"activations not measured: {activations(graph).reason}")


MAGNITUDE_RULES = (
    weight_overflow,
    weight_underflow,
    activation_overflow,
    activation_underflow,
    guard,
)


@lru_cache(maxsize=1)
def weights(graph: Graph) -> tuple[Magnitude, ...]:
    """Largest magnitude of every float constant that fp16 reaches."""
    found = []
    for name, tensor in graph.constants.items():
        if tensor.data_type != onnx.TensorProto.FLOAT or not _reached(graph, name):
            continue
        numbers = graph.decoded(tensor)
        if numbers is not None and numbers.size and not _only_bounds(graph, name):
            # NaN wins over every number; no copy of what may be gigabytes
            with np.errstate(invalid="ignore"):
                largest = float(np.maximum(numbers.max(), -numbers.min()))
            found.append(Magnitude(tensor=name, position=-1, largest=largest))
    return tuple(found)


@lru_cache(maxsize=1)
def activations(graph: Graph) -> Measured:
    """Largest magnitude of every float activation that fp16 reaches, over all crops."""
    makers = {
        name: position
        for position, node in enumerate(graph.nodes)
        for name in node.output
        if name and name not in graph.fixed and _reached(graph, name)
    }
    wanted = [name for name in makers if graph.dtype(name) == onnx.TensorProto.FLOAT]
    unknown = [name for name in makers if not graph.dtype(name)]
    if not wanted and not unknown:
        return Measured()
    spec = _image_input(graph)
    if spec is None:
        return Measured(
            reason=f"its input is no float32 image (N, 3, S, S) of up to {LARGEST_SIDE_PX} px"
        )
    endless = _endless(graph)
    if endless:
        return Measured(reason=endless)
    batch = spec.pack(_sample_crops(spec.size) if graph.crops is None else graph.crops)
    try:
        largest = _run(graph, wanted, batch) if wanted else []
    # onnxruntime and protobuf raise their own classes, and RuntimeError
    except Exception as error:  # noqa: BLE001
        return Measured(reason=one_line(f"onnxruntime: {error}", 200))
    return Measured(
        magnitudes=tuple(
            Magnitude(tensor=name, position=makers[name], largest=value)
            for name, value in zip(wanted, largest, strict=True)
        ),
        reason=f"types unknown, of {unknown[0]} first" if unknown else "",
    )


def _reached(graph: Graph, name: str) -> bool:
    """Whether fp16 may hold this tensor under the planned precision mode."""
    reach = graph.plan.mode.reach
    if reach == "all":
        return bool(graph.users[name]) or name not in graph.constants
    return reach == "cube" and any(node.op_type in CUBE_OPERATORS for node, _ in graph.users[name])


def _endless(graph: Graph) -> str:
    """Why a run might not end on this machine; empty where it will."""
    if any(node.op_type in LOOPS for node in graph.nodes):
        return "it holds a loop"
    made = (name for node in graph.nodes for name in node.output)
    for name in (*(value.name for value in graph.inputs), *made):
        if math.prod(size or 1 for size in graph.shape(name) or ()) > LARGEST_TENSOR:
            return f"{name} holds {graph.shape(name)} numbers"
    return ""


def _only_bounds(graph: Graph, name: str) -> bool:
    return all(
        node.op_type in BOUNDS and index in (BOUNDS[node.op_type] or range(len(node.input)))
        for node, index in graph.users[name]
    )


def _image_input(graph: Graph) -> InputSpec | None:
    if len(graph.inputs) != 1:
        return None
    (value,) = graph.inputs
    tensor = value.type.tensor_type
    shape = dims_of(tensor)
    square = len(shape) == IMAGE_RANK and shape[1] == COLOURS and shape[2] == shape[3]
    side = shape[2] if square else None
    if tensor.elem_type != onnx.TensorProto.FLOAT or not side or side > LARGEST_SIDE_PX:
        return None
    return InputSpec(name=value.name, size=side)


@cache
def _sample_crops(size: int) -> NDArray[np.uint8]:
    """The embedded photo as a whole, and the embedded crop."""
    crops = []
    for sample in default_samples():
        picture = sample.read()
        cut = crop_straight if sample.is_crop_of(size) else crop_whole
        crops.append(cut(picture, size).pixels)
    return np.stack(crops)


def _run(graph: Graph, wanted: list[str], batch: NDArray[Any]) -> list[float]:
    """Run crop by crop; the graph itself reduces each tensor, so that none is kept in memory."""
    import onnxruntime  # the engine, only where something is measured

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = FATAL_SEVERITY
    # no tensor fused away
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session: Any = onnxruntime.InferenceSession(
        _reducing(graph, wanted).SerializeToString(),
        settings,
        providers=["CPUExecutionProvider"],
        enable_fallback=0,  # it would print to stdout, and try the same once more
    )
    (value,) = graph.inputs
    fixed_batch = dims_of(value.type.tensor_type)[0] or 1
    largest = np.zeros(len(wanted))
    for crop in batch:
        fed = np.repeat(crop[None], fixed_batch, axis=0)
        extremes = np.array(session.run(None, {value.name: fed}), np.float64).reshape(-1, 2)
        # the largest of no numbers lies below the smallest of none
        extremes[extremes[:, 0] < extremes[:, 1]] = 0
        largest = np.maximum(largest, np.abs(extremes).max(axis=1))
    return [float(number) for number in largest]


def _reducing(graph: Graph, wanted: list[str]) -> onnx.ModelProto:
    """The same graph with the largest and the smallest number of each tensor as its outputs."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    take_in(model, graph.folder)
    del model.graph.output[:]
    for index, name in enumerate(wanted):
        for operator in ("ReduceMax", "ReduceMin"):
            output = f"__preflight_{operator}_{index}"
            model.graph.node.append(onnx.helper.make_node(operator, [name], [output], keepdims=0))
            model.graph.output.append(
                onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, [])
            )
    return model
