"""Rules about inputs and outputs: types, sizes and names."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from export.preflight.finding import GRAPH, Hit, rule
from export.preflight.graph import Graph, dims_of, label, type_name

# acl keeps 128 bytes for a tensor's name, its end included, and replaces one that does not fit by
# acl_modelId_N_output_I [V: ge acl_mdl.h:26, model_common.cpp:404].
LONGEST_NAME = 127
INPUTS_DOC = "[V: ge docs, general_restrictions.md]"
FLOAT_TYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
BYTE_TYPES = (onnx.TensorProto.UINT8, onnx.TensorProto.INT8)


@rule(
    "no-input-or-output",
    "refused",
    source="E16001: [V: ge docs, error codes]",
    remedy="Name the graph's inputs and outputs when it is exported",
)
def no_end(graph: Graph) -> Iterator[Hit]:
    """A graph without nodes, inputs or outputs."""
    parts = {
        "nodes": graph.model.graph.node,
        "inputs": graph.inputs,
        "outputs": graph.model.graph.output,
    }
    missing = [name for name, values in parts.items() if not values]
    if missing:
        yield Hit(-1, GRAPH, f"no {' and no '.join(missing)}")


@rule(
    "input-type",
    "risk",
    source=f"not documented: {INPUTS_DOC}; the parser takes any: [V: ge onnx_data_parser.cc]",
    remedy="Export with a float32 input",
)
def input_type(graph: Graph) -> Iterator[Hit]:
    """Inputs of another type than is documented."""
    for value in graph.inputs:
        found = value.type.tensor_type.elem_type
        if found not in (*FLOAT_TYPES, *BYTE_TYPES):
            yield Hit(-1, value.name, f"an input of {type_name(found)}")


@rule(
    "byte-input",
    "refused",
    source=f"uint8 through AIPP alone: {INPUTS_DOC}",
    remedy="Convert the float graph; AIPP makes its input of uint8 (--insert_op_conf)",
)
def byte_input(graph: Graph) -> Iterator[Hit]:
    """Inputs of bytes, which only AIPP may make."""
    for value in graph.inputs:
        found = value.type.tensor_type.elem_type
        if found in BYTE_TYPES:
            yield Hit(-1, value.name, f"an input of {type_name(found)}")


@rule(
    "dynamic-dimension",
    "refused",
    source="E10001: [V: ge omg.cc, option_utils.cc]",
    remedy="Give batches (--batch_sizes, --dynamic_batch_size), and fix all other sizes",
)
def dynamic_dimension(graph: Graph) -> Iterator[Hit]:
    """Dimensions without a number, but for a batch that the conversion will give one."""
    for value in graph.inputs:
        tensor = value.type.tensor_type
        if not tensor.HasField("shape"):
            yield Hit(-1, value.name, "an input of unknown rank")
            continue
        for axis, size in enumerate(dims_of(tensor)):
            if size is None or size < 0:
                if axis == 0 and graph.plan.batches and value is graph.inputs[0]:
                    continue
                name = tensor.shape.dim[axis].dim_param or "without a name"
                yield Hit(-1, value.name, f"axis {axis} is dynamic ({name})")


@rule(
    "empty-dimension",
    "refused",
    source=INPUTS_DOC,
    remedy="Export with an input that holds something",
)
def empty_dimension(graph: Graph) -> Iterator[Hit]:
    """Inputs that hold nothing."""
    for value in graph.inputs:
        sizes = dims_of(value.type.tensor_type)
        if 0 in sizes:
            yield Hit(-1, value.name, f"axis {sizes.index(0)} has 0 elements")


@rule(
    "duplicate-node",
    "refused",
    source="E13009: [V: ge parser/common/pre_checker.cc:95, CheckName; inputs are nodes, too]",
    remedy="Give each node its own name",
)
def duplicate_node(graph: Graph) -> Iterator[Hit]:
    """Two nodes of one name in one graph, or a node that bears an input's."""
    taken = {value.name for value in graph.inputs}
    yield from _repeated(graph.model.graph, taken, iter(range(len(graph.nodes))))


def _repeated(proto: onnx.GraphProto, taken: set[str], positions: Iterator[int]) -> Iterator[Hit]:
    for node in proto.node:
        position = next(positions, -1)
        if node.name and node.name in taken:
            yield Hit(position, node.name, f"a second node of that name ({node.op_type})")
        taken.add(node.name)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _repeated(attribute.g, set(), positions)


@rule(
    "long-name",
    "changed",
    source="127 letters: [V: ge acl model_common.cpp:404]; outputs are node:index:name:"
    " [V: ge api/atc/omg.cc:517]",
    remedy="Choose shorter names for inputs, outputs and the nodes that make them",
)
def long_name(graph: Graph) -> Iterator[Hit]:
    """Names of inputs and outputs that do not fit where a converted model keeps them."""
    for value in graph.inputs:
        if len(value.name.encode()) > LONGEST_NAME:
            yield Hit(-1, value.name[:40] + "...", f"an input's name of {len(value.name)} letters")
    makers = {
        name: (label(node, position), index)
        for position, node in enumerate(graph.nodes)
        for index, name in enumerate(node.output)
    }
    for value in graph.model.graph.output:
        node, index = makers.get(value.name, ("", 0))
        whole = f"{node}:{index}:{value.name}"
        if len(whole.encode()) > LONGEST_NAME:
            yield Hit(-1, value.name[:40] + "...", f"{len(whole)} letters as {whole[:60]}...")


@rule(
    "unusable-name",
    "refused",
    source="--input_shape is cut at every ; and its names are trimmed: [V: ge option_utils.cc:846];"
    " outputs are node:index:name: [V: ge api/atc/omg.cc:517]",
    remedy="Use letters, digits, _ - . and /",
)
def unusable_name(graph: Graph) -> Iterator[Hit]:
    """Names that cannot be told apart in ATC's options, or in a converted model's outputs."""
    for value in graph.inputs:
        if not value.name or ";" in value.name or value.name != value.name.strip():
            yield Hit(-1, repr(value.name), "an input's name that does not fit name:1,3,256,256")
    for value in graph.model.graph.output:
        if not value.name or ":" in value.name:
            yield Hit(-1, repr(value.name), "an output's name that does not fit node:0:name")


RULES = (
    no_end,
    input_type,
    byte_input,
    dynamic_dimension,
    empty_dimension,
    duplicate_node,
    long_name,
    unusable_name,
)
