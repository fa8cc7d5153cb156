"""Replacing a folder as a whole, also where the system cannot exchange two."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from export import bundle
from export.bundle import check_output, replace_folder, staged
from runtime.errors import ConfigError, ExportError


def fill(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_text(text)
    fact = {"sha256": "", "bytes": 0}
    manifest = {"schema": 1, "digest": "", "files": {"model.onnx": fact, "parity.json": fact}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("can_exchange", [True, False])
def test_new_folder_takes_the_olds_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    """Nothing of the old is left, and nothing beside it."""
    if not can_exchange:
        monkeypatch.setattr(bundle, "_exchange", lambda _one, _other: False)
    target = tmp_path / "bundle"
    fill(target, "old")
    (target / "parity.json").touch()
    with staged(target) as staging:
        fill(staging, "new")
        replace_folder(staging, target)

    assert {p.name for p in target.iterdir()} == {"model.onnx", "manifest.json"}
    assert (target / "model.onnx").read_text() == "new"
    assert {p.name for p in tmp_path.iterdir()} <= {"bundle", ".bundle.lock"}
    if can_exchange:  # what else the system refuses is no reason for the slow way
        with pytest.raises(FileNotFoundError):
            bundle._exchange(staging, target)


@pytest.mark.parametrize("name", ["notes.txt", "model.onnx", "parity.json/thesis.txt"])
def test_folder_that_is_somebodys_is_never_replaced(tmp_path: Path, name: str) -> None:
    """Whatever its files are called, without a manifest of ours they are not ours."""
    target = tmp_path / "mine"
    path = target / name
    path.parent.mkdir(parents=True)
    path.write_text("years of work")
    with pytest.raises(ConfigError, match="which exporting would delete"):
        check_output(target)
    (target / "manifest.json").write_text('{"name": "my own manifest"}')
    (target / "third").touch()
    with pytest.raises(ConfigError, match=r"holds \S+, \S+, \S+, which exporting would delete"):
        check_output(target)
    (target / "fourth").touch()
    with pytest.raises(ConfigError, match=r"holds \S+, \S+, \S+, …, which exporting would delete"):
        check_output(target)

    assert path.read_text() == "years of work"


def test_file_that_came_while_the_export_ran_is_kept(tmp_path: Path) -> None:
    """Looked at again just before the exchange."""
    target = tmp_path / "bundle"
    fill(target, "old")
    with staged(target) as staging:
        fill(staging, "new")
        (target / "notes.txt").write_text("mine")
        (target / "parity.json").mkdir()  # a folder of that name is none of ours
        with pytest.raises(ConfigError, match="notes.txt, parity.json"):
            replace_folder(staging, target)

    assert (target / "notes.txt").read_text() == "mine"
    assert (target / "model.onnx").read_text() == "old"


def test_one_export_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one waits, and fails cleanly when the first does not end."""
    monkeypatch.setattr(bundle, "LONGEST_WAIT_S", 0.2)
    target = tmp_path / "bundle"
    failed: list[ExportError] = []

    def second() -> None:
        try:
            with staged(target):
                pass
        except ExportError as error:
            failed.append(error)

    with staged(target):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()

    assert "expected to be the only export into this folder" in str(failed[0])
    second()
    assert len(failed) == 1
