"""The .om format: the product's reader and the simulated atc, each held to GE's definition.

The fixtures are made by `ge_format`, from what Huawei publishes and from nothing of ours. Values
and types of attributes are those of a file that atc of CANN 8.0.0 wrote for an Ascend310B4.
"""

from __future__ import annotations

import ctypes
import io
from pathlib import Path
from typing import Any

import pytest
from cann import graphs
from cann.atc_driver import conversion, run
from cann.ge_format import (
    MESSAGES,
    Count,
    Entry,
    Header,
    HeaderOf2020,
    HeaderOf2021,
    TensorInfo,
    TinyCount,
    TinyEntry,
    attributes,
    block,
    om_file,
    partitions,
    table,
    tensor_info,
)

from runtime.model.om_file import OmFile, read_om, read_om_from
from runtime.model.om_tensors import OmTensor, OmTensors

COMMAND = "/opt/cann/aarch64-linux/bin/atc.bin --model=/data/lane.onnx --framework=5 --check=1"
# name -> value; the types are atc's own
REAL: dict[str, Any] = {
    "soc_version": "Ascend310B4",
    "arch_type": "2",
    "atc_version": "7.6.0.1.220",
    "opp_version": "7.6.0.1.220",
    "atc_cmdline": COMMAND,
    "framework_type": "Onnx",
    "memory_size": 11_275_776,
    "weight_size": 2_203_648,
    "stream_num": 1,
    "event_num": 0,
    "_enable_l1_fusion": False,
    "om_info_list": [1_297_461, 2_203_648, 378_946, 0, 79_616, 0],
}


def model_def(*, graph: Any = None, **values: Any) -> bytes:
    made = MESSAGES["ModelDef"](name="lane", version=2, custom_version="1.11.z.0")
    made.attr.extend(attributes(**values))
    if graph is not None:
        made.graph.append(graph)
    return bytes(made.SerializeToString())


def read(content: bytes) -> OmFile:
    return read_om_from(Path("m.om"), io.BytesIO(content), len(content))


def tensor(name: str, dtype: int, dims: list[int], layout: str, **values: Any) -> Any:
    made = MESSAGES["Tensor"](name=name, dtype=dtype, layout=layout)
    made.shape.dim.extend(dims)
    made.attr.extend(attributes(**values))
    return made


def test_definition_has_the_published_sizes() -> None:
    """The referee itself: offsets as GE's compiler puts them, which real files show, too."""
    assert [ctypes.sizeof(one) for one in (Header, HeaderOf2021, HeaderOf2020)] == [256] * 3
    assert (ctypes.sizeof(Entry), ctypes.sizeof(Count), Entry.mem_offset.offset) == (24, 8, 8)
    assert (ctypes.sizeof(TinyEntry), ctypes.sizeof(TinyCount)) == (12, 4)
    assert ctypes.sizeof(TensorInfo) == 32
    assert (Header.model_length.offset, Header.is_unknow_model.offset) == (184, 193)
    assert HeaderOf2020.platform_version.offset == 0x9C


@pytest.mark.parametrize(
    ("kind", "age"), [(Header, "today"), (HeaderOf2021, "2021"), (HeaderOf2020, "2020")]
)
def test_reader_reads_files_of_three_ages(kind: Any, age: str) -> None:
    """Attributes by their own types; no "825,306,673 models" where none are counted."""
    definition = model_def(**REAL)
    parts = [(0, definition), (1, bytes(300)), (2, b"tasks"), (3, b"kernels!")]
    counted = {} if kind is HeaderOf2020 else {"model_num": 1}
    om = read(om_file(table(parts, tiny=kind is not Header), kind, **counted))

    assert (om.age, om.model_num, om.kind, om.name) == (age, 1, "IR", "lane")
    assert (om.ir_version, om.platform_version) == (2, "1.11.z.0")
    assert (om.soc_version, om.atc_version) == ("Ascend310B4", "7.6.0.1.220")
    assert (om.framework_type, om.atc_cmdline) == ("Onnx", COMMAND)
    assert (om.memory_size, om.weight_size) == (11_275_776, 2_203_648)
    assert (om.stream_num, om.event_num) == (1, 0)
    assert om.attributes["arch_type"] == "2"
    assert om.attributes["_enable_l1_fusion"] is False
    assert om.models[0].other_attributes == ("om_info_list",)
    assert [one.type for one in om.partitions] == [
        "MODEL_DEF", "WEIGHTS_DATA", "TASK_INFO", "TBE_KERNELS",
    ]  # fmt: skip
    assert om.partitions[-1].offset + 8 == om.bytes
    assert om.unread == ()


