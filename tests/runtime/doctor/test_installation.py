"""The doctor's lines about this project itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from builders import ROOT

from runtime.doctor import installation
from runtime.version import VERSION


def test_checkout_is_named() -> None:
    assert installation.code().found == f"{VERSION}, the checkout in {ROOT}"


def test_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "IS_PACKAGED", True)

    assert installation.code().found.startswith(f"{VERSION}, a wheel in ")


def test_kit_is_known_by_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment lies below it, and nothing can be installed from the network."""
    for name in ("install.sh", "SHA256SUMS"):
        (tmp_path / name).touch()
    for name in ("wheels", ".venvs/3.11.7"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "venv").symlink_to(".venvs/3.11.7")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(installation, "installed", lambda module: module == "torch")

    assert installation.code().found == f"{VERSION}, of the kit in {tmp_path}"
    assert installation.extras().mend == ""


def test_missing_extras_have_their_command(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"torch", "av", "jinja2", "matplotlib", "openvino", "nncf", "argcomplete", "pyarrow"}
    monkeypatch.setattr(installation, "installed", there.__contains__)
    found = installation.extras()

    assert found.level == "ok"  # an extra is a choice
    assert found.found == (
        "completion, int8, openvino, parquet, report, torch, video;"
        " without export, faces, pictures, ray"
    )
    assert found.mend == "pip install -e '.[export,faces,pictures,ray]'"
