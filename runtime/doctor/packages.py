"""Python and the packages that every engine needs, and the engines for graphs."""

from __future__ import annotations

import platform
import re
import sys
from dataclasses import replace

from runtime.doctor.findings import Finding
from runtime.doctor.probe import Answer, ask, installed
from runtime.machine import processor

# module -> (what people call it, what pip calls it, the lowest version that works)
NEEDED = {
    "numpy": ("numpy", "numpy", "1.26"),
    "cv2": ("OpenCV", "opencv-python", "4.8"),
    "msgspec": ("msgspec", "msgspec", "0.18.6"),
}
ONNXRUNTIME = ("onnxruntime", "onnxruntime", "1.17")
OPENVINO = ("OpenVINO", "openvino", "2024.4")


def python() -> Finding:
    """Which Python this is."""
    return Finding(
        level="ok",
        about="Python",
        found=f"{platform.python_version()} {platform.machine()} {sys.executable}",
    )


def needed(module: str) -> Finding:
    """A package without which no engine runs."""
    about, pip, lowest = NEEDED[module]
    if not installed(module):
        return Finding(
            level="problem",
            about=about,
            found="not installed",
            mend=f"pip install '{pip}>={lowest}'",
        )
    answer = ask(module)
    return judge(about, pip, lowest, answer, answer.version)


def openvino() -> Finding:
    """The other engine for graphs, its devices, and whether bf16 pays on this processor."""
    about, pip, lowest = OPENVINO
    if not installed("openvino"):
        return Finding(
            level="warning",
            about=about,
            found="not installed; onnxruntime runs the same graphs",
            mend=f"pip install '{pip}>={lowest}'",
        )
    answer = ask("openvino")
    version = answer.version.partition("-")[0]  # its own word ends with a commit
    answer = replace(answer, facts={**answer.facts, "version": version})
    has_bf16 = bool(answer.facts.get("bf16")) and processor.has_bf16() is not False
    devices = ", ".join(answer.facts.get("devices", ()))
    shown = f"{version} ({devices}; bf16 {'available' if has_bf16 else 'not on this processor'})"
    finding = judge(about, pip, lowest, answer, shown)
    # a broken one stops nobody: onnxruntime opens what it opens
    return replace(finding, level="warning") if finding.level == "problem" else finding


def safetensors() -> Finding:
    """The package that reads `.safetensors`; other checkpoints need none."""
    if not installed("safetensors"):
        return Finding(
            level="warning",
            about="safetensors",
            found="not installed: no .safetensors checkpoint can be read",
            mend="pip install 'safetensors>=0.4.3'",
        )
    answer = ask("safetensors")
    return judge("safetensors", "safetensors", "0.4.3", answer, answer.version)


def judge(about: str, pip: str, lowest: str, answer: Answer, shown: str) -> Finding:
    """What a package's own words come to: broken, too old, or sound."""
    if answer.errors:
        mend = f"pip install --force-reinstall '{pip}>={lowest}'"
        if "libGL" in answer.cause or "libgthread" in answer.cause:
            # a server without a desktop
            mend = "pip uninstall -y opencv-python; pip install opencv-python-headless"
        return Finding(
            level="problem", about=about, found=f"cannot be imported: {answer.cause}", mend=mend
        )
    if numbers(answer.version) < numbers(lowest):
        return Finding(
            level="problem",
            about=about,
            found=f"{answer.version}, and {lowest} or newer is needed",
            mend=f"pip install '{pip}>={lowest}'",
        )
    return Finding(level="ok", about=about, found=shown)


def numbers(version: str) -> tuple[int, ...]:
    """The release's numbers alone: "2.13.0+cpu" gives (2, 13, 0)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()
