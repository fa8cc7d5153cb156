"""A small .om file for tests of the simulated acl, as the simulated atc would write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from cann import graphs
from cann.ge_format import INOUT_INFO, WEIGHTS_DATA
from cann.om_writer import inout_info, write_om
from onnx import helper

SIZE = 8
FLOAT, FLOAT16 = 0, 1
GEARS_INPUT = {"name": "ascend_mbatch_shape_data", "dims": [1], "dtype": 3, "format": 2}


def graph(batch: int | str) -> bytes:
    """Image (N, 3, 8, 8) through a convolution to maps (N, 2, 8, 8), their mean (N, 2, 1, 1)."""
    weights = np.random.default_rng(5).normal(size=(2, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["maps"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["maps"], ["mean"], "pool"),
    ]
    made = graphs.model(
        nodes,
        dims=(batch, 3, SIZE, SIZE),
        constants=[graphs.constant("w", weights)],
        outputs=("maps", "mean"),
    )
    return bytes(made.SerializeToString())


def write_small(
    path: Path,
    *,
    gears: tuple[int, ...] = (),
    dtype: int = FLOAT,
    soc: str = "Ascend910B3",
) -> Path:
    """Write the small model in fp32, and return its path."""
    largest = max(gears, default=1)
    image = {"name": "image", "dims": [-1 if gears else 1, 3, SIZE, SIZE], "dtype": dtype}
    shapes = {"conv:0:maps": [largest, 2, SIZE, SIZE], "pool:0:mean": [largest, 2, 1, 1]}
    payload: dict[str, Any] = {
        "inputs": [image | {"format": 0}, *([GEARS_INPUT] if gears else [])],
        "outputs": [
            {"name": name, "dims": dims, "dtype": dtype, "format": 2}
            for name, dims in shapes.items()
        ],
        "gears": list(gears),
        "precision": "fp32",
        "keep_fp32": [],
        "aipp": None,
    }
    inout = inout_info(payload["inputs"], payload["outputs"], gears)
    write_om(
        path,
        name="small",
        attributes={
            "soc_version": soc,
            "atc_version": "8.5.0.simulated",
            "atc_cmdline": "atc (simulated)",
            "framework_type": "Onnx",
            "memory_size": 1 << 20,
            "weight_size": 4096,
            "stream_num": 1,
            "event_num": 0,
            "simulator": json.dumps(payload),
        },
        partitions={WEIGHTS_DATA: graph("N" if gears else 1), INOUT_INFO: inout},
    )
    return path
