"""Preflight's rules: each is tripped by its planted graph, none by our own exports."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import planted_graphs
import pytest
import torch
from builders import STARTER
from onnx import helper
from planted_graphs import PLANTED, Planted, clean, model, node, pool, single

from export.atc.precision import MODES
from export.config import OnnxTable
from export.graph.simplify import simplify
from export.graph.to_onnx import export_graph
from export.preflight import RULES, Finding, fatal, preflight
from runtime.errors import ConfigError, StarmarkError

# Tripped in test_command.py.
ON_DISK = {"external-data"}
CASES = [
    pytest.param(name, planted, id=f"{name}-{index}")
    for name, many in PLANTED.items()
    for index, planted in enumerate(many)
]
FUZZED = 300


def rules_of(findings: tuple[Finding, ...]) -> set[str]:
    return {finding.rule for finding in findings}


def outcome(path: Path) -> str:
    """What became of a file; any other error than ours is the caller's to see."""
    try:
        return "findings" if preflight(path, soc_version="Ascend910B3") else "nothing"
    except StarmarkError as error:
        return "two lines" if "\n" in str(error) else type(error).__name__


def exported(weights: Path, exporter: Any) -> onnx.ModelProto:
    made = export_graph(weights, OnnxTable(exporter=exporter))
    return simplify(made)


def test_every_rule_has_a_graph_that_trips_it() -> None:
    """A new rule without one fails here; each says where its contract is written."""
    names = [rule.name for rule in RULES]

    assert len(names) == len(set(names))
    assert set(names) == {*PLANTED, *ON_DISK}
    for rule in RULES:
        assert "[V: " in rule.source or "[I] " in rule.source, rule.name
        # what is only inferred stops no conversion
        assert "[V: " in rule.source or rule.severity == "risk", rule.name
        assert rule.remedy
        assert not rule.remedy.endswith(".")


@pytest.mark.parametrize(("name", "planted"), CASES)
def test_planted_fault_is_found_and_nothing_else(name: str, planted: Planted) -> None:
    """One graph, one fault, one rule."""
    findings = preflight(planted.model, **planted.plan)

    assert rules_of(findings) == {name, *planted.beside}
    for finding in findings:
        assert finding.node
        assert finding.found
        assert finding.remedy


@pytest.mark.parametrize("opset", range(11, 19))
def test_nothing_is_found_in_a_graph_without_faults(opset: int) -> None:
    """At every opset ATC reads, and with every precision mode a 910B has."""
    assert preflight(clean(opset), soc_version="Ascend910B3") == ()
    for option, modes in MODES.items():
        for mode in set(modes) - {"cube_hif8", "mixed_hif8"}:
            precision = f"{option}={mode}"
            assert preflight(clean(opset), soc_version="Ascend910B3", precision=precision) == ()


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_nothing_is_found_in_the_starter_export(exporter: str) -> None:
    """Single batches and gears, fp16 in every reach, on each generation of chips."""
    graph = exported(STARTER, exporter)

    for chip in ("Ascend910B3", "Ascend910_9391", "Ascend310P3", "Ascend310B1", "Ascend910A"):
        assert preflight(graph, soc_version=chip, precision="precision_mode_v2=fp16") == ()
    for batches, gears in (((1,), False), ((1, 4), False), ((1, 2, 4, 8), True)):
        for mode in ("cube_fp16in_fp32out", "origin"):
            precision = f"precision_mode_v2={mode}"
            found = preflight(graph, batches=batches, gears=gears, precision=precision)
            assert found == ()


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_nothing_is_found_in_the_full_size_export(
    exporter: str, shared: Path, tmp_path: Path
) -> None:
    """The stand-in for the published checkpoint, under ATC's own defaults."""
    state = runpy.run_path(str(shared / "golden/make_checkpoint.py"))["state_dict"]()
    torch.save({"net": state}, tmp_path / "full.pkl")

    assert preflight(exported(tmp_path / "full.pkl", exporter), soc_version="Ascend910B3") == ()


