"""What the simulated box is: its chip, its devices, its CANN; from the environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The box.

    Attributes:
        soc: what acl.get_soc_name() says; `CANNSIM_SOC` may be a slice of it.
        devices: how many there are.
        visible: as `ASCEND_RT_VISIBLE_DEVICES` lists them; None where it is not set.
        rc: the box is its own host (a 310B board in RC mode): host memory is not aligned there.
        memory_bytes: of each device.
        latency_s: that one execution takes besides the arithmetic.
        cann: version of the simulated runtime.
        faults: as `CANNSIM_FAULT` names them; items of other tools are passed over.
        report: file, or an existing folder, for what was wrong when the process ends; "" is none.
    """

    soc: str = "Ascend910B3"
    devices: int = 1
    visible: str | None = None
    rc: bool = False
    memory_bytes: int = 16 << 30
    latency_s: float = 0.0
    cann: str = "8.5.0"
    faults: str = ""
    report: str = ""

    @staticmethod
    def from_environment() -> Settings:
        """Read `CANNSIM_*`; what is not set keeps its default."""
        default = Settings()
        return Settings(
            soc=_whole_chip(os.environ.get("CANNSIM_SOC", default.soc)),
            devices=int(os.environ.get("CANNSIM_DEVICES", default.devices)),
            visible=os.environ.get("ASCEND_RT_VISIBLE_DEVICES"),
            rc=os.environ.get("CANNSIM_RC", "") == "1",
            memory_bytes=int(os.environ.get("CANNSIM_MEMORY", default.memory_bytes)),
            latency_s=float(os.environ.get("CANNSIM_LATENCY_MS", "0")) / 1e3,
            cann=os.environ.get("CANNSIM_CANN", default.cann),
            faults=os.environ.get("CANNSIM_FAULT", ""),
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

    @property
    def has_hbm(self) -> bool:
        """The 910 and 950 families carry HBM, the 310 family DDR."""
        return not self.soc.startswith("Ascend310")


def _whole_chip(name: str) -> str:
    """A slice's chip, by whose name the runtime calls it.

    Source: hicann/runtime, src/runtime/core/src/runtime.cc:797 Init310PSocType.
    """
    chip = re.sub(r"vir\w*$", "", name, flags=re.IGNORECASE)
    return "Ascend310P3" if chip == "Ascend310P" else chip
