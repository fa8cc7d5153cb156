"""Replacing a folder as a whole, also where the system cannot exchange two."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import ROOT

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


OVERLAY = """
set -e
mount -t tmpfs none "$1"
mkdir "$1"/{lower,upper,work,merged}
cp -r "$2" "$1/lower/bundle"
layers="lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work,userxattr"
mount -t overlay overlay -o "$layers" "$1/merged" || exit 99
shift 2
exec "$@"
"""
REPLACED = """
import os, sys
from pathlib import Path
from export.bundle import replace_folder, staged
from test_bundle import fill
target = Path(sys.argv[1])
with staged(target) as staging:
    fill(staging, "new")
    try:
        target.rename(target.with_name("moved"))
    except OSError as error:
        print(error.strerror)
    replace_folder(staging, target)
print((target / "model.onnx").read_text(), sorted(os.listdir(target.parent)))
"""


@pytest.mark.slow
def test_a_bundle_in_a_lower_layer_is_replaced(tmp_path: Path) -> None:
    """As an image holds it: a real OverlayFS, in a namespace of its own."""
    fill(tmp_path / "old", "old")
    (tmp_path / "mounts").mkdir()
    shell = (
        "unshare",
        "-rm",
        "bash",
        "-c",
        OVERLAY,
        "overlay",
        tmp_path / "mounts",
        tmp_path / "old",
    )
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", Path(__file__).parent)))
    done = subprocess.run(
        [*shell, sys.executable, "-c", REPLACED, tmp_path / "mounts/merged/bundle"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip(f"no namespace with an overlay can be made here: {done.stderr}")

    assert done.stdout.splitlines() == [
        "Invalid cross-device link",
        "new ['.bundle.lock', 'bundle']",
    ], done.stderr


@pytest.mark.parametrize("at", range(6))
def test_interrupted_copies_leave_the_old_bundle_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Where folders are not renamed; each time at another step, and put right by the next run."""
    target = tmp_path / "bundle"
    fill(target, "old")
    renames, unlinks = Path.rename, Path.unlink
    steps: list[Path] = []

    def step(path: Path) -> None:
        if len(steps) == at:
            raise KeyboardInterrupt
        steps.append(path)

    def rename(path: Path, to: Path) -> Path:
        if path == target:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        step(path)
        return renames(path, to)

    def unlink(path: Path) -> None:
        step(path)
        unlinks(path)

    monkeypatch.setattr(bundle, "_exchange", lambda _one, _other: False)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        patch.setattr(Path, "unlink", unlink)
        patch.setattr(bundle, "_settle", lambda _: bundle.beside(target, "staging").exists())
        with suppress(KeyboardInterrupt), staged(target) as staging:
            fill(staging, "new")
            replace_folder(staging, target)
    check_output(target)  # the next run's first question
    monkeypatch.setattr(bundle, "bundle_in_place", whole)
    with staged(target):
        assert (target / "model.onnx").read_text() == ("old" if at < 5 else "new")

    assert {p.name for p in tmp_path.iterdir()} == {"bundle", ".bundle.lock"}


def whole(folder: Path) -> bool | None:
    """Stands for the check of hashes, which these files have not."""
    return {p.name for p in folder.glob("*")} == {"model.onnx", "manifest.json"} or None


@pytest.mark.parametrize("mode", [0o500, 0o555])
def test_a_read_only_bundle_is_refused_at_once(tmp_path: Path, mode: int) -> None:
    """By its mode, which stops not even root; nothing is left beside it."""
    target = tmp_path / "bundle"
    fill(target, "old")
    target.chmod(mode)
    with pytest.raises(ConfigError, match="got a read-only folder"):
        check_output(target)
    target.chmod(0o755)
    assert {p.name for p in tmp_path.iterdir()} == {"bundle"}


def test_a_mount_point_is_refused_at_once() -> None:
    """A container's volume: nothing can be renamed over it."""
    with pytest.raises(ConfigError, match="got a mount point"):
        check_output(Path("/proc"))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """With the lock's path, and what to do."""

    def refuse(_file: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ConfigError) as raised, staged(tmp_path / "bundle"):
        pass

    assert f"{tmp_path / '.bundle.lock'} cannot be locked: {os.strerror(number)}" in str(
        raised.value
    )
    assert "on a local disk" in str(raised.value)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EXDEV])
def test_a_system_that_cannot_exchange_two_folders_is_asked_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Old kernels, NFS and OverlayFS; whatever else it answers is an error with its path."""

    def refuse(*_: object) -> int:
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(renameat2=refuse))
    assert not bundle._exchange(tmp_path, tmp_path)
    number = errno.EACCES
    with pytest.raises(PermissionError, match=str(tmp_path)):
        bundle._exchange(tmp_path, tmp_path)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace())
    assert not bundle._exchange(tmp_path, tmp_path)
