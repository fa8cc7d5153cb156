"""Names of Ascend chips as ATC takes them: every wrong one costs a conversion and a walk.

Source: Huawei's open CANN runtime, src/platform/platform_config (names, short names, NpuArch).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from runtime.errors import ConfigError

# short name -> (NpuArch, full names). Ascend310 left the newest CANN; its arch number is not
# published.
FAMILIES: dict[str, tuple[int, tuple[str, ...]]] = {
    "Ascend310": (0, ("Ascend310",)),
    "Ascend310B": (3002, ("Ascend310B1", "Ascend310B2", "Ascend310B3", "Ascend310B4")),
    "Ascend310P": (2002, ("Ascend310P1", "Ascend310P3", "Ascend310P5", "Ascend310P7")),
    "Ascend910": (
        1001,
        ("Ascend910A", "Ascend910B", "Ascend910PremiumA", "Ascend910ProA", "Ascend910ProB"),
    ),
    "Ascend910B": (
        2201,
        (
            "Ascend910B1",
            "Ascend910B2",
            "Ascend910B2C",
            "Ascend910B3",
            "Ascend910B4",
            "Ascend910B4-1",
        ),
    ),
    "Ascend910_93": (
        2201,
        (
            "Ascend910_9362",
            "Ascend910_9363",
            "Ascend910_9372",
            "Ascend910_9381",
            "Ascend910_9382",
            "Ascend910_9391",
            "Ascend910_9392",
        ),
    ),
}
# The newest families have open-ended names: accepted by their form.
OPEN_FAMILIES = {"Ascend950": r"Ascend950(DT|PR)_[A-Za-z0-9_]+"}

# Chips whose convolutions may run in HF32 where fp32 is asked for: Atlas A2 and A3.
HF32_FAMILIES = ("Ascend910B", "Ascend910_93")
# Chips whose cube unit has no fp32: Atlas training and inference series, as the documents of the
# open operator library (ops-nn, aclnn constraints) say; of the first Ascend310 it is inferred.
FP16_CUBE_FAMILIES = ("Ascend310", "Ascend310P", "Ascend910")
BF16_FAMILIES = ("Ascend310B", "Ascend910B", "Ascend910_93", "Ascend950")


@dataclass(frozen=True, kw_only=True)
class Soc:
    """A chip: its full name, the short name of its family, and its NpuArch (0: unknown)."""

    name: str
    family: str
    arch: int

    @property
    def runs_hf32(self) -> bool:
        """Whether fp32 convolutions may run in HF32 unless told otherwise."""
        return self.family in HF32_FAMILIES


def soc_of(name: str, where: str = "--soc_version") -> Soc:
    """Check a chip's exact name.

    Args:
        name: as ATC takes it, for example "Ascend910B3".
        where: the option or file it was read from, for the error.

    Raises:
        ConfigError: no such chip, or a family where an exact chip is needed.
    """
    for family, (arch, names) in FAMILIES.items():
        if name in names:
            return Soc(name=name, family=family, arch=arch)
    for family, pattern in OPEN_FAMILIES.items():
        if re.fullmatch(pattern, name):
            return Soc(name=name, family=family, arch=0)
    raise ConfigError(
        where,
        expected="a chip's exact name as ATC takes it, for example Ascend910B3 or Ascend910_9362",
        got=repr(name),
        action=_advice(name),
    )


def is_old_generation(name: str) -> bool:
    """Whether this is the chip most often meant otherwise: Ascend910B is an old 910, no 910B1."""
    return name == "Ascend910B"


def _advice(name: str) -> str:
    known = [name for _, names in FAMILIES.values() for name in names]
    if name in FAMILIES:
        return f"{name} is a family: choose one of {', '.join(FAMILIES[name][1])}"
    by_case = {one.lower(): one for one in known}
    bare = name.lower().removeprefix("ascend").removeprefix(" ")
    exact = by_case.get(f"ascend{bare}")
    if exact:
        return f"Did you mean {exact}"
    near = difflib.get_close_matches(f"ascend{bare.strip()}", by_case, n=3, cutoff=0.75)
    if near and bare:
        return f"Did you mean {', '.join(by_case[one] for one in near)}"
    return "Run npu-smi info on the box, or pass --soc_version auto there"