def test_all_faults_are_listed_at_once_and_in_order() -> None:
    """Refused before changed before risks; within each, in the order of the graph.

    A node without a name is called by its type and place.
    """
    graph = model(
        [
            node("MaxPool", ["image"], ["pooled"], kernel_shape=[2, 2], dilations=[2, 2]),
            node("Clip", ["pooled"], ["clipped"]),
            node("Swish", ["clipped"], ["y"]),
        ],
        opset=19,
    )
    graph.graph.node[1].name = graph.graph.node[0].name
    graph.graph.node[2].name = ""
    findings = preflight(graph, soc_version="Ascend910B")

    assert [(each.severity, each.rule, each.node) for each in findings] == [
        ("refused", "opset", "graph"),
        ("refused", "duplicate-node", "pooled"),
        ("refused", "clip-bounds", "pooled"),
        ("refused", "unsupported-operator", "Swish_2"),
        ("changed", "pool-dilation", "pooled"),
        ("risk", "old-chip", "graph"),
    ]
    assert fatal(findings)
    assert not fatal(findings[-1:])


def test_constant_that_only_bounds_is_no_weight() -> None:
    """The decoder's clamp at 1e-6 is exempt; a factor of 1e-6 is not, nor is a bound used twice."""
    bound = {"low": np.array(1e-6, np.float32)}
    assert preflight(single("Clip", bound)) == ()
    assert preflight(single("Max", {"huge": np.array([-3e38], np.float32)})) == ()
    assert "fp16-weight-underflow" in rules_of(preflight(single("Mul", bound)))
    twice = model(
        [node("Clip", ["image", "low"], ["x"]), node("Add", ["x", "low"], ["y"])], constants=bound
    )
    assert "fp16-weight-underflow" in rules_of(preflight(twice))


@pytest.mark.parametrize(
    ("bound", "becomes_0"), [(1e-6, False), (2.99e-8, False), (2.98e-8, True), (-1e-10, False)]
)
def test_guard_is_judged_by_what_fp16_makes_of_it(bound: float, becomes_0: bool) -> None:
    """Up to 2**-25 fp16 rounds to 0; what nobody divides by guards nothing."""
    found = rules_of(preflight(planted_graphs.guarded("Max", bound)))
    assert found == ({"fp16-guard"} if becomes_0 else set())
    plain = preflight(planted_graphs.guarded("Max", bound), precision="precision_mode_v2=origin")
    assert plain == ()
    assert preflight(single("Max", {"bound": np.array([bound], np.float32)})) == ()


def test_convolution_at_its_limits_is_converted() -> None:
    """And a depth of any size: CANN bounds height and width."""
    image = planted_graphs.value("image", ("N", 3, 512, 1024))
    edge = {"strides": [63, 63], "pads": [255] * 4, "dilations": [255, 1]}
    weight = {"weight": np.full((1, 3, 1, 511), 0.01, np.float32)}
    at_limit = model(
        [node("Conv", ["image", "weight"], ["y"], **edge)], constants=weight, inputs=[image]
    )
    assert "conv-limits" not in rules_of(preflight(at_limit))
    line = model(
        [node("Conv", ["image", "weight"], ["y"], strides=[63])],
        constants={"weight": np.ones((600, 600, 3), np.float32)},
        inputs=[planted_graphs.value("image", ("N", 600, 64))],
    )
    assert "conv-limits" not in rules_of(preflight(line))


def test_size_that_an_edit_left_on_an_output_is_no_fault() -> None:
    """ATC and onnxruntime compute it anew; another type is a fault."""
    made = clean()
    made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 7
    assert preflight(made) == ()
    made.graph.output[0].type.tensor_type.ClearField("shape")
    assert preflight(made) == ()
    made = clean()
    made.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    assert rules_of(preflight(made)) == {"invalid-graph"}


