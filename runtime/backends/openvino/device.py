"""Which of OpenVINO's devices, in which precision: chosen, and held to what was chosen.

OpenVINO passes over a hint that a device cannot follow, and has devices that choose others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.backends.base import PRECISIONS, Settings
from runtime.errors import BackendUnavailable, ConfigError
from runtime.machine import processor
from runtime.model.device import Device

CPU = "CPU"


def chosen_precision(device: Device, settings: Settings) -> str:
    """What is asked for: beside the device, in the settings, or neither, which is fp32.

    Raises:
        ConfigError: two that differ, or one that is none.
    """
    index = "" if device.index is None else str(device.index)
    asked = {one for one in (device.detail, index, settings.precision) if one}
    if not asked <= set(PRECISIONS) or len(asked) > 1:
        raise ConfigError(
            f"device '{device}'",
            expected=f"one precision: {' or '.join(PRECISIONS)}",
            got=" and ".join(sorted(asked)),
            action="Write @openvino/cpu or @openvino/cpu:bf16",
        )
    return asked.pop() if asked else PRECISIONS[0]


def chosen_device(core: Any, device: Device) -> str:
    """OpenVINO's own name of a device, and none of those that choose for themselves.

    Raises:
        BackendUnavailable: it has no such device.
    """
    named = device.kind
    available = {name.lower(): name for name in core.available_devices}
    wanted = CPU.lower() if named == "auto" else named.lower()
    if wanted not in available:
        raise BackendUnavailable(
            f"device {named!r}",
            expected=f"a device that OpenVINO lists: {', '.join(available)}",
            got=repr(named),
            action="Choose @openvino/cpu, or install the device's driver",
        )
    return str(available[wanted])


def check_bf16(core: Any, target: str) -> None:
    """Refuse bf16 where OpenVINO would run fp32 in its place, or imitate bf16.

    It counts AVX-512 without bf16 as capable: it rounds there, and is slower than in fp32.

    Raises:
        BackendUnavailable: the device has no bf16.
    """
    capable = "BF16" in core.get_property(target, "OPTIMIZATION_CAPABILITIES")
    if capable and (target != CPU or processor.has_bf16() is not False):
        return
    raise BackendUnavailable(
        f"bf16 on {target}",
        expected="a processor with bf16 arithmetic (avx512_bf16, amx_bf16 or avx_ne_convert)",
        got=f"{core.get_property(target, 'FULL_DEVICE_NAME')}, which has none",
        action="Leave bf16 out: @openvino/cpu runs in fp32",
    )


def check_executed(executed: Sequence[str], asked: str, where: str, target: str) -> None:
    """A hint may be passed over; what was compiled may not differ from what was asked for.

    Raises:
        BackendUnavailable: it does.
    """
    floats = set(executed) - {"int8"}
    if asked == "bf16" and ("bf16" in floats or not floats) and "fp16" not in floats:
        return
    if asked == "fp32" and floats <= {"fp32"}:
        return
    raise BackendUnavailable(
        where,
        expected=f"{target} to compute in {asked}",
        got=f"OpenVINO compiled it to {', '.join(executed)}",
        action="Choose another device, or @onnxruntime/cpu",
    )
