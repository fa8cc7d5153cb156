"""`python -m runtime.info`: every kind of file, true, false and hostile ones."""

from __future__ import annotations

import json
import os
import pickle
import sys
import zipfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from builders import STARTER, STARTER_PARAMETERS, run_python
from cann.om_writer import write_om
from cann.small_models import write_small
from kits import OM, empty_bundle
from onnx import TensorProto, helper
from rich.console import Console

from runtime.cli import command_line
from runtime.info import __main__ as info
from runtime.model.manifest import (
    MANIFEST_NAME,
    GraphCost,
    Manifest,
    file_fact,
    read_manifest,
    save_manifest,
)

SOC = "Ascend910B3"


def info_main(*arguments: object) -> int:
    return info.main([str(argument) for argument in arguments])


def as_json(capsys: pytest.CaptureFixture[str], path: Path, *, code: int = 0) -> dict[str, Any]:
    assert info_main(path, "--json") == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def lines_of(text: str) -> dict[str, str]:
    return {
        key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())
    }


def make_onnx(path: Path) -> Path:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["image"], ["y"])],
        "g",
        [value("image", TensorProto.FLOAT, ["N", 3, 256, 256])],
        [value("y", TensorProto.FLOAT, ["N", 3, 256, 256])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)
    return path


def make_om(path: Path, **changes: Any) -> Path:
    asked: dict[str, Any] = {
        "name": "starmark",
        "attributes": {
            "soc_version": SOC,
            "atc_version": "8.5.0",
            "atc_cmdline": "atc --framework=5",
            "memory_size": 1024,
            "extra": "é",
        },
        "partitions": {1: bytes(2000)},
        **changes,
    }
    write_om(path, **asked)
    return path


def test_a_terminal_shows_that_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Hashing a large one takes minutes."""
    shown: list[str] = []

    def status(_console: Console, text: str) -> AbstractContextManager[None]:
        shown.append(text)
        return nullcontext()

    monkeypatch.setattr(command_line, "_on_terminal", lambda: True)
    monkeypatch.setattr(Console, "status", status)
    path = make_om(tmp_path / "m.om")
    caplog.set_level("INFO", logger="starmark")
    assert info_main(path) == 0
    assert [str(text) for text in shown] == [f"read {path} ..."]
    assert f"read {path}: " in caplog.text


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of small files with a true manifest."""
    folder = empty_bundle(tmp_path / "bundle", files=())
    files = (make_om(folder / OM.file), make_onnx(folder / "model.onnx"))
    made = read_manifest(folder)
    change = msgspec.structs.replace
    cost = GraphCost(nodes=1, parameters=5000, gflop=1.25, activation_bytes=40_000_000)
    plain = change(cost, nodes=3, parameters=6000, activation_bytes=90_000_000)
    onnx_fact = change(made.onnx, rewrites=("merges",), cost=cost, plain=plain)
    change_manifest(
        folder,
        checkpoint=change(made.checkpoint, parameters=1234),
        onnx=onnx_fact,
        om=(change(OM, batches=(1, 4), gears=True),),
        files={path.name: file_fact(path) for path in files},
    )
    return folder


def change_manifest(folder: Path, **changes: Any) -> None:
    old = msgspec.json.decode((folder / MANIFEST_NAME).read_bytes(), type=Manifest)
    save_manifest(folder, msgspec.structs.replace(old, **changes))


def test_om_says_what_it_was_converted_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Chip, converter, its command line, sizes, partitions; as text and as JSON."""
    path = make_om(tmp_path / "m.om", is_unknow_model=1)
    assert info_main(path) == 0
    text = capsys.readouterr().out
    found = as_json(capsys, path)

    assert lines_of(text)["soc version"] == SOC
    assert lines_of(text)["atc cmdline"] == "atc --framework=5"
    assert lines_of(text)["dynamic shapes"] == "yes"
    assert lines_of(text)["memory size"] == "1,024"
    assert lines_of(text)["weight size"] == "-"
    assert "type WEIGHTS_DATA, offset " in text
    assert (found["kind"], found["name"], found["model_type"]) == ("om", "starmark", "IR")
    assert found["sha256"] == file_fact(path).sha256
    assert found["attributes"] == {"extra": "é"}
    assert found["partitions"][1]["size"] == 2000
    assert found["manifest"] == "none beside it"


def test_om_names_its_inputs_and_outputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With dtype, dims and bytes, as text and as JSON."""
    path = write_small(tmp_path / "m.om", gears=(2, 6), dtype=1)
    found = as_json(capsys, path)
    assert info_main(path) == 0
    text = capsys.readouterr().out

    assert found["inputs"][0] == {
        "name": "image", "dtype": "float16", "dims": [-1, 3, 8, 8], "format": "NCHW", "bytes": 384,
    }  # fmt: skip
    assert [one["name"] for one in found["outputs"]] == ["conv:0:maps", "pool:0:mean"]
    assert found["gears"] == [2, 6]
    assert found["framework_type"] == "Onnx"
    assert "name conv:0:maps, dtype float16, dims [6, 2, 8, 8]" in text


