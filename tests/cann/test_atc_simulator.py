"""The simulated atc refuses what the real one refuses, and builds what the product leans on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cann import graphs
from cann.atc_driver import ABSENT, Run, conversion, description, run, stored_graph
from cann.atc_simulator.command import FAILED

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
MIXED = {"precision_mode_v2": "mixed_float16"}
# option -> the text of its file
FILES = ("insert_op_conf", "customize_dtypes", "modify_mixlist", "keep_dtype", "op_precision_mode")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model of symbolic batch."""
    for name in ("CANN", "FAULT", "SUFFIX", "ATC_SECONDS"):
        monkeypatch.delenv(f"CANNSIM_{name}", raising=False)
    monkeypatch.delenv("ASCEND_WORK_PATH", raising=False)
    monkeypatch.chdir(tmp_path)
    graphs.save(tmp_path, graphs.conv(dims=("N", 3, 8, 8)))
    return tmp_path


def convert(**options: str) -> Run:
    """A conversion with batch 1, where nothing else is asked for; texts become files."""
    for name in set(FILES) & set(options):
        Path(name).write_text(options[name])
        options[name] = name
    return run(*conversion(**{"input_shape": "image:1,3,8,8", **options}))


@pytest.mark.parametrize(
    ("options", "code"),
    [
        # while parsing
        ({"framework": "7"}, "E10007"),
        ({"log": "loud"}, "E10010"),
        ({"deterministic": "2"}, "E10006"),
        ({"virtual_type": "2"}, "E10001"),
        ({"precision_mode": "fp16"}, "E10001"),
        ({"precision_mode_v2": "force_fp16"}, "E10001"),
        ({"op_select_implmode": "fast"}, "E10001"),
        # before the compiler
        ({"framework": ABSENT}, "E10007"),
        ({"auto_tune_mode": "RL"}, "E10001"),
        ({"input_format": "NHWC"}, "E10001"),
        ({"soc_version": ""}, "E10054"),
        ({"model": "gone.onnx"}, "E10001"),
        ({"output": "folder/"}, "E10022"),
        ({"output": "a b"}, "E10001"),
        ({"optypelist_for_implmode": "Sigmoid"}, "E10001"),
        ({"precision_mode": "force_fp16", "precision_mode_v2": "fp16"}, "E10056"),
        ({"modify_mixlist": "{}"}, "E10001"),
        ({"is_weight_clip": "2"}, "E10006"),
        ({"allow_hf32": "1"}, "E10005"),
        # chips
        ({"soc_version": "ascend910b3"}, "EE1011"),
        ({"soc_version": "Ascend910"}, "EE1011"),
        ({"soc_version": "Ascend910B3vir05_1c_16g"}, "EE1011"),
        ({"soc_version": "Ascend310P3", "precision_mode_v2": "origin"}, "EZ3002"),
        ({"soc_version": "Ascend310P3", "keep_dtype": "conv\n"}, "EZ3002"),
        ({"soc_version": "Ascend310P3", "precision_mode_v2": "mixed_bfloat16"}, "E10001"),
        # shapes and gears
        ({"input_shape": ""}, "E10001"),
        ({"input_shape": "image:1,3,8.0,8"}, "E10002"),
        ({"input_shape": "image:1,3,0,8"}, "E10011"),
        ({"input_shape": "image:1,3,x,8"}, "E10014"),
        ({"input_shape": "image:1,3,8,8;other:1"}, "E10016"),
        ({"input_shape": "image:1,3,8,8;conv:1"}, "E10017"),
        ({"input_shape": "image:1,3,8"}, "E10049"),
        ({"input_shape": "image:1,4,8,8"}, "E19999"),  # the weights have 3 channels
        (GEARS | {"input_shape": ""}, "E10004"),
        (GEARS | {"input_shape": "image:1,3,8,8"}, "E10031"),
        (GEARS | {"input_shape": "image:-1,3,-1,8"}, "E10018"),
        (GEARS | {"dynamic_batch_size": "1;2"}, "E10003"),
        (GEARS | {"dynamic_batch_size": "4"}, "E10035"),
        (GEARS | {"dynamic_batch_size": ",".join(map(str, range(1, 102)))}, "E10036"),
        (GEARS | {"dynamic_batch_size": "0,4"}, "E10038"),
        (GEARS | {"dynamic_batch_size": "4,4"}, "E10039"),
        # files
        ({"customize_dtypes": "conv:float32"}, "E20101"),
        ({"customize_dtypes": "conv::OutputDtype:fp32"}, "E20003"),
        (MIXED | {"modify_mixlist": '{"blacklist": {}}'}, "E21002"),
        ({"insert_op_conf": AIPP.replace("static", "fixed")}, "E10052"),
        ({"insert_op_conf": AIPP.replace(": 127", ": 127.5")}, "E10052"),
        ({"insert_op_conf": AIPP.replace("rbuv_swap_switch", "swap_rb")}, "E10052"),
        ({"insert_op_conf": AIPP.replace("RGB888_U8", "BGR888_U8")}, "E10052"),
        ({"insert_op_conf": AIPP.replace("size_w: 8", "size_w: 16")}, "E10052"),
        ({"insert_op_conf": AIPP.replace("rank: 0", "rank: 1")}, "E10052"),
        ({"insert_op_conf": AIPP, "input_fp16_nodes": "image"}, "E10034"),
        ({"output_type": "FLOAT"}, "E10001"),
        ({"input_fp16_nodes": "gone"}, "E10016"),
    ],
    ids=str,
)
def test_each_wrong_option_has_its_code(options: dict[str, str], code: str, folder: Path) -> None:
    done = convert(**options)
    assert (done.code, done.status) == (code, 255), done.out + done.err
    assert FAILED in done.out
    assert not list(folder.glob("*.om"))


