"""What an [atc] table and its command line may ask for, before anything is exported."""

from __future__ import annotations

from typing import Any

import pytest

from export.atc.options import AtcTable, check_atc, check_for_chip
from export.atc.passed_on import KNOWN, REFUSED, passed_on, unknown_options
from export.atc.plan import plan_om
from export.atc.to_om import atc_arguments, conversions
from runtime.errors import ConfigError
from runtime.machine.soc import soc_of
from runtime.model.spec import InputSpec

WRONG: list[tuple[dict[str, object], str]] = [
    ({"precision_mode": "force_fp16", "precision_mode_v2": "fp16"}, "one of the two"),
    ({"precision_mode": "fp16"}, "precision_mode: expected one of"),
    ({"precision_mode_v2": "orgin"}, "Did you mean origin"),
    ({"precision_mode_v2": "cube_hif8"}, "hif8"),
    ({"soc_version": "Ascend310P3", "precision_mode_v2": "mixed_bfloat16"}, "bf16"),
    ({"soc_version": "910B3"}, "Did you mean Ascend910B3"),
    ({"batch_sizes": (1,), "dynamic_batch_size": "1,2"}, "one of the two"),
    ({"batch_sizes": (0,)}, "1 or more"),
    ({"batch_sizes": (2, 2)}, "different batches"),
    ({"dynamic_batch_size": "4"}, "2 or more"),
    ({"dynamic_batch_size": "1,1"}, "2 or more different"),
    ({"dynamic_batch_size": "0,1"}, "batches of 1 or more"),
    ({"dynamic_batch_size": "1,x"}, "for example 1,2,4,8"),
    ({"dynamic_batch_size": "1,²"}, "for example 1,2,4,8"),
    ({"dynamic_batch_size": ",".join(map(str, range(1, 102)))}, "at most 100 gears"),
    ({"modify_mixlist": __file__}, "mixed precision mode"),
    ({"keep_dtype": "no/such/file"}, "keep_dtype: expected a file"),
    ({"customize_dtypes": "no/such/file"}, "customize_dtypes: expected a file"),
    ({"op_precision_mode": "no/such/file"}, "op_precision_mode: expected a file"),
    ({"modify_mixlist": "no", "precision_mode_v2": "mixed_float16"}, "mixlist: expected a file"),
    ({"fusion_switch_file": "/no/such"}, "fusion_switch_file: expected a file"),
    ({"optypelist_for_implmode": "Gelu"}, "op_select_implmode beside it"),
    ({"op_select_implmode": "fast"}, "high_precision"),
    ({"output_type": "INT8"}, "FP32 or FP16"),
    ({"timeout_s": 0.9}, "1 s to a week"),
    ({"timeout_s": 604_801.0}, "1 s to a week"),
    ({"precision_mode_v2": "origin", "op_select_implmode": "high_precision"}, "overrides it"),
    ({"ignore_preflight": ("opsett",)}, "Did you mean opset"),
    ({"passed_on": ("model.onnx",)}, "--name=value"),
    ({"passed_on": ("--log",)}, "a value"),
    ({"passed_on": ("--model=x",)}, "always the bundle's model.onnx"),
    ({"passed_on": ("--precision-mode=fp16",)}, "before the --"),
    ({"passed_on": ("--fusion_switch_file=x.cfg",)}, "before the --"),
    ({"passed_on": ("--fram", "3")}, "the beginning of framework"),
]


@pytest.mark.parametrize(("table", "says"), WRONG, ids=[str(i) for i in range(len(WRONG))])
@pytest.mark.usefixtures("cann")
def test_what_cannot_be_converted_is_refused_before(table: dict[str, object], says: str) -> None:
    """By one line, before anything is exported."""
    made = AtcTable(**{"soc_version": "Ascend910B3", **table})  # type: ignore[arg-type]  # wrong on purpose

    def check() -> None:
        check_atc(made, "atc")
        passed_on(made.passed_on)
        plan_om(made, "require")

    with pytest.raises(ConfigError, match=says):
        check()


@pytest.mark.parametrize(
    "table",
    [
        {"timeout_s": 1.0},
        {"timeout_s": 604_800.0},
        {"output_type": "FP16"},
        {"output_type": "FP32"},
    ],
    ids=str,
)
def test_what_is_at_the_limit_is_taken(table: dict[str, Any]) -> None:
    """Two gears, too: the fewest; they are read in their order."""
    made = AtcTable(dynamic_batch_size="16,2", **table)
    check_atc(made, "atc")
    assert made.gears == (2, 16)


def test_a_precision_file_of_the_users_own_overrides_too() -> None:
    table = AtcTable(op_precision_mode="own.ini", op_select_implmode="high_precision")
    with pytest.raises(ConfigError, match="a file of yours"):
        check_for_chip(table, soc_of("Ascend910B3"), "atc")


def gears(count: int) -> str:
    return ",".join(map(str, range(count, 0, -1)))