def test_a_tensor_is_judged_by_its_largest_number() -> None:
    """0 is exact in fp16, small numbers beside large ones are lost, an empty tensor has none."""
    mixed = np.full((3, 1, 1), 1e-7, np.float32)
    mixed[1] = 0.5
    for constant in (np.zeros((3, 16, 16), np.float32), mixed):
        assert preflight(single("Add", {"constant": constant})) == ()
    assert preflight(single("Slice", {n: np.array([0]) for n in ("start", "end", "axis")})) == ()
    broken = single("Add", {"constant": np.array([np.nan], np.float32)})
    assert "fp16-weight-overflow" in rules_of(preflight(broken))


def test_fp16_is_judged_only_where_it_reaches() -> None:
    """Everywhere by default, into convolutions under cube modes, nowhere under origin or bf16."""
    big = single("Greater", {"large": np.array([1e5], np.float32)})
    big.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.BOOL
    tiny = PLANTED["fp16-weight-underflow"][0].model
    found = {
        (name, mode): rules_of(preflight(graph, precision=f"precision_mode_v2={mode}"))
        for name, graph in (("vector", big), ("cube", tiny))
        for mode in ("fp16", "cube_fp16in_fp32out", "origin", "mixed_bfloat16")
    }

    assert "fp16-weight-overflow" in found["vector", "fp16"]
    assert found["vector", "cube_fp16in_fp32out"] == set()
    assert found["cube", "fp16"] == {"fp16-weight-underflow"}
    assert found["cube", "cube_fp16in_fp32out"] == {"fp16-weight-underflow"}
    for mode in ("origin", "mixed_bfloat16"):
        assert found["vector", mode] == found["cube", mode] == set()


def test_activations_are_measured_on_the_callers_crops() -> None:
    """Grey of 127 is near 0 everywhere once packed: the convolution sees nothing."""
    graph = single("Mul", {"factor": np.array([1e-2], np.float32)})
    grey = np.full((2, 16, 16, 3), 127, np.uint8)

    assert preflight(graph) == ()
    assert rules_of(preflight(graph, crops=grey)) == {"fp16-activation-underflow"}


def test_fixed_batch_is_measured_at_that_batch() -> None:
    """A graph of batch 3 runs on three copies of each crop."""
    shape = (3, 3, planted_graphs.SIDE_PX, planted_graphs.SIDE_PX)
    graph = model([node("Relu", ["image"], ["y"])], inputs=[planted_graphs.value("image", shape)])

    assert preflight(graph) == ()
    assert preflight(graph, batches=()) == ()


def test_graph_quantised_by_amct_is_not_refused() -> None:
    """The remedy for quantised graphs must not be refused itself; it cannot be measured here."""
    graph = model(
        [
            node("AscendQuant", ["image"], ["x"], scale=1.0, offset=0.0),
            node("Relu", ["x"], ["y"]),
        ]
    )

    assert rules_of(preflight(graph)) == {"unmeasured"}
    assert not fatal(preflight(graph))


def test_shapes_computed_from_shapes_are_no_int64_arithmetic() -> None:
    """They are folded on the host."""
    graph = model(
        [
            node("Shape", ["image"], ["shape"]),
            node("Mul", ["shape", "one"], ["same"]),
            node("Mul", ["same", "one"], ["again"]),
            node("Reshape", ["image", "again"], ["y"]),
        ],
        constants={"one": np.array([1])},
    )

    assert preflight(graph) == ()


def test_graph_that_would_not_end_is_not_run() -> None:
    """A loop is refused at once, however often it says it runs; so is a tensor of any size."""
    assert rules_of(preflight(planted_graphs.loop_model(2**62))) == {"unsupported-operator"}
    sizes = {"shape": np.array([1 << 20, 3, 16, 16])}
    huge = single("Expand", sizes)

    assert rules_of(preflight(huge)) == {"unmeasured"}


