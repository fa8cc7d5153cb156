"""Bundles, wheels and kits with nothing inside, for tests that need no network."""

from __future__ import annotations

import io
import platform
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from builders import TINY

from export.kit import __main__ as kit
from export.kit.wheelhouse import ARCHES, PYTHONS
from runtime.model.manifest import (
    CheckpointFact,
    GraphCost,
    Manifest,
    OmFact,
    OnnxFact,
    ParityFact,
    file_fact,
    save_manifest,
)
from runtime.model.spec import InputSpec, spec_of

HERE_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE_ARCH = platform.machine()
INSTALL_PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"

real_ascend = pytest.mark.skipif(
    Path("/usr/local/Ascend").exists(), reason="this machine has CANN itself"
)
installs = pytest.mark.skipif(
    HERE_PYTHON not in PYTHONS or HERE_ARCH not in ARCHES, reason="a kit cannot be for this machine"
)

GOOD_FILES = ("model.onnx", "parity.json", "selftest.npz", "model_bs1_Ascend910B3.om")
OM = OmFact(
    file="model_bs1_Ascend910B3.om",
    soc_version="Ascend910B3",
    batches=(1,),
    gears=False,
    input=InputSpec(),
    precision="precision_mode_v2=origin",
    options={},
    atc_version="8.5.0",
)
COST = GraphCost(nodes=1, parameters=1, gflop=0.001, activation_bytes=4)


def empty_bundle(
    folder: Path,
    *,
    name: str = "tiny",
    files: Iterable[str] = GOOD_FILES,
    passed: bool | None = True,
    om: tuple[OmFact, ...] = (OM,),
    versions: Mapping[str, str] | None = None,
) -> Path:
    """A sealed bundle whose files hold their own names."""
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).write_text(file)
    manifest = Manifest(
        name=name,
        spec=spec_of(points=68),
        checkpoint=CheckpointFact(file="w.pkl", sha256="0" * 64, parameters=1, architecture=TINY),
        onnx=OnnxFact(
            exporter="torchscript",
            opset=13,
            simplifier="",
            nodes=1,
            operators={},
            rewrites=(),
            cost=COST,
        ),
        verification={},
        parity=ParityFact(passed=passed),
        om=om,
        files={file: file_fact(folder / file) for file in files},
        config={},
        versions=dict(versions or {"opencv-python": "5.0.0.93"}),
        steps={},
        created_utc="2026-01-01T00:00:00+00:00",
    )
    save_manifest(folder, manifest)
    return folder


def empty_wheel(
    name: str, version: str, tag: str, modules: Iterable[str] = ()
) -> tuple[str, bytes]:
    """A valid wheel of empty modules: its file name and its bytes."""
    info = f"{name}-{version}.dist-info"
    files = {
        **{f"{module}/__init__.py": "" for module in modules},
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file, text in files.items():
            archive.writestr(zipfile.ZipInfo(file), text)
    return f"{name}-{version}-{tag}.whl", packed.getvalue()


def wheels_folder(
    folder: Path,
    *,
    python: str = "3.11",
    arch: str = "aarch64",
    leave_out: str = "",
    for_any_python: bool = False,
    with_cpu: bool = False,
) -> Path:
    """A folder of the wheels that a kit needs, all of them empty."""
    folder.mkdir(parents=True, exist_ok=True)
    version = f"cp{python.replace('.', '')}"
    own = "py3-none" if for_any_python else f"{version}-{version}"
    system = f"manylinux_2_17_{arch}.manylinux2014_{arch}"
    needed = [
        ("numpy", "2.2.6" if python == "3.13" else "1.26.4", f"{own}-{system}", "numpy"),
        ("opencv_python_headless", "5.0.0.93", f"cp37-abi3-{system}", "cv2"),
        ("msgspec", "0.22.0", f"{own}-{system}", "msgspec"),
    ]
    if with_cpu:  # its wheels are for no older system
        needed.append(("onnxruntime", "1.32.0", f"{own}-manylinux_2_28_{arch}", "onnxruntime"))
    for name, version, tag, module in needed:
        if name != leave_out:
            file, content = empty_wheel(name, version, tag, [module])
            (folder / file).write_bytes(content)
    return folder


def kit_for(folder: Path, pythons: list[str]) -> Path:
    """A kit for this machine and these Pythons; every package but ours is empty."""
    wheels = folder / "wheels"
    for python in pythons:
        # the other Pythons on a test's box are this one in disguise
        wheels_folder(wheels, python=python, arch=HERE_ARCH, for_any_python=True)
    command = [str(empty_bundle(folder / "b")), "--output", str(folder / "kit.tar")]
    box = ["--arch", HERE_ARCH, "--wheels", str(wheels), "--python", *pythons]
    assert kit.main([*command, *box]) == 0
    return folder / "kit.tar"


def unpack(packed: Path, folder: Path) -> Path:
    """The kit as it lies on the box, in a folder with a space in its name."""
    place = folder / "a box"
    place.mkdir()
    subprocess.run(["tar", "-xf", packed], cwd=place, check=True)
    return place / "tiny-kit"


def install(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installer from elsewhere, as on a box: no settings but these."""
    return subprocess.run(
        ["bash", folder / "install.sh"],
        cwd="/",
        env={"PATH": INSTALL_PATH, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
