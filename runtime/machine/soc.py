"""Names of Ascend chips as ATC accepts them, and the correction of wrong ones.

Source: hicann/runtime, src/platform/platform_config/**/*.ini (SoC_version, Short_SoC_version,
NpuArch, Intrinsic_mmad); Ascend/pytorch, torch_npu/csrc/core/npu/NpuVariables.cpp (310P2, 310P4);
hicann/driver, dms_chip_info_adapt.c and dvt.c (names of slices), dcmi_inner_info_get.c
(dcmi_copy_npu_chip_name with ORIENT_CH: A2Gx and I2).
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
    "Ascend310B": (3002, tuple(f"Ascend310B{one}" for one in "1234")),
    "Ascend310P": (2002, tuple(f"Ascend310P{one}" for one in "123457")),
    "Ascend910": (
        1001,
        tuple(f"Ascend910{one}" for one in ("A", "B", "PremiumA", "ProA", "ProB")),
    ),
    "Ascend910B": (
        2201,
        tuple(f"Ascend910B{one}" for one in ("1", "2", "2C", "3", "4", "4-1")),
    ),
    "Ascend910_93": (
        2201,
        tuple(f"Ascend910_93{one}" for one in (62, 63, 72, 81, 82, 91, 92)),
    ),
}
_EXACT = tuple(one for _, names in FAMILIES.values() for one in names)
# The newest families have open-ended names, accepted by their form [V: platform_config/cann-dev].
OPEN_FAMILIES = {
    "Ascend350": (3510, r"Ascend350_[A-Za-z0-9]+"),
    "Ascend950": (3510, r"Ascend950(DT|PR)_[A-Za-z0-9_]+"),
}

# Chips whose convolutions run in HF32 where fp32 is asked for, unless told otherwise: ATC allows
# it wherever the chip's Intrinsic_mmad lists h322f32 [V: hicann/ge, nn_engine/utils/common/
# platform_utils.cc ParseAllowHf32, op_impl_mode_config_parser.cc; platform_config].
HF32_FAMILIES = (
    *("Ascend031", "Ascend310B", "Ascend350", "Ascend910B", "Ascend910_93", "Ascend950"),
)
# Chips whose cube unit has no fp32: no f322f32 or f32f32f32 in Intrinsic_mmad [V: platform_config]
# for 310P and 910; of the first Ascend310 it is inferred.
FP16_CUBE_FAMILIES = ("Ascend310", "Ascend310P", "Ascend910")
# The same chips compute in bf16.
BF16_FAMILIES = HF32_FAMILIES

# A slice (vNPU) bears the chip's name with the template's after it: 910B3vir05_1c_16g.
_SLICE = re.compile(r"(?P<chip>[\w-]+?)(?P<template>vir\w*)", re.ASCII | re.IGNORECASE)
# Slices of a 310P bear no digit of their chip; the runtime takes every one for a 310P3
# [V: hicann/runtime, src/runtime/core/src/runtime.cc Init310PSocType].
_CHIP_OF_SLICES = {"Ascend310P": "Ascend310P3"}
# Drivers of some markets print a 910Bx as A2Gx, and every 310P as I2 [V: see above].
_RENAMED = (
    (re.compile(r"^A2G(?=\d)", re.IGNORECASE), "910B"),
    (re.compile(r"^I2(?=$|vir)", re.IGNORECASE), "310P"),
)
# What people call a chip, and what that is [V: Ascend/pytorch, FormatCastKernelNpu.cpp,
# IsAclnnFormatCastSupported: "910C" is Ascend910_9391 and its kin].
_COMMON_NAMES = {
    "Ascend910C": "910C is the common name of Atlas A3's chip, whose exact name is Ascend910_93xx,"
    " for example Ascend910_9392: npu-smi info -t board -i 0 -c 0 shows it",
}
AUTO = "auto"
_LITERAL = "="
# every chip's name has a digit; "=auto" and "=NAME" are slips
_WELL_FORMED = re.compile(r"(?=\D*\d)[A-Za-z][A-Za-z0-9_-]*", re.ASCII)
# What a table may show of an open family, and one of its chips [V: platform_config/cann-dev].
_STEMS = {
    "Ascend350": "Ascend350_354f",
    "Ascend950": "Ascend950PR_9579",
    "Ascend950DT": "Ascend950DT_95A2",
    "Ascend950PR": "Ascend950PR_9579",
}


@dataclass(frozen=True, kw_only=True)
class Soc:
    """A chip, whole or sliced.

    Attributes:
        name: full name of the whole chip, as ATC accepts it.
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
        """Whether the chip is in this version's table."""
        return bool(self.family)

    @property
    def runs_hf32(self) -> bool:
        """Whether fp32 convolutions may run in HF32 unless told otherwise."""
        return self.family in HF32_FAMILIES

    @property
    def as_option(self) -> str:
        """The value of `--soc_version` for this chip or slice."""
        full = f"Ascend{self.slice}" if self.slice else self.name
        return full if self.is_known else f"{_LITERAL}{full}"


