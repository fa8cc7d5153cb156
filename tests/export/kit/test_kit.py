"""The kit: one archive that an engineer carries to a box without network."""

from __future__ import annotations

import re
import subprocess
import tarfile
from pathlib import Path

import msgspec
import pytest
from builders import ROOT
from kits import empty_bundle, wheels_folder

from export.kit import __main__ as kit
from export.kit.__main__ import main
from export.kit.wheelhouse import OWN_WHEEL
from runtime.model.manifest import read_manifest, save_manifest

BOX = ("--python", "3.11", "--arch", "aarch64")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle that nothing is wrong with."""
    return empty_bundle(tmp_path / "build/tiny")


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """What the box in `BOX` needs."""
    return wheels_folder(tmp_path / "wheels")


def make(bundle: Path, output: Path, wheels: Path, *more: str) -> int:
    """Run the command line for the box in `BOX`."""
    return main([str(bundle), "--output", str(output), "--wheels", str(wheels), *BOX, *more])


def test_the_kit_holds_all_of_it_and_nothing_else(
    tmp_path: Path,
    bundle: Path,
    wheels: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Bundle, wheels, installer, notes and checksums. A good bundle gives no warning."""
    assert make(bundle, tmp_path / "kit.tar", wheels) == 0

    with tarfile.open(tmp_path / "kit.tar") as archive:
        names = archive.getnames()
    assert names == sorted(
        f"tiny-kit/{name}"
        for name in (
            "README.md",
            "README.zh-CN.md",
            "SHA256SUMS",
            "install.sh",
            *(f"bundle/tiny/{path.name}" for path in bundle.iterdir()),
            *(f"wheels/{path.name}" for path in wheels.iterdir()),
            f"wheels/{OWN_WHEEL}",
            "wheels/3.11-aarch64.txt",
        )
    )
    out = capsys.readouterr().out
    assert "for: Python 3.11 on aarch64" in out
    assert "tar -xf kit.tar && bash tiny-kit/install.sh" in out
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_the_checksums_cover_every_file(tmp_path: Path, bundle: Path, wheels: Path) -> None:
    """With the tool that every box has; one flipped byte is found."""
    make(bundle, tmp_path / "kit.tar", wheels)
    subprocess.run(["tar", "-xf", "kit.tar"], cwd=tmp_path, check=True)
    folder = tmp_path / "tiny-kit"
    check = ["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"]
    listed = re.findall(r"  (.+)$", (folder / "SHA256SUMS").read_text(), re.MULTILINE)
    inside = [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()]

    assert subprocess.run(check, cwd=folder, check=False).returncode == 0
    assert sorted([*listed, "SHA256SUMS"]) == sorted(inside)
    model = folder / "bundle/tiny/model.onnx"
    model.write_text(model.read_text().swapcase())
    assert subprocess.run(check, cwd=folder, check=False, capture_output=True).returncode == 1


