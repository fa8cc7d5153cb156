"""`PATH[@[ENGINE/]DEVICE]`: how it is taken apart, and what it may name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from builders import STARTER

from runtime.errors import ArtifactError, BackendUnavailable, ConfigError
from runtime.model.source import find_artifact, parse_source


@pytest.mark.parametrize(
    ("text", "path", "engine", "device"),
    [
        ("build/starter68", "build/starter68", None, "auto"),
        ("build/star68@npu:0", "build/star68", None, "npu:0"),
        ("m.onnx@onnxruntime/cpu", "m.onnx", "onnxruntime", "cpu"),
        ("weights.pkl@cpu", "weights.pkl", None, "cpu"),
        ("a@b/m.onnx@cpu", "a@b/m.onnx", None, "cpu"),
        ("m.onnx@CUDAExecutionProvider", "m.onnx", None, "CUDAExecutionProvider"),
    ],
)
def test_source_is_split_at_its_last_at(
    text: str, path: str, engine: str | None, device: str
) -> None:
    """Path, engine and device each land in their place."""
    source = parse_source(text)

    assert (source.path, source.engine, source.device) == (Path(path), engine, device)


def test_existing_path_with_an_at_is_a_path(tmp_path: Path) -> None:
    """A file called weights@2.pkl is not a device called 2.pkl."""
    path = tmp_path / "weights@2.pkl"
    path.touch()

    assert parse_source(path).path == path
    assert parse_source(f"{path}@cpu").device == "cpu"


@pytest.mark.parametrize(
    ("source", "device"),
    [
        *((text, "auto") for text in ("", "@cpu", "m.onnx@", "m.onnx@torch/")),
        *((None, "cpu"), (b"m.onnx", "cpu"), ("m.onnx", 0)),
    ],
)
def test_unreadable_source_shows_the_grammar(source: object, device: object) -> None:
    """Text without a path or a device; and what is no text."""
    with pytest.raises(ConfigError, match=r"source: expected PATH\[@\[ENGINE/\]DEVICE\]"):
        parse_source(source, device)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("name", ["a" * 300, "nul\0.pkl", "my@dir/gone.pkl"])
def test_name_that_cannot_be_is_not_there(name: str) -> None:
    """Too long, with a NUL, with an @ in a folder's name; the whole name is shown."""
    with pytest.raises(ArtifactError, match="no such file or folder") as caught:
        find_artifact(parse_source(name))
    assert str(caught.value).startswith(name.replace("\0", "\0"))


def test_two_devices_that_differ_are_refused() -> None:
    """One in the source and another beside it."""
    assert parse_source("m.onnx@cpu", "cpu").device == "cpu"
    with pytest.raises(ConfigError, match="'cpu' in the source and 'npu:0' beside it"):
        parse_source("m.onnx@cpu", "npu:0")


def test_modelscope_folder_is_its_weights(tmp_path: Path) -> None:
    """configuration.json beside pytorch_model.pkl; the weights missing is said."""
    (tmp_path / "configuration.json").write_text("{}")
    with pytest.raises(ArtifactError, match="pytorch_model.pkl beside configuration.json"):
        find_artifact(parse_source(tmp_path))
    (tmp_path / "pytorch_model.pkl").touch()

    artifact = find_artifact(parse_source(tmp_path))
    assert (artifact.kind, artifact.path) == ("checkpoint", tmp_path / "pytorch_model.pkl")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    """Nothing there, a graph without its manifest, a suffix nobody opens, a pipe without an end."""
    (tmp_path / "notes.txt").touch()
    (tmp_path / "model.onnx").touch()
    os.mkfifo(tmp_path / "weights.pkl")
    for name, says in (
        *(("gone", "no such file"), (".", "with neither"), ("notes.txt", "'.txt'")),
        ("weights.pkl", "a pipe or device"),
    ):
        with pytest.raises(ArtifactError, match=says):
            find_artifact(parse_source(tmp_path / name))


def test_npu_without_om_is_unavailable_and_not_the_cpu(
    starter_bundle: Path, tmp_path: Path
) -> None:
    """A bundle on npu:0 is refused with exit code 3; an .om needs its bundle around it."""
    with pytest.raises(BackendUnavailable, match="a bundle with a converted model") as caught:
        find_artifact(parse_source(f"{starter_bundle}@npu:0"))
    assert caught.value.exit_code == 3
    om = tmp_path / "model.om"
    om.write_bytes(b"IMOD" + bytes(300))
    with pytest.raises(ArtifactError, match=r"manifest\.json beside it"):
        find_artifact(parse_source(om))
    # what is no .om is named first: the bundle would not help
    om.write_bytes(b"<!DOCTYPE html><html>")
    with pytest.raises(ArtifactError, match=r"an .om file as atc writes it, got an HTML page"):
        find_artifact(parse_source(om))


def test_onnx_inside_a_bundle_is_held_to_its_manifest(starter_bundle: Path) -> None:
    """model.onnx named by itself still brings its manifest."""
    artifact = find_artifact(parse_source(starter_bundle / "model.onnx"))

    assert artifact.manifest is not None
    assert find_artifact(parse_source(STARTER)).manifest is None
