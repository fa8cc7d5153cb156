"""The fake's devices, settings and events: what the real package has at `torch.npu`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from torch_npu import texts

FIRST_OF_SHAPE_MS = 60_000.0  # a compilation, on the device's own clock
KERNEL_MS = 1.0
chips = ["Ascend910B3", "Ascend910B3"]
# (what, thread, detail): in the order in which the fake was called
diary: list[tuple[str, int, Any]] = []
options: dict[str, str] = {}
# what to raise at the next call of this name
faults: dict[str, Exception] = {}
# operator -> the code its kernel fails with, on the device: whoever waits for it learns of it
kernel_faults: dict[str, int] = {}
# operator -> what CANN says of it: it fails on its way to the device, in torch_npu's own queue
queue_faults: dict[str, str] = {}

_thread = threading.local()
_diary_lock = threading.Lock()
_clock_ms: dict[int, float] = {}
_compiled: set[tuple[Any, ...]] = set()
_failed: dict[int, int] = {}  # device -> the code of the kernel that failed
_stopping: dict[int, str] = {}  # device -> the error that its queue will raise, once
_stopped: set[int] = set()  # devices whose queue drops what it is given


def note(what: str, detail: Any = None) -> None:
    """Write into the diary; raise what was asked for."""
    with _diary_lock:
        diary.append((what, threading.get_ident(), detail))
        fault = faults.pop(what, None)
    if fault is not None:
        raise fault


def acl_error(function: str, code: int) -> RuntimeError:
    """A failed ACL call."""
    return RuntimeError(texts.function_failed(function, code))


def current_index(function: str) -> int:
    """The calling thread's device."""
    index = getattr(_thread, "index", None)
    if index is None:
        raise acl_error(function, 107002)
    return int(index)


def launch(function: str, index: int, shapes: tuple[Any, ...]) -> bool:
    """Queue an operator, and count its time on its device's clock; its first shape is compiled.

    Returns:
        Whether it runs: a queue that has stopped drops it in silence, as the real one does.
    """
    if current_index(function) != index:
        raise AssertionError(f"{function}: npu:{index} while the thread is at another device")
    _flush(index)
    if index in _stopped:
        return False
    if function in queue_faults:
        _stopping[index] = texts.QUEUE.format(operator=function, said=queue_faults.pop(function))
    if function in kernel_faults:
        _failed.setdefault(index, kernel_faults.pop(function))
    key = (index, function, shapes)
    first = key not in _compiled
    _compiled.add(key)
    _clock_ms[index] = _clock_ms.get(index, 0) + (FIRST_OF_SHAPE_MS if first else KERNEL_MS)
    return True


def _flush(index: int) -> None:
    if index in _stopping:
        _stopped.add(index)
        raise RuntimeError(_stopping.pop(index))


def wait_to_copy(index: int) -> None:
    """Wait for the device, as every copy between it and the host does first."""
    _flush(index)
    if index in _failed:
        raise RuntimeError(texts.COPY.format(code=_failed[index]))


def _wait(function: str, index: int) -> None:
    _flush(index)
    if index in _failed:
        raise acl_error(function, _failed[index])


def is_available() -> bool:
    return device_count() > 0


def device_count() -> int:
    note("device_count")
    return len(chips)


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
    _wait("AclrtSynchronizeDeviceWithTimeout", current_index("synchronize"))


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
        _wait("aclrtSynchronizeEvent", current_index("event.synchronize"))
        self.synchronised = True

    def elapsed_time(self, end: Event) -> float:
        if not (self.enable_timing and end.enable_timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self.at_ms is None or end.at_ms is None:
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        if not (self.synchronised and end.synchronised):
            raise RuntimeError("aclrtEventElapsedTime: the event is not complete")
        return end.at_ms - self.at_ms
