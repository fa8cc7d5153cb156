"""The simulated atc: shapes, gears, and what they make of the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cann import graphs
from cann.atc_driver import conversion, description, run, stored_graph
from cann.atc_simulator.shapes import check_gears, static_shapes
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model of symbolic batch."""
    for name in ("CANNSIM_CANN", "CANNSIM_FAULT", "CANNSIM_SUFFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    graphs.save(tmp_path, graphs.conv(dims=("N", 3, 8, 8)))
    return tmp_path


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        ("", "E10001"),  # the file leaves the batch open
        ("image:1,3,8.0,8", "E10002"),
        ("image:1,3,8x,8", "E10002"),
        ("1,3,8,8", "E10002"),
        ("image:1,3,8,8;", "E10002"),
        ("image:1,3,0,8", "E10011"),
        ("image:1,3,-8,8", "E10011"),
        ("image:1,3,99999999999999999999,8", "E10013"),
        ("image:1,3,x,8", "E10014"),
        ("image:1,3,,8", "E10014"),
        ("image:1,3,8,8;other:1", "E10016"),
        ("image:1,3,8,8;conv:1", "E10017"),
        ("other:1,3,8,8", "E10001"),  # so the batch of image stays open
        ("image:1,3,8", "E10049"),
        ("image:", "E10049"),
    ],
)
def test_static_shapes_are_checked(shape: str, code: str) -> None:
    assert run(*conversion(input_shape=shape)).code == code


def test_a_static_shape_is_checked_only_after_the_chip() -> None:
    done = run(*conversion(input_shape="image:1,3,0,8", soc_version="Ascend911"))
    assert done.code == "EE1011"


def test_a_static_shape_fixes_the_batch(folder: Path) -> None:
    assert run(*conversion(input_shape="image:5,3,8,8")).status == 0

    told = description(folder / "net.om")
    assert told["inputs"] == [{"name": "image", "dims": [5, 3, 8, 8], "dtype": 0, "format": 0}]
    assert told["outputs"] == [{"name": "relu:0:y", "dims": [5, 4, 8, 8], "dtype": 0, "format": 2}]
    assert told["gears"] == []
    assert told["opset"] == 13


def test_a_static_model_needs_no_shape_and_may_be_given_another(folder: Path) -> None:
    graphs.save(folder, graphs.conv())
    assert run(*conversion()).status == 0
    assert description(folder / "net.om")["inputs"][0]["dims"] == [1, 3, 8, 8]
    assert run(*conversion(input_shape="image:2,3,16,16")).status == 0
    assert description(folder / "net.om")["outputs"][0]["dims"] == [2, 4, 16, 16]


def test_names_may_hold_colons(folder: Path) -> None:
    """The last colon parts name from dims."""
    model = graphs.conv(dims=("N", 3, 8, 8))
    model.graph.input[0].name = "serving:0"
    model.graph.node[0].input[0] = "serving:0"
    graphs.save(folder, model)

    assert run(*conversion(input_shape="serving:0:1,3,8,8")).status == 0


def test_a_shape_that_the_graph_cannot_take_is_refused() -> None:
    """Four channels where the weights have three."""
    assert run(*conversion(input_shape="image:1,4,8,8")).code == "E19999"