def test_reader_reads_what_names_no_chip() -> None:
    """CANN before 8.0 writes neither chip nor version among the attributes."""
    om = read(om_file(table([(0, model_def(stream_num=2)), (1, b"w")]), model_num=1))

    assert (om.soc_version, om.atc_version, om.framework_type, om.stream_num) == ("", "", "", 2)
    assert om.unread == ()


def test_reader_reads_every_model() -> None:
    """A dynamic file: root and branches, table after table."""
    root = table([(0, model_def(stream_num=0)), (3, b"k" * 23)])
    branch = MESSAGES["ModelDef"](name="branch").SerializeToString()
    payload = root + table([(0, branch), (1, bytes(16))]) + table([(0, branch), (2, b"t")])
    om = read(om_file(payload, model_num=3, is_unknow_model=1))

    assert (om.model_num, om.is_dynamic) == (3, True)
    assert [one.name for one in om.models] == ["lane", "branch", "branch"]
    assert om.unread == ()


def test_reader_reads_inputs_and_outputs_of_their_partition() -> None:
    """MODEL_INOUT_INFO: dims before and after AIPP, gears, a name that is not ASCII."""
    inputs = tensor_info("图像", [-1, 256, 256, 3], dtype=4, form=1, size=1_572_864, v2=[-1, 3])
    hidden = tensor_info("ascend_mbatch_shape_data", [1], dtype=3, form=2, size=4)
    outputs = tensor_info("Add_9:1:landmarks", [8, 68, 2], dtype=1, form=2, size=2176)
    info = (
        block(0, bytes(ctypes.c_uint32(2)) + inputs + hidden)
        + block(1, bytes(ctypes.c_uint32(1)) + outputs)
        + block(2, bytes(ctypes.c_uint32(3)) + bytes((ctypes.c_uint64 * 3)(1, 2, 8)))
        + block(5, bytes(ctypes.c_uint32(0)))  # MODEL_DYNAMIC_OUTPUT_SHAPE, which is passed over
    )
    om = read(om_file(table([(8, info), (0, model_def(**REAL)), (1, b"w")]), model_num=1))

    assert om.tensors.inputs == (
        OmTensor(
            name="图像", dtype="uint8", dims=(-1, 256, 256, 3), format="NHWC", bytes=1_572_864
        ),
        OmTensor(name="ascend_mbatch_shape_data", dtype="int32", dims=(1,), format="ND", bytes=4),
    )
    assert om.tensors.outputs == (
        OmTensor(
            name="Add_9:1:landmarks", dtype="float16", dims=(8, 68, 2), format="ND", bytes=2176
        ),
    )
    assert om.tensors.gears == (1, 2, 8)
    assert om.unread == ()


