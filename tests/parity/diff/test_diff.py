"""What differs between two bundles or recordings, planted one field at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from recordings import recording_of, with_header

from parity.diff import __main__ as product
from parity.diff.__main__ import DiffReport, diff
from parity.diff.consequences import BUNDLE_RULES, KINDS, consequence_of
from parity.recording.recording import save_recording
from runtime.errors import ArtifactError
from runtime.model.manifest import (
    MANIFEST_NAME,
    FileFact,
    Manifest,
    OmFact,
    file_fact,
    read_manifest,
    save_manifest,
)

ANSWERS, ROUNDING, WHERE, NONE = KINDS
replace = msgspec.structs.replace


@pytest.fixture
def pair(starter_bundle: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The starter's bundle twice."""
    return (
        Path(shutil.copytree(starter_bundle, tmp_path / "a")),
        Path(shutil.copytree(starter_bundle, tmp_path / "b")),
    )


def edit(folder: Path, change: Callable[[Manifest], Manifest]) -> None:
    save_manifest(folder, change(read_manifest(folder)))


def om(folder: Path, soc: str = "Ascend910B3", **changes: Any) -> Callable[[Manifest], Manifest]:
    """Add a converted model to a bundle, which is a file of any content here."""
    name = f"model_bs1_{soc}.om"
    (folder / name).write_bytes(b"converted")

    def add(manifest: Manifest) -> Manifest:
        fact = OmFact(
            file=name,
            soc_version=soc,
            batches=(1,),
            gears=False,
            input=manifest.spec.input,
            precision="precision_mode_v2=origin",
            options={},
            atc_version="8.0",
        )
        files: dict[str, FileFact] = {**manifest.files, name: file_fact(folder / name)}
        return replace(manifest, om=(replace(fact, **changes),), files=files)

    return add


def found(report: DiffReport) -> dict[str, str]:
    return {one.field: one.kind for one in report.differences if one.field != "digest"}


def test_two_copies_are_the_same(pair: tuple[Path, Path]) -> None:
    """Not even a timestamp differs."""
    report = diff(*pair)

    assert (report.same_answers, report.differences) == (True, ())


def with_field(record: Any, field: str, value: object) -> Any:
    """A copy of a record with one field changed, by its dotted name."""
    name, _, inside = field.partition(".")
    if isinstance(record, dict):
        return {**record, name: with_field(record[name], inside, value) if inside else value}
    old = getattr(record, name)
    return replace(record, **{name: with_field(old, inside, value) if inside else value})


