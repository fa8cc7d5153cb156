"""The accelerator's arithmetic: each rounding against a slow oracle, each rewritten graph, too."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from parity.rehearsal.arithmetic import Arithmetic, round_to_fp16, round_to_hf32
from parity.rehearsal.graph import rehearsed_graph
from parity.sources import open_detector
from runtime.errors import ArtifactError, ConfigError
from runtime.model.source import parse_source

F32 = NDArray[np.float32]


def slow_round(value: float, mantissa_bits: int) -> float:
    """Round to that many explicit mantissa bits, to nearest even, by plain arithmetic."""
    if value == 0 or not math.isfinite(value):
        return value
    fraction, exponent = math.frexp(value)
    scale = 2.0 ** (mantissa_bits + 1)
    return math.ldexp(round(fraction * scale) / scale, exponent)


@example(1 + 2**-12)  # ties, to even
@example(-1 - 3 * 2**-12)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_hf32_keeps_eleven_mantissa_bits(value: float) -> None:
    expected = slow_round(value, 11)
    found = float(round_to_hf32(np.array([value], np.float32))[0])

    assert found == expected or (
        math.isinf(found) and abs(expected) > float(np.finfo(np.float32).max)
    )


@given(st.floats(min_value=-65504, max_value=65504, width=32))
def test_fp16_keeps_ten_mantissa_bits(value: float) -> None:
    found = float(round_to_fp16(np.array([value], np.float32))[0])
    if abs(value) >= 2**-14:
        assert found == slow_round(value, 10)
    else:
        assert found == round(value * 2**24) / 2**24  # subnormal: multiples of 2^-24


def test_beyond_halfs_range_is_infinite() -> None:
    assert np.isinf(round_to_fp16(np.array([70000.0], np.float32)))


def test_what_is_no_number_stays_none() -> None:
    """Also with all bits set, which rounding would carry over into a zero."""
    assert np.isnan(round_to_hf32(np.array([0x7FFFFFFF], np.uint32).view(np.float32)))


def small_graph() -> bytes:
    """Conv and BatchNormalization, then a Slice, whose other inputs are indices."""
    rng = np.random.default_rng(1)
    weights: dict[str, NDArray[Any]] = {
        "w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "b": rng.normal(size=4).astype(np.float32),
        **{name: rng.uniform(0.5, 2, 4).astype(np.float32) for name in ("s", "o", "m", "v")},
        **{n: np.array([i], np.int64) for n, i in (("from", 1), ("to", 3), ("axis", 1))},
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["c", "s", "o", "m", "v"], ["n"], "bn"),
        helper.make_node("Slice", ["n", "from", "to", "axis"], ["y"], "slice"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2, 6, 6])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def run(graph: bytes, x: F32) -> F32:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0], np.float32)


def slow_conv(x: F32, w: F32, b: F32) -> NDArray[np.float64]:
    out = np.zeros((len(x), len(w), x.shape[2] - 2, x.shape[3] - 2))
    for r in range(out.shape[2]):
        for c in range(out.shape[3]):
            patch = x[:, :, r : r + 3, c : c + 3].astype(np.float64)
            out[:, :, r, c] = np.einsum("nihw,oihw->no", patch, w.astype(np.float64)) + b
    return out


def oracle(x: F32, arithmetic: Arithmetic, *, keep_norm: bool = False) -> NDArray[np.float64]:
    model = onnx.load_model_from_string(small_graph())
    t = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    operand = round_to_hf32 if arithmetic == "hf32" else round_to_fp16
    after = round_to_fp16 if arithmetic == "fp16" else lambda values: values
    bias = t["b"] if arithmetic == "hf32" else round_to_fp16(t["b"])
    conv = after(slow_conv(operand(x), operand(t["w"]), bias).astype(np.float32))
    store = (lambda values: values) if keep_norm else after
    s, o, m, v = (store(t[name])[:, None, None].astype(np.float64) for name in ("s", "o", "m", "v"))
    norm = store(((conv - m) / np.sqrt(v + 1e-5) * s + o).astype(np.float32))
    return np.asarray(after(norm)[:, 1:3], np.float64)


@pytest.mark.parametrize("arithmetic", ["hf32", "fp16_cube", "fp16"])
def test_a_rehearsed_graph_gives_what_the_oracle_gives(arithmetic: Arithmetic) -> None:
    x = np.random.default_rng(2).normal(size=(2, 3, 8, 8)).astype(np.float32)
    plain, rehearsed = run(small_graph(), x), run(rehearsed_graph(small_graph(), arithmetic), x)
    expected = oracle(x, arithmetic)
    step = np.abs(plain).max() * 2**-11  # one fp16 rounding of the largest number

    assert np.abs(plain - expected).max() > 1e-5
    tolerance = 2 * step if arithmetic == "fp16" else 1e-5
    assert np.abs(rehearsed - expected).max() <= tolerance
    # nearly all numbers agree to the bit of what is stored; sums of another order may round apart
    assert (np.abs(rehearsed - expected) <= 1e-5).mean() > 0.95


def test_a_kept_node_stays_in_fp32() -> None:
    x = np.random.default_rng(3).normal(size=(1, 3, 8, 8)).astype(np.float32)
    kept = run(rehearsed_graph(small_graph(), "fp16", {"bn"}), x)

    assert (np.abs(kept - oracle(x, "fp16", keep_norm=True)) <= 1e-5).mean() > 0.95
    assert np.abs(kept - run(rehearsed_graph(small_graph(), "fp16"), x)).max() > 1e-5


def test_with_all_nodes_kept_nothing_changes() -> None:
    x = np.random.default_rng(4).normal(size=(1, 3, 8, 8)).astype(np.float32)
    kept = rehearsed_graph(small_graph(), "fp16", {"conv", "bn", "slice"})

    assert np.array_equal(run(kept, x), run(small_graph(), x))
    assert rehearsed_graph(small_graph(), "fp32") == small_graph()


@pytest.mark.parametrize("name", ["", "conv"])
def test_a_graph_whose_nodes_cannot_be_told_apart_is_refused(name: str) -> None:
    """A list of names would keep others than were meant, or none."""
    model = onnx.load_model_from_string(small_graph())
    model.graph.node[1].name = name
    with pytest.raises(ArtifactError, match="expected a name for every node, each once"):
        rehearsed_graph(model.SerializeToString(), "fp16")


def test_a_rehearsal_of_nothing_says_what_can_be_rehearsed(tiny: Path) -> None:
    with pytest.raises(ConfigError, match="an arithmetic to rehearse: fp32, hf32"):
        open_detector(parse_source(f"{tiny}@rehearse"))
