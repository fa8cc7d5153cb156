"""The checkpoint that an export asks once."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from builders import ROOT, STARTER

from export.graph.reference import Reference
from runtime.backends.base import Outputs
from runtime.backends.torch import backend as pytorch
from runtime.detector import Detector
from runtime.errors import InferenceError


@pytest.mark.slow
def test_it_is_opened_once_and_asked_once_about_a_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever batch a crop comes in, it gets the answer that it gets alone."""
    opened: list[object] = []
    asked: list[tuple[int, ...]] = []
    start, run = pytorch.TorchBackend.__init__, pytorch.TorchBackend._run

    def counted_start(self: pytorch.TorchBackend, *arguments: object) -> None:
        opened.append(arguments)
        start(self, *arguments)  # type: ignore[arg-type]

    def counted_run(self: pytorch.TorchBackend, batch: np.ndarray) -> Outputs:
        asked.append(batch.shape)
        return run(self, batch)

    monkeypatch.setattr(pytorch.TorchBackend, "__init__", counted_start)
    monkeypatch.setattr(pytorch.TorchBackend, "_run", counted_run)
    crops = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
    with Reference(STARTER) as reference:
        assert not opened
        with reference.open() as backend:
            batch = backend.spec.input.pack(crops)
            first = backend.run(batch[:2])
            again = backend.run(batch[1:])
        with Detector(reference.open()) as detector:
            alone = detector.trace(crops[2], cropped=True).outputs

    assert len(opened) == 1
    assert asked == [(1, 3, 256, 256)] * 3
    assert np.array_equal(first.landmarks[1], again.landmarks[0])
    assert np.array_equal(again.covariance[1:], alone.covariance)
    with Detector(f"{STARTER}@cpu") as plain:
        assert np.array_equal(
            plain.trace(crops[2], cropped=True).outputs.landmarks, alone.landmarks
        )


def test_closing_one_leaves_the_next_open() -> None:
    """And the end of the reference closes them all."""
    crop = np.zeros((1, 256, 256, 3), np.uint8)
    with Reference(STARTER) as reference:
        first, second = reference.open(), reference.open()
        batch = first.spec.input.pack(crop)
        first.close()
        with pytest.raises(InferenceError, match="closed"):
            first.run(batch)
        second.run(batch)
    with pytest.raises(InferenceError, match="closed"):
        second.run(first.spec.input.pack(crop + 1))


@pytest.mark.slow
def test_torch_finds_its_settings_whoever_imports_it_first() -> None:
    """Also onnxsim: with torch_npu and without CANN, torch could not be imported otherwise."""
    program = (
        "import os, sys\n"
        "class Looking:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'torch':\n"
        "            print(os.environ.get('TORCH_DEVICE_BACKEND_AUTOLOAD'))\n"
        "sys.meta_path.insert(0, Looking())\n"
        "import export.graph.float_graph\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"
