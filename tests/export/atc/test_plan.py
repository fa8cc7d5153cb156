"""The chip that a conversion is planned for: found, sliced, or newer than the table of chips."""

from __future__ import annotations

import os

import pytest
from builders import ROOT

from export.atc.options import AtcTable
from export.atc.plan import plan_om
from runtime.errors import ConfigError


def test_the_slice_of_this_machine_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """ATC is given the whole chip's name, and has to be told that a slice will run it."""
    monkeypatch.setenv("PATH", f"{ROOT / 'tests/cann/bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CANNSIM_SOC", "Ascend310Pvir02_1c")
    monkeypatch.setenv("CANNSIM_DEVICES", "2")
    soc = plan_om(AtcTable(soc_version="auto"), "auto").soc

    assert soc is not None
    assert (soc.name, soc.slice) == ("Ascend310P3", "310Pvir02_1c")


def test_a_slice_may_be_named() -> None:
    soc = plan_om(AtcTable(soc_version="Ascend910B4-1vir05_1c_16g"), "auto").soc

    assert soc is not None
    assert (soc.name, soc.slice) == ("Ascend910B4-1", "910B4-1vir05_1c_16g")


def test_a_newer_chip_is_planned_for_with_a_warning() -> None:
    """Only where it is asked for in so many words."""
    plan = plan_om(AtcTable(soc_version="=Ascend910B9"), "auto")

    assert plan.soc is not None
    assert plan.soc.name == "Ascend910B9"
    assert any("Ascend910B9 is not in this version's table" in one for one in plan.warnings)
    with pytest.raises(ConfigError, match="literally as =Ascend910B9"):
        plan_om(AtcTable(soc_version="Ascend910B9"), "auto")


@pytest.mark.parametrize(
    ("soc", "passed_on", "warned"),
    [
        ("Ascend310Pvir01", ("--virtual_type=0",), True),
        ("Ascend310Pvir01", ("--virtual-type", "0"), True),
        ("Ascend310Pvir01", ("--virtual=0",), True),  # a beginning of the name is the name
        ("Ascend310Pvir01", ("--virtual_type=1",), False),
        ("Ascend310Pvir01", ("--log=error",), False),
        ("Ascend310Pvir01", (), False),
        ("Ascend310P3", ("--virtual_type=0",), False),
    ],
)
def test_a_slices_model_for_whole_chips_is_warned_of(
    soc: str, passed_on: tuple[str, ...], *, warned: bool
) -> None:
    """It converts, and fails on the box with a code that does not tell why."""
    plan = plan_om(AtcTable(soc_version=soc, passed_on=passed_on), "auto")
    assert any("507009" in one for one in plan.warnings) is warned
