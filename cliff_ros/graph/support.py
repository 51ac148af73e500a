"""Which TensorRT can read a graph: the published operator support matrices, as data.

Source: docs/operators.md of onnx-tensorrt (Apache-2.0), at its branches 8.5-GA, 8.6-GA and 10.1-GA; every
operator marked Y. Later versions have only added to them, so the last one stands for TensorRT 11, whose parser
takes opsets up to 25 (TensorRT documentation, ONNX Opset Guide, 11.x).
"""

from __future__ import annotations

from cliff_ros.graph.metadata import INPUTS
from cliff_ros.graph.onnx_file import OnnxFile

LATEST_OPSET = {'8.5': 17, '8.6': 17, '10.0': 20, '11.0': 25}
_SINCE_8_5 = frozenset(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip
    Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout
    Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gemm
    GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample HardSigmoid HardSwish Identity
    If ImageScaler InstanceNormalization IsNaN LRN LSTM LeakyRelu Less LessOrEqual Log LogSoftmax Loop
    LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg NonMaxSuppression
    NonZero Not OneHot Or PRelu Pad ParametricSoftplus Pow QuantizeLinear RNN RandomNormal RandomNormalLike
    RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
    ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round
    ScaledTanh Scan Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax
    Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu
    Unsqueeze Upsample Where Xor
""".split()
)
_SINCE_8_6 = frozenset(
    """
    GroupNormalization IsInf LayerNormalization
""".split()
)
_SINCE_10_0 = frozenset(
    """
    CastLike DeformConv Gelu Hardmax Mish
""".split()
)
OPERATORS = {'8.5': _SINCE_8_5, '8.6': _SINCE_8_5 | _SINCE_8_6}
OPERATORS['10.0'] = OPERATORS['11.0'] = OPERATORS['8.6'] | _SINCE_10_0


def obstacles(file: OnnxFile, version: str) -> list[str]:
    """What keeps a TensorRT from reading a graph, each in a few words; none: its parser knows all of it.

    version: a key of `OPERATORS`.
    """
    found = []
    if file.opset > LATEST_OPSET[version]:
        found.append(f'opset {file.opset}, and it knows those up to {LATEST_OPSET[version]}')
    nodes = list(file.nodes())
    unknown = sorted({node.kind for node in nodes if node.domain or node.kind not in OPERATORS[version]})
    found += [f'the operator {kind}' for kind in unknown]
    # TensorRT takes uint8 as an input, but computes nothing with it.
    return found + [
        f'{node.kind} of uint8 ({node.name})' for node in nodes if INPUTS[0] in node.inputs and node.kind != 'Cast'
    ]


def readers(file: OnnxFile) -> tuple[list[str], dict[str, list[str]]]:
    """Versions of TensorRT whose parser knows all of a graph, and what stops the others."""
    stopped = {version: found for version in OPERATORS if (found := obstacles(file, version))}
    return [version for version in OPERATORS if version not in stopped], stopped
