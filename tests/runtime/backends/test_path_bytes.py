"""Models are opened by the bytes of their paths, whatever encoding those are in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from builders import ROOT, STARTER

IN_GBK = "模型".encode("gbk")
OPENED = """
import sys
from pathlib import Path
from runtime.backends import open_backend
from runtime.backends.ascend.loaded_model import _in_utf8
folder = Path(sys.argv[1])
with _in_utf8(folder / "ours.onnx") as name:
    assert open(name.encode(), "rb").read() == (folder / "ours.onnx").read_bytes()
for name in ("starter.safetensors@cpu", "ours.onnx@onnxruntime/cpu", "ours.onnx@openvino/cpu"):
    with open_backend(f"{folder}/{name}") as backend:
        print(backend.name.split()[0], backend.spec.points)
"""


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["zh_CN.GBK", "C.UTF-8"])
def test_names_in_gbk(starter_bundle: Path, tmp_path: Path, locale: str) -> None:
    """Not by the name's UTF-8: beside it lies a folder of that name, with another's files."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": locale}
    if locale == "zh_CN.GBK":
        made = shutil.which("localedef") and subprocess.run(
            ["localedef", "-i", "zh_CN", "-f", "GBK", str(tmp_path / locale)], check=False
        )
        if not made or made.returncode:
            pytest.skip("this system cannot make the locale zh_CN.GBK")
        environment["LOCPATH"] = str(tmp_path)
    folder, sibling = (tmp_path / os.fsdecode(name) for name in (IN_GBK, "模型".encode()))
    for place in (folder, sibling):
        place.mkdir()
        (place / "ours.onnx").write_bytes(b"another's")
    shutil.copyfile(starter_bundle / "model.onnx", folder / "ours.onnx")
    shutil.copyfile(STARTER, folder / "starter.safetensors")
    done = subprocess.run(
        [sys.executable, "-c", OPENED, folder], env=environment, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().split() == ["torch", "68", "onnxruntime", "68", "openvino", "68"]
