"""Small .om files for tests of the simulated acl, as the simulated atc would write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cann.om_writer import INOUT_INFO, Age, inout_info, write_om
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = 8
FLOAT, FLOAT16, UINT8 = 0, 1, 4
GEARS_INPUT = {"name": "ascend_mbatch_shape_data", "dims": [1], "dtype": 3, "format": 2}
AIPP = {
    "mean": [10, 20, 30],
    "min": [0.5, 0.25, 0.0],
    "var_reci": [0.003921568627, 0.01, 0.02],
    "rbuv_swap": True,
}


def weights() -> NDArray[np.float32]:
    """Of the one convolution, (2, 3, 3, 3); no half-precision numbers."""
    return np.random.default_rng(5).normal(size=(2, 3, 3, 3)).astype(np.float32)


def graph(batch: int | str = 1) -> bytes:
    """Image (N, 3, 8, 8) through a convolution to maps (N, 2, 8, 8), their mean (N, 2, 1, 1)."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, SIZE, SIZE])
    maps = helper.make_tensor_value_info("maps", TensorProto.FLOAT, [batch, 2, SIZE, SIZE])
    mean = helper.make_tensor_value_info("mean", TensorProto.FLOAT, [batch, 2, 1, 1])
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["maps"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["maps"], ["mean"], "pool"),
    ]
    made = helper.make_graph(
        nodes, "small", [image], [maps, mean], [numpy_helper.from_array(weights(), "w")]
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write_small(
    path: Path,
    *,
    batch: int = 1,
    gears: tuple[int, ...] = (),
    dtype: int = FLOAT,
    aipp: dict[str, Any] | None = None,
    precision: str = "fp32",
    soc: str = "Ascend910B3",
    atc_version: str = "8.5.0.simulated",
    memory_bytes: int = 1 << 20,
    keep_fp32: tuple[str, ...] = (),
    age: Age = "today",
) -> Path:
    """Write the small model, and say where."""
    largest = max(gears, default=batch)
    first = -1 if gears else batch
    image = {"name": "image", "dims": [first, 3, SIZE, SIZE], "dtype": dtype, "format": 0}
    if aipp is not None:
        image |= {"dims": [first, SIZE, SIZE, 3], "dtype": UINT8, "format": 1}
    shapes = {"conv:0:maps": [largest, 2, SIZE, SIZE], "pool:0:mean": [largest, 2, 1, 1]}
    payload: dict[str, Any] = {
        "inputs": [image, GEARS_INPUT] if gears else [image],
        "outputs": [
            {"name": name, "dims": dims, "dtype": dtype, "format": 2}
            for name, dims in shapes.items()
        ],
        "gears": list(gears),
        "precision": precision,
        "keep_fp32": list(keep_fp32),
        "aipp": aipp,
        "opset": 13,
    }
    # the older layouts have no such partition
    described = (
        {INOUT_INFO: inout_info(payload["inputs"], payload["outputs"], gears)}
        if age == "today"
        else {}
    )
    write_om(
        path,
        name="small",
        attributes={
            "soc_version": soc,
            "atc_version": atc_version,
            "atc_cmdline": "atc (simulated)",
            "framework_type": "Onnx",
            "memory_size": memory_bytes,
            "weight_size": 4096,
            "stream_num": 1,
            "event_num": 0,
            "simulator": json.dumps(payload),
        },
        partitions={1: graph("N" if gears else batch), **described},
        age=age,
    )
    return path