WEIGHTS = graphs.constant("w", np.ones((4, 3, 3, 3), np.float32))
SCALES = graphs.constant("s", np.array([1, 1, 2, 2], np.float32))
BATCH_OF_ONE = graphs.constant("to", np.array([1, 192], np.int64))


@pytest.mark.parametrize(
    ("node", "constants", "opset", "code"),
    [
        (graphs.one("Relu"), [], 10, "E16002"),
        (graphs.one("Relu"), [], 19, "E16002"),
        (graphs.one("Mish"), [], 18, "E16002"),
        (graphs.one("LayerNormalization", ["image", "w"]), [WEIGHTS], 13, "E16002"),
        (graphs.one("Conv", ["image", "w"]), [WEIGHTS], 13, "E19999"),
        (graphs.one("MaxPool", kernel_shape=[2, 2], storage_order=1), [], 13, "E19999"),
        (graphs.one("MaxPool", kernel_shape=[2, 2, 2, 2]), [], 13, "E19999"),
        (graphs.one("Clip"), [], 13, "E19999"),
        (graphs.one("Resize", ["image", ""]), [], 13, "E19999"),
        (graphs.one("Resize", ["image", "", "image"]), [], 13, "E19999"),
        (graphs.one("NonZero"), [], 13, "E19999"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_graphs_are_refused_as_the_plugins_refuse_them(
    folder: Path, node: onnx.NodeProto, constants: list[onnx.TensorProto], opset: int, code: str
) -> None:
    graphs.save(folder, graphs.model([node], constants=constants, opset=opset))
    assert convert().code == code


def test_a_gear_that_the_graph_cannot_take_is_refused(folder: Path) -> None:
    """A Reshape that holds the batch of 1 in its constant."""
    node = graphs.one("Reshape", ["image", "to"])
    graphs.save(folder, graphs.model([node], dims=("N", 3, 8, 8), constants=[BATCH_OF_ONE]))
    assert convert().status == 0
    assert convert(**GEARS).code == "E19999"


@pytest.mark.parametrize(
    ("soc", "options", "arithmetic", "kept"),
    [
        ("Ascend910B3", {}, "fp16", []),
        ("Ascend910B3", {"precision_mode_v2": "origin"}, "hf32", []),
        ("Ascend910A", {"precision_mode": "must_keep_origin_dtype"}, "fp32", []),
        ("Ascend310P3", {"precision_mode_v2": "cube_fp16in_fp32out"}, "mixed", []),
        (
            "Ascend910B3",
            {
                "precision_mode_v2": "origin",
                "op_precision_mode": "[ByOpType]\nConv2D=enable_float_32_execution\n",
            },
            "fp32",
            [],
        ),
        ("Ascend910B3", {"keep_dtype": "conv\ngone\n"}, "fp16", ["conv"]),
        ("Ascend910B3", {"keep_dtype": "OpType::Conv2D\n"}, "fp16", ["conv"]),
        (
            "Ascend910B3",
            MIXED | {"modify_mixlist": json.dumps({"black-list": {"to-add": ["Conv2D"]}})},
            "fp16",
            ["conv"],
        ),
        (  # custom types win over kept ones
            "Ascend910B3",
            {"keep_dtype": "relu\n", "customize_dtypes": "relu::InputDtype:float16\n"},
            "fp16",
            [],
        ),
    ],
    ids=str,
)
def test_the_mode_and_its_files_decide_the_arithmetic(
    folder: Path, soc: str, options: dict[str, str], arithmetic: str, kept: list[str]
) -> None:
    assert convert(soc_version=soc, **options).status == 0
    told = description(folder / "net.om")
    assert (told["precision"], told["keep_fp32"]) == (arithmetic, kept)


def test_inputs_and_outputs_are_as_the_options_have_them(folder: Path) -> None:
    """Gears, bytes of AIPP and half-precision outputs together; the largest gear counts."""
    done = convert(**GEARS, insert_op_conf=AIPP, output_type="FP16")
    assert done.status == 0, done.out
    told = description(folder / "net.om")
    assert told["inputs"] == [
        {"name": "image", "dims": [-1, 8, 8, 3], "dtype": 4, "format": 1},
        {"name": "ascend_mbatch_shape_data", "dims": [1], "dtype": 3, "format": 2},
    ]
    assert told["outputs"] == [{"name": "relu:0:y", "dims": [2, 4, 8, 8], "dtype": 1, "format": 2}]
    assert told["gears"] == [1, 2]
    # half precision: 514 * 2^-16, a little beside 1 / 127.5
    assert told["aipp"]["var_reci"] == [514 * 2.0**-16, 1.0, 1.0]


@pytest.mark.parametrize(
    ("attributes", "done"),
    [
        ({"nearest_mode": "ceil"}, ("asymmetric", "floor")),
        ({"coordinate_transformation_mode": "half_pixel"}, ("half_pixel", "round_prefer_ceil")),
    ],
    ids=str,
)
def test_what_the_kernels_ignore_is_dropped_silently(
    folder: Path, attributes: dict[str, Any], done: tuple[str, str]
) -> None:
    """As the real one does: the numbers are wrong, and nothing says so."""
    asked = {"coordinate_transformation_mode": "asymmetric", **attributes}
    nodes = [
        onnx.helper.make_node("Resize", ["image", "", "s"], ["up"], "up", mode="nearest", **asked),
        onnx.helper.make_node(
            "MaxPool", ["up"], ["y"], "pool", kernel_shape=[2, 2], dilations=[2, 2]
        ),
    ]
    graphs.save(folder, graphs.model(nodes, constants=[SCALES]))
    assert convert().warnings == []
    resize, pool = stored_graph(folder / "net.om").graph.node
    left = {one.name: onnx.helper.get_attribute_value(one) for one in resize.attribute}
    assert left["coordinate_transformation_mode"] == done[0].encode()
    assert left["nearest_mode"] == done[1].encode()
    assert "dilations" not in [one.name for one in pool.attribute]


def test_nothing_outside_the_tests_knows_the_simulator() -> None:
    """No source names it, or the variables that steer it."""
    root = Path(__file__).resolve().parents[2]
    for room in ("runtime", "parity", "export", "scripts"):
        for path in (root / room).rglob("*.py"):
            text = path.read_text()
            assert "CANNSIM" not in text, path
            assert "atc_simulator" not in text, path
