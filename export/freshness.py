"""What a step's result depends on, hashed: where the hash is the same, the step is skipped."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import msgspec

from runtime.version import VERSION

# Every version that can change a byte of the graph, or a figure of its judgement.
GRAPH_PACKAGES = ("torch", "onnx", "onnxsim", "onnxscript")
JUDGE_PACKAGES = ("torch", "onnxruntime", "numpy", "opencv-python")
CODE_ROOMS = ("runtime", "parity", "export")


def key_of(*parts: object) -> str:
    """Hash anything that msgspec writes as JSON, whatever the order of its keys."""
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Read from the installed packages' metadata: asking torch itself would mean importing it."""
    found = {"starmark": VERSION, "python": platform.python_version()}
    return found | {name: _version(name) for name in packages}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def code_digest() -> str:
    """Hash of this project's own code, so that a changed exporter is never taken for up to date."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for room in CODE_ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
