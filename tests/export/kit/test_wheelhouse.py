"""The wheels: our own; and of others which, for which box, and the errors without them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from builders import ROOT, run_python
from kits import empty_bundle, wheels_folder

from export.kit import wheelhouse
from export.kit.wheelhouse import (
    GLIBC_WITH_CPU,
    ONNXRUNTIME_RANGE,
    Target,
    check_checkout,
    fetch,
    requirements_of,
    targets_of,
)
from runtime.errors import BackendUnavailable, ConfigError, ExportError
from runtime.model.manifest import read_manifest
from runtime.version import VERSION

BOX = Target(python="3.11", arch="aarch64")
REQUIREMENTS = ("numpy==1.26.4", "opencv-python-headless==5.0.0.93", "msgspec==0.22.0")


def pip_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a shell script in the place of this Python, which is asked to run pip."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(path))


def test_own_wheel_is_the_same_bytes_however_it_is_built(own_wheel: Path, tmp_path: Path) -> None:
    """Another day gives no other dates, and the licence and every data file travel."""
    again = wheelhouse.own_wheel(tmp_path)

    assert again.read_bytes() == own_wheel.read_bytes()
    with zipfile.ZipFile(own_wheel) as archive:
        names = set(archive.namelist())
        assert {entry.date_time[:3] for entry in archive.infolist()} == {(2020, 2, 2)}
    sources = {
        str(path.relative_to(ROOT))
        for room in ("runtime", "parity")
        for path in (ROOT / room).rglob("*")
        if path.is_file() and path.suffix in {".py", ".typed", ".j2", ".css", ".js", ".json"}
    }
    assert sources <= names
    assert f"starmark-{VERSION}.dist-info/licenses/LICENSE" in names


def test_own_wheel_works_on_a_box_without_the_exporters_packages(
    own_wheel: Path, tmp_path: Path
) -> None:
    """Nothing of export, and no engine, is imported by what a box runs."""
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "--quiet", "--target", tmp_path / "box", own_wheel], check=True)
    code = (
        "import sys, runtime.infer.__main__, runtime.doctor.__main__, parity.selftest.__main__,"
        " parity.compare.__main__, importlib.metadata as m; print(runtime.__file__,"
        " m.version('starmark'), {'export', 'onnxruntime', 'torch'} & set(sys.modules))"
    )
    done = run_python("-W", "error", "-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path / "box"))

    place = tmp_path / "box/runtime/__init__.py"
    assert done.stdout.split() == [str(place), VERSION, "set()"], done.stderr


@pytest.mark.parametrize("missing", ["checkout", "hatchling"])
def test_own_wheel_needs_a_checkout_and_hatchling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "checkout":
        monkeypatch.setattr(wheelhouse, "ROOT", tmp_path)
        with pytest.raises(ConfigError, match="a checkout of Starmark.*got an installation"):
            check_checkout()
    else:
        monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
        with pytest.raises(BackendUnavailable, match="the package hatchling"):
            check_checkout()


def test_own_wheel_that_pip_cannot_build_is_an_error_in_pips_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip_that(tmp_path, monkeypatch, "echo 'ERROR: no space'; exit 1")

    with pytest.raises(ExportError, match="pip wheel: expected starmark-.*exit code 1.*no space"):
        wheelhouse.own_wheel(tmp_path)


def test_kit_holds_the_versions_of_the_constraints(tmp_path: Path) -> None:
    """Those lines themselves; a Python that they leave out takes the project's range."""
    pins = (ROOT / "constraints.txt").read_text()
    manifest = read_manifest(empty_bundle(tmp_path / "b"))
    for python in ("3.11", "3.13"):
        for need in requirements_of(manifest, python, with_cpu=True)[1:]:
            assert f"\n{need.replace('-headless', '')}" in pins
    *_, engine = requirements_of(manifest, "3.10", with_cpu=True)
    assert engine == f"onnxruntime{ONNXRUNTIME_RANGE}"
    assert f'"{engine}"' in (ROOT / "pyproject.toml").read_text()


