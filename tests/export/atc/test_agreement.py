"""What this project accepts, the simulated ATC accepts: random options and random graphs.

The simulator is another reading of the same contract, by the reference's sections; whatever it
refuses must have been refused here, before the conversion and in words of our own, or warned of.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from cann import graphs
from cann.atc_driver import Run, run, stored_graph
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from export.atc.files import check_setting_files
from export.atc.options import RESERVED, AtcTable, check_atc, check_for_chip
from export.atc.precision import MODES
from export.atc.to_om import Conversion, atc_arguments, conversions, setting_files
from export.preflight import fatal, preflight
from runtime.errors import ConfigError
from runtime.machine.soc import FAMILIES, soc_of
from runtime.model.spec import InputSpec

SIZE = 32
NODES = {"conv": "Conv", "relu": "Relu"}
SOCS = [name for _, names in FAMILIES.values() for name in names]
WRONG_SOCS = ["Ascend910", "Ascend310P", "910B3", "Ascend910_93", "ascend910b3", "Ascend910B5", ""]

# Options that are left to ATC, with values that it takes.
LEFT_TO_ATC = {
    "log": ("debug", "error", "null"),
    "op_debug_level": ("0", "4"),
    "deterministic": ("0", "1"),
    "enable_small_channel": ("0", "1"),
    "is_weight_clip": ("0", "1"),
    "virtual_type": ("0", "1"),
    "oo_level": ("O1", "O3"),
    "buffer_optimize": ("l2_optimize", "off_optimize"),
    "core_type": ("AiCore",),
}
# option -> texts that ATC reads, texts that it refuses or that would change nothing
FILES: dict[str, tuple[list[str], list[str]]] = {
    "keep_dtype": (["conv\n", "OpType::Conv2D\n", "conv\nrelu\n"], ["nowhere\n", ""]),
    "customize_dtypes": (
        [
            "conv::InputDtype:float16,OutputDtype:float32\n",
            "OpType::Conv2D:InputDtype:float16,OutputDtype:float16\n",
        ],
        ["conv:InputDtype:float16\n", "nowhere::InputDtype:float16\n"],
    ),
    "op_precision_mode": (
        [
            "[ByOpType]\nConv2D=high_precision\n",
            "[ByNodeName]\nconv=enable_float_32_execution\n",
            "Conv2D=keep_fp16\n",
        ],
        ["[ByType]\nConv2D=high_precision\n", "[ByOpType]\nConv2D=x\n"],
    ),
}


def mostly(draw: st.DrawFn, right: Sequence[Any], wrong: Sequence[Any]) -> Any:
    """Right often enough that several choices together may be right."""
    return draw(st.sampled_from(wrong if draw(st.integers(0, 11)) == 7 else right))


@st.composite
def passed(draw: st.DrawFn) -> tuple[str, ...]:
    """ATC's own options, sometimes in the other grammars, now and then one that is set here."""
    tokens: list[str] = []
    for name in draw(st.lists(st.sampled_from(sorted(LEFT_TO_ATC)), max_size=3, unique=True)):
        asked = mostly(draw, [name], [*RESERVED, "precision_mode"])
        value = draw(st.sampled_from(LEFT_TO_ATC.get(asked, ("x",))))
        shown = asked.replace("_", draw(st.sampled_from(["_", "-"])))
        dashes = draw(st.sampled_from(["--", "-"]))
        both = [[f"{dashes}{shown}={value}"], [f"{dashes}{shown}", value]]
        tokens += draw(st.sampled_from(both))
    return tuple(tokens)


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, dict[str, Any], dict[str, str]]:
    """A chip, the plain fields of an [atc] table, and the texts of its files."""
    fields: dict[str, Any] = {"passed_on": draw(passed())}
    some = st.sampled_from([True, False, False])
    if draw(some):
        fields["batch_sizes"] = mostly(draw, [(1,), (2, 4), (9,)], [(0,), (-1,), (2, 2)])
    elif draw(some):
        right, wrong = ["1,2", "1,2,4,8", "8,1"], ["1", "1,1", "0,1", "1,x", "1,", "-1,2", "1,4096"]
        fields["dynamic_batch_size"] = mostly(draw, right, wrong)
    option = draw(st.sampled_from([*MODES, ""]))
    if option:
        fields[option] = mostly(draw, list(MODES[option]), ["fp32", "mixed", "Origin"])
    if draw(some):
        modes = st.sampled_from(["high_precision", "high_performance_for_all"])
        fields["op_select_implmode"] = draw(modes)
        fields["optypelist_for_implmode"] = draw(st.sampled_from(["", "Sigmoid", "Gelu,Sigmoid"]))
    if draw(some):
        fields["output_type"] = mostly(draw, ["FP16", "FP32"], ["UINT8", "fp16"])
    fields["aipp"] = draw(some)
    files = {o: mostly(draw, *texts) for o, texts in FILES.items() if draw(some)}
    return mostly(draw, SOCS, WRONG_SOCS), fields, files


