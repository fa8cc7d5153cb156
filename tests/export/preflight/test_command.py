"""Preflight on files and as a command: what it prints, its exit codes, and hostile files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import run_module
from cann.plugin import Cann
from planted_graphs import PLANTED, clean, linked_cache, single

from export.atc.precision import DEFAULT_MODE, DEFAULT_OPTION, MODES
from export.preflight import preflight
from export.preflight.__main__ import main
from export.preflight.checks import invalid_graph
from export.preflight.graph import Graph, Plan
from runtime.errors import ArtifactError

CHIP = ("--soc_version", "Ascend910B3")


def saved(graph: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(graph.SerializeToString())
    return path


def with_external_data(folder: Path) -> tuple[Path, Path]:
    """A model whose weights lie beside it."""
    path = folder / "m.onnx"
    onnx.save(
        clean(),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location="m.data",
        size_threshold=0,
    )
    return path, folder / "m.data"


def relocated(path: Path, location: str) -> Path:
    """The same model with its weights said to be elsewhere."""
    graph = onnx.load(path, load_external_data=False)
    for tensor in graph.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    return saved(graph, path)


def test_external_data_is_read_from_the_models_folder(tmp_path: Path) -> None:
    """From any current folder, and its numbers are judged like others."""
    path, data = with_external_data(tmp_path)

    assert preflight(path) == ()
    data.write_bytes(bytes(data.stat().st_size // 4 * 4))
    assert preflight(path) == ()  # zeros
    data.write_bytes(b"\x00\x00\x80\x47" * (data.stat().st_size // 4))
    assert {each.rule for each in preflight(path)} >= {"fp16-weight-overflow"}


def test_external_data_that_is_not_there_is_found(tmp_path: Path) -> None:
    """Absent, too short, outside the folder, without a name, or of a model in memory."""
    path, data = with_external_data(tmp_path)
    in_memory = onnx.load(path, load_external_data=False)
    data.write_bytes(data.read_bytes()[:10])
    short = preflight(path)
    data.unlink()
    absent = preflight(path)
    outside = [
        preflight(relocated(path, name)) for name in ("../m.data", "/etc/hostname", "", "a\0b")
    ]

    for findings in (short, absent, *outside, preflight(in_memory)):
        assert [each.rule for each in findings] == ["external-data"]
        assert findings[0].node == "weight"
        assert findings[0].found.endswith("(2 tensors)")


def test_linked_weights_are_read_and_one_finding(tmp_path: Path) -> None:
    """A hub's cache: the graph is judged; ATC would look beside the file the link leads to."""
    cached = linked_cache(clean(), tmp_path)
    (found,) = preflight(cached)
    assert (found.rule, found.severity) == ("external-data", "refused")
    assert "beside the model's link" in found.found

    (cached.parent.parent.parent / "blobs/model.onnx_data").symlink_to("y")
    assert preflight(cached) == ()
    linked_data = with_external_data(tmp_path)
    linked_data[1].rename(tmp_path / "elsewhere")
    linked_data[1].symlink_to("elsewhere")
    assert preflight(linked_data[0]) == ()


def test_file_beyond_2_gb_is_one_line(tmp_path: Path) -> None:
    """Protobuf reads no more, and ATC says E13015."""
    path = tmp_path / "m.onnx"
    with path.open("wb") as stream:
        stream.truncate(2**31)
    with pytest.raises(ArtifactError, match=r"2147483647 bytes.*save_as_external_data"):
        preflight(path)


def test_weights_beyond_2_gb_are_checked(tmp_path: Path) -> None:
    """The full check and the shapes need none of them; measuring does, and says so."""
    made = single("MatMul", {"wide": np.zeros((16, 16), np.float32)})
    (wide,) = made.graph.initializer
    wide.ClearField("raw_data")
    wide.dims[:] = [16, 2**25]
    wide.data_location = onnx.TensorProto.EXTERNAL
    wide.external_data.add(key="location", value="m.data")
    with (tmp_path / "m.data").open("wb") as stream:
        stream.truncate(2**31)
    mode = MODES[DEFAULT_OPTION][DEFAULT_MODE]
    plan = Plan(soc=None, batches=(1,), gears=False, precision=DEFAULT_MODE, mode=mode)
    graph = Graph(made, plan, crops=None, path=saved(made, tmp_path / "m.onnx"))
    assert list(invalid_graph.search(graph)) == []
    assert graph.shape("y") == (1, 3, 16, 2**25)


