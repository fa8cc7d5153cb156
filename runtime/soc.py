"""Names of Ascend chips as ATC takes them: every wrong one costs a conversion and a walk.

Source: hicann/runtime, src/platform/platform_config/**/*.ini (SoC_version, Short_SoC_version,
NpuArch, Intrinsic_mmad); Ascend/pytorch, torch_npu/csrc/core/npu/NpuVariables.cpp (310P2, 310P4);
hicann/driver, dms_chip_info_adapt.c and dvt.c (names of slices).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from runtime.errors import ConfigError

# short name -> (NpuArch, full names) [V: platform_config]. Ascend310 left the newest CANN; its
# arch number is not published. 310P2 and 310P4 stand in torch_npu's list of chips alone. Ascend035
# is none of ours: ATC writes no .om for it [V: hicann/ge, api/atc/main_impl.cc, mode 30].
FAMILIES: dict[str, tuple[int, tuple[str, ...]]] = {
    "Ascend031": (3004, ("Ascend031",)),
    "Ascend310": (0, ("Ascend310",)),
    "Ascend310B": (3002, ("Ascend310B1", "Ascend310B2", "Ascend310B3", "Ascend310B4")),
    "Ascend310P": (
        2002,
        (
            "Ascend310P1",
            "Ascend310P2",
            "Ascend310P3",
            "Ascend310P4",
            "Ascend310P5",
            "Ascend310P7",
        ),
    ),
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
# The newest families have open-ended names, accepted by their form [V: platform_config/cann-dev].
OPEN_FAMILIES = {
    "Ascend350": (3510, r"Ascend350_[A-Za-z0-9]+"),
    "Ascend950": (3510, r"Ascend950(DT|PR)_[A-Za-z0-9_]+"),
}

# Chips whose convolutions run in HF32 where fp32 is asked for, unless told otherwise: ATC allows
# it wherever the chip's Intrinsic_mmad lists h322f32 [V: hicann/ge, nn_engine/utils/common/
# platform_utils.cc ParseAllowHf32, op_impl_mode_config_parser.cc; platform_config].
HF32_FAMILIES = (
    "Ascend031",
    "Ascend310B",
    "Ascend350",
    "Ascend910B",
    "Ascend910_93",
    "Ascend950",
)
# Chips whose cube unit has no fp32: no f322f32 or f32f32f32 in Intrinsic_mmad [V: platform_config]
# for 310P and 910; of the first Ascend310 it is inferred.
FP16_CUBE_FAMILIES = ("Ascend310", "Ascend310P", "Ascend910")
BF16_FAMILIES = (
    "Ascend031",
    "Ascend310B",
    "Ascend350",
    "Ascend910B",
    "Ascend910_93",
    "Ascend950",
)

# A slice (vNPU) bears the chip's name with the template's after it: 910B3vir05_1c_16g.
_SLICE = re.compile(r"(?P<chip>[\w-]+?)(?P<template>vir\w*)", re.ASCII | re.IGNORECASE)
# Slices of a 310P bear no digit of their chip; the runtime takes every one for a 310P3
# [V: hicann/runtime, src/runtime/core/src/runtime.cc Init310PSocType].
_CHIP_OF_SLICES = {"Ascend310P": "Ascend310P3"}
_LITERAL = "="
_WELL_FORMED = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_STEM = re.compile(r"(Ascend350|Ascend950)(DT|PR)?")


@dataclass(frozen=True, kw_only=True)
class Soc:
    """A chip, whole or sliced.

    Attributes:
        name: full name of the whole chip, as ATC takes it.
        family: short name of its family; empty for a chip that this version does not know.
        arch: its NpuArch; 0 where it is not known.
        slice: the slice's own name, for example "910B3vir05_1c_16g"; empty for a whole chip.
    """

    name: str
    family: str
    arch: int
    slice: str = ""

    @property
    def is_known(self) -> bool:
        """Whether this version knows what the chip can do."""
        return bool(self.family)

    @property
    def runs_hf32(self) -> bool:
        """Whether fp32 convolutions may run in HF32 unless told otherwise."""
        return self.family in HF32_FAMILIES

    @property
    def as_option(self) -> str:
        """What `--soc_version` takes for this chip or slice."""
        full = f"Ascend{self.slice}" if self.slice else self.name
        return full if self.is_known else f"{_LITERAL}{full}"


def soc_of(name: str, where: str = "--soc_version", *, printed: bool = False) -> Soc:
    """Check a chip's exact name.

    Args:
        name: as ATC takes it, for example "Ascend910B3"; a slice's, for example
            "Ascend310Pvir01"; or any other after "=", for a chip newer than the table here.
        where: the option or file it was read from, for the error.
        printed: whether CANN or its driver printed the name: a chip that is not in the table then
            passes without "=", and has no family.

    Raises:
        ConfigError: no such chip, or a family where an exact chip is needed.
    """
    full = name.removeprefix(_LITERAL)
    soc = _read(full)
    takes_unknown = full != name or (printed and not _names_a_family(soc.name))
    if soc.is_known or (takes_unknown and _WELL_FORMED.fullmatch(soc.name)):
        return soc
    raise ConfigError(
        where,
        expected="a chip's exact name as ATC takes it, for example Ascend910B3 or Ascend910_9362",
        got=repr(name),
        action=_advice(full),
    )


def is_old_generation(name: str) -> bool:
    """Whether this is the chip most often meant otherwise: Ascend910B is an old 910, no 910B1."""
    return name == "Ascend910B"


def advice_on_family(full: str) -> str:
    """The exact names to choose from where a name is a family's; empty where it is not."""
    sliced = _SLICE.fullmatch(full)
    chip, template = (sliced["chip"], sliced["template"]) if sliced else (full, "")
    if chip in FAMILIES:
        exact = ", ".join(f"{one}{template}" for one in FAMILIES[chip][1])
        of_a3 = "; an Atlas A3's is Ascend910_ and a number" if chip == "Ascend910" else ""
        return f"{chip} is a family: choose one of {exact}{of_a3}"
    if _STEM.fullmatch(chip):
        return (
            f"{chip} is a family: add the NPU Name that npu-smi info -t board -i 0 shows, for"
            " example Ascend950PR_9579"
        )
    return ""


