"""The files of ATC's precision options, held to what ATC's parsers read and to the graph.

Source of the grammar: hicann/ge nn_engine/utils/common/config_parser and keep_dtype_option.cc.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from builders import STARTER
from cann import graphs

from export.atc.files import check_setting_files
from export.atc.nodes import Expanded, expanded_nodes
from export.atc.options import AtcTable
from export.atc.to_om import conversions, setting_files
from export.config import OnnxTable
from export.graph.simplify import simplify
from export.graph.to_onnx import export_graph
from runtime.errors import ConfigError
from runtime.machine.soc import soc_of
from runtime.model.spec import InputSpec

NODES = {"conv": "Conv", "relu": "Relu", "up": "Resize"}
UP = {"up": Expanded(operator="Resize", ascend_type="ResizeNearestNeighborV2")}


def checked(path: Path, option: str, text: str, **given: Any) -> tuple[str, ...]:
    path.write_text(text)
    return check_setting_files(AtcTable(**{option: str(path)}), NODES, **given)  # type: ignore[arg-type]  # by name


WRONG: list[tuple[str, str, str]] = [
    ("keep_dtype", "", "on each line"),
    ("keep_dtype", "/hgs.O/conv\n", "Did you mean relu|the name of a node"),
    ("keep_dtype", "OpType::Conv 2D\n", "an operator's type"),
    ("customize_dtypes", "conv:float16\n", "InputDtype:float16"),
    ("customize_dtypes", "conv::float16,float32\n", "InputDtype:float16"),
    ("customize_dtypes", "cnov::InputDtype:float16,OutputDtype:float32\n", "Did you mean conv"),
    ("op_precision_mode", "", "under .ByOpType."),
    ("op_precision_mode", "[ByType]\nConv2D=high_precision\n", "line 1: expected NAME=VALUE, or"),
    ("op_precision_mode", "[ByOpType]\nConv2D=precise\n", "line 2: expected one of high_precision"),
    ("op_precision_mode", "[ByNodeName]\ncnov=high_precision\n", "Did you mean conv"),
    ("fusion_switch_file", "SomePass off\n", "PassName:off"),
    ("fusion_switch_file", "{", "JSON"),
    ("modify_mixlist", "{", "black-list"),
    ("modify_mixlist", '{"blacklist": {}}', "black-list"),
    ("modify_mixlist", '{"black-list": {"to-add": "Conv2D"}}', "black-list"),
]


@pytest.mark.parametrize(("option", "text", "says"), WRONG)
def test_a_file_that_atc_would_pass_over_or_refuse(
    option: str, text: str, says: str, tmp_path: Path
) -> None:
    """A name the graph does not have changes nothing, silently: refused here."""
    with pytest.raises(ConfigError, match=says):
        checked(tmp_path / "settings.txt", option, text)


GOOD = [
    ("keep_dtype", "conv\n\nOpType::Sigmoid\n"),
    ("customize_dtypes", "conv::InputDtype:float16,OutputDtype:float32\n"),
    ("customize_dtypes", "OpType::Conv2D:InputDtype:float16,float16,OutputDtype:bf16\n"),
    # a dtype left out stays as it is; one side alone will do
    ("customize_dtypes", "conv::InputDtype:,float16\nrelu::OutputDtype:float\n"),
    ("op_precision_mode", "[ByOpType]\nConv2D=high_precision\n[ByNodeName]\nconv=keep_fp16\n"),
    # lines are of types until a section is named; remarks are passed over
    ("op_precision_mode", "# mine\nConv2D = norm_class\n"),
    ("modify_mixlist", '{"black-list": {"to-add": ["Conv2D"], "to-remove": []}}'),
    ("modify_mixlist", '{"gray-list": {"to-add": ["Relu"]}}'),
    ("fusion_switch_file", "SomePass:off\n\nOther:on\n"),
]


@pytest.mark.parametrize(("option", "text"), GOOD)
def test_good_files_pass_without_a_word(option: str, text: str, tmp_path: Path) -> None:
    assert checked(tmp_path / "s", option, text, soc=soc_of("Ascend910B3"), expanded=UP) == ()


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("keep_dtype", "conv\n"),
        ("keep_dtype", "OpType::Conv2D\n"),
        ("customize_dtypes", "OpType::Conv2D:InputDtype:float32,OutputDtype:float32\n"),
        ("customize_dtypes", "conv::InputDtype:float32\n"),
        ("op_precision_mode", "Conv2D=enable_float_32_execution\n"),
        ("modify_mixlist", '{"black-list": {"to-add": ["Conv2D"]}}'),
    ],
)
def test_fp32_convolutions_on_an_fp16_cube_are_a_warning(
    option: str, text: str, tmp_path: Path
) -> None:
    """Nothing public says that they are missing there, nor that they are not."""
    path = tmp_path / "settings"
    assert checked(path, option, text, soc=soc_of("Ascend910B3")) == ()
    (warning,) = checked(path, option, text, soc=soc_of("Ascend310P3"))
    assert "fp32 convolutions may be missing on Ascend310P3" in warning
    assert "settings" in warning


@pytest.mark.parametrize(
    ("option", "text", "line", "instead"),
    [
        (
            "customize_dtypes",
            "conv::InputDtype:float16\nup::InputDtype:float32,OutputDtype:float32\n",
            "line 2",
            "write OpType::ResizeNearestNeighborV2:..., or name the node with --keep_dtype",
        ),
        (
            "op_precision_mode",
            "[ByNodeName]\nconv=keep_fp16\nup=high_precision\n",
            "line 3",
            "write ResizeNearestNeighborV2=... under [ByOpType]",
        ),
    ],
)
def test_a_line_that_names_an_expanded_node_is_a_warning(
    option: str, text: str, line: str, instead: str, tmp_path: Path
) -> None:
    """With file, line, node, and what is found instead."""
    (warning,) = checked(tmp_path / "settings.txt", option, text, expanded=UP)
    assert f"settings.txt, {line}: ATC expands up (Resize)" in warning
    assert instead in warning


def test_keep_dtype_may_name_an_expanded_node(tmp_path: Path) -> None:
    """keep_dtype_option.cc looks for the ONNX name, too."""
    assert checked(tmp_path / "keep", "keep_dtype", "up\n", expanded=UP) == ()


def reduction(opset: int) -> bytes:
    """A ReduceSum, axes as an attribute before opset 13 and as an input from then on."""
    axes = [] if opset < 13 else ["axes"]
    given: Any = {"axes": [2]} if opset < 13 else {}
    node = onnx.helper.make_node("ReduceSum", ["image", *axes], ["y"], name="sum", **given)
    constants = [graphs.constant("axes", np.array([2]))] if axes else []
    return bytes(graphs.model([node], constants=constants, opset=opset).SerializeToString())


@pytest.mark.parametrize(("opset", "expands"), [(11, True), (12, True), (13, False), (18, False)])
def test_a_reduction_keeps_its_name_where_its_axes_are_an_input(
    opset: int, *, expands: bool
) -> None:
    """A constant of the parser's own makes two nodes of one: reduce_sum_onnx_plugin.cpp."""
    assert ("sum" in expanded_nodes(reduction(opset))) is expands


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_of_our_own_graphs_the_resizes_are_expanded(exporter: Any) -> None:
    made = simplify(export_graph(STARTER, OnnxTable(exporter=exporter)))
    resizes = {node.name for node in made.graph.node if node.op_type == "Resize"}
    assert len(resizes) == 8
    assert set(expanded_nodes(made.SerializeToString())) == resizes


def test_blank_lines_do_not_reach_the_parser_that_refuses_them(tmp_path: Path) -> None:
    """OpCustDtypesConfigParser fails at an empty line."""
    path = tmp_path / "types"
    path.write_text("\nconv::OutputDtype:float\n\n  \nrelu::OutputDtype:float")
    table = AtcTable(customize_dtypes=str(path), keep_dtype=str(path))
    files = setting_files(conversions(table, soc_of("Ascend910B3"), InputSpec())[0])
    assert files["customize_dtypes.txt"] == "conv::OutputDtype:float\nrelu::OutputDtype:float\n"
    assert files["keep_dtype.txt"] == path.read_text()
