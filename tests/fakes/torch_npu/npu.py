"""The fake's devices, settings and events: what the real package has at `torch.npu`."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

FIRST_OF_SHAPE_MS = 60_000.0  # a compilation, on the device's own clock
KERNEL_MS = 1.0
CODES = {
    107001: "Invalid device ID.\n        Check whether the device ID is valid.",
    107002: "The context is empty.\n"
    "        Check whether acl.rt.set_context or acl.rt.set_device is called.",
}

chips = os.environ.get("FAKE_NPU_CHIPS", "Ascend910B3,Ascend910B3").split(",")
# (what, thread, detail): in the order in which the fake was called
diary: list[tuple[str, int, Any]] = []
options: dict[str, str] = {}
# what to raise at the next call of this name
faults: dict[str, Exception] = {}

_thread = threading.local()
_diary_lock = threading.Lock()
_clock_ms: dict[int, float] = {}
_compiled: set[tuple[Any, ...]] = set()


def note(what: str, detail: Any = None) -> None:
    """Write into the diary; raise what was asked for."""
    with _diary_lock:
        diary.append((what, threading.get_ident(), detail))
        fault = faults.pop(what, None)
    if fault is not None:
        raise fault


def acl_error(function: str, code: int) -> RuntimeError:
    """The text of a failed ACL call, in the form the real package gives it."""
    return RuntimeError(
        f"{function}:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:60 NPU function error:"
        f" {function}, error code is {code}\n"
        "[ERROR] 2025-05-09-08:06:34 (PID:207, Device:0, RankID:-1) ERR00100 PTA call acl api"
        f" failed\n[Error]: {CODES[code]}"
    )


def current_index(function: str) -> int:
    """The calling thread's device."""
    index = getattr(_thread, "index", None)
    if index is None:
        raise acl_error(function, 107002)
    return int(index)


def launch(function: str, index: int, shapes: tuple[Any, ...]) -> None:
    """Count an operator's time on its device's clock; its first shape is compiled."""
    if current_index(function) != index:
        raise AssertionError(f"{function}: npu:{index} while the thread is at another device")
    key = (index, function, shapes)
    first = key not in _compiled
    _compiled.add(key)
    _clock_ms[index] = _clock_ms.get(index, 0) + (FIRST_OF_SHAPE_MS if first else KERNEL_MS)


def is_available() -> bool:
    return device_count() > 0


def device_count() -> int:
    note("device_count")
    return len([chip for chip in chips if chip])


def get_device_name(index: int) -> str:
    note("get_device_name", index)
    return chips[index]


def set_device(device: str) -> None:
    note("set_device", device)
    index = int(device.partition(":")[2])
    if index >= len(chips):
        raise acl_error("SetDevice", 107001)
    _thread.index = index


def synchronize() -> None:
    note("synchronize")
    current_index("synchronize")


def set_compile_mode(*, jit_compile: bool) -> None:
    note("set_compile_mode", jit_compile)
    current_index("set_compile_mode")  # else the real one would start npu:0


def set_option(option: Mapping[str, str]) -> None:
    note("set_option", dict(option))
    current_index("set_option")
    for name, value in option.items():
        if name == "ACL_PRECISION_MODE":
            known = ["allow_fp32_to_fp16", "must_keep_origin_dtype"]
            if value not in known:
                raise ValueError(f"value of {name} should be in {known} but got {value}")
        options[name] = value


class _Switch:
    """An `allow_hf32` that is a process-wide option; other names are swallowed."""

    def __init__(self, option: str, default: str) -> None:
        self.__dict__.update(_option=option, _default=default, works=True)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "works":
            self.__dict__[name] = value
        elif name == "allow_hf32" and self.works:
            note(self._option, value)
            current_index(self._option)
            options[self._option] = "enable" if value else "disable"

    def __getattr__(self, name: str) -> Any:
        if name != "allow_hf32":
            return None
        return options.get(self._option, self._default) == "enable"


conv = _Switch("ALLOW_CONV_HF32", "enable")
matmul = _Switch("ALLOW_MATMUL_HF32", "disable")


def conv_bits() -> int:
    """Mantissa bits that convolutions keep now, on the calling thread's device.

    Source: CalcuOpUtil::GetCubeMathType of torch_npu, and the aclnn documents on cubeMathType.
    """
    chip = chips[current_index("conv")]
    old = chip.startswith(("Ascend310P", "Ascend910A"))
    default = "allow_fp32_to_fp16" if old else "must_keep_origin_dtype"
    fp16 = options.get("ACL_PRECISION_MODE", default) == "allow_fp32_to_fp16"
    if old and not fp16:
        raise RuntimeError("aclnnConvolution: DT_FLOAT not support under keep type mode")
    if old or (fp16 and not conv.allow_hf32):
        return 10
    return 11 if conv.allow_hf32 else 23


class Event:
    """A mark in the stream of the thread's device, on that device's clock."""

    def __init__(self, *, enable_timing: bool = False) -> None:
        self.enable_timing = enable_timing
        self.at_ms: float | None = None
        self.synchronised = False

    def record(self) -> None:
        note("record")
        self.at_ms = _clock_ms.get(current_index("record"), 0.0)

    def synchronize(self) -> None:
        note("event.synchronize")
        current_index("event.synchronize")
        self.synchronised = True

    def elapsed_time(self, end: Event) -> float:
        if not (self.enable_timing and end.enable_timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self.at_ms is None or end.at_ms is None:
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        if not (self.synchronised and end.synchronised):
            raise RuntimeError("aclrtEventElapsedTime: the event is not complete")
        return end.at_ms - self.at_ms
