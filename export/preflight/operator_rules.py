"""Rules about operators: which ATC's ONNX parser has, and what their plugins do with attributes.

Source: hiascend.com, CANN 8.0.0, list of supported ONNX operators, in ONNX's own spelling.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx

from export.preflight.finding import Hit, node_rule, operator_rule, rule
from export.preflight.graph import (
    DATA_SHAPED,
    DEFAULT_DOMAINS,
    Graph,
    given,
    integer,
    integers,
    label,
    type_name,
)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SUPPORTED = _names(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization
    BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil Celu Clip Compress Concat Constant
    ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace Det Div Dropout Einsum Elu Equal
    Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gemm GlobalAveragePool
    GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample HardSigmoid HardSwish Hardmax
    Identity InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less
    LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul Max MaxPool MaxRoiPool MaxUnpool Mean
    MeanVarianceNormalization Min Mod Mul Multinomial Neg NonMaxSuppression NonZero Not OneHot Or
    PRelu Pad Pow RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round Scatter
    ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax
    SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh
    TfIdfVectorizer ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor
    """
)
# ONNX's, with a parser in the open plugins of CANN 8.5 to 9.1, and not on the list of 8.0.
NEWER = _names(
    """
    Bernoulli CastLike Col2Im ConcatFromSequence Mish SequenceAt SequenceConstruct SequenceEmpty
    SequenceErase SequenceInsert SequenceLength SplitToSequence Unique Upsample
    """
)
# Ascend's own, in the default domain: a graph quantised by AMCT holds the first three.
ASCEND_OWN = _names(
    """
    AscendQuant AscendDequant AscendAntiQuant AdaptiveAvgPool2D AffineGrid BatchMultiClassNMS Corr
    DeformableConv2D DynSeqOuter EmbeddingBag LSTMP MovingSumWithSigmoid RoiExtractor
    """
)
RANDOM = _names(
    "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike"
)
QUANTIZED = _names(
    """
    QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger
    MatMulInteger
    """
)
# Where a number is computed with, and not merely used as an index or moved.
ARITHMETIC = _names(
    """
    Abs Add ArgMax ArgMin Clip CumSum Div Einsum Equal Exp Floor Gemm Greater GreaterOrEqual Less
    LessOrEqual Log MatMul Max Mean Min Mod Mul Neg Pow Reciprocal ReduceL1 ReduceL2 ReduceMax
    ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Round Sigmoid Sign Softmax Sqrt
    Sub Sum TopK
    """
)
# The chip has no arithmetic for them.
WIDE_TYPES = {onnx.TensorProto.INT64, onnx.TensorProto.UINT64, onnx.TensorProto.DOUBLE}
# Operators of convolution, and the largest side of their kernels.
LARGEST_KERNEL_PX = {"Conv": 511, "ConvTranspose": 255}
# MaxPoolV3's limits; larger windows go to an operator on the AI CPU. Ascend950 has no such limits.
LARGEST_POOL_AREA_PX2 = 255
LARGEST_POOL_STRIDE_PX = 63
UNLIMITED_POOL_FAMILY = "Ascend950"

LISTED = "[V: hiascend.com, CANN 8.0.0, list of supported ONNX operators]"
PLUGINS = "[V: ops-nn, ops-cv, ops-math, *_onnx_plugin.cpp]"
POOL = "[V: ops-nn max_pool_onnx_plugin.cpp]"


@rule(
    "foreign-domain",
    "refused",
    source="E16002, as DOMAIN::VERSION::TYPE: [V: ge parser/onnx/onnx_parser.cc, AdapterOpType]",
    remedy="Export with ONNX's own operators",
)
def foreign_domain(graph: Graph) -> Iterator[Hit]:
    """Nodes of other domains than ONNX's own."""
    for position, node in enumerate(graph.nodes):
        if node.domain not in DEFAULT_DOMAINS:
            yield Hit(position, label(node, position), f"operator {node.domain}::{node.op_type}")


@rule(
    "unsupported-operator",
    "refused",
    source=f"E16002 (older: E19010): {LISTED}, and no plugin: {PLUGINS}",
    remedy="Write it with other operators, or keep it outside the graph",
)
def unsupported(graph: Graph) -> Iterator[Hit]:
    """Operators without a parser, loops among them."""
    known = SUPPORTED | NEWER | ASCEND_OWN | QUANTIZED | {"If"}
    for position, node in enumerate(graph.nodes):
        if node.domain in DEFAULT_DOMAINS and node.op_type not in known:
            yield Hit(position, label(node, position), f"operator {node.op_type}")


# Operators that only newer CANN has a parser for.
newer = operator_rule(
    "newer-operator",
    "risk",
    *NEWER,
    source=f"not in CANN 8.0: {LISTED}; in its successors: {PLUGINS}",
    remedy="Convert with a newer CANN, or write it with other operators",
)
quantized = operator_rule(
    "quantized",
    "refused",
    *QUANTIZED,
    source=f"not on the list: {LISTED}",
    remedy="Convert the float graph, with AIPP for uint8 input; AMCT quantises for Ascend",
)
# Control flow, which ATC converts with limits.
branch = operator_rule(
    "branch",
    "risk",
    "If",
    source="control flow is limited: [V: ge docs, --framework]",
    remedy="Fold the branch with onnxsim, or export the one that is taken",
)
random_numbers = operator_rule(
    "random",
    "risk",
    *RANDOM,
    source="another answer in each run: [V: ONNX specification]",
    remedy="Export the model in eval mode, or give the numbers as an input",
)