def test_what_could_not_be_read_is_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The rest is shown, the fault is named, and the exit code is not 0."""
    several = make_om(tmp_path / "s.om", modeltype=5)
    content = bytearray(several.read_bytes())
    content[156] = 3
    several.write_bytes(content)
    found = as_json(capsys, several, code=1)

    assert (found["model_type"], found["soc_version"]) == ("bundle", SOC)
    assert "the first of 3 models" in found["note"]
    assert found["unread"][0].startswith("model 2 of 3: ")
    assert f"{several}: not read: model 2 of 3: " in caplog.text


def test_bundle_says_what_its_rewrites_changed(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before and after; one figure where nothing changed."""
    assert info_main(bundle) == 0
    shown = lines_of(capsys.readouterr().out)

    assert shown["onnx.rewrites"] == "merges"
    assert shown["inference form.nodes"] == "3 -> 1"
    assert shown["inference form.parameters"] == "6,000 -> 5,000"
    assert shown["inference form.GFLOP a picture"] == "1.25"
    assert shown["inference form.MB of maps a picture"] == "90 -> 40"


def test_bundle_is_listed_and_its_files_checked(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Name, spec, checkpoint, ONNX, OM, verdict, and every file's hash."""
    assert info_main(bundle) == 0
    text = capsys.readouterr().out
    found = as_json(capsys, bundle)

    assert lines_of(text)["parity.verdict"] == "passed"
    assert lines_of(text)["checkpoint.parameters"] == "1,234"
    assert f"soc_version {SOC}, batches [1, 4], gears yes" in text
    assert (found["kind"], found["name"], found["points"]) == ("bundle", "tiny", 68)
    assert {one["file"]: one["status"] for one in found["files"]} == {
        "model.onnx": "ok",
        "model_bs1_Ascend910B3.om": "ok",
    }


def test_every_file_that_differs_is_named(
    bundle: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Exit code 1, and all of them at once."""
    (bundle / "model.onnx").unlink()
    with (bundle / "model_bs1_Ascend910B3.om").open("ab") as file:
        file.write(b"\0")
    assert info_main(bundle, "--json") == 1

    assert [one["status"] for one in json.loads(capsys.readouterr().out)["files"]] == [
        "MISSING",
        "MISMATCH",
    ]
    assert "model.onnx: MISSING" in caplog.text
    assert "model_bs1_Ascend910B3.om: MISMATCH" in caplog.text


def test_manifest_cannot_point_outside_its_bundle(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file elsewhere is not even hashed."""
    secret = bundle.parent / "secret.txt"
    secret.write_text("secret")
    files = {"../secret.txt": file_fact(secret), str(secret): file_fact(secret)}
    change_manifest(bundle, files=files)
    found = as_json(capsys, bundle, code=1)

    assert [one["status"] for one in found["files"]] == ["OUTSIDE THE BUNDLE"] * 2


@pytest.mark.parametrize("name", ["model_bs1_Ascend910B3.om", "model.onnx"])
def test_file_is_held_to_the_manifest_beside_it(
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    """Listed with this hash, with another, not at all, or by a manifest that is none."""
    path = bundle / name
    assert as_json(capsys, path)["manifest"] == "one beside it, which lists it with this hash"
    other = file_fact(STARTER)
    change_manifest(bundle, files={name: other})
    as_json(capsys, path, code=1)
    assert f"lists it with SHA-256 {other.sha256[:12]}: MISMATCH" in caplog.text
    change_manifest(bundle, files={})
    assert as_json(capsys, path)["manifest"] == "one beside it, which does not list it"
    (bundle / MANIFEST_NAME).write_text("{}")
    assert "that cannot be used" in as_json(capsys, path)["manifest"]


def test_onnx_lists_its_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Opset, operators, inputs and outputs with their shapes."""
    path = make_onnx(tmp_path / "m.onnx")
    assert info_main(path) == 0
    text = capsys.readouterr().out

    assert lines_of(text)["opsets"] == "ai.onnx 13"
    assert lines_of(text)["operators"] == "Relu 1"
    assert lines_of(text)["inputs"] == "name image, dtype float32, dims [N, 3, 256, 256]"


def test_onnx_without_its_weights_is_found_wanting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """External data that is not there, or outside the folder."""
    path = make_onnx(tmp_path / "m.onnx")
    model = onnx.load(path)
    for name in ("here.bin", "gone.bin", "../up.bin"):
        tensor = model.graph.initializer.add(name=name, data_type=1, data_location=1)
        tensor.external_data.add(key="location", value=name)
    path.write_bytes(model.SerializeToString())
    (tmp_path / "here.bin").touch()
    found = as_json(capsys, path, code=1)

    statuses = [one["status"] for one in found["external"]]
    assert statuses == ["ok", "MISSING", "OUTSIDE THE BUNDLE"]


@pytest.mark.parametrize("torch_is_there", [True, False])
def test_checkpoints_need_no_torch(
    tiny: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    torch_is_there: bool,
) -> None:
    """Points, parameters and where the weights lie; in a pickle as in safetensors."""
    if not torch_is_there:
        monkeypatch.setitem(sys.modules, "torch", None)
    found = as_json(capsys, STARTER)
    assert (found["container"], found["tensors"], found["dtypes"]) == (
        *("safetensors", 664),
        {"float32": 664},
    )
    assert found["parameters"] == STARTER_PARAMETERS
    assert json.loads(found["metadata"]["architecture"])["points"] == 68
    found = as_json(capsys, tiny)
    assert (found["container"], found["points"], found["input_size_px"]) == ("zip", 68, 256)
    assert (found["weights_key"], found["parameters"]) == ("net", 9646)


class Bomb:
    """Says, when unpickled, that it was."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def test_pickle_that_would_run_code_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that names what it would have run."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(), protocol=2))
        archive.writestr("archive/version", "3")

    assert info_main(path) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert not (tmp_path / "exploded").exists()


def test_files_own_words_cannot_move_the_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escapes and line breaks of a hostile file stay inside their line."""
    hostile = "\x1b[2J\nkind: fine\x07\u202e"
    path = make_om(tmp_path / "m.om", attributes={"soc_version": hostile, hostile: hostile})
    assert info_main(path) == 0
    text = capsys.readouterr().out

    assert all(c.isprintable() for c in text.replace("\n", ""))
    assert sum(line.startswith("kind:") for line in text.splitlines()) == 1
    assert as_json(capsys, path)["soc_version"] == hostile


def test_wrong_files_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and what the file seems to be."""
    (tmp_path / "m.om").write_bytes(b"PK\x03\x04" + bytes(400))
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "npu.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.om")
    for name, says in (
        ("m.om", "got a zip archive"),
        ("notes.txt", "got suffix '.txt' and text"),
        ("npu.npz", "python -m parity.compare"),
        ("folder", f"got a folder without {MANIFEST_NAME}"),
        ("pipe.om", "got a pipe or device"),
        ("gone.onnx", "got no such file"),
        ("gone", "got no such file"),
        ("nul\0.om", "got no such file"),
        ("a" * 300, "File name too long"),
    ):
        assert info_main(tmp_path / name) == 2, name
        said = capsys.readouterr()
        assert says in said.err, name
        assert (said.out, said.err.count("\n")) == ("", 1), name


def test_it_runs_as_a_module_and_loads_no_engine(tmp_path: Path) -> None:
    """As a user calls it, on a box with no engine at all."""
    path = make_om(tmp_path / "m.om")
    done = run_python("-X", "importtime", "-m", "runtime.info", path)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.split("\n")}

    assert done.returncode == 0
    assert SOC in done.stdout
    assert not loaded & {"torch", "onnxruntime", "onnx", "acl", "rich"}
