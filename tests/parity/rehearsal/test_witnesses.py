"""The size of a rehearsal against conversions to half precision that others wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from builders import STARTER
from numpy.typing import NDArray

from parity.samples import default_samples, find_samples
from parity.sources import open_detector
from runtime.detector import Detector
from runtime.image.crop import crop_as
from runtime.image.picture import read_picture
from runtime.model.source import parse_source

F64 = NDArray[np.float64]
# Sums are made in another order and width by each, so that no two agree more closely.
FACTOR = 2.5


@pytest.fixture(scope="module")
def batches(detector: Detector, shared: Path) -> list[NDArray[Any]]:
    """The two samples and every eighth face, as the network takes them."""
    fed = detector.spec.input
    samples = [*default_samples(), *find_samples([str(shared / "faces")])[::8]]
    crops = [
        crop_as(read_picture(s.path), s.box_xyxy, fed.size, cropped=s.cropped) for s in samples
    ]
    return [fed.pack(crop.pixels[None]) for crop in crops]


@pytest.fixture(scope="module")
def plain(detector: Detector, batches: list[NDArray[Any]]) -> F64:
    return landmarks_px([detector.backend.run(batch).landmarks for batch in batches])


@pytest.fixture(scope="module")
def rehearsed(starter_bundle: Path, batches: list[NDArray[Any]], plain: F64) -> F64:
    with open_detector(parse_source(f"{starter_bundle}@rehearse/fp16")) as opened:
        found = [opened.backend.run(batch).landmarks for batch in batches]
    return np.abs(landmarks_px(found) - plain)


def landmarks_px(answers: list[Any]) -> F64:
    """(N, P, 2) in crop px, up to a constant."""
    return np.concatenate(answers).astype(np.float64) * 128


def by_onnxconverter_common(bundle: Path, batches: list[NDArray[Any]]) -> F64:
    """Microsoft's converter rewrites the graph, and onnxruntime runs it."""
    float16 = pytest.importorskip("onnxconverter_common.float16", reason="the extra dev has it")
    model = onnx.load(bundle / "model.onnx")
    converted = float16.convert_float_to_float16(model, keep_io_types=True)
    session = onnxruntime.InferenceSession(converted.SerializeToString())
    (name,) = (one.name for one in session.get_inputs())
    return landmarks_px([session.run(["landmarks"], {name: batch})[0] for batch in batches])


def by_torch(_: Path, batches: list[NDArray[Any]]) -> F64:
    """The checkpoint itself, cast to half; channels last is ten times as fast."""
    import torch

    from runtime.network.checkpoint import build_network, load_checkpoint

    network: Any = build_network(load_checkpoint(STARTER)).eval().half()
    network.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        return landmarks_px(
            [
                network(
                    torch.from_numpy(batch).half().contiguous(memory_format=torch.channels_last)
                )[0].numpy()
                for batch in batches
            ]
        )


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:the float32 number:UserWarning:onnxconverter_common")
@pytest.mark.parametrize("witness", [by_onnxconverter_common, by_torch])
def test_fp16_costs_what_it_costs_others(
    witness: Any, starter_bundle: Path, batches: list[NDArray[Any]], plain: F64, rehearsed: F64
) -> None:
    theirs = np.abs(witness(starter_bundle, batches) - plain)

    for name, ours_px, theirs_px in (
        ("mean", rehearsed.mean(), theirs.mean()),
        ("P99", np.percentile(rehearsed, 99), np.percentile(theirs, 99)),
    ):
        assert theirs_px / FACTOR <= ours_px <= theirs_px * FACTOR, (name, ours_px, theirs_px)