@node_rule(
    "data-shaped",
    "refused",
    *DATA_SHAPED,
    source="[V: ge docs, --dynamic_batch_size]",
    remedy="Convert for single batches instead of gears",
)
def data_shaped(graph: Graph, node: onnx.NodeProto) -> str:
    """Shapes that depend on numbers, where gears need all shapes beforehand."""
    return f"{node.op_type}, whose output's shape depends on numbers" if graph.plan.gears else ""


@node_rule(
    "64-bit-arithmetic",
    "risk",
    *ARITHMETIC,
    "Cast",
    source="[I] the AI Core computes neither int64 nor double: the slow AI CPU does",
    remedy="Compute in float32 or int32, or fold it with onnxsim",
)
def wide_arithmetic(graph: Graph, node: onnx.NodeProto) -> str:
    """Sums and comparisons of 64-bit numbers that are left for the chip, and casts to double."""
    read = [name for name in node.input if name and name not in graph.fixed]
    if node.op_type != "Cast":
        wide = {graph.dtype(name) for name in read} & WIDE_TYPES
    else:
        wide = {graph.dtype(name) for name in node.output if read} & {onnx.TensorProto.DOUBLE}
    return f"{node.op_type} in {', '.join(sorted(map(type_name, wide)))}" if wide else ""


@node_rule(
    "training-mode",
    "risk",
    "BatchNormalization",
    "Dropout",
    source="normalisation's is passed on: [V: ops-nn batch_normalization_onnx_plugin.cpp];"
    " [I] Dropout's, too",
    remedy="Export the model in eval mode",
)
def training_mode(graph: Graph, node: onnx.NodeProto) -> str:
    """Answers that depend on the batch's other faces (its statistics), or on chance."""
    if node.op_type == "BatchNormalization":
        return "training_mode 1" if integer(node, "training_mode") else ""
    switch = graph.value(given(node, 2))
    if switch is None:
        return "training_mode that is computed" if given(node, 2) else ""
    return "training_mode true" if switch.any() else ""


@node_rule(
    "conv-limits",
    "changed",
    *LARGEST_KERNEL_PX,
    source="correct results are not guaranteed beyond them: [V: CANN op_proto nn_calculation_ops.h,"
    " Conv2D and Conv2DTranspose]",
    remedy="Convolve or stride in two steps, or pad by an operator of its own",
)
def conv_limits(graph: Graph, node: onnx.NodeProto) -> str:
    """Kernels, strides, paddings and dilations beyond what the operator is specified for."""
    kernel = (graph.shape(given(node, 1)) or ())[2:] or integers(node, "kernel_shape") or ()
    pads = integers(node, "pads") or ()
    half = len(pads) // 2
    asked = {
        "kernel": (kernel[-2:], 1, LARGEST_KERNEL_PX[node.op_type]),
        "pads": ((*pads[:half][-2:], *pads[half:][-2:]), 0, 255),
        "strides": ((integers(node, "strides") or ())[-2:], 1, 63),
        "dilations": ((integers(node, "dilations") or ())[-2:], 1, 255),
    }
    return ", ".join(
        f"{name} {list(sizes)} beyond {low} to {high}"
        for name, (sizes, low, high) in asked.items()
        if any(size is not None and not low <= size <= high for size in sizes)
    )


@node_rule(
    "pool-dilation",
    "changed",
    "MaxPool",
    source=f"MaxPoolV3 has no dilation: {POOL}",
    remedy="Pool without dilation",
)
def pool_dilation(_: Graph, node: onnx.NodeProto) -> str:
    """Dilations of MaxPoolV3, which has none."""
    dilations = integers(node, "dilations") or ()
    dilated = len(dilations) in (1, 2) and any(step != 1 for step in dilations)
    return f"dilations {list(dilations)}, computed as 1" if dilated else ""


@node_rule(
    "pool-slow",
    "risk",
    "MaxPool",
    source=f"above 255 px or stride 63: {POOL}",
    remedy="Pool in two steps, or by GlobalMaxPool or ReduceMax",
)
def pool_slow(graph: Graph, node: onnx.NodeProto) -> str:
    """Windows that are left to the AI CPU."""
    soc = graph.plan.soc
    if soc is not None and (soc.family == UNLIMITED_POOL_FAMILY or not soc.is_known):
        return ""
    kernel = integers(node, "kernel_shape") or ()
    strides = integers(node, "strides") or ()
    large = math.prod(kernel) > LARGEST_POOL_AREA_PX2
    slow = large or max(strides, default=1) > LARGEST_POOL_STRIDE_PX
    return f"a window of {list(kernel)}, strides {list(strides)}" if slow else ""


@node_rule(
    "clip-bounds",
    "refused",
    "Clip",
    source="[V: ops-math clip_onnx_plugin.cpp]",
    remedy="Give min or max, or remove the Clip",
)
def clip_bounds(_: Graph, node: onnx.NodeProto) -> str:
    """Clip that clips nothing."""
    return "" if given(node, 1) or given(node, 2) else "neither min nor max"


@node_rule(
    "slice-computed",
    "risk",
    "Slice",
    source="[I] StridedSliceV2 with computed bounds has no fixed shape",
    remedy="Fold it with onnxsim, or give it as a constant",
)
def slice_computed(graph: Graph, node: onnx.NodeProto) -> str:
    """Slices whose bounds come out of the graph."""
    computed = [bound for bound in node.input[1:] if bound and bound not in graph.fixed]
    return f"bounds that are computed: {', '.join(computed)}" if computed else ""


OPERATOR_RULES = (
    foreign_domain,
    unsupported,
    newer,
    quantized,
    branch,
    random_numbers,
    data_shaped,
    wide_arithmetic,
    training_mode,
    conv_limits,
    pool_dilation,
    pool_slow,
    clip_bounds,
    slice_computed,
)