BATCH = "image:-1,3,8,8"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"dynamic_batch_size": "1,2", "dynamic_dims": "1;2", "input_shape": BATCH}, "E10009"),
        ({"dynamic_batch_size": "1,2", "input_shape_range": "image:[1~2,3,8,8]"}, "E10009"),
        ({"dynamic_batch_size": "1,2"}, "E10004"),
        ({"dynamic_batch_size": "1,2", "input_shape": "image:1~2,3,8,8"}, "E10040"),
        ({"dynamic_batch_size": "1,2", "input_shape": "image:"}, "E10012"),
        ({"dynamic_batch_size": "1,2", "input_shape": "image:-1,3,-1,8"}, "E10018"),
        ({"dynamic_batch_size": "1,2", "input_shape": "image:1,3,-1,8"}, "E10031"),
        ({"dynamic_batch_size": "1,2", "input_shape": "image:1,3,8,8"}, "E10031"),
        ({"dynamic_batch_size": "1;2", "input_shape": BATCH}, "E10003"),
        ({"dynamic_batch_size": "1,-2", "input_shape": BATCH}, "E10003"),
        ({"dynamic_batch_size": "1,,2", "input_shape": BATCH}, "E19999"),
        ({"dynamic_batch_size": "4", "input_shape": BATCH}, "E10035"),
        ({"dynamic_batch_size": "4,4", "input_shape": BATCH}, "E10039"),
        ({"dynamic_batch_size": "0,4", "input_shape": BATCH}, "E10038"),
        ({"dynamic_batch_size": ",".join(map(str, range(1, 102))), "input_shape": BATCH}, "E10036"),
        ({"dynamic_image_size": "8,8;16,16", "input_shape": "image:-1,3,-1,-1"}, "E10019"),
        ({"dynamic_image_size": "8,8;16,16", "input_shape": "image:1,3,8,8"}, "E10019"),
        ({"dynamic_image_size": "8,8;16", "input_shape": "image:1,3,-1,-1"}, "E10020"),
        ({"dynamic_image_size": "8x8", "input_shape": "image:1,3,-1,-1"}, "E10003"),
        ({"dynamic_image_size": "8,8;16,16", "input_shape": "image:1,3,-1,-1"}, "E10055"),
        ({"dynamic_dims": "1;2", "input_shape": "image:1,3,8,8", "input_format": "ND"}, "E10001"),
        ({"dynamic_dims": "1;2", "input_shape": BATCH}, "E10001"),  # NCHW
        ({"dynamic_dims": ";", "input_shape": BATCH, "input_format": "ND"}, "E10058"),
        ({"dynamic_dims": "1,2;2,3", "input_shape": BATCH, "input_format": "ND"}, "E10003"),
        ({"dynamic_dims": "1;x", "input_shape": BATCH, "input_format": "ND"}, "E10001"),
        ({"dynamic_dims": "1;2", "input_shape": BATCH, "input_format": "ND"}, "E10055"),
        ({"dynamic_batch_size": "1,2", "input_shape": "other:-1,3"}, "E10016"),
        ({"input_shape_range": "image:1~2,3,8,8"}, "E10048"),
        ({"input_shape_range": "image:[1~x,3,8,8]"}, "E10048"),
        ({"input_shape": "image:1~2~3,3,8,8"}, "E10048"),
    ],
    ids=str,
)  # fmt: skip
def test_gears_and_ranges_are_checked(options: dict[str, str], code: str) -> None:
    done = run(*conversion(**options))
    assert done.code == code, done.out


def test_gears_add_a_hidden_last_input_and_report_the_largest(folder: Path) -> None:
    done = run(*conversion(input_shape=BATCH, dynamic_batch_size="4,1,2,"))
    assert done.status == 0, done.out

    told = description(folder / "net.om")
    assert told["gears"] == [1, 2, 4]
    assert [entry["dims"] for entry in told["inputs"]] == [[-1, 3, 8, 8], [1]]
    assert told["inputs"][1] == {
        "name": "ascend_mbatch_shape_data",
        "dims": [1],
        "dtype": 3,
        "format": 2,
    }
    assert told["outputs"][0]["dims"] == [4, 4, 8, 8]
    header = (folder / "net.om").read_bytes()
    assert header[193] == 0  # not a model of dynamic shape


def test_gears_need_shapes_that_follow_the_batch_alone(folder: Path) -> None:
    node = graphs.one("NonZero")
    graphs.save(folder, graphs.model([node], dims=("N", 3, 8, 8), out_kind=7))
    done = run(*conversion(input_shape=BATCH, dynamic_batch_size="1,2"))

    assert done.code == "E19999"