def soc_of(name: str, where: str = "--soc_version", *, printed: bool = False) -> Soc:
    """Check a chip's exact name.

    Args:
        name: as ATC accepts it, for example "Ascend910B3"; a slice's, for example
            "Ascend310Pvir01"; or any other after "=", for a chip newer than the table here.
        where: the option or file it was read from, for the error.
        printed: whether CANN or its driver printed the name: a chip that is not in the table then
            passes without "=", and has no family.

    Raises:
        ConfigError: no such chip, or a family where an exact chip is needed.
    """
    full = name.removeprefix(_LITERAL)
    soc = _read(full)
    is_family = soc.name in FAMILIES or soc.name in _STEMS
    takes_unknown = full != name or (printed and not is_family)
    if soc.is_known or (takes_unknown and _WELL_FORMED.fullmatch(soc.name)):
        return soc
    raise ConfigError(
        where,
        expected="a chip's exact name as ATC takes it, for example Ascend910B3 or Ascend910_9362",
        got=repr(name),
        action=_advice(name),
    )


def is_old_generation(name: str) -> bool:
    """Whether this is the chip most often meant otherwise: Ascend910B is an old 910, no 910B1."""
    return name == "Ascend910B"


def as_atc_spells(printed: str) -> str:
    """A chip's name as a driver prints it, with its Ascend, and without another market's name."""
    bare = _bare(printed)
    for pattern, ours in _RENAMED:
        bare = pattern.sub(ours, bare)
    return f"Ascend{bare}"


def advice_on_family(full: str) -> str:
    """The names to choose from where a name is a family's; empty where it is not."""
    chip, template = _split(full)
    if chip in FAMILIES and not _read(full).is_known:
        exact = ", ".join(_read(f"{one}{template}").as_option for one in FAMILIES[chip][1])
        advice = f"{chip} is a family: choose one of {exact}"
        if chip == "Ascend910":
            advice += "; an Atlas A3's is Ascend910_ and a number"
        if is_old_generation(chip):
            advice += f"; a slice of the old {chip} is {_read(full).as_option}"
        return advice
    if chip in _STEMS:
        return (
            f"{chip} is a family: add the NPU Name that npu-smi info -t board -i 0 shows, for"
            f" example {_STEMS[chip]}{template}"
        )
    return ""


def note_on_unknown(soc: Soc) -> str:
    """That a chip is not in the table, and what its name may stand for."""
    common = _COMMON_NAMES.get(soc.name, "")
    return f"{soc.name} is not in this version's table of chips" + (f"; {common}" if common else "")


def _read(full: str) -> Soc:
    """The chip and slice in a name; without a family where they are none of ours."""
    chip, template = _split(full)
    part = full.removeprefix("Ascend") if template else ""
    if template:
        chip = _CHIP_OF_SLICES.get(chip, chip)
    # drivers call slices of the first 910 "910vir02", so "910Bvir06" is no old Ascend910B's
    if template and len(FAMILIES.get(chip, (0, ()))[1]) > 1:
        return Soc(name=chip, family="", arch=0, slice=part)
    for family, (arch, names) in FAMILIES.items():
        if chip in names:
            return Soc(name=chip, family=family, arch=arch, slice=part)
    for family, (arch, pattern) in OPEN_FAMILIES.items():
        if re.fullmatch(pattern, chip):
            return Soc(name=chip, family=family, arch=arch, slice=part)
    return Soc(name=chip, family="", arch=0, slice=part)


def _split(full: str) -> tuple[str, str]:
    """Chip and template of a slice's name; no template where it is a whole chip's."""
    sliced = _SLICE.fullmatch(full)
    return (sliced["chip"], sliced["template"]) if sliced else (full, "")


def _bare(name: str) -> str:
    return re.sub(r"^(Ascend\s*)+", "", name.strip(), flags=re.IGNORECASE)


def _advice(typed: str) -> str:
    """What to name instead; `soc_of` accepts every name that is offered."""
    full = typed.removeprefix(_LITERAL)
    if full.lower() == AUTO != typed:
        return f"Write --soc_version {AUTO}"
    name = _in_our_case(as_atc_spells(full))
    advice = f"Did you mean {name}" if _read(name).is_known else advice_on_family(name)
    if advice:
        renamed = any(pattern.match(_bare(full)) for pattern, _ in _RENAMED)
        told = f" ({_bare(full)} is what some drivers print for {name})" if renamed else ""
        return f"{advice}{told}"
    advice = _COMMON_NAMES.get(_split(name)[0], "")
    if not advice:
        near = ", ".join(_similar(name))
        seek = "Run npu-smi info on the box, or pass --soc_version auto there"
        advice = f"Did you mean {near}" if near else seek
    if re.fullmatch(r"Ascend\d{3}[A-Za-z0-9_-]*", full):
        advice += f"; a chip newer than this version is taken literally as {_LITERAL}{full}"
    return advice


def _in_our_case(full: str) -> str:
    """A name whose letters differ by their case alone, as ATC writes it; any other as it is."""
    chip, template = _split(full)
    by_case = {one.lower(): one for one in (*FAMILIES, *_STEMS, *_COMMON_NAMES, *_EXACT)}
    head, mark, number = chip.partition("_")
    if any(re.fullmatch(one, chip, re.IGNORECASE) for _, one in OPEN_FAMILIES.values()):
        return f"{by_case[head.lower()]}{mark}{number}{template}"
    return f"{by_case.get(chip.lower(), chip)}{template}"


def _similar(full: str) -> list[str]:
    """The nearest known names."""
    chip, template = _split(full)
    if not _bare(chip):
        return []
    by_case = {one.lower(): one for one in _EXACT}
    near = difflib.get_close_matches(chip.lower(), by_case, n=3, cutoff=0.75)
    return [_read(f"{by_case[one]}{template}").as_option for one in near]
