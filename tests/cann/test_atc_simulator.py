"""What the product's tests lean on of the simulated atc."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import ROOT
from cann import graphs
from cann.atc_driver import conversion, description, run

AIPP = """
aipp_op {
    related_input_rank: 0  # the only input
    aipp_mode: static
    input_format: RGB888_U8
    src_image_size_w: 8
    rbuv_swap_switch: true
    mean_chn_0: 127
    min_chn_0: 0.5
    var_reci_chn_0: 0.00784313725
}
"""
GEARS = {"input_shape": "image:-1,3,8,8", "dynamic_batch_size": "1,2"}
FULL = "[ByOpType]\nConv2D=enable_float_32_execution\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model of symbolic batch."""
    monkeypatch.chdir(tmp_path)
    graphs.save(tmp_path, graphs.conv(dims=("N", 3, 8, 8)))
    return tmp_path


def convert(**options: str) -> tuple[int, str]:
    """Exit status and output of a conversion with batch 1; texts of several lines become files."""
    for name, text in options.items():
        if "\n" in text:
            Path(name).write_text(text)
            options[name] = name
    return run(*conversion(**{"input_shape": "image:1,3,8,8", **options}))


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"model": "gone.onnx"}, "E13005"),
        ({"output": "a b"}, "E10001"),
        ({"soc_version": "Ascend910B3vir05_1c_16g"}, "EE1011"),
        ({"input_shape": ""}, "E10001"),
        ({"input_shape": "other:1,3,8,8"}, "E10016"),
        ({"input_shape": "image:1,3,8"}, "E19999"),  # a convolution takes 4 dims
        ({"input_shape": "image:-1,3,8,8"}, "E10001"),
        ({"insert_op_conf": AIPP.replace("rbuv_swap_switch", "swap_rb")}, "E10001"),
        ({"insert_op_conf": AIPP.replace("size_w: 8", "size_w: 16")}, "E10001"),
        ({"insert_op_conf": AIPP, "input_fp16_nodes": "image"}, "E10034"),
        ({"input_fp16_nodes": "gone"}, "E10016"),
        ({"shape": "image:1,3,8,8"}, ""),
    ],
    ids=str,
)
def test_a_wrong_option_leaves_no_file(options: dict[str, str], code: str, folder: Path) -> None:
    status, out = convert(**options)
    assert (status, f"({code})" in out) == (255, bool(code)), out
    assert not list(folder.glob("*.om"))


@pytest.mark.parametrize(
    ("soc", "options", "arithmetic", "kept"),
    [
        ("Ascend910B3", {}, "fp16", []),
        ("Ascend910B3", {"precision_mode_v2": "origin"}, "hf32", []),
        ("Ascend910A", {"precision_mode": "must_keep_origin_dtype"}, "fp32", []),
        ("Ascend310P3", {"precision_mode_v2": "cube_fp16in_fp32out"}, "mixed", []),
        ("Ascend910B3", {"precision_mode_v2": "origin", "op_precision_mode": FULL}, "fp32", []),
        ("Ascend910B3", {"keep_dtype": "conv\ngone\n"}, "fp16", ["conv"]),
        ("Ascend910B3", {"keep_dtype": "OpType::Conv2D\n"}, "fp16", ["conv"]),
    ],
    ids=str,
)
def test_the_mode_and_its_files_decide_the_arithmetic(
    folder: Path, soc: str, options: dict[str, str], arithmetic: str, kept: list[str]
) -> None:
    assert convert(soc_version=soc, **options)[0] == 0
    told = description(folder / "net.om")
    assert (told["precision"], told["keep_fp32"]) == (arithmetic, kept)


def test_inputs_and_outputs_are_as_the_options_have_them(folder: Path) -> None:
    """Gears, bytes of AIPP and half-precision outputs together; the largest gear counts."""
    status, out = convert(**GEARS, insert_op_conf=AIPP, output_type="FP16")
    assert status == 0, out
    told = description(folder / "net.om")
    assert told["inputs"] == [
        {"name": "image", "dims": [-1, 8, 8, 3], "dtype": 4, "format": 1},
        {"name": "ascend_mbatch_shape_data", "dims": [1], "dtype": 3, "format": 2},
    ]
    assert told["outputs"] == [{"name": "relu:0:y", "dims": [2, 4, 8, 8], "dtype": 1, "format": 2}]
    assert told["gears"] == [1, 2]
    assert (told["aipp"]["mean"], told["aipp"]["rbuv_swap"]) == ([127, 0, 0], True)
    # half precision: 514 * 2^-16, a little beside 1 / 127.5
    assert told["aipp"]["var_reci"] == [514 * 2.0**-16, 1.0, 1.0]


def test_nothing_outside_the_tests_knows_the_simulator() -> None:
    """No source names it, or the variables that steer it."""
    for room in ("runtime", "parity", "export", "scripts"):
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text()
            assert "CANNSIM" not in text, path
            assert "atc_simulator" not in text, path
