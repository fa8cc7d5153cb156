"""The ONNX operators that have a parser plugin, and since which opset.

Source: *onnx_plugin.cpp of hicann/ops-nn, ops-cv and ops-math, and the operator overview of the
ATC manual. Not exhaustive: what a network for faces, or one beside it, is made of. Quantised
operators are left out on purpose: they reach an OM through AMCT, not through ONNX.
"""

from __future__ import annotations

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
# Shapes that only the data decide: no gears, and a model of dynamic shape otherwise.
DATA_DEPENDENT = ("NonZero", "NonMaxSuppression", "Compress", "Unique")


def has_parser(domain: str, version: int, op_type: str, opsets: range) -> bool:
    """Whether atc knows `<domain>::<version>::<op_type>`."""
    return (
        domain == "ai.onnx" and version in opsets and op_type in SINCE and version >= SINCE[op_type]
    )
