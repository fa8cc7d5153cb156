"""An exported graph that takes the crops' own bytes: the host crops, and computes nothing."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtime.model.spec import INPUT_NAME, InputSpec

# Where the float graph's own input was.
NORMALISED = f"{INPUT_NAME}.normalised"


def with_byte_input(graph: onnx.ModelProto, spec: InputSpec) -> onnx.ModelProto:
    """Put the normalisation in front of a float32 graph.

    The same operations in the same order as `InputSpec.pack`, so that an engine for IEEE
    arithmetic gives the same bits. The transpose comes first: it then moves one byte a value.

    Args:
        graph: of `simplify`, with input `image` float32 (N, 3, S, S); left as it is.
        spec: what that input takes.

    Returns:
        A graph with input `image` uint8 (N, S, S, 3) BGR.
    """
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    inside = made.graph
    for node in inside.node:
        for index, name in enumerate(node.input):
            if name == INPUT_NAME:
                node.input[index] = NORMALISED
    nodes, constants = _normalisation(spec)
    rest = list(inside.node)
    del inside.node[:]
    inside.node.extend([*nodes, *rest])
    inside.initializer.extend(constants)
    batch = inside.input[0].type.tensor_type.shape.dim[0].dim_param
    del inside.input[:]
    shape = [batch, *spec.of_bytes().shape(1)[1:]]
    inside.input.append(helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, shape))
    return made


def _normalisation(spec: InputSpec) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Transpose, Cast, Div, Sub, named after what leaves them; and their two constants."""
    values = {"scale": spec.scale, "shift": spec.mean / spec.scale}
    constants = [
        numpy_helper.from_array(np.array(value, np.float32), f"{NORMALISED}.{name}")
        for name, value in values.items()
    ]
    planes, floats, scaled = (f"{NORMALISED}.{name}" for name in ("planes", "floats", "scaled"))
    scale, shift = (constant.name for constant in constants)
    nodes = [
        helper.make_node("Transpose", [INPUT_NAME], [planes], name=planes, perm=[0, 3, 1, 2]),
        helper.make_node("Cast", [planes], [floats], name=floats, to=TensorProto.FLOAT),
        helper.make_node("Div", [floats, scale], [scaled], name=scaled),
        helper.make_node("Sub", [scaled, shift], [NORMALISED], name=NORMALISED),
    ]
    return nodes, constants
