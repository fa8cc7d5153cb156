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

from export.atc.files import Expanded, check_setting_files, expanded_nodes
from export.atc.options import AtcTable
from export.config import OnnxTable
from export.graph.simplify import simplify
from export.graph.to_onnx import export_graph
from runtime.errors import ConfigError
from runtime.machine.soc import soc_of

NODES = {"conv": "Conv", "relu": "Relu", "up": "Resize"}
UP = {"up": Expanded("Resize", "ResizeNearestNeighborV2")}


def checked(path: Path, option: str, text: str, **given: Any) -> tuple[str, ...]:
    path.write_text(text)
    return check_setting_files(AtcTable(**{option: str(path)}), NODES, **given)  # type: ignore[arg-type]  # by name


WRONG: list[tuple[str, str, str]] = [
    ("keep_dtype", "", "on each line"),
    ("keep_dtype", "/hgs.O/conv\n", "Did you mean relu|the name of a node"),
    ("keep_dtype", "OpType::Conv 2D\n", "an operator's type"),
    ("customize_dtypes", "conv:float16\n", "InputDtype:float16"),
    ("customize_dtypes", "\n", "InputDtype:float16"),
    ("customize_dtypes", "cnov::InputDtype:float16,OutputDtype:float32\n", "Did you mean conv"),
    ("op_precision_mode", "", "under .ByOpType."),
    ("op_precision_mode", "[ByType]\nConv2D=high_precision\n", "line 1: expected NAME=VALUE, or"),
    ("op_precision_mode", "[ByOpType]\nConv2D=precise\n", "line 2: expected one of high_precision"),
    ("op_precision_mode", "[ByNodeName]\ncnov=high_precision\n", "Did you mean conv"),
    ("op_precision_mode", "[ByOpType]\nConv 2D=high_precision\n", "an operator's type"),
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
    # a type is no node, even of an expanded one's name
    ("customize_dtypes", "OpType::up:InputDtype:float16\n"),
    ("op_precision_mode", "[ByOpType]\nConv2D=high_precision\n[ByNodeName]\nconv=keep_fp16\n"),
    # lines are of types until a section is named; remarks are passed over
    ("op_precision_mode", "# mine\nConv2D = norm_class\n"),
    # ATC's to check, before it compiles
    ("modify_mixlist", "{"),
    ("fusion_switch_file", "SomePass off\n"),
    # looked for by the ONNX name, too
    ("keep_dtype", "up\n"),
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
        ("customize_dtypes", "conv::InputDtype:float,OutputDtype:float16\n"),
        ("op_precision_mode", "Conv2D=enable_float_32_execution\n"),
    ],
)
def test_fp32_convolutions_on_an_fp16_cube_are_a_warning(
    option: str, text: str, tmp_path: Path
) -> None:
    """Nothing public says that they are missing there, nor that they are not."""
    path = tmp_path / "settings"
    assert checked(path, option, text, soc=soc_of("Ascend910B3")) == ()
    chip = soc_of("Ascend310P3")
    assert checked(path, "customize_dtypes", "conv::OutputDtype:float32\n", soc=chip) == ()
    (warning,) = checked(path, option, text, soc=chip)
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


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_of_our_own_graphs_the_resizes_are_expanded(exporter: Any) -> None:
    made = simplify(export_graph(STARTER, OnnxTable(exporter=exporter)))
    resizes = {node.name for node in made.graph.node if node.op_type == "Resize"}
    assert len(resizes) == 8
    assert set(expanded_nodes(made.SerializeToString())) == resizes
