"""Imports one package in a separate Python: `python child.py NAME [LIBRARY]`.

Run as a file and not as a module: the packages it tries may be all that can be imported.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before the answer: packages print whatever they like while they are imported.
MARK = "@starmark-doctor "
# All of an answer must fit into one write to a pipe, which 4096 bytes do.
LONGEST_ERROR = 500
DEEPEST_CHAIN = 5


def main(name: str, library: str = "") -> None:
    """Import a package, load a library in its folder, and print the facts about both as JSON."""
    # a file's own folder stands first on the path; whoever runs `python -m` has the current one
    if Path(sys.path[0]) == Path(__file__).parent:
        sys.path[0] = str(Path.cwd())
    if name == "openvino":
        # importing it would report that to a server; barred, it goes by a stub
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        module = importlib.import_module(name)
        facts = ASKED.get(name, _plain)(module)
        if library:
            folder = Path(module.__file__ or "").parent
            facts["loader_error"] = _loader_error(folder / library)
    except BaseException as error:  # noqa: BLE001  # SystemExit is an answer, too
        facts = {"errors": _chain(error)}
    # in one write, on a line of its own, whatever other threads print
    os.write(1, f"\n{MARK}{json.dumps(facts)}\n".encode())


def _chain(error: BaseException | None) -> list[str]:
    """An error and what caused it, outermost first."""
    messages: list[str] = []
    while error is not None and len(messages) < DEEPEST_CHAIN:
        messages.append(" ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_ERROR])
        error = error.__cause__ or error.__context__
    return messages


def _plain(module: Any) -> dict[str, Any]:
    return {"version": str(getattr(module, "__version__", ""))}


def _onnxruntime(module: Any) -> dict[str, Any]:
    return _plain(module) | {"providers": list(module.get_available_providers())}


def _loader_error(library: Path) -> str:
    """The loader's message for a library that cannot be loaded; empty where there is none."""
    try:
        if library.exists():
            ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return ""


def _openvino(module: Any) -> dict[str, Any]:
    core = module.Core()
    bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return _plain(module) | {"devices": list(core.available_devices), "bf16": bf16}


def _torch_npu(module: Any) -> dict[str, Any]:
    npu = importlib.import_module("torch").npu
    return _plain(module) | {"available": bool(npu.is_available()), "devices": npu.device_count()}


def _acl(acl: Any) -> dict[str, Any]:
    """Open ACL and its first device, and close both; the code of every call until one fails.

    Source: the signatures of pyACL, as its samples use them.
    """
    steps: list[tuple[str, int]] = []

    def passed(call: str, code: int) -> bool:
        steps.append((call, code))
        return code == 0

    devices, soc = 0, ""
    if passed("acl.init()", acl.init()):
        devices, code = acl.rt.get_device_count()
        if (
            passed("acl.rt.get_device_count()", code)
            and devices
            and passed("acl.rt.set_device(0)", acl.rt.set_device(0))
        ):
            soc = acl.get_soc_name() or ""
            passed("acl.rt.reset_device(0)", acl.rt.reset_device(0))
        passed("acl.finalize()", acl.finalize())
    return {"steps": steps, "devices": devices, "soc_version": soc}


ASKED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "torch_npu": _torch_npu,
    "acl": _acl,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
