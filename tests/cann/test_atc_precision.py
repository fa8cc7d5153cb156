"""The simulated atc: precision modes and their files, AIPP."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from cann import graphs
from cann.atc_driver import conversion, description, run
from cann.atc_simulator import aipp
from cann.atc_simulator.messages import AtcError
from cann.atc_simulator.socs import CHIPS
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with model.onnx."""
    for name in ("CANNSIM_CANN", "CANNSIM_FAULT", "CANNSIM_SUFFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    graphs.save(tmp_path, graphs.conv())
    return tmp_path


@pytest.mark.parametrize("soc", sorted(CHIPS))
def test_without_a_mode_every_chip_computes_in_fp16(folder: Path, soc: str) -> None:
    assert run(*conversion(soc_version=soc)).status == 0
    assert description(folder / "net.om")["precision"] == "fp16"


@pytest.mark.parametrize(
    ("soc", "options", "arithmetic"),
    [
        ("Ascend910B3", {"precision_mode": "force_fp16"}, "fp16"),
        ("Ascend910B3", {"precision_mode_v2": "fp16"}, "fp16"),
        ("Ascend910B3", {"precision_mode": "must_keep_origin_dtype"}, "hf32"),
        ("Ascend910B3", {"precision_mode_v2": "origin"}, "hf32"),
        ("Ascend910_9391", {"precision_mode_v2": "origin"}, "hf32"),
        ("Ascend910A", {"precision_mode_v2": "origin"}, "fp32"),
        ("Ascend910B", {"precision_mode_v2": "origin"}, "fp32"),  # the old one
        ("Ascend310B4", {"precision_mode_v2": "origin"}, "hf32"),
        ("Ascend910B3", {"precision_mode": "force_fp32"}, "mixed"),
        ("Ascend310P3", {"precision_mode_v2": "cube_fp16in_fp32out"}, "mixed"),
        ("Ascend310P3", {"precision_mode": "allow_fp32_to_fp16"}, "mixed"),
        ("Ascend310P3", {"precision_mode": "allow_mix_precision"}, "fp16"),
        ("Ascend310P3", {"precision_mode_v2": "mixed_float16"}, "fp16"),
        ("Ascend910B3", {"precision_mode_v2": "mixed_bfloat16"}, "mixed"),
        ("Ascend310B1", {"precision_mode": "allow_fp32_to_bf16"}, "mixed"),
        ("Ascend950PR_957b", {"precision_mode_v2": "mixed_hif8"}, "mixed"),
    ],
    ids=str,
)
def test_a_mode_decides_the_arithmetic(
    folder: Path, soc: str, options: dict[str, str], arithmetic: str
) -> None:
    done = run(*conversion(soc_version=soc, **options))
    assert done.status == 0, done.out
    assert description(folder / "net.om")["precision"] == arithmetic


@pytest.mark.parametrize(
    ("soc", "options", "code"),
    [
        ("Ascend310P3", {"precision_mode_v2": "origin"}, "EZ3002"),
        ("Ascend310", {"precision_mode": "must_keep_origin_dtype"}, "EZ3002"),
        ("Ascend310P3", {"precision_mode_v2": "mixed_bfloat16"}, "E10001"),
        ("Ascend910B", {"precision_mode": "allow_mix_precision_bf16"}, "E10001"),
        ("Ascend910B3", {"precision_mode_v2": "cube_hif8"}, "E10001"),
    ],
    ids=str,
)
def test_chips_lack_some_arithmetic(soc: str, options: dict[str, str], code: str) -> None:
    assert run(*conversion(soc_version=soc, **options)).code == code


FULL_BY_TYPE = "[ByOpType]\nConv2D=enable_float_32_execution\n"


@pytest.mark.parametrize(
    ("text", "arithmetic"),
    [
        (FULL_BY_TYPE, "fp32"),
        ("[ByNodeName]\nconv=enable_float_32_execution\n", "fp32"),
        ("[ByOpType]\nConv2D=enable_hi_float_32_execution\n", "hf32"),
        ("[ByOpType]\nSigmoid=high_precision\n", "hf32"),
        (FULL_BY_TYPE + "[ByNodeName]\nconv=enable_hi_float_32_execution\n", "hf32"),
    ],
)
def test_full_fp32_must_be_asked_for_where_hf32_is_the_default(
    folder: Path, text: str, arithmetic: str
) -> None:
    (folder / "modes.ini").write_text(text)
    done = run(*conversion(precision_mode_v2="origin", op_precision_mode="modes.ini"))

    assert done.status == 0, done.out
    assert description(folder / "net.om")["precision"] == arithmetic


@pytest.mark.parametrize(
    ("text", "arithmetic"),
    [
        ("Conv2D=enable_float_32_execution\n", "fp32"),  # of types, until a section is named
        ("# a remark\n\nConv2D = enable_float_32_execution\n", "fp32"),
        ("[ByOp]\nConv2D=enable_float_32_execution\n", "fp32"),
        ("[ByNodeName]\n[ByType]\nConv2D=enable_float_32_execution\n", "hf32"),
        ("[ByOpType]\nConv2D=fp32\n", "hf32"),
        ("[ByOpType]\nConv2D\n", "hf32"),
    ],
)
def test_op_precision_files_are_read_line_by_line(folder: Path, text: str, arithmetic: str) -> None:
    """What is not understood is passed over: hicann/ge op_impl_mode_config_parser.cc."""
    (folder / "modes.ini").write_text(text)
    done = run(*conversion(precision_mode_v2="origin", op_precision_mode="modes.ini"))
    assert done.status == 0, done.out
    assert description(folder / "net.om")["precision"] == arithmetic


def test_kept_nodes_are_told_and_unknown_ones_passed_over(folder: Path) -> None:
    (folder / "keep.txt").write_text("conv\ngone\n\n")
    done = run(*conversion(keep_dtype="keep.txt"))

    assert done.status == 0
    assert description(folder / "net.om")["keep_fp32"] == ["conv"]
    assert done.warnings == []

    (folder / "keep.txt").write_text("OpType::Conv2D\n")
    assert run(*conversion(keep_dtype="keep.txt")).warnings == []
    assert description(folder / "net.om")["keep_fp32"] == ["conv"]


def resize_graph() -> onnx.ModelProto:
    """A Resize, which the parser expands, before a Relu, which it does not."""
    nodes = [
        onnx.helper.make_node("Resize", ["image", "", "s"], ["up"], name="up", mode="nearest"),
        onnx.helper.make_node("Relu", ["up"], ["y"], name="relu"),
    ]
    scales = graphs.constant("s", np.array([1, 1, 2, 2], np.float32))
    return graphs.model(nodes, constants=[scales])


@pytest.mark.parametrize(
    ("option", "text", "kept"),
    [
        ("keep_dtype", "up\nrelu\n", ["up", "relu"]),
        ("customize_dtypes", "up::InputDtype:float32,OutputDtype:float32\n", []),
        ("customize_dtypes", "relu::OutputDtype:float\n", ["relu"]),
        (
            "customize_dtypes",
            "OpType::ResizeNearestNeighborV2:InputDtype:float32,OutputDtype:float32\n",
            ["up"],
        ),
    ],
)
def test_an_expanded_node_is_found_by_keep_dtype_alone(
    folder: Path, option: str, text: str, kept: list[str]
) -> None:
    """Its name is gone: hicann/ge parser_utils.cc, format_dtype_setter.cc, keep_dtype_option.cc."""
    graphs.save(folder, resize_graph())
    (folder / "setting.txt").write_text(text)
    done = run(*conversion(**{option: "setting.txt"}))
    assert done.status == 0, done.out
    assert description(folder / "net.om")["keep_fp32"] == kept


def test_keeping_has_no_effect_under_origin(folder: Path) -> None:
    (folder / "keep.txt").write_text("relu\n")
    run(*conversion(keep_dtype="keep.txt", precision_mode_v2="origin"))
    assert description(folder / "net.om")["keep_fp32"] == []


def test_a_convolution_cannot_be_kept_where_the_cube_lacks_fp32(folder: Path) -> None:
    (folder / "keep.txt").write_text("conv\n")
    assert run(*conversion(keep_dtype="keep.txt", soc_version="Ascend310P3")).code == "EZ3002"
    (folder / "keep.txt").write_text("relu\n")
    assert run(*conversion(keep_dtype="keep.txt", soc_version="Ascend310P3")).status == 0


def test_custom_dtypes_win_over_kept_ones(folder: Path) -> None:
    (folder / "keep.txt").write_text("relu\n")
    (folder / "types.txt").write_text(
        "OpType::Conv2D:InputDtype:float32,OutputDtype:float32\n"
        "relu::InputDtype:float16,OutputDtype:float16\n"
    )
    done = run(*conversion(keep_dtype="keep.txt", customize_dtypes="types.txt"))

    assert done.status == 0, done.out
    assert description(folder / "net.om")["keep_fp32"] == ["conv"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("conv:float32", "E20101"),
        ("conv::OutputDtype:float32\n\n", "E20101"),  # a line without anything
        ("conv::InputDtype:fp32,OutputDtype:fp32", "E20003"),
    ],
)
def test_wrong_custom_dtypes_are_refused(folder: Path, text: str, code: str) -> None:
    (folder / "types.txt").write_text(text)
    assert run(*conversion(customize_dtypes="types.txt")).code == code


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"black-list": {"to-add": ["Conv2D"]}, "white-list": {"to-remove": []}}, ""),
        ({"gray-list": {"to-add": ["Relu"]}, "black-list": {"to-add": ["Conv2D"]}}, ""),
        ({"blacklist": {}}, "E21002"),
        ({"black-list": {"add": []}}, "E21002"),
        ({"black-list": {"to-add": "Conv2D"}}, "E21002"),
        ([], "E21002"),
    ],
    ids=str,
)
def test_mixed_lists_are_checked_and_kept(folder: Path, document: object, code: str) -> None:
    (folder / "mix.json").write_text(json.dumps(document))
    done = run(*conversion(precision_mode_v2="mixed_float16", modify_mixlist="mix.json"))

    assert done.code == code, done.out
    if not code:
        assert description(folder / "net.om")["keep_fp32"] == ["conv"]


