"""An accelerator's rounding on the CPU.

Ascend's cube unit multiplies in fp16, or in HF32 (fp32 cut to 11 explicit mantissa bits), and adds
in fp32. `parity.rehearsal.graph` inserts this rounding into a copy of a graph.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

# fp32: as it is. hf32: a convolution's operands. fp16_cube: a convolution's operands and bias in
# fp16, its result in fp32. fp16: everything, also what is stored between two operators.
Arithmetic = Literal["fp32", "hf32", "fp16_cube", "fp16"]

# Convolutions and matrix products, which the cube unit computes.
CUBE_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
HF32_DROPPED_BITS = 12


def round_to_fp16(values: F32) -> F32:
    """Round to the nearest half-precision number; beyond 65504 becomes infinite, as on the chip."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


def round_to_hf32(values: F32) -> F32:
    """Round to 11 explicit mantissa bits, to the nearest and to even on a tie; float32 in and out.

    Source: HF32's width as torch_npu documents it; how the chip rounds is not published.
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    half = np.uint32((1 << (HF32_DROPPED_BITS - 1)) - 1)
    odd = (bits >> np.uint32(HF32_DROPPED_BITS)) & np.uint32(1)
    kept = np.uint32(0xFFFFFFFF ^ ((1 << HF32_DROPPED_BITS) - 1))
    rounded = ((bits + half + odd) & kept).view(np.float32)
    return np.where(np.isfinite(values), rounded, values).astype(np.float32)
