"""Machines for the doctor's tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from doctor_machines import Machine


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing in it, not even pip."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=300)
    return folder / "bin/python"


@pytest.fixture
def machine(bare_python: Path, tmp_path: Path) -> Machine:
    return Machine(python=bare_python, folder=tmp_path)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """Fake packages for functions called in this process, and for their children."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    return Machine(python=Path(sys.executable), folder=tmp_path)
