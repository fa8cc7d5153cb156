"""The self-test a bundle carries: what is in it, what it says, and on what it must not depend."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import ROOT
from cann.control import Control
from cann.plugin import Cann
from recordings import with_header

from parity.recording.recording import load_recording, save_recording
from parity.selftest.__main__ import main, read_selftest
from runtime.errors import StarmarkError
from runtime.model.manifest import SELFTEST_NAME, read_manifest

ORIGIN = ("--precision_mode_v2", "origin")


def test_every_bundle_carries_crops_answers_and_limits(starter_bundle: Path) -> None:
    """Each sample and its mirror image, by the checkpoint, and what passes."""
    recording, limits = read_selftest(starter_bundle / SELFTEST_NAME)
    assert [p.name for p in recording.header.pictures] == [
        "test.jpg",
        "mirrored test.jpg",
        "sample.jpg",
        "mirrored sample.jpg",
    ]
    assert (limits.max_mean_px, limits.max_error_px) == (0.1, 0.5)
    assert len(list(recording.crops())) == 4
    assert recording.covariance.shape == (4, 68, 3)
    manifest = read_manifest(starter_bundle)
    assert recording.header.checkpoint_sha256 == manifest.checkpoint.sha256
    # nothing of when or where: the same export gives the same bytes
    assert recording.header.created_utc == recording.header.machine == ""
    assert np.isnan(recording.timings).all()
    with zipfile.ZipFile(starter_bundle / SELFTEST_NAME) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_on_the_simulated_box(
    npu: Control,
    converted: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """True fp32 passes closely, prints the figures, and writes what is carried back."""
    output = tmp_path / "box.npz"
    bundle = converted(*ORIGIN)
    assert main([str(bundle), "--device", "npu:0", "--runs", "3", "--output", str(output)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("PASSED: mean ")
    for word in ("P95", "P99", "median", "FPS", "pyACL Ascend910B3 precision_mode_v2=origin"):
        assert word in said
    assert re.search(r"\d+ times the chip's bound on paper, 0\.010 ms in fp16", said)
    carried = load_recording(output)
    assert carried.header.device == "npu:0"
    assert carried.header.manifest is not None
    assert len(npu.calls("mdl.execute_async")) == 4 + 10 + 3


@pytest.mark.usefixtures("npu")
def test_the_default_precision_shows_and_passes(
    converted: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--device", "npu:0", "--runs", "1", "--json", "--output", str(tmp_path / "o.npz")]
    assert main([str(converted()), *line]) == 0
    found = json.loads(capsys.readouterr().out)["report"]["crop_px"]["axis"]
    assert 1e-4 < found["mean"] < 0.02
    assert found["max"] < 0.3


@pytest.mark.usefixtures("npu")
def test_a_box_that_computes_something_else_fails(
    converted: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit code 1; the recording is written all the same."""
    from runtime.backends.ascend.loaded_model import LoadedModel

    run = LoadedModel.run

    def off(self: LoadedModel, *arguments: object) -> object:
        outputs, timings = run(self, *arguments)  # type: ignore[arg-type]  # passed on as they are
        return {name: values + np.float32(0.02) for name, values in outputs.items()}, timings

    monkeypatch.setattr(LoadedModel, "run", off)
    output = tmp_path / "o.npz"
    line = ["--device", "npu:0", "--runs", "1", "--output", str(output)]
    assert main([str(converted(*ORIGIN)), *line]) == 1
    assert capsys.readouterr().out.startswith("FAILED: mean ")
    assert load_recording(output).header.device == "npu:0"


def test_the_box_needs_numpy_opencv_and_msgspec_alone(
    npu: Control, cann: Cann, converted: Callable[..., Path], tmp_path: Path
) -> None:
    """No torch, no onnxruntime, no rich, no onnx is there, and the simulated acl alone uses one."""
    bundle = shutil.copytree(converted(*ORIGIN), tmp_path / "carried")
    program = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "rich", "filelock", "safetensors", "torch_npu"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from parity.selftest.__main__ import main
code = main(sys.argv[1:])
import inspect
ours = [m for n, m in sys.modules.items() if n.partition(".")[0] in ("runtime", "parity", "export")]
print(sorted({m.__name__ for m in ours if hasattr(m, "onnxruntime") or hasattr(m, "onnx")}))
sys.exit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(bundle), "--device", "npu:0", "--runs", "1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # the simulator rounds with parity.rehearsal.graph, which reads weights; a real acl does neither
    of_simulator = {"parity.rehearsal.graph", "parity.onnx_weights"}
    assert set(re.findall(r"[\w.]+", done.stdout.splitlines()[-1])) <= of_simulator
    assert (tmp_path / "selftest_npu0.npz").is_file()
    assert cann.atc.is_file()
    assert npu.child_reports()


def test_damaged_selftest_is_refused(
    starter_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = shutil.copytree(starter_bundle, tmp_path / "damaged")
    (damaged / SELFTEST_NAME).write_bytes(b"PK\x03\x04")
    assert main([str(damaged)]) == 2
    assert "SHA-256" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"limits": None}, "limits"),
        ({"limits": {"max_mean_px": -1.0}}, "max_mean"),
        ({"limits": {"max_mean": 1.0}}, "limits"),
        ({"with_crops": False}, "without crops"),
    ],
)
def test_recording_that_is_no_selftest_is_refused(
    starter_bundle: Path, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    recording = load_recording(starter_bundle / SELFTEST_NAME)
    carried = with_header(recording, **changes)
    with io.BytesIO(b"".join(crop.tobytes() for crop in recording.crops())) as crops:
        save_recording(tmp_path / "s.npz", carried, crops)
    with pytest.raises(StarmarkError, match=says):
        read_selftest(tmp_path / "s.npz")
