"""The simulated box: its chip, its devices, its CANN; from the environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The box.

    Attributes:
        soc: the result of acl.get_soc_name(); `CANNSIM_SOC` may be a slice of it.
        devices: how many there are.
        visible: as `ASCEND_RT_VISIBLE_DEVICES` lists them; None where it is not set.
        latency_s: of one execution, besides the arithmetic.
        report: folder for a report when the process ends; "" is none.
    """

    soc: str = "Ascend910B3"
    devices: int = 1
    visible: str | None = None
    latency_s: float = 0.0
    report: str = ""

    @staticmethod
    def from_environment() -> Settings:
        """Read `CANNSIM_*`; what is not set keeps its default."""
        default = Settings()
        return Settings(
            soc=_whole_chip(os.environ.get("CANNSIM_SOC", default.soc)),
            devices=int(os.environ.get("CANNSIM_DEVICES", default.devices)),
            visible=os.environ.get("ASCEND_RT_VISIBLE_DEVICES"),
            report=os.environ.get("CANNSIM_REPORT", ""),
        )

    @property
    def usable(self) -> int:
        """How many devices this process may use, counted from 0.

        Source: hicann/runtime, src/runtime/core/src/runtime.cc:4725 SplitString and :4951
        Runtime::GetVisibleDevices.
        """
        if self.visible is None:
            return self.devices
        listed: list[int] = []
        # read up to the first sign that is neither a digit nor a single comma
        read = re.match(r"(?:[0-9]+(?:,[0-9]+)*)?", self.visible)
        for token in filter(None, read[0].split(",") if read else []):
            if int(token) >= self.devices:
                break
            if listed and int(token) <= listed[-1]:
                return 0
            listed.append(int(token))
        return len(listed)


def _whole_chip(name: str) -> str:
    """A slice's chip, by whose name the runtime calls it.

    Source: hicann/runtime, src/runtime/core/src/runtime.cc:797 Init310PSocType.
    """
    chip = re.sub(r"vir\w*$", "", name, flags=re.IGNORECASE)
    return "Ascend310P3" if chip == "Ascend310P" else chip