def test_the_same_inputs_give_the_same_bytes_from_any_place(
    tmp_path: Path, bundle: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time, no user and no path of this machine is in the archive."""
    make(bundle, tmp_path / "kit.tar", wheels)
    elsewhere = tmp_path / "elsewhere"
    moved = elsewhere / "tiny"
    elsewhere.mkdir()
    bundle.rename(moved)
    wheels.rename(elsewhere / "w")
    (moved / "model.onnx").touch()
    (moved / "model.onnx").chmod(0o600)
    monkeypatch.chdir(elsewhere)
    make(Path("tiny"), Path("other.tar"), Path("w"))

    first = (tmp_path / "kit.tar").read_bytes()
    assert first == (elsewhere / "other.tar").read_bytes()
    for place in (tmp_path, ROOT, Path.home()):
        assert str(place).encode() + b"/" not in first
    with tarfile.open(tmp_path / "kit.tar") as archive:
        facts = {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in archive.getmembers()}
        modes = {m.name.split("/")[-1]: m.mode for m in archive.getmembers()}
    assert facts == {(0, 0, 0, "", "")}
    assert {name for name, mode in modes.items() if mode == 0o755} == {"install.sh"}
    assert set(modes.values()) == {0o755, 0o644}


@pytest.mark.parametrize(
    ("change", "warning", "note"),
    [
        ({"om": ()}, "holds no .om: an NPU cannot run it", "| models for NPUs | none |"),
        ({"passed": False}, "was judged and FAILED", "| judged on the workstation | FAILED |"),
        ({"passed": None}, "was never judged", "| judged on the workstation | not judged |"),
        ({"files": ("model.onnx",), "om": ()}, "holds no selftest.npz", ""),
    ],
)
def test_a_bundle_that_will_disappoint_is_warned_about(
    tmp_path: Path,
    wheels: Path,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, object],
    warning: str,
    note: str,
) -> None:
    """Before the walk to the box, and in the note; the kit is made all the same."""
    bundle = empty_bundle(tmp_path / "b", **change)  # type: ignore[arg-type]  # one at a time

    assert make(bundle, tmp_path / "kit.tar", wheels) == 0
    assert f"WARNING: the bundle {warning}" in caplog.text
    with tarfile.open(tmp_path / "kit.tar") as archive:
        member = archive.extractfile("tiny-kit/README.md")
        assert member is not None
        assert note in member.read().decode()


@pytest.mark.slow
def test_without_a_box_the_kit_serves_every_box(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four Pythons on two processors: a forgotten option must not cost a second walk."""
    wheels = tmp_path / "wheels"
    for python in ("3.10", "3.11", "3.12", "3.13"):
        for arch in ("aarch64", "x86_64"):
            wheels_folder(wheels, python=python, arch=arch)

    assert main([str(bundle), "--output", str(tmp_path / "k.tar"), "--wheels", str(wheels)]) == 0

    assert len(capsys.readouterr().out.split(" on aarch64")) == 5
    with tarfile.open(tmp_path / "k.tar") as archive:
        inside = {Path(name).name for name in archive.getnames() if name.endswith(".whl")}
        member = archive.extractfile("tiny-kit/wheels/3.13-x86_64.txt")
        assert member is not None
        listed = member.read().decode().splitlines()
    assert inside == {path.name for path in wheels.iterdir()} | {OWN_WHEEL}
    assert [line.split("-")[0] for line in listed] == [
        *("./wheels/msgspec", "./wheels/numpy", "./wheels/opencv_python_headless"),
        "./wheels/starmark",
    ]
    assert "cp313" in listed[1]
    assert all(re.search(r"x86_64|none-any", line) for line in listed)
    assert all(re.search(r" --hash=sha256:[0-9a-f]{64}$", line) for line in listed)


def test_a_dry_run_says_what_would_go_in_and_does_nothing(
    tmp_path: Path,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither pip nor the disk is touched."""
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    before = sorted(tmp_path.iterdir())

    assert main([str(bundle), "--output", str(tmp_path / "kit.tar"), *BOX, "--dry-run"]) == 0

    out = capsys.readouterr().out
    assert "bundle: model.onnx (10 bytes)" in out
    assert f"wheel: {OWN_WHEEL}" in out
    assert "numpy==1.26.4 opencv-python-headless==5.0.0.93" in out
    assert "for Python 3.11 on aarch64" in out
    assert "nothing was written" in out
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("missing", ["", "onnxruntime"])
def test_a_dry_run_finds_a_wheel_that_is_missing(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    """As the run itself would; with `--with-cpu` onnxruntime is one of them."""
    wheels = wheels_folder(tmp_path / "wheels", leave_out=missing, with_cpu=True)

    code = make(bundle, tmp_path / "kit.tar", wheels, "--with-cpu", "--dry-run")

    captured = capsys.readouterr()
    assert code == (2 if missing else 0)
    assert (f"the requirement {missing}==" in captured.err) == bool(missing)
    assert ("nothing was written" in captured.out) != bool(missing)
    assert not (tmp_path / "kit.tar").exists()


def test_a_kit_with_cpu_holds_onnxruntime_and_names_the_glibc_that_it_needs(
    tmp_path: Path, bundle: Path
) -> None:
    wheels = wheels_folder(tmp_path / "wheels", with_cpu=True)

    assert make(bundle, tmp_path / "kit.tar", wheels, "--with-cpu") == 0
    with tarfile.open(tmp_path / "kit.tar") as archive:
        texts = {
            name: archive.extractfile(f"tiny-kit/{name}").read().decode()  # type: ignore[union-attr]  # files
            for name in ("README.md", "wheels/3.11-aarch64.txt")
        }
    assert "| aarch64, glibc 2.28 or later |" in texts["README.md"]
    assert (
        "./wheels/onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_aarch64.whl"
        in (texts["wheels/3.11-aarch64.txt"])
    )


@pytest.mark.parametrize(
    ("output", "code", "message"),
    [
        ("kit.zip", 2, "got suffix '.zip'"),
        ("kit.tar.gz", 2, "got suffix '.gz'"),
        ("build/tiny/kit.tar", 2, "got a file inside the bundle"),
        ("absent/kit.tar", 2, "got no folder"),
        ("wheels", 2, "got a folder"),
        # root, too, is stopped by a file system that takes no files
        ("/proc/kit.tar", 4, "error: /proc/kit.tar: expected to read and write here"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path,
    bundle: Path,
    wheels: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    output: str,
    code: int,
    message: str,
) -> None:
    """Before pip is asked for anything."""
    monkeypatch.setattr(kit, "fetch", lambda *_: pytest.fail("nothing may be fetched"))

    assert make(bundle, tmp_path / output, wheels) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("failure", ["pip fails", "interrupt"])
def test_a_kit_that_fails_leaves_the_old_one_and_nothing_else(
    tmp_path: Path,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: str,
) -> None:
    """An archive is whole or it is the one before."""
    script = "exit 1" if failure == "pip fails" else "kill -INT $PPID; sleep 600"
    (tmp_path / "python").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "kit.tar").write_text("the old one")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    before = sorted(tmp_path.rglob("*"))

    code = main([str(bundle), "--output", str(tmp_path / "kit.tar"), *BOX])

    assert code == (4 if failure == "pip fails" else 130)
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert (tmp_path / "kit.tar").read_text() == "the old one"
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_no_bundle_or_a_damaged_one_is_refused(
    tmp_path: Path, bundle: Path, wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kit is no way around the manifest's checks."""
    assert make(wheels, tmp_path / "kit.tar", wheels) == 2
    assert "manifest.json: expected the manifest of a bundle" in capsys.readouterr().err
    (bundle / "model.onnx").write_text("another")
    assert make(bundle, tmp_path / "kit.tar", wheels) == 2
    assert "model.onnx: expected SHA-256" in capsys.readouterr().err
    assert not (tmp_path / "kit.tar").exists()


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "a/b", "$(reboot)", "a b", "-x"])
def test_a_hostile_name_reaches_neither_the_archive_nor_a_shell(
    tmp_path: Path, bundle: Path, wheels: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A sealed manifest is no trusted one: its names end up in paths and in install.sh."""
    manifest = read_manifest(bundle)
    fact = manifest.files["model.onnx"]
    for changed in (
        msgspec.structs.replace(manifest, name=name),
        msgspec.structs.replace(manifest, files={**manifest.files, name: fact}),
    ):
        save_manifest(bundle, changed)
        assert make(bundle, tmp_path / "kit.tar", wheels) == 2
        assert f"expected plain names: letters, digits, _ . -, got {name!r}" in (
            capsys.readouterr().err
        )


def test_help_shows_an_example_that_works(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example line is parsed as it stands, with this bundle in place of its own."""
    with pytest.raises(SystemExit):
        main(["--help"])
    example = capsys.readouterr().out.split("python -m export.kit ")[-1].split()

    assert example[1:3] == ["--output", "kit.tar"]
    assert main([str(bundle), "--output", str(tmp_path / "k.tar"), *example[3:], "--dry-run"]) == 0