def test_wrong_plan_is_one_line() -> None:
    """Chip, precision and batches are checked before anything else."""
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"soc_version": "910B3"}, "Did you mean Ascend910B3"),
        ({"precision": "fp16"}, "expected one of precision_mode="),
        ({"precision": "precision_mode=origin"}, "expected one of precision_mode="),
        ({"batches": (1, 0)}, "batches: expected numbers of 1 or more"),
    ]
    for plan, says in wrong:
        with pytest.raises(ConfigError, match=says):
            preflight(clean(), **plan)


@pytest.mark.slow
def test_onnx_own_operator_tests_raise_nothing() -> None:
    """Every tenth of the graphs that the ONNX project tests its operators with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are written against other versions of numpy
        from onnx.backend.test.case.node import collect_testcases

        cases = [case.model for case in collect_testcases(None) if case.model is not None]
    assert len(cases) > 1000
    for case in cases[::10]:
        for finding in preflight(case, soc_version="Ascend910B3"):
            assert finding.severity in ("refused", "changed", "risk")


def test_changed_bytes_never_end_in_a_traceback(tmp_path: Path) -> None:
    """Findings, or an error of ours in one line."""
    chance = np.random.default_rng(5)
    seeds = [many[-1].model.SerializeToString() for many in PLANTED.values()]
    path = tmp_path / "m.onnx"
    outcomes = set()
    for _ in range(FUZZED):
        content = bytearray(seeds[chance.integers(len(seeds))])
        for _ in range(chance.integers(1, 4)):
            content[chance.integers(len(content))] = chance.integers(256)
        if chance.random() < 0.1:
            del content[chance.integers(len(content)) :]
        path.write_bytes(content)
        outcomes.add(outcome(path))

    assert outcomes == {"findings", "nothing", "ArtifactError"}


def test_what_only_looks_like_a_fault_is_none() -> None:
    """ATC converts NonZero for single batches, newer chips pool any window, a branch has own names.

    An attribute of another type counts as absent, as ATC's plugins read it.
    """
    assert "data-shaped" not in rules_of(preflight(single("NonZero"), batches=(1, 2)))
    counted = model(
        [
            node("NonZero", ["image"], ["where"]),
            node("ReduceMax", ["where"], ["y"], axes=[1], keepdims=0),
        ],
        outputs=[planted_graphs.value("y", (4,), onnx.TensorProto.INT64)],
    )
    assert "dynamic-output" not in rules_of(preflight(counted))
    mask = {"mask": np.ones(1, np.bool_)}
    choice = model([node("Where", ["mask", "image", "image"], ["y"])], constants=mask)
    assert preflight(choice, batches=(1, 2), gears=True) == ()
    large = pool(kernel_shape=[16, 16])
    for unlimited in ("Ascend950PR_9599", "=Ascend777Q"):
        assert preflight(large, soc_version=unlimited) == ()
    assert rules_of(preflight(large, soc_version="Ascend910B3")) == {"pool-slow"}
    (attribute,) = [each for each in large.graph.node[0].attribute if each.name == "kernel_shape"]
    attribute.CopyFrom(helper.make_attribute("kernel_shape", "16, 16"))
    assert "pool-slow" not in rules_of(preflight(large))
    branching = planted_graphs.if_model()
    for each in branching.graph.node[0].attribute:
        each.g.node[0].name = branching.graph.node[0].name
    assert "duplicate-node" not in rules_of(preflight(branching))


@pytest.mark.parametrize("name", ["a,b", "a:b", "a b", "it's"])
def test_names_that_input_shape_can_hold_are_usable(name: str) -> None:
    """It is cut at ; and at the last colon: hicann/ge option_utils.cc, ParseInputShape."""
    made = clean()
    made.graph.input[0].name = name
    made.graph.node[0].input[0] = name
    assert "unusable-name" not in rules_of(preflight(made))
