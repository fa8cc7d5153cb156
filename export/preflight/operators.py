"""Operators that ATC's ONNX parser knows, and what else the rules tell apart by type.

Source: hiascend.com, CANN 8.0.0, list of supported ONNX operators, in ONNX's own spelling.
"""

from __future__ import annotations


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
QUANTIZED = _names(
    """
    QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger
    MatMulInteger
    """
)
# ATC takes a branch with limits, and no loop.
BRANCH = frozenset({"If"})
LOOPS = frozenset({"Loop", "Scan"})
# The shape of their output depends on the numbers of their input.
DATA_SHAPED = frozenset({"NonZero", "NonMaxSuppression", "Compress"})
# Where a number is computed with, and not merely used as an index or moved.
ARITHMETIC = _names(
    """
    Abs Add ArgMax ArgMin Clip CumSum Div Einsum Equal Exp Floor Gemm Greater GreaterOrEqual Less
    LessOrEqual Log MatMul Max Mean Min Mod Mul Neg Pow Reciprocal ReduceL1 ReduceL2 ReduceMax
    ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Round Sigmoid Sign Softmax Sqrt
    Sub Sum TopK
    """
)