def test_bundle_is_checked_by_its_graph(
    starter_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder stands for the model.onnx in it, and nothing is found in ours."""
    assert main([str(starter_bundle), *CHIP]) == 0
    assert capsys.readouterr().out == f"{starter_bundle}: ATC has no reason to refuse this graph\n"


def test_findings_are_paragraphs_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Severity, rule, node and finding; the remedy; the source; and a summary.

    A name in a graph cannot forge a line.
    """
    graph = single("Clip")
    graph.graph.node[0].name = "y\nm.onnx: nothing found"
    path = saved(graph, tmp_path / "m.onnx")

    assert main([str(path), "--soc_version", "Ascend910B"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "refused: clip-bounds: y m.onnx: nothing found: neither min nor max",
        "  Give min or max, or remove the Clip.",
        "  [V: ops-math clip_onnx_plugin.cpp]",
        "",
        "risk: old-chip: graph: Ascend910B, the old 910 of NpuArch 1001",
        "  If npu-smi says 910B1 to 910B4, name that: Ascend910B4 and so on.",
        "  [V: CANN runtime, src/platform/platform_config]",
        "",
        f"{path}: 1 refused, 1 risk",
    ]


def test_json_says_what_was_asked_and_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Machines read the same findings, and the plan they were judged by."""
    path = saved(PLANTED["data-shaped"][0].model, tmp_path / "m.onnx")
    arguments = ["--dynamic_batch_size", "1,2", "--precision_mode_v2", "origin", "--json"]
    assert main([str(path), *CHIP, *arguments]) == 1
    said = json.loads(capsys.readouterr().out)

    assert {name: said[name] for name in said if name != "findings"} == {
        "model": str(path),
        "soc_version": "Ascend910B3",
        "batches": [1, 2],
        "gears": True,
        "precision": "precision_mode_v2=origin",
        "passed": False,
    }
    (finding,) = said["findings"]
    assert (finding["rule"], finding["node"], finding["severity"]) == (
        "data-shaped",
        "y",
        "refused",
    )


@pytest.mark.parametrize("soc", ["Ascend310P7", "Ascend910B4-1vir05_1c_16g"])
def test_auto_is_the_chip_of_this_machine(
    cann: Cann, tmp_path: Path, capsys: pytest.CaptureFixture[str], soc: str
) -> None:
    """As on the export, whole or sliced."""
    cann.set_soc(soc)
    path = saved(clean(), tmp_path / "m.onnx")
    assert main([str(path), "--soc_version", "auto", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["soc_version"] == soc


def test_auto_without_an_npu_is_exit_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("runtime.machine.npu_smi.PLACES", (str(tmp_path),))
    path = saved(clean(), tmp_path / "m.onnx")
    assert main([str(path), "--soc_version", "auto"]) == 3
    assert "name the chip yourself" in capsys.readouterr().err


def test_a_change_is_exit_code_1_and_a_risk_alone_is_0(tmp_path: Path) -> None:
    """In a process, as the README runs it: stdout holds the findings alone."""
    path = saved(PLANTED["pool-slow"][0].model, tmp_path / "risk.onnx")
    assert main([str(path), *CHIP]) == 0
    path = saved(PLANTED["resize-pixels"][0].model, tmp_path / "changed.onnx")
    done = run_module("export.preflight", path, *CHIP)

    assert done.returncode == 1
    assert done.stdout.startswith("changed: resize-pixels: y: nearest with asymmetric and ceil")
    assert "Traceback" not in done.stderr


def test_chip_that_is_not_named_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody may think it was checked."""
    assert main([str(saved(clean(), tmp_path / "m.onnx"))]) == 0
    assert "what depends on the chip is not checked" in caplog.text
    assert capsys.readouterr().out.endswith("ATC has no reason to refuse this graph\n")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "an empty file"),
        (b"not a model", "11 bytes that are none"),
        (b"\x08\x08", "no graph in it"),
        (clean().SerializeToString()[:-100], "bytes that are none"),
        (
            clean().SerializeToString().replace(b"weight", b"\xff\xfeight"),
            "names that are not UTF-8",
        ),
    ],
)
def test_file_that_is_no_model_is_one_line(content: bytes, says: str, tmp_path: Path) -> None:
    """Empty, text, a model without a graph, a truncated one, names that protobuf gives as bytes."""
    path = tmp_path / "m.onnx"
    path.write_bytes(content)

    with pytest.raises(ArtifactError, match=f"m.onnx: expected an ONNX model, got .*{says}"):
        preflight(path)


def test_path_that_is_no_file_is_one_line(tmp_path: Path) -> None:
    """Missing, a folder without a graph, a name no system takes."""
    for path, says in (
        (tmp_path / "missing.onnx", "No such file"),
        (tmp_path, "No such file"),
        (tmp_path / ("x" * 300), "File name too long"),
        (tmp_path / "a\0b", "null byte"),
    ):
        with pytest.raises(ArtifactError, match=f"expected an .onnx file.*got .*{says}"):
            preflight(path)


def test_usage_is_exit_code_2(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One line on stderr, whatever is wrong; two precisions or two kinds of batches, too."""
    path = str(saved(clean(), tmp_path / "m.onnx"))
    for arguments in (
        [path, "--soc_version", "910B3"],
        [path, "--batch_sizes", "0"],
        [path, "--batch_sizes", "1,,2"],
        [path, "--batch_sizes", "1", "--dynamic_batch_size", "1,2"],
        [path, "--precision_mode", "force_fp16", "--precision_mode_v2", "fp16"],
        [path, "--precision_mode_v2", "fp8"],
        [str(tmp_path / "none.onnx")],
        [],
    ):
        try:
            code = main(arguments)
        except SystemExit as error:  # argparse's own
            code = int(error.code or 0)
        said = capfd.readouterr()
        assert code == 2, arguments
        assert said.out == ""
        assert said.err.splitlines()[-1].startswith("error: ")
