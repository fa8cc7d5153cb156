"""The wheel is whole: what a checkout has beside the code, an empty folder has by it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
from builders import ROOT

from export.kit.wheelhouse import own_wheel
from runtime.files.shipped import is_packaged, own_or_shipped, shipped
from runtime.model.manifest import read_manifest

PAGE = ROOT / "docs/package.md"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as the kit's, by pip, without a network."""
    return own_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and nothing else, which goes first on Python's path."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", folder, wheel], check=True, capture_output=True)
    return folder


def starmark(installed: Path, here: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """The console script, as somebody calls it who has no checkout."""
    return subprocess.run(
        [sys.executable, installed / "bin/starmark", *map(str, words)],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )


def test_a_checkout_gives_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to the current folder where it can be, whole elsewhere; own ones go first."""
    name = Path("configs/starter68.toml")
    assert shipped(str(name)) == own_or_shipped(name) == name
    assert not is_packaged(name)
    monkeypatch.chdir(tmp_path)
    assert own_or_shipped(name) == ROOT / name
    assert own_or_shipped(Path("configs/gone.toml")) == Path("configs/gone.toml")
    name.parent.mkdir()
    name.touch()
    assert own_or_shipped(name) == name


@pytest.mark.slow
def test_metadata_is_what_an_index_shows(wheel: Path) -> None:
    """Who, what for, which Pythons; a page without links or pictures that would lead nowhere."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
        files = set(archive.namelist())

    assert metadata["Author"] == "Starmark developers"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Programming Language :: Python :: 3.13" in metadata.get_all("Classifier", [])
    assert metadata.get_all("Project-URL") is None
    assert metadata.get_payload() == PAGE.read_text()
    assert "](" not in PAGE.read_text()
    assert any(file.endswith("licenses/LICENSE") for file in files)
    tracked = subprocess.run(
        ["git", "ls-files", "assets", "configs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {f"runtime/shipped/{file}" for file in tracked.stdout.split()} <= files


@pytest.mark.slow
def test_the_pages_commands_work_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """In their order; nothing is written beside the code, and again nothing is done."""
    shutil.copy(ROOT / "assets/test.jpg", tmp_path / "photo.jpg")
    (block,) = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    install, *commands = block.splitlines()
    before = sorted(installed.rglob("*[!c]"))

    said = [starmark(installed, tmp_path, *line.split()[1:]) for line in commands]

    assert install == 'pip install "starmark[export]"'
    assert [done.returncode for done in said] == [0, 0, 0], said
    assert "PASSED" in said[1].stdout
    assert "reference: assets/starter68.safetensors@cpu " in said[1].stdout
    assert {path.name for path in tmp_path.iterdir()} == {"build", "landmarks.png", "photo.jpg"}
    assert read_manifest(tmp_path / "build/starter68").parity.passed
    assert sorted(installed.rglob("*[!c]")) == before
    assert "up to date: onnx" in starmark(installed, tmp_path, "export").stderr


@pytest.mark.slow
def test_the_published_weights_go_where_the_command_is_run(installed: Path, tmp_path: Path) -> None:
    """Not into the installed package, where its configuration lies; that goes by its name."""
    done = starmark(installed, tmp_path, "export", "--config", "configs/star68.toml")

    assert done.returncode == 2
    assert f"Put the file at {tmp_path}/weights/star68/pytorch_model.pkl" in done.stderr
    done = starmark(installed, tmp_path, "export", "--config", "configs/typo.toml")
    assert "Choose one of configs/star68.toml, configs/starter68.toml." in done.stderr
