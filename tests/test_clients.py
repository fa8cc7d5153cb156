"""Clients that are not ours, on the graph that is shipped and on its static form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import ROOT

from export.graph.static_batch import with_static_batch
from export.graph.verify import real_crops
from parity.samples import default_samples
from runtime.backends import Backend

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("client", ["onnxruntime", "OpenCV dnn", "OpenVINO"])
@pytest.mark.parametrize("static", [None, 2])
def test_clients_find_the_points_of_the_checkpoint(
    client: str, static: int | None, starter_bundle: Path, starter_torch: Backend, tmp_path: Path
) -> None:
    """As scripts/check_clients.py runs them for docs/clients.md: within 0.01 crop px."""
    graph = starter_bundle / "model.onnx"
    if static is not None:
        made = with_static_batch(onnx.load(graph), static)
        graph = tmp_path / "static.onnx"
        onnx.save(made, graph)
    spec = starter_torch.spec.input
    batch = spec.pack(real_crops(default_samples(), spec))
    np.save(tmp_path / "batch.npy", batch)
    done = subprocess.run(
        [sys.executable, "scripts/client_runs.py", client, str(graph), str(tmp_path / "batch.npy")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    assert "refusal" not in said, said

    moved = np.abs(said["landmarks"] - starter_torch.run(batch).landmarks)
    assert moved.max() * spec.size / 2 < 0.01
