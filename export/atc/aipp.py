"""AIPP: the chip normalises uint8 crops itself, and the host copies a quarter of the bytes.

Source: ge docs, AIPP configuration: output = (input - mean - min) * var_reci, in fp16; mean is a
whole number, and var_reci is held as fp16.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parity.rehearsal.arithmetic import round_to_fp16
from runtime.backends import open_backend
from runtime.model.manifest import ErrorFact
from runtime.model.spec import InputSpec

CHANNELS = 3


def aipp_config(spec: InputSpec) -> str:
    """The configuration file for `--insert_op_conf`, from what the network takes.

    The channels keep their order: crops are BGR, the network takes BGR, and AIPP's RGB888_U8 names
    three bytes a pixel, in whatever order they come.
    """
    mean, least = _split_mean(spec)
    lines = [
        "aipp_op {",
        "    related_input_rank: 0",
        "    aipp_mode: static",
        "    input_format: RGB888_U8",
        "    csc_switch: false",
        "    rbuv_swap_switch: false",
        f"    src_image_size_w: {spec.size}",
        f"    src_image_size_h: {spec.size}",
    ]
    for name, value in (("mean", f"{mean}"), ("min", f"{least!r}")):
        lines += [f"    {name}_chn_{channel}: {value}" for channel in range(CHANNELS)]
    lines += [f"    var_reci_chn_{channel}: {1 / spec.scale!r}" for channel in range(CHANNELS)]
    return "\n".join([*lines, "}", ""])


def normalised_by_aipp(crops: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """What AIPP makes of crops: uint8 (N, S, S, 3) BGR to float32 (N, 3, S, S), rounded as fp16."""
    mean, least = _split_mean(spec)
    reciprocal = round_to_fp16(np.array([1 / spec.scale], np.float32))[0]
    shifted = crops.transpose(0, 3, 1, 2).astype(np.float32) - np.float32(mean) - np.float32(least)
    return round_to_fp16(np.ascontiguousarray(shifted * reciprocal, np.float32))


def aipp_error(graph: Path, crops: NDArray[np.uint8]) -> ErrorFact:
    """What AIPP's rounding alone moves: the float graph on both inputs, on the CPU, in crop px."""
    with open_backend(graph, "cpu") as backend:
        spec = backend.spec.input
        exact = backend.run(spec.pack(crops)).landmarks
        rounded = backend.run(normalised_by_aipp(crops, spec)).landmarks
    moved = np.abs(rounded.astype(np.float64) - exact) * spec.size / 2
    return ErrorFact(pictures=len(crops), mean_px=float(moved.mean()), max_px=float(moved.max()))


def _split_mean(spec: InputSpec) -> tuple[int, float]:
    """AIPP takes a whole number from 0 to 255 as mean; the rest goes into its minimum."""
    whole = math.floor(spec.mean)
    return whole, spec.mean - whole