def accepted(soc: str, table: AtcTable) -> tuple[tuple[Conversion, ...], list[str]]:
    """The conversions, where everything before the run accepts them, and what is warned of.

    Raises:
        ConfigError: this project refuses.
    """
    check_atc(table, "atc")
    chip = soc_of(soc)
    warnings = [*check_setting_files(table, NODES, chip), *check_for_chip(table, chip, "atc")]
    return conversions(table, chip, InputSpec(size=SIZE)), warnings


@contextlib.contextmanager
def in_scratch() -> Iterator[Path]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def converted(conversion: Conversion) -> Run:
    for name, text in setting_files(conversion).items():
        Path(name).write_text(text)
    return run(*atc_arguments(conversion))


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
def test_options_that_pass_here_pass_there(
    drawn: tuple[str, dict[str, Any], dict[str, str]],
) -> None:
    """And what is refused here is refused in one line that names the option."""
    soc, fields, files = drawn
    with in_scratch() as scratch:
        (scratch / "given").mkdir()
        for option, text in files.items():
            (scratch / "given" / option).write_text(text)
            fields[option] = str(scratch / "given" / option)
        graphs.save(scratch, graphs.conv(dims=("N", 3, SIZE, SIZE)))
        try:
            found, warnings = accepted(soc, AtcTable(**fields))
        except ConfigError as error:
            event("refused")
            said = str(error)
        else:
            event("warned" if warnings else "accepted")
            said = ""
        assert "\n" not in said
        if said:
            return
        for conversion in found:
            answer = converted(conversion)
            if warnings and answer.code == "EZ3002":
                return  # it might have been otherwise, and nothing was refused
            # what it does not model is no refusal of ATC's
            assume(not re.search("E10055.*the simulat", answer.out))
            assert answer.status == 0, (atc_arguments(conversion), answer.out, answer.err)


def resizing(scale: float, **attributes: str) -> onnx.ModelProto:
    """A Resize after a convolution."""
    constants = [
        graphs.constant("w", np.full((4, 3, 3, 3), 0.1, np.float32)),
        graphs.constant("s", np.array([1, 1, scale, scale], np.float32)),
        graphs.constant("roi", np.array([], np.float32)),
    ]
    nodes = [
        onnx.helper.make_node("Conv", ["image", "w"], ["c"], name="conv", kernel_shape=[3, 3]),
        onnx.helper.make_node("Resize", ["c", "roi", "s"], ["y"], name="resize", **attributes),
    ]
    model = graphs.model(nodes, dims=("N", 3, SIZE, SIZE), constants=constants)
    return onnx.shape_inference.infer_shapes(model)


def runs(graph: bytes, x: np.ndarray[Any, Any]) -> Any:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": x})[0]


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    scale=st.sampled_from([2.0, 1.5, 0.5, 3.0]),
    mode=st.sampled_from(["nearest", "linear", "cubic"]),
    where=st.sampled_from(["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"]),
    rounding=st.sampled_from(["floor", "round_prefer_floor", "round_prefer_ceil", "ceil"]),
)
def test_a_resize_that_passes_here_passes_there_and_means_the_same(
    scale: float, mode: str, where: str, rounding: str
) -> None:
    """The operator that ATC most often changes: what was stored computes what the graph does."""
    model = resizing(scale, mode=mode, coordinate_transformation_mode=where, nearest_mode=rounding)
    if fatal(preflight(model, soc_version="Ascend910B3", precision="precision_mode_v2=origin")):
        event("found wanting")
        return
    event("passed")
    x = np.random.default_rng(5).normal(size=(1, 3, SIZE, SIZE)).astype(np.float32)
    with in_scratch() as scratch:
        graphs.save(scratch, model)
        table = AtcTable(precision_mode_v2="origin")
        (conversion,) = conversions(table, soc_of("Ascend910B3"), InputSpec(size=SIZE))
        answer = converted(conversion)
        assert answer.status == 0, answer.out
        stored = stored_graph(scratch / f"{conversion.stem}.om").SerializeToString()
        np.testing.assert_allclose(runs(stored, x), runs(model.SerializeToString(), x), atol=1e-5)


@pytest.mark.parametrize("opset", range(8, 22))
def test_opsets_agree(opset: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both take 11 to 18, and nothing else."""
    monkeypatch.chdir(tmp_path)
    model = graphs.conv(opset=opset, dims=("N", 3, SIZE, SIZE))
    graphs.save(tmp_path, model)
    here = not fatal(preflight(model, precision="precision_mode_v2=origin"))
    soc = soc_of("Ascend910B3")
    there = converted(conversions(AtcTable(), soc, InputSpec(size=SIZE))[0]).status == 0
    assert here == there == (11 <= opset <= 18)
