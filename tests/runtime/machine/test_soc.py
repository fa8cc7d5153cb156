"""Names of chips: exact ones pass, near ones are corrected, families are refused."""

from __future__ import annotations

import re

import pytest

from runtime.errors import ConfigError
from runtime.machine.soc import (
    FAMILIES,
    FP16_CUBE_FAMILIES,
    as_atc_spells,
    is_old_generation,
    soc_of,
)

# By hand from hicann/runtime 681ef7610, src/platform/platform_config/**/*.ini: Short_SoC_version
# and NpuArch, then whether Intrinsic_mmad lists h322f32 (HF32) and f322f32 (fp32): all or none.
# torch_npu's NpuVariables.h has 310P2 and 310P4 beside these.
PLATFORMS = {
    "Ascend031": ("Ascend031", 3004, True),
    "Ascend310B1": ("Ascend310B", 3002, True),
    "Ascend310B4": ("Ascend310B", 3002, True),
    "Ascend310P2": ("Ascend310P", 2002, False),
    "Ascend310P3": ("Ascend310P", 2002, False),
    "Ascend350_354f": ("Ascend350", 3510, True),
    "Ascend350_355e": ("Ascend350", 3510, True),
    "Ascend910A": ("Ascend910", 1001, False),
    "Ascend910B": ("Ascend910", 1001, False),
    "Ascend910ProA": ("Ascend910", 1001, False),
    "Ascend910B1": ("Ascend910B", 2201, True),
    "Ascend910B2C": ("Ascend910B", 2201, True),
    "Ascend910B3": ("Ascend910B", 2201, True),
    "Ascend910B4-1": ("Ascend910B", 2201, True),
    "Ascend910_9362": ("Ascend910_93", 2201, True),
    "Ascend910_9392": ("Ascend910_93", 2201, True),
    "Ascend950DT_950x": ("Ascend950", 3510, True),
    "Ascend950DT_95A2": ("Ascend950", 3510, True),
    "Ascend950PR_957bx": ("Ascend950", 3510, True),
}


@pytest.mark.parametrize("name", [name for _, names in FAMILIES.values() for name in names])
def test_every_published_name_is_accepted(name: str) -> None:
    soc = soc_of(name)

    assert (soc.name, soc.as_option, soc.slice, soc.is_known) == (name, name, "", True)


@pytest.mark.parametrize("name", sorted(PLATFORMS))
def test_a_chip_is_what_its_platform_file_makes_it(name: str) -> None:
    """Family, architecture, and what its cube unit makes of fp32."""
    soc = soc_of(name)

    assert (soc.family, soc.arch, soc.runs_hf32) == PLATFORMS[name]
    assert soc.runs_hf32 != (soc.family in FP16_CUBE_FAMILIES)


def test_the_old_910b_is_told_from_the_new() -> None:
    assert is_old_generation("Ascend910B")
    assert not is_old_generation("Ascend910B1")


@pytest.mark.parametrize(
    ("name", "chip"),
    [
        # names of templates: hicann/driver, src/sdk_driver/vascend/dvt.c
        ("Ascend310Pvir01", "Ascend310P3"),
        ("Ascend310Pvir04_4c_dvpp", "Ascend310P3"),
        ("Ascend310P1vir02_1c", "Ascend310P1"),
        ("Ascend310P3Vir08", "Ascend310P3"),
        ("Ascend910Avir16", "Ascend910A"),
        ("Ascend910B2Cvir12_4c_32g_m", "Ascend910B2C"),
        ("Ascend910B4-1vir10_3c_16g_nm", "Ascend910B4-1"),
        ("Ascend910_9391vir24_6c_64g", "Ascend910_9391"),
        ("Ascend950DT_9572vir07_2c_30g", "Ascend950DT_9572"),
        ("Ascend910B3vir99_not_yet_known", "Ascend910B3"),
    ],
)
def test_a_slice_is_read_by_its_kind(name: str, chip: str) -> None:
    """Its chip is the whole one's; its own name is kept, and leads back to it."""
    soc = soc_of(name)

    assert (soc.name, soc.slice) == (chip, name.removeprefix("Ascend"))
    assert soc.is_known
    assert soc_of(soc.as_option) == soc


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("910B3", "Did you mean Ascend910B3"),
        ("ascend910b3", "Did you mean Ascend910B3"),
        ("Ascend310P", "choose one of Ascend310P1, Ascend310P2, Ascend310P3"),
        ("Ascend910", "an Atlas A3's is Ascend910_"),
        ("Ascend950PR", "add the NPU Name"),
        ("Ascend950", "for example Ascend950PR_9579"),
        ("Ascend910_9361", "Ascend910_9362"),
        ("Ascend 310P3", "Did you mean Ascend310P3"),
        ("H200", "npu-smi info"),
        ("", "npu-smi info"),
        ("=", "npu-smi info"),
        ("Ascend910B3\n", "Ascend910B3"),
        # as npu-smi prints slices
        ("910B3vir05_1c_16g", "Did you mean Ascend910B3vir05_1c_16g"),
        # of which chip is not told
        ("Ascend910Bvir06", "choose one of Ascend910B1vir06"),
        ("Ascend910Bvir06", "a slice of the old Ascend910B is =Ascend910Bvir06"),
        ("Ascend910vir02", "Ascend910Avir02, =Ascend910Bvir02, Ascend910PremiumAvir02"),
        ("Ascend310Bvir01", "choose one of Ascend310B1vir01"),
        # other markets' names [V: hicann/driver dcmi_inner_info_get.c, ORIENT_CH]
        ("A2G3", "Did you mean Ascend910B3 (A2G3 is what some drivers print for Ascend910B3)"),
        ("ascenda2g4-1", "Did you mean Ascend910B4-1 (a2g4-1 is what"),
        ("A2G2Cvir12_3c_32g", "Did you mean Ascend910B2Cvir12_3c_32g (A2G2Cvir12_3c_32g is"),
        ("AscendI2", "Ascend310P7 (I2 is what some drivers print for Ascend310P)"),
        ("I2vir04_3c", "Did you mean Ascend310Pvir04_3c (I2vir04_3c is what"),
        # the common name of A3's chip [V: Ascend/pytorch FormatCastKernelNpu.cpp:34 to 41]
        (
            "Ascend910C",
            "910C is the common name of Atlas A3's chip, whose exact name is Ascend910_93",
        ),
        ("Ascend910Cvir06_1c_16g", "common name of Atlas A3's chip"),
        ("Ascend910C", "literally as =Ascend910C"),
        # chips that are named by their form, in other letters
        ("Ascend950pr_9579", "Did you mean Ascend950PR_9579"),
        ("ASCEND350_354F", "Did you mean Ascend350_354F"),
        ("ascend950pr_9579vir08_3c_30g", "Did you mean Ascend950PR_9579vir08_3c_30g"),
        ("Ascend350", "for example Ascend350_354f"),
        ("ascend950dt", "for example Ascend950DT_95A2"),
        ("Ascend950PRvir08_3c_30g", "for example Ascend950PR_9579vir08_3c_30g"),
        # "auto" is no name
        ("=auto", "Write --soc_version auto"),
        ("Auto", "Write --soc_version auto"),
        ("=NAME", "npu-smi info"),
        # a newer chip may still be meant
        ("Ascend910B9", "Did you mean Ascend910B"),
        ("Ascend910B9", "literally as =Ascend910B9"),
        ("Ascend777X", "literally as =Ascend777X"),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_one(name: str, advice: str) -> None:
    with pytest.raises(ConfigError, match="exact name") as caught:
        soc_of(name)
    assert advice in str(caught.value)


