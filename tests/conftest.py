"""Fixtures for all rooms. What lies outside the repository is skipped by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from builders import ROOT, STARTER, run_module, tiny_checkpoint
from numpy.typing import NDArray

from runtime.backends import Backend, open_backend
from runtime.detector import Detector

pytest_plugins = ["cann.plugin"]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees a terminal's width or colours, or the machine's Ascend settings."""
    for name in ("COLUMNS", "FORCE_COLOR", "ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference material beside the checkout: golden files, faces, the full-size stand-in."""
    folder = ROOT.parent / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip("reference material is not beside this checkout (../shared)")
    return folder


@pytest.fixture(scope="session")
def starter_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter model, exported by the command line as a user would."""
    folder = tmp_path_factory.mktemp("starter") / "starter68"
    done = run_module("export", "--output", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the same family that exports in a moment."""
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny.pkl")


@pytest.fixture(scope="session")
def starter_torch() -> Iterator[Backend]:
    """The starter checkpoint in torch on the CPU."""
    with open_backend(STARTER, "cpu") as backend:
        yield backend


@pytest.fixture(scope="session")
def detector(starter_bundle: Path) -> Iterator[Detector]:
    """The starter bundle in onnxruntime on the CPU."""
    with Detector(starter_bundle) as opened:
        yield opened


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """The sample photo, 1024x768 BGR."""
    picture = cv2.imread(str(ROOT / "assets/test.jpg"))
    assert picture is not None
    return picture.astype(np.uint8)


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded, so that a failure can be seen again."""
    return np.random.default_rng(20)
