"""Our wheel for the box: what is in it, and that pip takes it."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from builders import ROOT, run_python

from export.kit import own_wheel as module
from export.kit.own_wheel import REQUIRES, own_wheel, wheel_name
from runtime.errors import ArtifactError
from runtime.version import VERSION

INFO = f"starmark-{VERSION}.dist-info"


def test_the_wheel_holds_runtime_and_parity_whole_and_nothing_else() -> None:
    """The exporter stays at home; every source and data file of the two rooms travels."""
    with zipfile.ZipFile(io.BytesIO(own_wheel())) as archive:
        names = set(archive.namelist())
    sources = {
        str(path.relative_to(ROOT))
        for room in ("runtime", "parity")
        for path in (ROOT / room).rglob("*")
        if path.is_file() and path.suffix in {".py", ".typed", ".j2", ".css", ".js", ".json"}
    }

    assert sources <= names
    assert {name.split("/")[0] for name in names - sources} == {INFO}
    assert f"{INFO}/licenses/LICENSE" in names


def test_the_record_lists_every_file_with_its_hash() -> None:
    """Pip and auditors go by RECORD."""
    with zipfile.ZipFile(io.BytesIO(own_wheel())) as archive:
        rows = list(csv.reader(archive.read(f"{INFO}/RECORD").decode().split()))
        assert [row[0] for row in rows] == archive.namelist()
        for name, digest, size in rows[:-1]:
            content = archive.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
            assert (digest, int(size)) == (f"sha256={expected.rstrip('=')}", len(content))


def test_the_same_code_gives_the_same_bytes(tmp_path: Path) -> None:
    """Also in another process, from another folder and in another time zone."""
    done = run_python(
        "-c",
        "import os, sys; sys.path.insert(0, os.getcwd()); os.chdir(sys.argv[1]);"
        "import hashlib, export.kit.own_wheel as w;"
        " print(hashlib.sha256(w.own_wheel()).hexdigest())",
        tmp_path,
        TZ="Asia/Shanghai",
    )

    assert done.stdout.strip() == hashlib.sha256(own_wheel()).hexdigest()


def test_what_it_requires_is_what_the_project_requires() -> None:
    """The ranges stand in pyproject.toml, too; cv2 comes headless."""
    project_file = (ROOT / "pyproject.toml").read_text()
    wanted = re.search(r"^dependencies = \[(.*?)^\]", project_file, re.DOTALL | re.MULTILINE)
    assert wanted is not None
    project = dict(re.findall(r'"([\w-]+)([<>=][^"]*)"', wanted[1]))

    assert REQUIRES["numpy"] == project["numpy"]
    assert REQUIRES["msgspec"] == project["msgspec"]
    assert REQUIRES["opencv-python-headless"] == project["opencv-python"]
    assert set(project) - {"onnxruntime", "rich"} == {"numpy", "msgspec", "opencv-python"}


def test_pip_installs_it_and_it_imports_without_the_exporter(tmp_path: Path) -> None:
    """Offline, without its requirements, and with neither onnxruntime nor torch imported."""
    (tmp_path / wheel_name()).write_bytes(own_wheel())
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run(
        [*pip, "--quiet", "--target", target, tmp_path / wheel_name()], check=True, cwd=tmp_path
    )
    code = (
        "import sys, runtime, parity.compare, importlib.metadata as m;"
        "print(runtime.__file__, m.version('starmark'), 'onnxruntime' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.split() == [str(target / "runtime/__init__.py"), VERSION, "False"], (
        done.stderr
    )
    assert not (target / "export").exists()


def test_code_without_its_licence_is_no_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may not be passed on without."""

    def absent(_name: str) -> None:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(module, "ROOMS", {"runtime": tmp_path / "runtime"})
    monkeypatch.setattr(metadata, "distribution", absent)

    with pytest.raises(ArtifactError, match="LICENSE: expected the licence"):
        own_wheel()