TEMPLATES = ("", "vir02", "vir05_1c_16g", "Vir08")
STEMS = (*FAMILIES, "Ascend350", "Ascend950", "Ascend950DT", "Ascend950PR")
SLIPS = [f"{stem}{template}" for stem in STEMS for template in TEMPLATES]
SLIPS += [slip.lower() for slip in SLIPS] + [slip.removeprefix("Ascend") for slip in SLIPS]
SLIPS += [f"{market}{template}" for market in ("I2", "A2G3", "A2G9") for template in TEMPLATES]
SLIPS += ["Ascend910B9", "Ascend910Bxvir02", "Ascend910ProC", "ascend910_9393vir06", "310P9vir01"]


@pytest.mark.parametrize("slip", sorted({*SLIPS}))
def test_every_name_that_is_offered_is_taken(slip: str) -> None:
    """With its equals sign, where it needs one: an advice that is refused again costs a walk."""
    try:
        soc_of(slip)
    except ConfigError as error:
        told = re.sub(r"^.* is a family:|some drivers print for \S+", "", error.action)
    else:
        return
    offered = re.findall(r"=?Ascend\d[\w-]+", told.replace("Ascend910_ and", ""))
    if "old Ascend910B is" in told:
        offered.remove("Ascend910B")
    assert offered or "npu-smi info" in told
    for name in offered:
        assert soc_of(name).name


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        ("910B3", "Ascend910B3"),
        ("Ascend910", "Ascend910"),
        ("A2G4-1", "Ascend910B4-1"),
        ("A2G", "AscendA2G"),  # not the old Ascend910B
        ("I2", "Ascend310P"),
        ("I2vir02_1c", "Ascend310Pvir02_1c"),
        ("I20", "AscendI20"),
        ("", "Ascend"),
    ],
)
def test_a_printed_name_is_spelt_as_atc_does(printed: str, name: str) -> None:
    assert as_atc_spells(printed) == name


@pytest.mark.parametrize(
    ("name", "chip", "part"),
    [
        ("=Ascend910B9", "Ascend910B9", ""),
        ("=Ascend910B9vir01", "Ascend910B9", "910B9vir01"),
        ("=KirinX90", "KirinX90", ""),
        ("=Ascend310P", "Ascend310P", ""),
        ("=Ascend910C", "Ascend910C", ""),
        ("=Ascend910Bvir02", "Ascend910B", "910Bvir02"),
    ],
)
def test_a_name_after_an_equals_sign_is_taken_literally(name: str, chip: str, part: str) -> None:
    """The way on for a chip that is newer than the table; nothing is known of it."""
    soc = soc_of(name)

    assert (soc.name, soc.slice, soc.family, soc.arch) == (chip, part, "", 0)
    assert not soc.is_known
    assert not soc.runs_hf32
    assert soc_of(soc.as_option) == soc


def test_a_known_chip_needs_no_equals_sign() -> None:
    assert soc_of("=Ascend910B3") == soc_of("Ascend910B3")


@pytest.mark.parametrize("name", ["Ascend310P9", "Ascend910_9373", "Ascend610"])
def test_a_printed_name_passes_where_it_could_be_one(name: str) -> None:
    """CANN and its driver name chips that exist."""
    assert soc_of(name, printed=True).name == name


@pytest.mark.parametrize("name", ["Ascend310P", "Ascend910", "Ascend950PR", "Ascend910vir02", ""])
def test_a_printed_family_is_still_none_of_its_chips(name: str) -> None:
    """A conversion for it would fail, or be another chip's."""
    with pytest.raises(ConfigError):
        soc_of(name, printed=True)
