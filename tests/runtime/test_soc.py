"""Names of chips: exact ones pass, near ones are corrected, families are refused."""

from __future__ import annotations

import pytest

from runtime.errors import ConfigError
from runtime.soc import FAMILIES, is_old_generation, soc_of


@pytest.mark.parametrize("name", [name for _, names in FAMILIES.values() for name in names])
def test_every_published_name_is_accepted(name: str) -> None:
    assert soc_of(name).name == name


def test_a_family_knows_what_its_chips_do() -> None:
    assert soc_of("Ascend910_9362").runs_hf32
    assert soc_of("Ascend910B3").arch == soc_of("Ascend910_9362").arch
    assert not soc_of("Ascend310P3").runs_hf32
    assert soc_of("Ascend950PR_9599").family == "Ascend950"
    assert is_old_generation("Ascend910B")
    assert soc_of("Ascend910B").family == "Ascend910"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("910B3", "Did you mean Ascend910B3"),
        ("ascend910b3", "Did you mean Ascend910B3"),
        ("AscendAscend910B3", "Ascend910B3"),
        ("Ascend310P", "choose one of Ascend310P1, Ascend310P3"),
        ("Ascend910_93", "Ascend910_9362"),
        ("Ascend910_9361", "Ascend910_9362"),
        ("Ascend 310P3", "Did you mean Ascend310P3"),
        ("H200", "npu-smi info"),
        ("", "npu-smi info"),
        ("Ascend910B3\n", "Ascend910B3"),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_one(name: str, advice: str) -> None:
    with pytest.raises(ConfigError, match="exact name") as caught:
        soc_of(name)
    assert advice in str(caught.value)
