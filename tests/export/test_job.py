"""The configuration of a checkpoint, and what is found out before torch is imported."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import ROOT, STARTER, STARTER_PARAMETERS, run_python, tiny_config
from star_networks import network_of

from export import __main__ as export_main
from export.config import read_config
from export.job import fitting_config
from runtime import Detector
from runtime.errors import ConfigError
from runtime.model.manifest import read_manifest
from runtime.model.spec import Architecture


def configurations(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """A folder to work in that has copies of the starter's configuration."""
    (folder / "configs").mkdir()
    for name in names:
        shutil.copyfile(ROOT / "configs/starter68.toml", folder / f"configs/{name}.toml")
    monkeypatch.chdir(folder)


def test_weights_find_their_configuration(caplog: pytest.LogCaptureFixture) -> None:
    """By points and parameters, and the log says which."""
    caplog.set_level("INFO", logger="starmark")
    assert fitting_config(STARTER, "") == Path("configs/starter68.toml")
    assert f"configs/starter68.toml (68 points and {STARTER_PARAMETERS:,} par" in caplog.text


def test_weights_of_no_configuration_name_the_nearest(tiny: Path) -> None:
    """And what all of them are for."""
    with pytest.raises(ConfigError) as caught:
        fitting_config(tiny, "")
    assert "configs/star68.toml: 68 points and 17,069,572 parameters" in caught.value.expected
    assert caught.value.action.startswith("The nearest is configs/starter68.toml: copy it")


def test_two_configurations_of_one_checkpoint_are_not_chosen_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go before the one that comes with the code, which is found in every folder."""
    configurations(tmp_path, monkeypatch, "a", "b")
    with pytest.raises(ConfigError, match=r"Name one with --config: configs/a.toml or configs/b"):
        fitting_config(STARTER, "")
    shutil.rmtree("configs")
    assert read_config(fitting_config(STARTER, "")).weights == str(STARTER)


@pytest.mark.slow
def test_another_models_weights_are_refused_before_torch(tiny: Path) -> None:
    """With and without --config, dry or not: in the time that Python takes to start."""
    script = (
        "import sys, export.__main__ as e;"
        " code = e.main(sys.argv[1:]); print(code, 'torch' in sys.modules)"
    )
    for given in (("--dry-run",), (), ("--config", "configs/star68.toml")):
        done = run_python("-c", script, "--weights", tiny, "--output", tiny.parent / "out", *given)
        assert done.stdout.split() == ["2", "False"], done.stderr
        assert "got 68 points and 9,646 parameters" in done.stderr


def test_a_dry_run_reads_the_numbers(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A flipped byte of a tensor: exit 2 and its name."""
    spoilt, config = tmp_path / "w.pkl", tiny_config(tmp_path, tiny)
    content = bytearray(tiny.read_bytes())
    with zipfile.ZipFile(tiny) as archive:
        member = next(n for n in archive.namelist() if n.endswith("data/0"))
        content[content.index(archive.read(member)) + 9] ^= 64
    spoilt.write_bytes(content)
    given = ["--config", str(config), "--weights", str(spoilt), "--dry-run"]

    assert export_main.main(given) == 2
    assert f"Bad CRC-32 for file '{member}'" in capsys.readouterr().err


@pytest.mark.slow
def test_options_and_size_reach_the_bundle(tmp_path: Path) -> None:
    """29 points, no point and edge maps, no coordinates, 128 px, the average's weights."""
    network = network_of(
        Architecture(
            stacks=2, depth=2, channels=8, stem=8, points=29, contours=0, size=128, add_coord=False
        )
    )
    spoilt = {key: tensor * 1.5 for key, tensor in network.state_dict().items()}
    weights = tmp_path / "w.ckpt"
    torch.save({"net": spoilt, "ema": network.state_dict()}, weights)
    config = tmp_path / "cofw.toml"
    parameters = sum(p.numel() for p in network.parameters())
    config.write_text(
        f'name = "cofw"\nweights = "w.ckpt"\nweights_key = "ema"\n'
        f"[model]\npoints = 29\nparameters = {parameters}\ninput_size = 128\n"
    )
    out = tmp_path / "out"
    assert export_main.main(["--config", str(config), "--output", str(out)]) == 0

    manifest = read_manifest(out)
    assert manifest.parity.passed
    assert manifest.checkpoint.architecture == network.architecture
    assert manifest.spec.input.size == 128
    assert manifest.spec.topology.normaliser == ("pupils", (16, 17))
    assert "--weights-key ema --input-size 128" in (out / "parity.html").read_text()
    picture = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    crop = torch.from_numpy(picture.transpose(2, 0, 1)[None] / np.float32(127.5) - 1)
    with Detector(out) as detector, torch.inference_mode():
        expected = ((network(crop)[0][0].numpy() + 1) * 128 - 1) / 2
        found = detector.detect_from_cropped(picture).points_px
    np.testing.assert_allclose(found, expected, atol=2e-3)
