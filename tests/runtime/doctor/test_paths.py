"""Folders that this user may not enter: part of a machine, and no reason to stop.

Tests may run as root, who may enter all: the system's answers are put in by hand.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doctor_machines import installation, of

from runtime.doctor import cann, collected_machine, devices
from runtime.doctor.box import Box
from runtime.doctor.collected_machine import plogs

Lock = Callable[[Path], None]


@pytest.fixture
def lock(monkeypatch: pytest.MonkeyPatch) -> Lock:
    """Make the system refuse everything below a folder, as `chmod 0` does for all but root."""
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


def test_an_installation_with_a_closed_folder_is_examined(
    tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script and atc may be in it: they are not found."""
    root = installation(tmp_path)
    (root / "set_env.sh").unlink()
    (root / "bin/atc").touch()
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    lock(root / "bin")
    found = cann.find([tmp_path / "Ascend"], {})

    assert found is not None
    assert (found.set_env, found.converts) == (None, False)
    atc = of(cann.examine(found, [tmp_path], {}), "atc")
    assert (atc.level, atc.found) == ("warning", "not on PATH")


def test_a_closed_prefix_holds_no_installation(tmp_path: Path, lock: Lock) -> None:
    """Such as root's home, which a variable may name."""
    root = installation(tmp_path)
    lock(tmp_path / "Ascend")

    assert cann.find([], {"ASCEND_HOME_PATH": str(root)}) is None


def test_version_files_are_tried_one_by_one(
    tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that may not be read is told; one that is not there is not; the others are taken."""
    installation(tmp_path, "8.1.RC1")
    files = [tmp_path / name for name in ("closed/install.info", "os-release", "none.info")]
    for file in files[:2]:
        file.parent.mkdir(exist_ok=True)
        file.write_text("NAME=box\n")
    monkeypatch.setattr(collected_machine, "SYSTEM_FILES", tuple(files))
    monkeypatch.setattr(devices, "driver_folders", lambda: [tmp_path / "closed/driver"])
    lock(tmp_path / "closed")
    box = Box()
    collected_machine.version_files(box, cann.find([tmp_path / "Ascend"], {}))
    read = box.parts["versions/read.json"]

    assert box.parts["versions/etc/os-release"] == "NAME=box\n"
    assert any(name.startswith("versions/cann/x86_64-linux/") for name in box.parts)
    assert isinstance(read, dict)
    assert read["cann"]["release"] == "8.1.RC1"
    assert read["driver"] == {}
    told = {what: reason.partition(":")[0] for what, reason in box.failed}
    assert told == dict.fromkeys(
        [
            str(tmp_path / "closed/driver/version.info"),
            str(tmp_path / "closed/firmware/version.info"),
            str(files[0]),
        ],
        "PermissionError",
    )


def test_closed_logs_hide_no_others(tmp_path: Path, lock: Lock) -> None:
    """A folder may be listed and not entered."""
    for kind in ("debug", "run"):
        (tmp_path / "ascend/log" / kind / "plog").mkdir(parents=True)
        (tmp_path / "ascend/log" / kind / "plog/plog-7_x.log").touch()
    lock(tmp_path / "ascend/log/debug/plog")

    assert [kind for kind, _ in plogs({"HOME": str(tmp_path)})] == ["run"]
