"""Fixtures for all rooms. What lies outside the repository is skipped by name."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from builders import (
    FAKES,
    ROOT,
    STARTER,
    convert,
    distribution,
    run_module,
    tiny_checkpoint,
    tiny_with_gears,
    torch_release,
)
from numpy.typing import NDArray

from runtime.backends import Backend, open_backend
from runtime.detector import Detector
from runtime.faces import choice

pytest_plugins = ["cann.plugin"]

# What a test that uses one of these fixtures is; `scripts/test.sh --fast` leaves out `slow`.
MARKS = {
    "slow": {"starter_bundle", "tiny_om", "tiny_debug", "tiny_bundle", "builds", "template"},
    "torch": {"starter_torch", "tiny"},
    "npu": {"npu", "torch_npu", "cann"},
    "browser": {"browser"},
}


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they use, so that nobody has to remember."""
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        for mark, fixtures in MARKS.items():
            if used & fixtures:
                item.add_marker(mark)
        if "ray" in re.split(r"[\W_]", item.name):
            item.add_marker("ray")


@pytest.fixture(autouse=True)
def clean_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No test sees a terminal's width or colours, or what this machine has for an NPU or faces."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "no cache"))
    monkeypatch.setattr(choice, "has_dlib", lambda: False)
    for name in (
        *("COLUMNS", "FORCE_COLOR", "ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"),
        "ASCEND_RT_VISIBLE_DEVICES",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")  # the language of what is printed
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
def converted(
    starter_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """The starter bundle with .om files, by options of the command line; made once for each."""
    made: dict[tuple[object, ...], Path] = {}

    def find(*options: object) -> Path:
        if options not in made:
            folder = tmp_path_factory.mktemp("om") / "starter68"
            made[options] = convert(starter_bundle, folder, *options)
        return made[options]

    return find


@pytest.fixture(scope="session")
def tiny_om(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A tiny model's bundle with an .om of gears 1, 2, 4 and 8 in true fp32."""
    return tiny_with_gears(tmp_path_factory.mktemp("tiny_om"), tiny)


@pytest.fixture(scope="session")
def tiny_debug(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """The same as a debug bundle."""
    return tiny_with_gears(tmp_path_factory.mktemp("tiny_debug"), tiny, "--taps")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the same family that exports in a moment."""
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny.pkl")


@pytest.fixture(scope="session")
def starter_torch() -> Iterator[Backend]:
    """The starter checkpoint in torch on the CPU."""
    with open_backend(STARTER, "cpu") as backend:
        yield backend


@pytest.fixture
def torch_npu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The fake torch_npu with two Ascend910B3, installed for one test; its `torch.npu`."""
    monkeypatch.syspath_prepend(str(FAKES))
    installed = distribution(tmp_path / "site", "torch_npu", f"{torch_release()}.post2")
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.setattr("runtime.backends.torch.npu_import._outcome", None)
    monkeypatch.setattr("runtime.backends.torch.npu_device._lost", {})
    fake = importlib.import_module("torch_npu")
    yield fake.npu
    fake.uninstall()
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch_npu"]:
        del sys.modules[name]


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