AIPP = """
aipp_op {
    related_input_rank: 0  # the only input
    aipp_mode: static
    input_format: RGB888_U8
    src_image_size_w: 8
    src_image_size_h: 8
    rbuv_swap_switch: true
    mean_chn_0: 127
    mean_chn_1: 127
    mean_chn_2: 127
    min_chn_0: 0.5
    min_chn_1: 0.5
    min_chn_2: 0.5
    var_reci_chn_0: 0.00784313725
    var_reci_chn_1: 0.00784313725
    var_reci_chn_2: 0.00784313725
}
"""


def test_aipp_makes_the_input_bytes(folder: Path) -> None:
    (folder / "aipp.cfg").write_text(AIPP)
    done = run(*conversion(insert_op_conf="aipp.cfg"))
    assert done.status == 0, done.out

    told = description(folder / "net.om")
    assert told["inputs"] == [{"name": "image", "dims": [1, 8, 8, 3], "dtype": 4, "format": 1}]
    assert told["aipp"]["mean"] == [127, 127, 127]
    assert told["aipp"]["min"] == [0.5, 0.5, 0.5]
    assert told["aipp"]["rbuv_swap"] is True
    # half precision: 514 * 2^-16, a little beside 1 / 127.5
    assert told["aipp"]["var_reci"] == [514 * 2.0**-16] * 3


