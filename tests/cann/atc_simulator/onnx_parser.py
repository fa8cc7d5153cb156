"""Reading an ONNX file as atc's parser does: file, domains, names, operators.

Source: hicann/ge parser/onnx/onnx_parser.cc, parser/common/pre_checker.cc. The operators that have
a plugin, by opset: *onnx_plugin.cpp of hicann/ops-nn, ops-cv and ops-math, the operator overview of
the ATC manual. Not exhaustive: what a network for faces, or one beside it, is made of. Quantised
operators are left out on purpose: they reach an OM through AMCT, not through ONNX.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from cann.atc_simulator.messages import AtcError, Message, fail, message
from cann.atc_simulator.plugins import check_node
from cann.atc_simulator.release import Release
from onnx.external_data_helper import load_external_data_for_model

LARGEST_FILE = 2**31 - 1
DEFAULT_DOMAIN = "ai.onnx"
_ALWAYS = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil
Celu Clip Compress Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace
Det Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND
Gemm
GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual HardSigmoid Hardmax Identity
If InstanceNormalization LRN LSTM LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool
MatMul Max MaxPool MaxRoiPool MaxUnpool Mean MeanVarianceNormalization Min Mod Mul Multinomial Neg
NonMaxSuppression NonZero Not OneHot Or PRelu Pad Pow RandomNormalLike RandomUniformLike Range
Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round Scatter ScatterElements
ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth
Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu TopK Transpose Trilu Unsqueeze Upsample Where
Xor
"""
SINCE = {
    **dict.fromkeys(_ALWAYS.split(), 8),
    "HardSwish": 14,
    "GridSample": 16,
    "LayerNormalization": 17,
}


def load(path: str) -> onnx.ModelProto:
    """Read the file, its external data beside it.

    Raises:
        AtcError: E13015, E13001, E13005, E16004, or E19999 for missing external data.
    """
    file = Path(path)
    if not file.is_file():
        raise fail("E13001", file=path, errmsg="it is not a regular file")
    size = file.stat().st_size
    if not 0 < size <= LARGEST_FILE:
        raise fail("E13015", file=path, size=size, maxsize=LARGEST_FILE)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(file.read_bytes())
    except Exception:  # noqa: BLE001  # protobuf ships no types to name its error by
        raise AtcError(
            message("E13005", file=path),
            message("E19999", reason=f"Read onnx model file:{path} failed."),
        ) from None
    if not model.HasField("graph"):
        raise fail("E16004")
    try:
        load_external_data_for_model(model, str(file.parent))
    except Exception as error:  # noqa: BLE001  # whatever onnx says of a file that is not right
        reason = f"external data of {path} cannot be read: {error}"
        raise fail("E19999", reason=reason) from None
    return model


def parse(model: onnx.ModelProto, release: Release) -> None:
    """Check the graph as the parser does, naming nodes that have no name.

    Raises:
        AtcError: E16005, E16001, E13009, E16002 (E13010, E19010 in other releases) or E19999.
    """
    domains = _domains(model)
    graph = model.graph
    initialised = {tensor.name for tensor in graph.initializer}
    if not [value for value in graph.input if value.name not in initialised]:
        raise fail("E16001", value="input")
    if not graph.output:
        raise fail("E16001", value="output")
    _name_nodes(graph)
    errors = list(_unknown_operators(graph, domains, release))
    errors += _repeated_names(graph, release)
    if errors:
        raise AtcError(*errors)
    opset = domains[DEFAULT_DOMAIN]
    for node in every_node(graph):
        if reason := check_node(node, opset):
            text = f"Parse params for op [{node.name}] optype [{node.op_type}] failed: {reason}"
            raise fail("E19999", reason=text)


def every_node(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of subgraphs too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from every_node(inner)


def input_names(graph: onnx.GraphProto) -> list[str]:
    """The inputs that are no initialisers with a default."""
    initialised = {tensor.name for tensor in graph.initializer}
    return [value.name for value in graph.input if value.name not in initialised]


def _domains(model: onnx.ModelProto) -> dict[str, int]:
    named = [(entry.domain or DEFAULT_DOMAIN, entry.version) for entry in model.opset_import]
    if len(dict(named)) != len(named):
        raise fail("E16005", domain_version_size=len(named))
    domains = dict(named)
    for node in every_node(model.graph):
        domain = node.domain or DEFAULT_DOMAIN
        if domain not in domains:
            reason = f"The opset of domain[{domain}] has no responding version."
            raise fail("E19999", reason=reason)
    domains.setdefault(DEFAULT_DOMAIN, 0)
    return domains


def _name_nodes(graph: onnx.GraphProto) -> None:
    nameless = 0
    for node in graph.node:
        if not node.name:
            node.name = f"{node.op_type}_{nameless}"
            nameless += 1


def _unknown_operators(
    graph: onnx.GraphProto, domains: dict[str, int], release: Release
) -> Iterator[Message]:
    for node in every_node(graph):
        domain = node.domain or DEFAULT_DOMAIN
        version = domains[domain]
        since = SINCE.get(node.op_type, version + 1)
        if domain == DEFAULT_DOMAIN and version in release.opsets and version >= since:
            continue
        optype = f"{domain}::{version}::{node.op_type}"
        if release.plain_errors:
            yield message("E19010", opname=node.name, optype=optype)
        elif release.checks_types_first:
            yield message("E13010", opname=node.name, optype=optype)
        else:
            yield message("E16002", optype=optype)


def _repeated_names(graph: onnx.GraphProto, release: Release) -> list[Message]:
    """Inputs are nodes too, so an operator may not be called as an input is."""
    names = [*input_names(graph), *(node.name for node in graph.node)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    code = "E19009" if release.plain_errors else "E13009"
    return [message(code, opname=name) for name in repeated]