@pytest.mark.parametrize(
    ("field", "kind", "value"),
    [
        ("checkpoint.sha256", ANSWERS, "f" * 64),
        ("checkpoint.architecture.stacks", ANSWERS, 4),
        ("spec.input.mean", ANSWERS, 0.0),
        ("spec.input.dtype", ROUNDING, "uint8"),
        ("onnx.opset", ROUNDING, 17),
        ("onnx.exporter", ROUNDING, "x"),
        ("onnx.simplifier", ROUNDING, "x"),
        ("onnx.cost.parameters", ROUNDING, 14_457_457),
        ("parity.passed", NONE, None),
        ("parity.max_mean_px", NONE, 1.5),
        ("versions.onnxruntime", NONE, "0"),
        ("config.weights", NONE, "other"),
        ("created_utc", NONE, "never"),
        ("name", NONE, "other"),
    ],
)
def test_planted_field_has_its_consequence(
    pair: tuple[Path, Path],
    field: str,
    kind: str,
    value: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """That field alone, in its group, and the exit code by it."""
    edit(pair[1], lambda manifest: with_field(manifest, field, value))
    assert found(diff(*pair)) == {field: kind}
    code = 1 if kind in (ANSWERS, ROUNDING) else 0

    assert product.main([*map(str, pair), "--all"]) == code
    text = capsys.readouterr().out
    assert f"{kind} (" in text
    assert f"  {field}: " in text


def test_graph_of_another_network_is_no_matter_of_rounding(pair: tuple[Path, Path]) -> None:
    """Its counts and its file follow from the checkpoint's; its exporter does not."""
    graph = pair[1] / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    fields = {
        "checkpoint.architecture.stacks": 4,
        "checkpoint.parameters": 17_069_572,
        "onnx.cost.parameters": 14_457_457,
        "onnx.exporter": "x",
    }
    for field, value in fields.items():
        edit(pair[1], partial(with_field, field=field, value=value))
    edit(pair[1], lambda m: replace(m, files={**m.files, "model.onnx": file_fact(graph)}))

    kinds = found(diff(*pair))
    assert kinds.pop("onnx.exporter") == ROUNDING
    assert kinds == dict.fromkeys(
        ["files.model.onnx.bytes", "files.model.onnx.sha256", *list(fields)[:-1]], ANSWERS
    )


def test_what_has_no_effect_is_counted_and_listed_if_asked_for(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two timestamps must not bury a weight; JSON holds all."""
    edit(pair[1], lambda m: replace(m, name="other", created_utc="never"))
    paths = [str(path) for path in pair]
    assert product.main(paths) == 0
    short = capsys.readouterr().out
    assert "no effect (3, listed by --all)" in short
    assert "other" not in short
    assert product.main([*paths, "--all"]) == 0
    assert '-> "other"' in capsys.readouterr().out
    assert product.main([*paths, "--json"]) == 0
    assert "other" in capsys.readouterr().out


def test_other_graph_is_found_by_its_hash(pair: tuple[Path, Path]) -> None:
    """Which is the file's own: a manifest that does not fit its files is refused."""
    graph = pair[1] / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    with pytest.raises(ArtifactError, match="of another model or damaged"):
        diff(*pair)
    edit(pair[1], lambda m: replace(m, files={**m.files, "model.onnx": file_fact(graph)}))

    assert found(diff(*pair)) == {
        "files.model.onnx.sha256": ROUNDING,
        "files.model.onnx.bytes": ROUNDING,
    }


@pytest.mark.parametrize(
    ("field", "kind", "changes"),
    [
        ("precision", ROUNDING, {"precision": "precision_mode=force_fp16"}),
        ("atc_version", ROUNDING, {"atc_version": "8.2"}),
        ("options.op_select_implmode", ROUNDING, {"options": {"op_select_implmode": "high"}}),
        ("soc_version", WHERE, {"soc_version": "Ascend310P3"}),
        ("batches", WHERE, {"batches": (4,)}),
    ],
)
def test_conversion_has_its_consequence(
    pair: tuple[Path, Path], field: str, kind: str, changes: dict[str, Any]
) -> None:
    """By the converted model's own name."""
    edit(pair[0], om(pair[0]))
    edit(pair[1], om(pair[1], **changes))

    assert found(diff(*pair)) == {f"om[model_bs1_Ascend910B3.om].{field}": kind}


def test_aipp_is_a_matter_of_rounding(pair: tuple[Path, Path]) -> None:
    """It normalises on the chip, in fp16."""
    edit(pair[0], om(pair[0]))
    spec = read_manifest(pair[0]).spec.input
    edit(pair[1], om(pair[1], input=replace(spec, dtype="uint8", layout="NHWC")))

    assert set(found(diff(*pair)).values()) == {ROUNDING}


def test_model_that_one_side_alone_has_is_one_line(pair: tuple[Path, Path]) -> None:
    """It changes where the bundle runs, and not what it answers elsewhere."""
    edit(pair[0], om(pair[0]))
    edit(pair[1], om(pair[1], soc="Ascend310P3"))
    report = diff(*pair)

    assert report.same_answers
    assert found(report) == {
        "om[model_bs1_Ascend310P3.om]": WHERE,
        "om[model_bs1_Ascend910B3.om]": WHERE,
        "files.model_bs1_Ascend310P3.om": WHERE,
        "files.model_bs1_Ascend910B3.om": WHERE,
    }
    assert {(one.a, one.b) for one in report.differences if "310P3" in one.field} == {
        ("nothing", "there")
    }


def test_long_values_are_shown_where_they_part(pair: tuple[Path, Path]) -> None:
    """Not their common beginning twice."""
    edit(pair[0], lambda m: replace(m, preflight=("x" * 100 + "one",)))
    edit(pair[1], lambda m: replace(m, preflight=("x" * 100 + "other",)))
    (one,) = [one for one in diff(*pair).differences if one.field == "preflight"]

    assert "xone" in one.a
    assert "xother" in one.b
    assert len(one.a) < 50


def test_every_field_of_a_manifest_has_a_rule(starter_bundle: Path, tmp_path: Path) -> None:
    """Also of one with a converted model; a later version's field is never called harmless."""
    folder = Path(shutil.copytree(starter_bundle, tmp_path / "a"))
    edit(folder, om(folder))
    fields = product._flat(msgspec.to_builtins(read_manifest(folder)))
    unknown = [f for f in fields if "nothing is known" in consequence_of(f, BUNDLE_RULES)[1]]

    assert unknown == ["schema"]  # it is equal, or the manifest is refused
    assert consequence_of("something.new", BUNDLE_RULES)[0] == ANSWERS


def test_recordings_are_compared_by_their_headers(
    tmp_path: Path, rng: np.random.Generator, pair: tuple[Path, Path]
) -> None:
    """Engine, versions, device, pictures, and the manifest's fields; answers are not looked at."""
    here = recording_of(rng)
    manifest = read_manifest(pair[0])
    changed = with_header(
        here,
        engine="other 1.0",
        device="npu:0",
        created_utc="never",
        versions={"python": "3", "opencv": "5"},
        manifest=replace(manifest, onnx=replace(manifest.onnx, opset=17)),
        pictures=here.header.pictures[::-1],
    )
    save_recording(tmp_path / "1.npz", with_header(here, manifest=manifest))
    save_recording(tmp_path / "2.npz", changed)
    save_recording(tmp_path / "3.npz", here)

    assert found(diff(tmp_path / "1.npz", tmp_path / "2.npz")) == {
        "pictures": ANSWERS,
        "engine": ROUNDING,
        "manifest.onnx.opset": ROUNDING,
        "versions.opencv": ROUNDING,
        "device": WHERE,
        "created_utc": NONE,
    }
    assert found(diff(tmp_path / "1.npz", tmp_path / "3.npz")) == {"manifest": WHERE}


def test_older_schema_is_said(pair: tuple[Path, Path]) -> None:
    """And not the first field that an older manifest cannot have."""
    path = pair[1] / MANIFEST_NAME
    content = json.loads(path.read_text())
    del content["onnx"]
    path.write_text(json.dumps({**content, "schema": 1, "graph": {}}))

    with pytest.raises(ArtifactError, match="expected schema 3, got schema 1"):
        diff(*pair)


def test_json_is_the_record(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """As `DiffReport` has it; names cannot speak to the terminal."""
    edit(pair[1], lambda m: replace(m, name="a\x1b]0;x\x07"))
    assert product.main([str(pair[0]), str(pair[1]), "--json"]) == 0
    report = msgspec.json.decode(capsys.readouterr().out, type=DiffReport)
    assert report == diff(*pair)

    assert product.main([str(pair[0]), str(pair[1])]) == 0
    assert "\x1b" not in capsys.readouterr().out
