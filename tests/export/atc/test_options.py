"""What an [atc] table and its command line may ask for, before anything is exported."""

from __future__ import annotations

from typing import Any

import pytest
from atc_runs import conversion

from export.atc.options import RESERVED, AtcTable, check_atc, check_for_chip
from export.atc.plan import plan_om
from export.atc.precision import MODES
from export.atc.to_om import atc_arguments
from runtime.errors import ConfigError
from runtime.machine.soc import soc_of

WRONG: list[tuple[dict[str, object], str]] = [
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
    ({"keep_dtype": "no/such/file"}, "keep_dtype: expected a file"),
    ({"customize_dtypes": "no/such/file"}, "customize_dtypes: expected a file"),
    ({"op_precision_mode": "no/such/file"}, "op_precision_mode: expected a file"),
    ({"modify_mixlist": "no", "precision_mode_v2": "mixed_float16"}, "mixlist: expected a file"),
    ({"fusion_switch_file": "/no/such"}, "fusion_switch_file: expected a file"),
    ({"output_type": "INT8"}, "one of FP32, FP16"),
    ({"timeout_s": 0.9}, "1 s to a week"),
    ({"timeout_s": 604_801.0}, "1 s to a week"),
    ({"precision_mode_v2": "origin", "op_select_implmode": "high_precision"}, "overrides it"),
    ({"passed_on": ("model.onnx",)}, "--name=value"),
    ({"passed_on": ("--log",)}, "a value"),
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
        plan_om(made, "require")

    with pytest.raises(ConfigError, match=says):
        check()


# hicann/ge api/atc/cmd_flag_info.cc
PUBLISHED = {
    "precision_mode": "allow_fp32_to_bf16 allow_fp32_to_fp16 allow_mix_precision"
    " allow_mix_precision_bf16 allow_mix_precision_fp16 cube_fp16in_fp32out force_fp16 force_fp32"
    " must_keep_origin_dtype",
    "precision_mode_v2": "cube_fp16in_fp32out cube_hif8 fp16 mixed_bfloat16 mixed_float16"
    " mixed_hif8 origin",
}


@pytest.mark.parametrize("option", MODES)
def test_the_modes_are_those_that_atc_knows(option: str) -> None:
    assert set(MODES[option]) == set(PUBLISHED[option].split())


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


@pytest.mark.parametrize(
    ("soc", "table", "doubted"),
    [
        ("Ascend310P3", {"precision_mode_v2": "origin"}, True),
        ("Ascend910A", {"precision_mode": "must_keep_origin_dtype"}, True),
        ("Ascend310", {"precision_mode_v2": "origin"}, True),
        ("Ascend310B4", {"precision_mode_v2": "origin"}, False),
        ("Ascend910B3", {"precision_mode_v2": "origin"}, False),
        ("Ascend310P3", {"precision_mode_v2": "fp16"}, False),
        # what is refused of other chips is not refused of one that is in no table
        ("=Ascend777Q", {"precision_mode_v2": "cube_hif8"}, False),
    ],
)
def test_fp32_on_an_fp16_cube_is_a_warning(
    soc: str, table: dict[str, Any], *, doubted: bool
) -> None:
    """No public source settles it, so nothing is refused; the warning names mode and chip."""
    found = check_for_chip(AtcTable(**table), soc_of(soc), "atc")
    assert bool(found) is doubted
    assert all(soc in one and next(iter(table.values())) in one for one in found)


def arguments(*tokens: str, soc: str = "Ascend910B3", **table: Any) -> list[str]:
    return atc_arguments(conversion(soc, passed_on=tokens, **table))


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


def test_what_this_project_sets_is_reserved() -> None:
    """Each with what to do instead; found before the export, also where there is no atc."""
    with pytest.raises(ConfigError, match="always the bundle's model.onnx"):
        check_atc(AtcTable(passed_on=("--model=x",)), "atc")
    ours = {argument[2:].partition("=")[0] for argument in arguments(dynamic_batch_size="1,2")}
    assert ours - set(AtcTable.__struct_fields__) <= set(RESERVED)


def test_a_slice_is_converted_for_its_whole_chip() -> None:
    """soc_version and the file's name are the chip's; --virtual_type unless after the dashes."""
    sliced = arguments(soc="Ascend910B3vir05_1c_16g")
    assert {"--soc_version=Ascend910B3", "--output=model_bs1_Ascend910B3"} < set(sliced)
    assert "--virtual_type=1" in sliced
    assert "--virtual_type=1" not in arguments()
    given = arguments("--virtual_type=0", soc="Ascend910B3vir05_1c_16g")
    assert [one for one in given if "virtual" in one] == ["--virtual_type=0"]
