"""Whether an export converts, for which chip and with which atc: found before anything slow."""

from __future__ import annotations

from pathlib import Path

import pytest
from cann.plugin import Cann

from export.atc.options import AtcTable
from export.atc.plan import OmPlan, plan_om
from runtime.errors import BackendUnavailable, ConfigError


def test_require_without_atc_is_unavailable() -> None:
    with pytest.raises(BackendUnavailable, match="set_env.sh"):
        plan_om(AtcTable(soc_version="Ascend910B3"), "require")
    with pytest.raises(ConfigError, match="exact chip"):
        plan_om(AtcTable(), "require")


@pytest.mark.parametrize(
    ("soc", "name", "sliced"),
    [
        ("Ascend910B3", "Ascend910B3", ""),
        ("Ascend310P3", "Ascend310P3", ""),
        ("Ascend910_9362", "Ascend910_9362", ""),
        # ATC is given the whole chip's name
        ("Ascend310Pvir02_1c", "Ascend310P3", "310Pvir02_1c"),
    ],
)
def test_auto_is_the_chip_or_slice_of_this_machine(
    cann: Cann, soc: str, name: str, sliced: str
) -> None:
    cann.set_soc(soc, devices=2)
    found = plan_om(AtcTable(soc_version="auto"), "require").soc
    assert found is not None
    assert (found.name, found.slice) == (name, sliced)


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


def test_what_a_chip_may_lack_is_warned_of() -> None:
    plan = plan_om(AtcTable(soc_version="Ascend910B", precision_mode_v2="origin"), "auto")
    assert any("fp32 convolutions may be missing" in one for one in plan.warnings)
    assert any("the old generation's name" in one for one in plan.warnings)


def test_another_cann_or_ops_package_is_another_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An .om that another one made is made again; without atc, whatever made it stays."""
    monkeypatch.delenv("ASCEND_OPP_PATH", raising=False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "opp").mkdir()
    atc = tmp_path / "bin" / "atc"
    plan = OmPlan(table=AtcTable(), soc=None, atc=atc, why_not="")
    keys = [OmPlan(table=AtcTable(), soc=None, atc=None, why_not="").tool_key()]
    for changed in (atc, tmp_path / "version.cfg", tmp_path / "opp" / "version.info"):
        changed.write_text("8.0")
        monkeypatch.setenv("ASCEND_OPP_PATH", str(tmp_path / "opp"))
        keys.append(plan.tool_key())
    assert keys[0] == ""
    assert len(set(keys)) == len(keys)


def test_an_older_atc_is_found_before_the_export(cann: Cann) -> None:
    """Whose help exits 1: with an option that it lists the plan stands."""
    cann.set_version("6.0")
    with pytest.raises(ConfigError, match="precision_mode_v2.*Take precision_mode = force_fp16"):
        plan_om(AtcTable(soc_version="Ascend310P3", precision_mode_v2="fp16"), "require")
    table = AtcTable(soc_version="Ascend310P3", output_type="FP16")
    plan = plan_om(table, "require")
    assert plan.converts
    assert plan.warnings == ()
    cann.set_fault("atc:exit=1")
    plan = plan_om(table, "require")
    assert plan.converts
    assert any("--output_type" in warning for warning in plan.warnings)