def test_aipp_goes_with_gears(folder: Path) -> None:
    graphs.save(folder, graphs.conv(dims=("N", 3, 8, 8)))
    (folder / "aipp.cfg").write_text(AIPP)
    options = {"input_shape": "image:-1,3,8,8", "dynamic_batch_size": "1,4"}
    assert run(*conversion(insert_op_conf="aipp.cfg", **options)).status == 0
    inputs = description(folder / "net.om")["inputs"]
    assert [entry["dims"] for entry in inputs] == [[-1, 8, 8, 3], [1]]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("mean_chn_0: 127", "mean_chn_0: 127.5", "E10052"),
        ("mean_chn_0: 127", "mean_chn_0: 256", "E10052"),
        ("mean_chn_0: 127", "mean_chn_0: -1", "E10052"),
        ("mean_chn_0: 127", "mean_chn_0: 127 mean_chn_0: 127", "E10052"),
        ("min_chn_0: 0.5", "min_chn_0: half", "E10052"),
        ("min_chn_0: 0.5", "min_chn_0: 256", "E10052"),
        ("rbuv_swap_switch", "swap_rb", "E10052"),
        ("rbuv_swap_switch: true", "rbuv_swap_switch: yes", "E10052"),
        ("RGB888_U8", "BGR888_U8", "E10052"),
        ("    input_format: RGB888_U8\n", "", "E10052"),
        ("    aipp_mode: static\n", "", "E10052"),
        ("static", "fixed", "E10052"),
        ("related_input_rank: 0", "related_input_rank: 1", "E10052"),
        ("src_image_size_w: 8", "src_image_size_w: 16", "E10052"),
        ("src_image_size_w: 8", "src_image_size_w: 1", "E10052"),
        ("src_image_size_w: 8", "src_image_size_w: 5000", "E10052"),
        ("RGB888_U8", "YUV400_U8", "E10052"),
        ("RGB888_U8", "XRGB8888_U8", "E10055"),
        ("static", "dynamic", "E10052"),
        ("static", "dynamic max_src_image_size: 1000", "E10055"),
        ("aipp_op {", "aipp {", "E10052"),
        ("}", "", "E10052"),
        ("}", "crop: true load_start_pos_w: 4 crop_size_w: 8 }", "E10052"),
        ("}", "padding: true left_padding_size: 33 }", "E10052"),
        ("}", "padding: true left_padding_size: 2 }", "E10052"),
        (AIPP, AIPP + AIPP, "E10052"),
        (AIPP, "", "E10052"),
    ],
)
def test_aipp_files_are_checked(folder: Path, old: str, new: str, code: str) -> None:
    assert old in AIPP
    (folder / "aipp.cfg").write_text(AIPP.replace(old, new, 1))
    done = run(*conversion(insert_op_conf="aipp.cfg"))
    assert done.code == code, done.out


def test_aipp_excludes_other_options(folder: Path) -> None:
    (folder / "aipp.cfg").write_text(AIPP)
    for options, code in (
        ({"input_format": "ND"}, "E10052"),
        ({"input_fp16_nodes": "image"}, "E10034"),
    ):
        assert run(*conversion(insert_op_conf="aipp.cfg", **options)).code == code, options


@given(text=st.text(alphabet="aip_op{}:# 01.\n-static", max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_aipp_text_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """With E10052, whatever is wrong with it."""
    path = tmp_path_factory.getbasetemp() / "any.cfg"
    path.write_text(text)
    refusals = []
    blocks: list[aipp.Block] = []
    try:
        blocks = aipp.read(str(path))
    except AtcError as error:
        refusals = [message.code for message in error.messages]

    assert blocks or refusals == ["E10052"]
