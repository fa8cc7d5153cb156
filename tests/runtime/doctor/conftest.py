"""Machines for the doctor's tests."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


Lock = Callable[[Path], None]


@pytest.fixture
def lock(monkeypatch: pytest.MonkeyPatch) -> Lock:
    """Make the system refuse everything below a folder, as `chmod 0` does for all but root.

    Tests may run as root, who may enter all.
    """
    closed: list[str] = []
    for module, name in ((os, "stat"), (os, "open"), (builtins, "open")):
        monkeypatch.setattr(module, name, _refusing(getattr(module, name), closed))

    def close(folder: Path) -> None:
        closed.append(f"{folder}/")

    return close


def _refusing(real: Callable[..., Any], closed: list[str]) -> Callable[..., Any]:
    def call(path: Any, *arguments: Any, **keywords: Any) -> Any:
        if isinstance(path, (str, Path)) and str(path).startswith(tuple(closed)):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **keywords)

    return call
