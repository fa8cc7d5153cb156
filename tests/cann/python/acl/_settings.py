"""What the simulated box is: its chip, its devices, its CANN; from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The box.

    Attributes:
        soc: what acl.get_soc_name() says.
        devices: how many there are.
        memory_bytes: of each device.
        latency_s: that one execution takes besides the arithmetic.
        cann: version of the simulated runtime.
        faults: as `CANNSIM_FAULT` names them; items of other tools are passed over.
        report: file, or an existing folder, for what was wrong when the process ends; "" is none.
    """

    soc: str = "Ascend910B3"
    devices: int = 1
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
            soc=os.environ.get("CANNSIM_SOC", default.soc),
            devices=int(os.environ.get("CANNSIM_DEVICES", default.devices)),
            memory_bytes=int(os.environ.get("CANNSIM_MEMORY", default.memory_bytes)),
            latency_s=float(os.environ.get("CANNSIM_LATENCY_MS", "0")) / 1e3,
            cann=os.environ.get("CANNSIM_CANN", default.cann),
            faults=os.environ.get("CANNSIM_FAULT", ""),
            report=os.environ.get("CANNSIM_REPORT", ""),
        )

    @property
    def has_hbm(self) -> bool:
        """The 910 and 950 families carry HBM, the 310 family DDR."""
        return not self.soc.startswith("Ascend310")
