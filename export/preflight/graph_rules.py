"""Rules about the graph as a whole: versions, inputs and outputs, names, weights, the chip."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import onnx

from export.atc.options import FIRST_OPSET, LAST_OPSET
from export.preflight.finding import GRAPH, Hit, rule
from export.preflight.graph import DATA_SHAPED, Graph, dims_of, label, type_name
from parity.onnx_weights import external_file, is_external
from parity.rehearsal.arithmetic import CUBE_OPERATORS
from runtime.errors import ArtifactError
from runtime.machine.soc import is_old_generation

# acl keeps 128 bytes for a tensor's name, its end included, and replaces one that does not fit by
# acl_modelId_N_output_I [V: ge acl_mdl.h:26, model_common.cpp:404].
LONGEST_NAME = 127
BYTE_TYPES = (onnx.TensorProto.UINT8, onnx.TensorProto.INT8)


@rule(
    "opset",
    "refused",
    source="11 to 18: [V: ge docs, --framework]; others give E16002: [V: ge"
    " parser/onnx/onnx_parser.cc]",
    remedy="Export at opset 13 (--exporter torchscript) or 18 (--exporter dynamo)",
)
def opset(graph: Graph) -> Iterator[Hit]:
    """An opset that no operator is registered for."""
    if not FIRST_OPSET <= graph.opset <= LAST_OPSET:
        yield Hit(-1, GRAPH, f"opset {graph.opset or 'none'}")


@rule(
    "byte-input",
    "refused",
    source="uint8 through AIPP alone: [V: ge docs, general_restrictions.md]",
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
            batch = axis == 0 and graph.plan.batches and value is graph.inputs[0]
            if (size is None or size < 0) and not batch:
                name = tensor.shape.dim[axis].dim_param or "without a name"
                yield Hit(-1, value.name, f"axis {axis} is dynamic ({name})")


@rule(
    "duplicate-node",
    "refused",
    source="E13009: [V: ge parser/common/pre_checker.cc:95, CheckName; inputs are nodes, too]",
    remedy="Give each node its own name",
)
def duplicate_node(graph: Graph) -> Iterator[Hit]:
    """Two nodes of one name, or a node that bears an input's; a subgraph may repeat a name."""
    taken = {value.name for value in graph.inputs}
    for node in graph.model.graph.node:
        if node.name and node.name in taken:
            yield Hit(-1, node.name, f"a second node of that name ({node.op_type})")
        taken.add(node.name)


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


@rule(
    "external-data",
    "refused",
    source="looked for beside the model's real path: [V: ge docs, --model;"
    " parser/onnx/onnx_parser.cc, SetExternalPath]",
    remedy="Put both files into one folder, links followed (cp -L), or save the model again",
)
def external_data(graph: Graph) -> Iterator[Hit]:
    """Weights whose file is absent, elsewhere or too short; one finding for each fault."""
    found: dict[str, list[str]] = defaultdict(list)
    for tensor in filter(is_external, graph.constants.values()):
        found[_external_fault(graph, tensor)].append(tensor.name)
    found.pop("", None)
    for fault, names in found.items():
        yield Hit(-1, names[0], fault + (f" ({len(names)} tensors)" if len(names) > 1 else ""))


def _external_fault(graph: Graph, tensor: onnx.TensorProto) -> str:
    try:
        file = external_file(tensor, graph.folder)
    except ArtifactError as error:
        return error.got
    if graph.decoded(tensor) is None:
        return f"weights in {file.name!r} that do not have the shape and type in the model"
    if graph.path and not (graph.path.resolve().parent / file.relative_to(file.parent)).exists():
        return f"weights in {file.name!r}, beside the model's link and not where that leads"
    return ""


@rule(
    "dynamic-output",
    "risk",
    source="[I] shapes that depend on numbers are computed on the host, call by call",
    remedy="Keep what selects by value outside the graph",
)
def dynamic_output(graph: Graph) -> Iterator[Hit]:
    """Outputs whose shape depends on numbers, though the inputs' is fixed."""
    moving: dict[str, str] = {}
    for position, node in enumerate(graph.nodes):
        shaped = label(node, position) if node.op_type in DATA_SHAPED else ""
        source = shaped or next((moving[name] for name in node.input if name in moving), "")
        for name in node.output if source else ():
            shape = graph.shape(name)
            if shape is None or None in shape:
                moving[name] = source
    for name in (value.name for value in graph.model.graph.output):
        if name in moving and not graph.plan.gears:
            yield Hit(-1, name, f"an output whose shape depends on the numbers at {moving[name]}")


@rule(
    "fp16-graph",
    "risk",
    source="[V: issue PaddlePaddle/Paddle2ONNX#1301]",
    remedy="Give ATC the float32 graph and let --precision_mode_v2 choose",
)
def fp16_graph(graph: Graph) -> Iterator[Hit]:
    """Weights that were rounded to fp16 before ATC read them."""
    halves = [
        name
        for name, tensor in graph.constants.items()
        if tensor.data_type == onnx.TensorProto.FLOAT16
    ]
    if halves:
        yield Hit(-1, GRAPH, f"{len(halves)} weights of float16, the first {halves[0]}")


@rule(
    "no-fp32-on-chip",
    "risk",
    source="[I] the cube unit of this chip multiplies fp16 alone",
    remedy="Take precision_mode_v2=fp16, or expect slow or failing convolutions",
)
def no_fp32_cube(graph: Graph) -> Iterator[Hit]:
    """fp32 on a chip whose cube unit has none."""
    soc = graph.plan.soc
    if soc is not None and graph.plan.mode.doubtful_on(soc):
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
    if plan.soc is not None and plan.mode.missing_on(plan.soc):
        yield Hit(-1, GRAPH, f"{plan.precision} on {plan.soc.name}")


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


GRAPH_RULES = (
    opset,
    byte_input,
    dynamic_dimension,
    duplicate_node,
    long_name,
    unusable_name,
    external_data,
    dynamic_output,
    fp16_graph,
    no_fp32_cube,
    mode_without_chip,
    old_chip,
)