def _read(full: str) -> Soc:
    """The chip and slice in a name; without a family where they are none of ours."""
    sliced = _SLICE.fullmatch(full)
    if sliced is None:
        family, arch = _family_of(full)
        return Soc(name=full, family=family, arch=arch)
    chip = _CHIP_OF_SLICES.get(sliced["chip"], sliced["chip"])
    family, arch = _family_of(chip)
    # drivers call slices of the first 910 "910vir02", so "910Bvir06" is no old Ascend910B's
    if len(FAMILIES.get(chip, (0, ()))[1]) > 1:
        family, arch = "", 0
    return Soc(name=chip, family=family, arch=arch, slice=full.removeprefix("Ascend"))


def _family_of(chip: str) -> tuple[str, int]:
    """The family and NpuArch of an exact name; an empty family where it is none."""
    for family, (arch, names) in FAMILIES.items():
        if chip in names:
            return family, arch
    for family, (arch, pattern) in OPEN_FAMILIES.items():
        if re.fullmatch(pattern, chip):
            return family, arch
    return "", 0


def _names_a_family(chip: str) -> bool:
    return chip in FAMILIES or _STEM.fullmatch(chip) is not None


def _advice(full: str) -> str:
    choices = advice_on_family(full)
    if choices:
        return choices
    if _read(f"Ascend{full.strip()}").is_known:
        return f"Did you mean Ascend{full.strip()}"
    sliced = _SLICE.fullmatch(full)
    chip, template = (sliced["chip"], sliced["template"]) if sliced else (full, "")
    near = [f"{one}{template}" for one in _similar(chip)]
    advice = "Run npu-smi info on the box, or pass --soc_version auto there"
    if near:
        advice = f"Did you mean {', '.join(near)}"
    if re.fullmatch(r"Ascend\d{3}[A-Za-z0-9_-]*", full):
        advice += f"; a chip newer than this version is taken literally as {_LITERAL}{full}"
    return advice


def _similar(chip: str) -> list[str]:
    """Known names that differ by case or prefix alone, else the nearest ones."""
    by_case = {one.lower(): one for _, names in FAMILIES.values() for one in names}
    bare = chip.lower().removeprefix("ascend").strip()
    exact = by_case.get(f"ascend{bare}")
    if exact or not bare:
        return [exact] if exact else []
    near = difflib.get_close_matches(f"ascend{bare}", by_case, n=3, cutoff=0.75)
    return [by_case[one] for one in near]
