"""The installer, stopped at any moment: the old environment or the new one, and nothing else."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from kits import HERE_PYTHON, INSTALL_PATH, install, installs, kit_for, unpack

pytestmark = [installs, pytest.mark.slow]
SETTINGS = {"PYTHON": sys.executable}
# One that this test puts into the old environment.
MARK = "old"
# What names the folder that it was made in, or has the hash of a file that did.
NAMES_ITS_FOLDER = {"pyvenv.cfg", "RECORD"}


def environment(folder: Path) -> tuple[bool, dict[str, bytes]]:
    """Whether this is the old environment, and every file of it; what Python caches aside."""
    venv = (folder / "venv").resolve(strict=True)
    files = {
        str(path.relative_to(venv)): b"" if path.name in NAMES_ITS_FOLDER else path.read_bytes()
        for path in venv.rglob("*")
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
    }
    return files.pop(MARK, None) is not None, files


def leftovers(folder: Path) -> list[str]:
    """What lies in .venvs besides the environment."""
    return [p.name for p in folder.glob(".venvs/*") if p != (folder / "venv").resolve()]


def installed_old(folder: Path) -> tuple[float, dict[str, bytes]]:
    """Install, and mark the result as old: how long that took, and its files."""
    start = time.monotonic()
    done = install(folder, **SETTINGS)
    assert done.returncode == 0, done.stderr
    seconds = time.monotonic() - start
    old, files = environment(folder)
    assert not old
    (folder / "venv" / MARK).touch()
    return seconds, files


def stop(folder: Path, number: signal.Signals, after_s: float, **settings: str) -> int:
    """Send the installer a signal, and nothing to what it started; its exit code."""
    process = subprocess.Popen(
        ["bash", folder / "install.sh"],
        env={"PATH": INSTALL_PATH, **(settings or SETTINGS)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(after_s)
    process.send_signal(number)
    return process.wait(timeout=300)


def check(folder: Path, number: signal.Signals, code: int, whole: Mapping[str, bytes]) -> bool:
    """Check what a stopped run leaves; whether that is the old environment."""
    old, files = environment(folder)
    assert files == whole
    if number == signal.SIGKILL:
        assert code in {0, -signal.SIGKILL}
        return old
    # after the swap nothing stops it any more; before its first trap, the signal itself does
    assert code in {0, 128 + number, -number}
    assert old == (code != 0)
    assert leftovers(folder) == []
    return old


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_stopped_installation_leaves_the_old_environment_or_the_new_one(
    tmp_path: Path, name: str
) -> None:
    """Whole, at a random moment; the next run removes what a killed one left."""
    folder = unpack(kit_for(tmp_path, [HERE_PYTHON]), tmp_path)
    number = signal.Signals[name]
    seconds, whole = installed_old(folder)

    code = stop(folder, number, random.uniform(0, seconds))  # noqa: S311  # no secret

    check(folder, number, code, whole)
    installed_old(folder)
    assert leftovers(folder) == []


def test_a_folder_as_older_kits_made_it_is_replaced(tmp_path: Path) -> None:
    """It steps aside for the link; where the run was killed in between, it comes back first."""
    folder = unpack(kit_for(tmp_path, [HERE_PYTHON]), tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (folder / "venv" / MARK).touch()
    (folder / ".venvs").mkdir()
    (folder / "venv").rename(folder / ".venvs/before")

    # ended as soon as the folder is back, by a Python that cannot make an environment
    python = tmp_path / "python3"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *" venv "*) exit 1 ;; esac\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    assert install(folder, PYTHON=str(python)).returncode == 3
    assert (folder / "venv" / MARK).exists()

    installed_old(folder)
    assert (folder / "venv").is_symlink()
    assert leftovers(folder) == []


def test_two_installations_at_once_wait_for_each_other(tmp_path: Path) -> None:
    folder = unpack(kit_for(tmp_path, [HERE_PYTHON]), tmp_path)
    command = ["bash", str(folder / "install.sh")]
    runs = [
        subprocess.Popen(command, env={"PATH": INSTALL_PATH, **SETTINGS}, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    errors = b"".join(run.communicate(timeout=300)[1] for run in runs)

    assert [run.returncode for run in runs] == [0, 0], errors
    assert errors == b"waiting for another install.sh in this folder\n"
    assert leftovers(folder) == []