@pytest.mark.parametrize("shortened", [False, True])
def test_reader_reads_inputs_and_outputs_off_the_graph(shortened: bool) -> None:
    """Older files have no such partition; newer converters shorten the attributes' names.

    A shortened name is NUL and the digits of its place in `attr_name_enum`, base 127, each one more
    than its value, the lowest first (graph_metadef/graph/utils/enum_attr_utils.cc).
    """
    listed = [f"filler_{number}" for number in range(130)]
    listed[5], listed[129] = "index", "_mbatch_origin_input_dims"
    names = {"index": "\0\x06", "_mbatch_origin_input_dims": "\0\x03\x02"} if shortened else {}

    def attr(**values: Any) -> list[Any]:
        return attributes(**{names.get(key, key): value for key, value in values.items()})

    graph = MESSAGES["GraphDef"](name="lane")
    # in the file's order, which is not the inputs' own
    second = graph.op.add(name="scale", type="Data")
    second.attr.extend(attr(index=1))
    second.input_desc.append(tensor("x", 2, [7], "ND"))
    first = graph.op.add(name="image", type="Data")
    first.attr.extend(attr(_mbatch_origin_input_dims=[-1, 3, 64, 64], index=0))
    first.input_desc.append(tensor("x", 4, [8, 3, 64, 64], "NCHW", format_for_int=0))
    graph.op.add(name="conv", type="Conv2D").input_desc.append(tensor("x", 1, [1], "NC1HWC0"))
    end = graph.op.add(name="Node_Output", type="NetOutput", src_name=["conv", "pool"])
    end.src_index.extend([0, 1])
    end.input_desc.extend([tensor("a", 1, [8, 68, 2], "ND"), tensor("b", 8, [8, 1], "ND")])
    values = REAL | {"attr_model_out_nodes_name": ["conv:0:landmarks", "pool"]}
    if shortened:
        values |= {"attr_name_enum": listed, "om_compress_version": 1}
    om = read(om_file(table([(0, model_def(graph=graph, **values)), (1, b"w")]), model_num=1))

    assert om.tensors == OmTensors(
        inputs=(
            OmTensor(name="image", dtype="uint8", dims=(-1, 3, 64, 64), format="NCHW", bytes=None),
            OmTensor(name="scale", dtype="float16", dims=(7,), format="ND", bytes=None),
        ),
        outputs=(
            OmTensor(
                name="conv:0:landmarks", dtype="float32", dims=(8, 68, 2), format="ND", bytes=None
            ),
            OmTensor(name="pool:1", dtype="int64", dims=(8, 1), format="ND", bytes=None),
        ),
    )
    assert om.unread == ()


def test_reader_names_outputs_as_files_without_names_have_it() -> None:
    """`output_<index>_<node>_<index of the node>` (model_introduction.cc, ConstructOutputInfo)."""
    graph = MESSAGES["GraphDef"](name="g")
    end = graph.op.add(name="out", type="NetOutput", src_name=["known_op"])
    end.src_index.append(3)
    end.input_desc.append(tensor("a", 1, [2, 2], "NCHW"))
    om = read(om_file(table([(0, model_def(graph=graph)), (1, b"w")]), model_num=1))

    assert [one.name for one in om.tensors.outputs] == ["output_0_known_op_3"]


def test_simulated_atc_writes_the_attributes_that_atc_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in the field of its own type: a conversion's file is read as any other."""
    monkeypatch.chdir(tmp_path)
    graphs.save(tmp_path, graphs.conv(dims=(1, 3, 8, 8)))
    assert run(*conversion(soc_version="Ascend310B4"))[0] == 0
    om = read_om(tmp_path / "net.om")
    content = (tmp_path / "net.om").read_bytes()
    model = MESSAGES["ModelDef"].FromString(partitions(content)[0])
    kinds = {entry.key: entry.value.WhichOneof("value") for entry in model.attr}

    for key, value in REAL.items():
        if key in kinds:
            assert kinds[key] == ("s" if isinstance(value, str) else "i"), key
    assert {"soc_version", "arch_type", "atc_version", "atc_cmdline", "framework_type"} < set(kinds)
    assert (om.soc_version, om.framework_type) == ("Ascend310B4", "Onnx")
    assert om.tensors.inputs[0].dims == (1, 3, 8, 8)
    assert om.unread == ()
