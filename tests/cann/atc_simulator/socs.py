"""The chips atc knows by name, and what their cores can do.

Source: hicann/runtime src/platform/platform_config/**/*.ini (names, NpuArch; h322f32 in
Intrinsic_mmad is HF32, by hicann/ge platform_utils.cc ParseAllowHf32); Ascend/pytorch
NpuVariables.cpp (310P2, 310P4, which have no such file). That ATC refuses fp32 convolutions on 310
and 310P, whose cube unit has none, is inferred. 350 and 950: names are taken by their form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cann.atc_simulator.messages import AtcError, message
from cann.atc_simulator.release import Release


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One chip: NpuArch (0: not published) and the arithmetic it has."""

    name: str
    arch: int
    cube_fp32: bool = True
    hf32: bool = False
    bf16: bool = False
    hif8: bool = False
    dynamic_shapes: bool = True


def _chips() -> dict[str, Chip]:
    chips = [Chip(name="Ascend310", arch=0, cube_fp32=False)]
    chips += [Chip(name="Ascend031", arch=3004, hf32=True, bf16=True)]
    chips += [
        Chip(name=f"Ascend310B{n}", arch=3002, hf32=True, bf16=True, dynamic_shapes=False)
        for n in "1234"
    ]
    chips += [Chip(name=f"Ascend310P{n}", arch=2002, cube_fp32=False) for n in "123457"]
    chips += [Chip(name=f"Ascend910{n}", arch=1001) for n in ("A", "B", "PremiumA", "ProA", "ProB")]
    atlas_a2 = ("B1", "B2", "B2C", "B3", "B4", "B4-1")
    atlas_a3 = ("_9362", "_9363", "_9372", "_9381", "_9382", "_9391", "_9392")
    chips += [
        Chip(name=f"Ascend910{n}", arch=2201, hf32=True, bf16=True) for n in (*atlas_a2, *atlas_a3)
    ]
    return {chip.name: chip for chip in chips}


CHIPS = _chips()
NO_PLATFORM_FILE = ("Ascend310", "Ascend310P2", "Ascend310P4")
NANO = ("Ascend035", "Ascend035A", "Ascend035B")


def chip_of(name: str, release: Release) -> Chip:
    """Look a chip up by its exact name.

    Raises:
        AtcError: EE1011 and E19999: no such chip in this release.
    """
    chip = CHIPS.get(name)
    if re.fullmatch(r"Ascend(950(DT|PR)|350)_[A-Za-z0-9_]+", name) and release.number >= (8, 5):
        hif8 = name.startswith("Ascend950")
        chip = Chip(name=name, arch=3510, hf32=True, bf16=True, hif8=hif8)
    if chip and name in NO_PLATFORM_FILE and release.number >= (9, 0):
        chip = None  # inferred: the newest sources have no such platform file
    if chip and name.startswith("Ascend910_") and release.number < (8, 0):
        chip = None
    if chip is None:
        raise AtcError(
            message("EE1011", value=name),
            message("E19999", reason="SetRTSocVersion failed"),
        )
    return chip
