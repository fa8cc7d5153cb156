"""A bundle that is not what it says is refused before any engine opens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import run_python

from runtime.detector import Detector
from runtime.errors import ArtifactError
from runtime.model.manifest import (
    MANIFEST_NAME,
    ONNX_NAME,
    ErrorScale,
    OmFact,
    check_files,
    read_manifest,
    save_manifest,
    seal,
)

SCALE = {"regions": {"jaw": 0.5}, "pictures": 48, "within": [0.39, 0.86]}


@pytest.fixture
def bundle(starter_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(starter_bundle, tmp_path / "bundle"))


def edit(bundle: Path, change: Callable[[dict[str, object]], None]) -> None:
    path = bundle / MANIFEST_NAME
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_whole_bundle_opens(bundle: Path) -> None:
    """The control: what the others spoil is fine to begin with, and says what it is."""
    manifest = read_manifest(bundle)

    assert manifest.checkpoint.parameters == 1_282_818
    assert manifest.spec.points == 68
    assert len(manifest.spec.topology.contours) == 9
    assert set(manifest.files) == {ONNX_NAME, "parity.html", "parity.json", "selftest.npz"}
    with Detector(bundle) as detector:
        assert detector.parameters == 1_282_818
    # made again from the same inputs it is the same, whenever that was
    later = msgspec.structs.replace(manifest, created_utc="2038-01-19T03:14:07Z")
    assert seal(later).digest == manifest.digest


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.update(name="other"), "it was edited"),
        (lambda m: m["spec"]["input"].update(mean=0), "it was edited"),
        (lambda m: m["parity"].update(passed=True, max_error_px=9), "it was edited"),
        (lambda m: m["versions"].update(torch="0"), "it was edited"),
        (lambda m: m.update(digest=""), "digest none"),
        (lambda m: m.update(surprise=1), "unknown field `surprise`"),
        (lambda m: m.pop("spec"), "missing required field `spec`"),
        (lambda m: m["spec"]["input"].update(size="256"), "Expected `int`, got `str`"),
        (lambda m: m.update(schema=99), "schema 99"),
        (lambda m: m.update(error_scale=SCALE), "it was edited"),
    ],
)
def test_edited_manifest_is_refused(
    bundle: Path, change: Callable[[dict[str, object]], None], says: str
) -> None:
    """By hand, by another version, or by a tool that lost a field."""
    edit(bundle, change)
    with pytest.raises(ArtifactError, match="manifest.json: expected") as caught:
        Detector(bundle)

    assert says in str(caught.value)


def test_error_scale_is_of_the_mark_ups_regions(bundle: Path) -> None:
    """Nothing is written of one that nobody made, so that older manifests keep their digest."""
    manifest = read_manifest(bundle)
    assert "error_scale" not in (bundle / MANIFEST_NAME).read_text()
    scale = msgspec.convert(SCALE, ErrorScale)
    save_manifest(bundle, msgspec.structs.replace(manifest, error_scale=scale))
    with pytest.raises(ArtifactError, match="an error scale of inner lip, jaw, .*, got one of jaw"):
        Detector(bundle)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b"[" * 10**5])
def test_damaged_manifest_is_refused(bundle: Path, content: bytes) -> None:
    """Empty, truncated, not text, not an object."""
    (bundle / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(ArtifactError, match="expected a manifest of schema 3"):
        Detector(bundle)


def test_model_of_another_bundle_is_refused(bundle: Path) -> None:
    """One byte of another model, and a model that is gone."""
    model = bundle / ONNX_NAME
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    with pytest.raises(ArtifactError, match="of another model or damaged"):
        Detector(bundle)
    model.unlink()
    with pytest.raises(ArtifactError, match="model.onnx: expected a file of"):
        Detector(bundle)


def test_any_file_of_a_bundle_is_checked(bundle: Path) -> None:
    """The comparison that was judged cannot be exchanged, either."""
    (bundle / "parity.json").write_text("{}")
    with pytest.raises(ArtifactError, match="parity.json: expected SHA-256"):
        Detector(bundle)
    manifest = read_manifest(bundle)
    om = OmFact(
        file="m.om",
        soc_version="Ascend310P3",
        batches=(1,),
        gears=False,
        input=manifest.spec.input,
        precision="",
        options={},
        atc_version="",
    )
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"files": {}}, "expected an entry for model.onnx"),
        ({"om": (om,)}, "expected an entry for m.om"),
        ({"files": {"../a": manifest.files[ONNX_NAME]}}, r"its own folder, got '\.\./a'"),
    )
    for changed, says in wrong:
        with pytest.raises(ArtifactError, match=says):
            check_files(bundle, msgspec.structs.replace(manifest, **changed))


def test_bundle_is_refused_before_any_engine_opens(bundle: Path) -> None:
    """Neither onnxruntime nor torch is loaded to find out."""
    edit(bundle, lambda m: m.update(name="other"))
    done = run_python(
        "-c",
        "import sys\n"
        "from runtime import Detector, StarmarkError\n"
        "try:\n"
        f"    Detector({str(bundle)!r})\n"
        "except StarmarkError:\n"
        "    print([m for m in ('onnxruntime', 'torch') if m in sys.modules])\n",
    )

    assert done.stdout.strip() == "[]", done.stderr