@pytest.mark.parametrize(
    ("soc", "most"), [("Ascend910B3", 100), ("Ascend310P3", 100), ("Ascend950PR_9599", 256)]
)
def test_the_most_gears_are_allowed_and_one_more_is_not(soc: str, most: int) -> None:
    """The limit itself, as documented for each family."""
    table = AtcTable(soc_version=soc, dynamic_batch_size=gears(most))
    check_atc(table, "atc")
    assert check_for_chip(table, soc_of(soc), "atc") == ()
    with pytest.raises(ConfigError, match=f"at most {most} gears, got {most + 1}"):
        check_for_chip(AtcTable(dynamic_batch_size=gears(most + 1)), soc_of(soc), "atc")


@pytest.mark.parametrize(
    ("soc", "table", "doubted"),
    [
        ("Ascend310P3", {"precision_mode_v2": "origin"}, True),
        ("Ascend910A", {"precision_mode": "must_keep_origin_dtype"}, True),
        ("Ascend310", {"precision_mode_v2": "origin"}, True),
        ("Ascend310B4", {"precision_mode_v2": "origin"}, False),
        ("Ascend910B3", {"precision_mode_v2": "origin"}, False),
        ("Ascend310P3", {"precision_mode_v2": "fp16"}, False),
    ],
)
def test_fp32_on_an_fp16_cube_is_a_warning(
    soc: str, table: dict[str, Any], *, doubted: bool
) -> None:
    """No public source settles it, so nothing is refused; the warning names mode and chip."""
    plan = plan_om(AtcTable(soc_version=soc, **table), "auto")
    found = [one for one in plan.warnings if "fp32 convolutions may be missing" in one]
    assert bool(found) is doubted
    assert all(soc in one and next(iter(table.values())) in one for one in found)


def test_a_large_batch_is_a_warning() -> None:
    for table in (AtcTable(batch_sizes=(2, 2049)), AtcTable(dynamic_batch_size="2049,2")):
        (warning,) = check_for_chip(table, soc_of("Ascend910B3"), "atc")
        assert "batch 2049" in warning
    assert check_for_chip(AtcTable(batch_sizes=(2048,)), soc_of("Ascend910B3"), "atc") == ()


@pytest.mark.parametrize(
    "table", [{"precision_mode_v2": "cube_hif8"}, {"dynamic_batch_size": gears(101)}], ids=str
)
def test_nothing_is_refused_for_a_chip_that_is_not_known(table: dict[str, Any]) -> None:
    """Limits are known of the chips in the table alone."""
    assert check_for_chip(AtcTable(**table), soc_of("=Ascend777Q"), "atc") == ()


def arguments(*tokens: str, soc: str = "Ascend910B3", **table: Any) -> list[str]:
    made = AtcTable(passed_on=tokens, **table)
    return atc_arguments(conversions(made, soc_of(soc), InputSpec())[0])


def test_what_follows_the_dashes_goes_to_atc_as_it_is() -> None:
    """In any of the grammar's spellings; values are ATC's to judge; the last of two counts."""
    assert arguments("--log=error", "-is-weight-clip", "0")[-2:] == [
        "--log=error",
        "--is_weight_clip=0",
    ]
    assert arguments("--log=loud")[-1] == "--log=loud"
    assert arguments("--log=info", "--log=error")[-1] == "--log=error"
    assert arguments("--op_debug_config=a=b;c")[-1] == "--op_debug_config=a=b;c"
    assert arguments("--debug_dir=/data/x", "--auto_tune_mode=RL")[-2:] == [
        "--debug_dir=/data/x",
        "--auto_tune_mode=RL",
    ]


def test_only_what_the_project_sets_is_kept_from_atc() -> None:
    """Each with what to do instead; nothing that a user may choose is among them."""
    ours = {argument[2:].partition("=")[0] for argument in arguments(dynamic_batch_size="1,2")}
    assert ours - set(AtcTable.__struct_fields__) <= set(REFUSED)
    assert not KNOWN & set(REFUSED)
    assert not KNOWN & set(AtcTable.__struct_fields__)


def test_an_unknown_option_is_passed_with_a_warning() -> None:
    assert arguments("--logg=error", "--new_thing", "7")[-2:] == ["--logg=error", "--new_thing=7"]
    warnings = unknown_options(("--logg=error", "--new_thing", "7", "--log=error"))
    assert [("--logg" in one, "--new_thing" in one) for one in warnings] == [
        (True, False),
        (False, True),
    ]
    assert "did you mean --log?" in warnings[0]
    plan = plan_om(AtcTable(soc_version="Ascend910B3", passed_on=("--new_thing=7",)), "auto")
    assert any("--new_thing" in one for one in plan.warnings)


def test_a_slice_is_converted_for_its_whole_chip_and_says_so() -> None:
    """soc_version is the whole chip's; --virtual_type unless it is given after the dashes."""
    sliced = arguments(soc="Ascend910B3vir05_1c_16g")
    assert "--soc_version=Ascend910B3" in sliced
    assert "--virtual_type=1" in sliced
    assert "--virtual_type=1" not in arguments()
    given = arguments("--virtual_type=0", soc="Ascend910B3vir05_1c_16g")
    assert [one for one in given if "virtual" in one] == ["--virtual_type=0"]


def test_the_file_of_a_slice_is_named_after_the_chip() -> None:
    table = AtcTable(soc_version="Ascend310Pvir01")
    (one,) = conversions(table, soc_of("Ascend310Pvir01"), InputSpec())
    assert one.stem == f"model_bs1_{one.soc.name}"
    assert "vir" not in one.stem
