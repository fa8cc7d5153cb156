"""ASCEND_RT_VISIBLE_DEVICES, which hides devices and renumbers the others.

Source: hicann/runtime [V]: docs/zh/env_vars/ASCEND_RT_VISIBLE_DEVICES.md; src/runtime/core/src/
runtime.cc, SplitString, GetVisibleDevices and ChgUserDevIdToDeviceId; api_impl.cc, GetDeviceCount.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from runtime.errors import one_line

NAME = "ASCEND_RT_VISIBLE_DEVICES"
# What the runtime returns for a number that the variable leaves out, and where it leaves none.
CODES = (107001, 207004)
LONGEST_VALUE = 80
_READ = re.compile(r"[0-9]{1,9}(?:,[0-9]{1,9})*(?![0-9])")


def advice_on(code: int, environment: Mapping[str, str] = os.environ) -> str:
    """As `advice`, where an error code of the runtime can come from the variable; else empty."""
    return advice(environment) if code in CODES else ""


def advice(environment: Mapping[str, str] = os.environ) -> str:
    """What to do about a device that was not found; empty where the variable is not set."""
    value = environment.get(NAME)
    if value is None:
        return ""
    read = _READ.match(value)
    numbers = [int(one) for one in read[0].split(",")] if read else []
    fault = ""
    if read is None:
        fault = " (it names no device)"
    elif numbers != sorted(set(numbers)):
        fault = " (it does not ascend, and hides every device)"
    elif value.removesuffix(",") != read[0]:
        fault = f" (of which {one_line(repr(read[0]), LONGEST_VALUE)} counts alone)"
    return (
        f"{NAME} is {one_line(repr(value), LONGEST_VALUE)}{fault}: npu:0 is the first"
        " device in it, and its numbers must ascend, each once, with commas and no spaces between"
        " them. Choose among these, or unset it; npu-smi info -m lists all (Chip Logic ID)"
    )