def test_a_gear_that_the_graph_cannot_take_is_refused(folder: Path) -> None:
    """A Reshape that holds the batch of 1 in its constant."""
    nodes = [graphs.one("Reshape", ["image", "to"])]
    to = graphs.constant("to", np.array([1, 192], np.int64))
    graphs.save(folder, graphs.model(nodes, dims=("N", 3, 8, 8), constants=[to]))

    assert run(*conversion(input_shape="image:1,3,8,8")).status == 0
    assert run(*conversion(input_shape=BATCH, dynamic_batch_size="1,2")).code == "E19999"


def test_unknown_dims_without_gears_make_a_model_of_dynamic_shape(folder: Path) -> None:
    assert run(*conversion(input_shape="image:1~8,3,8,8")).status == 0

    (written,) = folder.glob("net*.om")
    assert written.name.startswith("net_linux_")
    assert written.read_bytes()[193] == 1
    assert description(written)["outputs"][0]["dims"] == [-1, 4, 8, 8]


def test_310b_has_no_dynamic_shapes() -> None:
    assert run(*conversion(input_shape=BATCH, soc_version="Ascend310B1")).code == "E10055"


def test_the_deprecated_range_warns_on_the_screen() -> None:
    done = run(*conversion(input_shape_range="image:[1~2,3,8,8]"))
    assert done.status == 0, done.out
    assert "WARNING: Option input_shape_range is deprecated" in done.out


def test_a_network_without_known_output_shapes_is_refused(folder: Path) -> None:
    graphs.save(folder, graphs.model([graphs.one("NonZero")], out_kind=7))
    assert run(*conversion()).code == "E19999"


def test_the_stored_graph_holds_the_fixed_shape(folder: Path) -> None:
    run(*conversion(input_shape="image:2,3,8,8"))
    dims = stored_graph(folder / "net.om").graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [2, 3, 8, 8]


def test_output_nodes_and_types_can_be_chosen(folder: Path) -> None:
    shape = "image:1,3,8,8"
    assert run(*conversion(input_shape=shape, out_nodes="conv:0", output_type="FP16")).status == 0
    outputs = description(folder / "net.om")["outputs"]
    assert outputs == [{"name": "conv:0:c", "dims": [1, 4, 8, 8], "dtype": 1, "format": 2}]

    for options, code in (
        ({"out_nodes": "conv:1"}, "E10003"),
        ({"out_nodes": "conv:x"}, "E10001"),
        ({"out_nodes": "gone:0"}, "E10016"),
        ({"out_nodes": "gone"}, "E11017"),
        ({"out_nodes": "conv:0;y"}, "E10001"),
        ({"output_type": "FLOAT"}, "E10001"),
        ({"output_type": "conv:FP16"}, "E10001"),
        ({"output_type": "conv:0:FP16"}, "E10001"),
        ({"input_fp16_nodes": "gone"}, "E10016"),
        ({"input_fp16_nodes": "conv"}, "E10017"),
    ):
        assert run(*conversion(input_shape=shape, **options)).code == code, options


def test_inputs_can_be_made_half(folder: Path) -> None:
    assert run(*conversion(input_shape="image:1,3,8,8", input_fp16_nodes="image")).status == 0
    assert description(folder / "net.om")["inputs"][0]["dtype"] == 1


def test_several_outputs_keep_their_order_and_names(folder: Path) -> None:
    nodes = [
        helper.make_node("Split", ["image"], ["b", "a"], name="split", axis=3),
    ]
    graphs.save(folder, graphs.model(nodes, outputs=("a", "b")))
    assert run(*conversion()).status == 0
    names = [entry["name"] for entry in description(folder / "net.om")["outputs"]]
    assert names == ["split:1:a", "split:0:b"]


@given(
    dims=st.lists(st.integers(1, 10**6), min_size=1, max_size=6), name=st.text("ab:/.", min_size=1)
)
@settings(deadline=None)
def test_a_written_shape_reads_back(dims: list[int], name: str) -> None:
    text = f"{name}:{','.join(map(str, dims))}"
    assert static_shapes(text) == {name: dims}


@given(gears=st.sets(st.integers(1, 5000), min_size=2, max_size=100))
def test_distinct_positive_gears_pass(gears: set[int]) -> None:
    check_gears([[gear] for gear in gears], soc_version="Ascend910B3")