def test_pip_is_asked_for_the_box_and_not_for_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its Python, its processor, wheels only, and none of what a wheel would pull in."""
    pip_that(tmp_path, monkeypatch, f'echo "$@" >> {tmp_path}/asked')

    newer = Target(python="3.13", arch="x86_64", glibc=GLIBC_WITH_CPU)
    fetch(tmp_path, {BOX: REQUIREMENTS, newer: ("numpy==2.2.*",)})

    first, second = (tmp_path / "asked").read_text().splitlines()
    assert "--python-version 3.11 --platform manylinux2014_aarch64" in first
    assert "--platform manylinux_2_17_aarch64 --dest" in first
    assert "--only-binary :all: --no-deps --implementation cp" in first
    assert first.endswith(" ".join(REQUIREMENTS))
    assert "--python-version 3.13 --platform manylinux2014_x86_64" in second
    # newest first, so that pip prefers it, down to what the oldest wheels name
    assert "2014_x86_64 --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86" in second
    assert "--platform manylinux_2_17_x86_64 --dest" in second
    assert second.endswith(" numpy==2.2.*")


@pytest.mark.parametrize(
    ("versions", "opencv"),
    [
        ({"opencv-python": "5.0.0.93"}, "==5.0.0.93"),
        ({"opencv-python": "5.0.0.91"}, "==5.0.0.93"),
        ({"opencv-python": "missing", "opencv-python-headless": "4.10.0.84"}, "==4.10.0.*"),
        ({"opencv-python": "missing"}, "==5.0.0.93"),
        ({"torch": "2.13.0"}, "==5.0.0.93"),
    ],
)
def test_the_box_crops_with_the_opencv_that_the_bundle_was_judged_with(
    tmp_path: Path, versions: dict[str, str], opencv: str
) -> None:
    """OpenCV 4 and 5 give crops that differ by as much as an NPU's error."""
    manifest = read_manifest(empty_bundle(tmp_path / "b", versions=versions))

    rest = (f"opencv-python-headless{opencv}", "msgspec==0.22.0")
    for python in ("3.10", "3.11", "3.12"):
        assert requirements_of(manifest, python) == ("numpy==1.26.4", *rest)
    # as Huawei lists it for 3.13, which NumPy 1 was never built for
    assert requirements_of(manifest, "3.13") == ("numpy==2.2.6", *rest)


def test_targets_are_every_pair_once_and_in_order() -> None:
    """Naming one twice, or in another order, makes no other kit."""
    pairs = targets_of(["3.13", "3.10", "3.13"], ["x86_64", "aarch64"])

    assert [str(target) for target in pairs] == [
        "Python 3.10 on aarch64",
        "Python 3.10 on x86_64",
        "Python 3.13 on aarch64",
        "Python 3.13 on x86_64",
    ]


@pytest.mark.parametrize(
    ("python", "advice"),
    [
        ("3.7", "install one of them on the box"),
        ("3.9", "CANN works with 3.10, and with 3.11 from 8.0.0 on"),
        ("3.14", "No NumPy for Python 3.14 runs with glibc 2.17.*install 3.13"),
        ("3", "by its first two numbers"),
        ("3.11.7", "by its first two numbers"),
    ],
)
def test_a_python_without_a_kit_is_refused_with_a_way_out(python: str, advice: str) -> None:
    """Old boxes are the rule: the error says what to install there."""
    with pytest.raises(ConfigError, match=f"--python {python}: expected .*{advice}"):
        targets_of([python], ["aarch64"])


