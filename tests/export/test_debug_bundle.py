"""python -m export --taps: another artifact, never the deployed one by accident."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from builders import TINY, tiny_config

from export import __main__ as export_main
from export.config import read_config
from export.job import prepare
from export.preflight.__main__ import main as preflight
from parity.recording.recording import load_recording
from parity.selftest import __main__ as selftest
from runtime.backends import open_backend
from runtime.detector import Detector
from runtime.errors import ArtifactError
from runtime.info import __main__ as info
from runtime.model.manifest import read_manifest, save_manifest
from runtime.model.spec import spec_of, without_taps
from runtime.model.stages import are_taps, tap_shapes

OUTPUTS = ["landmarks", "covariance"]


def output_names(folder: Path) -> list[str]:
    return [value.name for value in onnx.load(folder / "model.onnx").graph.output]


def test_a_debug_bundle_gives_every_tap_and_says_what_it_is(
    tiny_debug: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """In the graph, the manifest and what info prints; whoever opens it is warned."""
    manifest = read_manifest(tiny_debug)
    assert output_names(tiny_debug) == [*OUTPUTS, *tap_shapes(TINY)]
    assert dict(manifest.spec.taps) == tap_shapes(TINY)
    assert list(manifest.spec.taps) == list(tap_shapes(TINY))
    assert info.main([str(tiny_debug), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["taps"] == list(tap_shapes(TINY))
    assert preflight([str(tiny_debug / "model.onnx")]) == 0
    with caplog.at_level(logging.WARNING, "starmark"), Detector(tiny_debug, "cpu"):
        assert "a debug bundle: every call also fetches the tensors inside" in caplog.text


def test_a_bundle_without_taps_does_not_mention_them(
    tiny_om: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its manifest has no such field, so that the digest of older ones holds."""
    assert "taps" not in json.loads((tiny_om / "manifest.json").read_text())["spec"]
    assert output_names(tiny_om) == OUTPUTS
    assert not read_manifest(tiny_om).spec.taps
    assert info.main([str(tiny_om), "--json"]) == 0
    assert not {"taps", "debug_bundle"} & json.loads(capsys.readouterr().out).keys()
    assert without_taps(spec_of(points=68, taps=tap_shapes(TINY))) == spec_of(points=68)


@pytest.mark.slow
def test_a_debug_bundle_is_another_artifact(
    tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It has a folder of its own; in one folder, each kind is made anew over the other."""
    config = tiny_config(tmp_path, tiny)
    read = read_config(config)
    folders = [prepare(read, None, taps=taps).output.name for taps in (False, True)]
    assert folders == ["tiny", "tiny-taps"]

    asked = ["--config", str(config), "--output", str(tmp_path / "b"), "--no-parity"]
    made = []
    for options in ([], ["--taps"], ["--taps"], []):
        caplog.clear()
        with caplog.at_level(logging.INFO, "starmark"):
            assert export_main.main([*asked, "--om", "never", *options]) == 0
        made.append((len(output_names(tmp_path / "b")), "up to date: onnx" in caplog.text))
    every = len(OUTPUTS) + len(tap_shapes(TINY))
    assert made == [(2, False), (every, False), (every, True), (2, False)]


@pytest.mark.usefixtures("npu")
@pytest.mark.parametrize("device", ["cpu", "npu:0"])
@pytest.mark.parametrize(
    ("fixture", "taps", "says"),
    [
        # a manifest that promises more than its files hold
        ("tiny_om", tap_shapes(TINY), r"14 taps|outputs .*'stem': \(8, 64, 64\)"),
        # and one that knows less: its model would be slow, and nobody would know why
        ("tiny_debug", None, r"14 taps|expected .*outputs .*got inputs"),
    ],
)
def test_taps_that_manifest_and_model_do_not_share_are_refused(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    device: str,
    fixture: str,
    taps: dict[str, tuple[int, int, int]] | None,
    says: str,
) -> None:
    bundle = Path(shutil.copytree(request.getfixturevalue(fixture), tmp_path / "b"))
    manifest = read_manifest(bundle)
    changed = msgspec.structs.replace(manifest, spec=spec_of(points=68, taps=taps))
    save_manifest(bundle, changed)
    with pytest.raises(ArtifactError, match=says):
        open_backend(bundle, device)


@pytest.mark.parametrize(
    "wrong", ["renamed", "one missing", "another shape", "another order", "another side"]
)
def test_only_all_the_taps_of_one_network_are_taken_for_taps(wrong: str) -> None:
    """Under their names, in their order, of one width and side."""
    shapes = tap_shapes(TINY)
    changed = {
        "renamed": {name.replace("stem", "trunk"): shape for name, shape in shapes.items()},
        "one missing": {name: shapes[name] for name in shapes if name != "stack0.merged"},
        "another shape": {**shapes, "stack1.fused": (67, 64, 64)},
        "another order": dict(reversed(shapes.items())),
        "another side": {name: (c, 32, 32) for name, (c, _, _) in shapes.items()},
    }
    assert are_taps(shapes, points=68, size=256)
    assert not are_taps(changed[wrong], points=68, size=256)
    assert not are_taps({}, points=68, size=256)
    assert not are_taps(shapes, points=29, size=256)


def test_a_graph_with_foreign_outputs_is_not_read(tiny_debug: Path, tmp_path: Path) -> None:
    """A tap too few is somebody else's graph; all of them, without a manifest, are taps."""
    graph = onnx.load(tiny_debug / "model.onnx")
    (tmp_path / "all.onnx").write_bytes(graph.SerializeToString())
    with open_backend(tmp_path / "all.onnx", "cpu") as backend:
        assert dict(backend.spec.taps) == tap_shapes(TINY)
    graph.graph.output.pop()
    (tmp_path / "fewer.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(ArtifactError, match="of a debug bundle, every tap"):
        open_backend(tmp_path / "fewer.onnx", "cpu")


@pytest.mark.usefixtures("npu")
def test_the_kits_selftest_holds_for_a_debug_bundle(tiny_debug: Path, tmp_path: Path) -> None:
    """On the device; what it carries back has no taps in it."""
    output = tmp_path / "box.npz"
    asked = [f"{tiny_debug}@npu:0", "--runs", "2", "--output", str(output)]
    assert selftest.main(asked) == 0
    recording = load_recording(output)
    assert recording.header.device == "npu:0"
    assert not recording.header.spec.taps
    with np.load(output, allow_pickle=False) as arrays:
        assert "taps" not in arrays
