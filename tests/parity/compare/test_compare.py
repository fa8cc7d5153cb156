"""The command line of the comparison: defaults, verdicts, reports and bad input."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from builders import ROOT, STARTER
from safetensors.torch import load_file, save_file

from parity.compare import __main__ as compare
from parity.samples import default_samples, find_samples
from runtime.cli.options import DEFAULT_MODEL
from runtime.errors import InputError


def run(*arguments: object) -> int:
    return compare.main([str(argument) for argument in arguments])


@pytest.fixture
def worse(tmp_path: Path) -> Path:
    """The starter with one head's bias moved: its points move with it."""
    state = load_file(STARTER)
    state["out_heatmaps.1.conv.weight"][8] += 0.4 * torch.randn(
        96, 1, 1, generator=torch.Generator().manual_seed(0)
    )
    path = tmp_path / "worse.safetensors"
    save_file(state, path)
    return path


def test_checkpoint_against_bundle_on_the_samples(
    starter_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """272 coordinates, far below the reference's limits; twice the same, without a clock."""
    for name in ("a.json", "b.json"):
        output = tmp_path / name
        assert run(f"{STARTER}@cpu", starter_bundle, "--json", "--output", output) == 0
        assert capsys.readouterr().out == output.read_text()
    report = json.loads(output.read_text())
    assert report["skipped"] == {}

    assert (tmp_path / "a.json").read_bytes() == output.read_bytes()
    assert report["verdict"]["passed"]
    assert report["photo_px"]["axis"]["count"] == 68 * 2 * 2
    assert report["photo_px"]["axis"]["max"] < 1e-3
    assert len(report["landmarks"]) == 68
    # the photo's own pixels are 4 and 3 crop pixels, the crop's are its own
    test, sample = report["pictures"]
    assert (test["name"], sample["name"]) == ("test.jpg", "sample.jpg")
    assert 3 <= test["photo_px"]["axis"]["mean"] / test["crop_px"]["axis"]["mean"] <= 4
    assert sample["photo_px"] == sample["crop_px"]


def test_defaults_are_the_starters() -> None:
    """The names that `python -m export` makes."""
    assert DEFAULT_MODEL == "build/starter68"
    assert (ROOT / compare.STARTER.removesuffix("@cpu")).is_file()


@pytest.mark.parametrize(
    ("given", "failed", "unjudged"),
    [
        ("--max-error 1e-9", r"max \S+ > 1e-09 photo px", ""),
        # a limit that is none is not judged
        (
            "--max-mean none --max-error none --max-p99 0",
            r"p99 \S+ > 0\.0 photo px",
            "--max-mean none --max-error none",
        ),
    ],
)
def test_exceeded_limit_is_exit_code_1(
    starter_bundle: Path,
    capsys: pytest.CaptureFixture[str],
    given: str,
    failed: str,
    unjudged: str,
) -> None:
    """Said first, with what would have passed; that then passes."""
    assert run(f"{STARTER}@cpu", starter_bundle, *given.split()) == 1
    text = capsys.readouterr().out
    assert re.match(rf"FAILED: {failed}\n", text)
    limits = re.search(r"smallest limits that pass: (.+)\n", text)
    assert limits is not None
    assert unjudged in limits.group(1)

    assert run(f"{STARTER}@cpu", starter_bundle, *limits.group(1).split()) == 0


def test_changed_model_is_found_at_its_point(
    starter_bundle: Path, worse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One point's head differs: the verdict fails and names that point."""
    assert run(starter_bundle, f"{worse}@cpu", "--json") == 1
    verdict = json.loads(capsys.readouterr().out)["verdict"]

    assert verdict["worst"]["point"] == 8
    assert verdict["worst"]["error_px"] > 0.5


def test_what_is_read_is_not_written_over(tmp_path: Path, starter_bundle: Path) -> None:
    """A bundle's own files, pictures, their points, boxes; and outputs among each other."""
    bundle = Path(shutil.copytree(starter_bundle, tmp_path / "bundle"))
    picture = Path(shutil.copy(ROOT / "assets/test.jpg", tmp_path / "a.jpg"))
    points = Path(shutil.copy(ROOT / "assets/test.pts", tmp_path / "a.pts"))
    boxes = tmp_path / "boxes.json"
    boxes.write_text('{"a.jpg": [340, 270, 660, 575]}')
    read = [*bundle.iterdir(), picture, points, boxes]
    before = {path: path.read_bytes() for path in read}
    for path in read:
        options = ["--images", picture, "--boxes", boxes, "--output", path]
        if path == points:
            options[2:4] = []
        assert run(f"{STARTER}@cpu", bundle, *options) == 2
    one, two = tmp_path / "1.npz", tmp_path / "2.npz"
    pair = (f"{STARTER}@cpu", bundle)
    assert run(*pair, "--record", one, one) == 2
    assert run(*pair, "--record", one, two, "--output", one) == 2

    assert {path: path.read_bytes() for path in read} == before


def test_samples_are_the_repositorys_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photo and crop; where they are missing, the way out is named."""
    assert [(s.name, s.cropped) for s in default_samples()] == [
        ("test.jpg", False),
        ("sample.jpg", True),
    ]
    monkeypatch.setattr("parity.samples.ASSETS", tmp_path)
    with pytest.raises(InputError, match="name pictures with --images"):
        default_samples()
    shutil.copy(ROOT / "assets/test.jpg", tmp_path)
    assert [s.name for s in find_samples([str(tmp_path)])] == ["test.jpg"]