def test_a_folder_of_wheels_takes_the_place_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly what the box needs is copied; this machine's own pip settings do not matter."""
    source = wheels_folder(tmp_path / "wheels")
    wheels_folder(tmp_path / "elsewhere", python="3.10", arch="x86_64")
    wheels_folder(source, python="3.10")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "elsewhere"))

    found = fetch(tmp_path / "out", {BOX: REQUIREMENTS}, source)

    names = [path.name for path in found[BOX]]
    assert [name.split("-")[0] for name in names] == ["msgspec", "numpy", "opencv_python_headless"]
    assert all("cp311" in name or "abi3" in name for name in names)
    assert all(path.parent == tmp_path / "out" and path.is_file() for path in found[BOX])


@pytest.mark.parametrize(
    ("held", "what"),
    [
        ({"leave_out": "msgspec"}, "requirement msgspec==0.22.0"),
        ({"arch": "x86_64"}, "requirement numpy==1.26.4"),
        ({"python": "3.10"}, "requirement numpy==1.26.4"),
    ],
)
def test_a_folder_that_lacks_a_wheel_is_named_with_what_it_holds(
    tmp_path: Path, held: dict[str, Any], what: str
) -> None:
    """A wheel for another processor or Python is no wheel."""
    source = wheels_folder(tmp_path / "wheels", **held)

    with pytest.raises(ConfigError) as caught:
        fetch(tmp_path, {BOX: REQUIREMENTS}, source)

    assert what in str(caught.value)
    assert "expected the wheels for Python 3.11 on aarch64, glibc 2.17" in str(caught.value)
    assert "the folder holds " in str(caught.value)
    assert "opencv_python_headless-5.0.0.93" in str(caught.value)


@pytest.mark.parametrize(("path", "got"), [("absent", "no such folder"), ("file", "a file")])
def test_wheels_must_be_a_folder(tmp_path: Path, path: str, got: str) -> None:
    """Not a wheel, not a typing error."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match=f"--wheels .*{path}: expected a folder.*got {got}"):
        fetch(tmp_path, {BOX: REQUIREMENTS}, tmp_path / path)


def test_an_index_out_of_reach_is_told_in_pips_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line: the cause, the error, and the two ways out."""
    pip_that(
        tmp_path,
        monkeypatch,
        'echo "WARNING: Retrying (Retry(total=4)) after connection broken by '
        "'NewConnectionError('<pip._vendor.urllib3.connection.HTTPConnection object at 0x7f19c60f>:"
        " Failed to establish: [Errno 101] Network is unreachable')': /simple/numpy/\"\n"
        "echo 'ERROR: Could not find a version that satisfies the requirement numpy==1.26.*' >&2\n"
        "exit 1",
    )

    with pytest.raises(ExportError) as caught:
        fetch(tmp_path, {BOX: REQUIREMENTS})

    message = str(caught.value)
    assert (
        "pip download: expected the wheels for Python 3.11 on aarch64, got exit code 1" in message
    )
    assert "satisfies the requirement numpy==1.26.*, after Failed to establish" in message
    assert "Network is unreachable. Set" in message
    assert "0x7f19" not in message
    assert "PIP_INDEX_URL" in message
    assert "--wheels" in message


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        # killed for memory, for example
        ("exit 7", ExportError, "exit code 7 after 0 s: it printed nothing"),
        # uv makes such environments
        ('echo "$0: No module named pip"; exit 1', BackendUnavailable, "with pip.*ensurepip"),
    ],
)
def test_a_pip_that_does_not_work_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    error: type[Exception],
    message: str,
) -> None:
    pip_that(tmp_path, monkeypatch, script)

    with pytest.raises(error, match=message):
        fetch(tmp_path, {BOX: REQUIREMENTS})


@pytest.mark.parametrize("folder", [False, True])
def test_a_pip_without_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, folder: bool
) -> None:
    """A dead mirror must not hold the export for ever."""
    pip_that(tmp_path, monkeypatch, "sleep 600")
    monkeypatch.setattr(wheelhouse, "LONGEST_FETCH_S", 0.1)

    with pytest.raises(ExportError, match="got no end after"):
        fetch(tmp_path, {BOX: REQUIREMENTS}, tmp_path if folder else None)
