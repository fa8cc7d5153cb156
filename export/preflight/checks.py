"""All rules over one graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import google.protobuf.message
import numpy as np
import onnx
from numpy.typing import NDArray

from export.atc.precision import DEFAULT_MODE, DEFAULT_OPTION, MODES
from export.preflight.finding import GRAPH, SEVERITIES, Finding, Hit, Rule, rule
from export.preflight.graph import Graph, Plan
from export.preflight.graph_rules import GRAPH_RULES
from export.preflight.magnitudes import MAGNITUDE_RULES, unmeasured
from export.preflight.operator_rules import ASCEND_OWN, OPERATOR_RULES
from export.preflight.resize import RESIZE_RULES
from parity.onnx_weights import LARGEST_GRAPH, without_weights
from runtime.errors import ArtifactError, ConfigError, one_line
from runtime.files import shown
from runtime.machine.npu_smi import chosen_soc
from runtime.model.manifest import ONNX_NAME


@rule(
    "invalid-graph",
    "refused",
    source="[V: ONNX specification, by onnx.checker with full_check]",
    remedy="Export the model again",
)
def invalid_graph(graph: Graph) -> Iterator[Hit]:
    """A graph that is none by ONNX's own rules: operators, order, types and shapes."""
    if any(node.op_type in ASCEND_OWN for node in graph.nodes):
        return  # ATC has them, ONNX has not
    bare = without_weights(graph.model, graph.folder)
    del bare.graph.output[:]
    for value in graph.model.graph.output:  # their sizes are computed anew, whatever is written
        if value.type.tensor_type.HasField("shape"):
            made = bare.graph.output.add()
            made.CopyFrom(value)
            for dim in made.type.tensor_type.shape.dim:
                dim.Clear()
    try:
        onnx.checker.check_model(bare, full_check=True)
    # a C++ library over what a stranger wrote
    except Exception as error:  # noqa: BLE001
        yield Hit(-1, GRAPH, one_line(error, 200))


# In the order in which findings about the same place are listed.
FIRST_RULES = (*GRAPH_RULES, *OPERATOR_RULES, *RESIZE_RULES, *MAGNITUDE_RULES)
# For graphs that nothing above refuses, and the first that finds something is enough: a refused
# graph is often invalid, an invalid one does not run, and the reason has been reported.
LAST_RULES = (invalid_graph, unmeasured)
RULES: tuple[Rule, ...] = (*FIRST_RULES, *LAST_RULES)


def preflight(
    model: Path | onnx.ModelProto,
    *,
    soc_version: str | None = None,
    batches: tuple[int, ...] = (1,),
    gears: bool = False,
    precision: str = "",
    crops: NDArray[np.uint8] | None = None,
) -> tuple[Finding, ...]:
    """List every reason ATC would refuse or silently change a graph, without CANN.

    Args:
        model: an .onnx file, a bundle's folder, or a model in memory.
        soc_version: the chip's exact name, or "auto" for this machine's; None leaves out what
            depends on it.
        batches: what the model will be converted for, or its gears. They give the first input's
            dynamic axis 0 its size; without any, that axis is a finding like every other.
        gears: whether one model will serve all batches.
        precision: the option and its value, for example "precision_mode_v2=origin"; empty for
            ATC's default, fp16.
        crops: uint8 (N, S, S, 3) BGR to measure activations on, S the side of the input; None
            takes the embedded samples.

    Returns:
        Refused before changed before risks, each in the order of the graph; empty where nothing
        was found.

    Raises:
        ArtifactError: no such file, or no ONNX model in it.
        BackendUnavailable: "auto", and npu-smi names no chip.
        ConfigError: no such chip or precision mode, or a batch below 1.
    """
    plan = _plan(soc_version, batches, gears=gears, precision=precision)
    if isinstance(model, onnx.ModelProto):
        path, parsed = None, model
    else:
        path, parsed = _read(model)
    if any(isinstance(each, bytes) for each in _texts(parsed)):
        raise _no_model(shown(path) if path else "the model in memory", "names that are not UTF-8")
    graph = Graph(parsed, plan, crops=crops, path=path)
    found = _apply(FIRST_RULES, graph)
    if not any(finding.severity == "refused" for _, _, _, finding in found):
        found += next(filter(None, (_apply((last,), graph) for last in LAST_RULES)), [])
    return tuple(finding for _, _, _, finding in sorted(found, key=lambda each: each[:3]))


def _plan(
    soc_version: str | None, batches: tuple[int, ...], *, gears: bool, precision: str
) -> Plan:
    named = precision or f"{DEFAULT_OPTION}={DEFAULT_MODE}"
    option, _, mode = named.partition("=")
    if mode not in MODES.get(option, {}):
        known = [f"{name}={value}" for name, values in MODES.items() for value in values]
        raise ConfigError(
            "precision",
            expected=f"one of {', '.join(known)}",
            got=repr(precision),
            action="Choose one of them, or leave it out for fp16",
        )
    if any(batch < 1 for batch in batches):
        raise ConfigError(
            "batches",
            expected="numbers of 1 or more",
            got=repr(batches),
            action="Name the batches to convert for, for example 1,4",
        )
    return Plan(
        soc=None if soc_version is None else chosen_soc(soc_version),
        batches=batches,
        gears=gears,
        precision=named,
        mode=MODES[option][mode],
    )


def _apply(rules: tuple[Rule, ...], graph: Graph) -> list[tuple[int, int, int, Finding]]:
    """Findings behind what they are sorted by: severity, place in the graph, place in the table."""
    return [
        (SEVERITIES.index(finding.severity), position, index, finding)
        for index, each in enumerate(rules)
        for position, finding in each.apply(graph)
    ]


def _read(path: Path) -> tuple[Path, onnx.ModelProto]:
    """The .onnx file that a path names, a bundle's own where it is a folder, and its model."""
    try:
        file = path / ONNX_NAME if path.is_dir() else path
        size = file.stat().st_size
        content = file.read_bytes() if size <= LARGEST_GRAPH else b""
    except (OSError, ValueError) as error:  # absent, closed, a name too long, a NUL in it
        raise ArtifactError(
            shown(path),
            expected=f"an .onnx file, or a bundle with {ONNX_NAME}",
            got=one_line(getattr(error, "strerror", None) or error),
            action="Check the path, or make a bundle with python -m export",
        ) from error
    if size > LARGEST_GRAPH:
        raise ArtifactError(
            shown(file),
            expected=f"up to {LARGEST_GRAPH} bytes: ATC reads no more (E13015), nor does protobuf",
            got=f"{size} bytes",
            action="Save its weights beside it: onnx.save(..., save_as_external_data=True)",
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except google.protobuf.message.DecodeError as error:
        raise _no_model(shown(file), f"{len(content)} bytes that are none") from error
    if not model.HasField("graph"):
        raise _no_model(shown(file), "no graph in it" if content else "an empty file")
    return file, model


def _texts(message: google.protobuf.message.Message) -> Iterator[str | bytes]:
    """Every text in a model; protobuf gives bytes where they are no UTF-8."""
    for kind, value in message.ListFields():
        many = (
            [value] if isinstance(value, (str, bytes)) or not hasattr(value, "__len__") else value
        )
        if kind.type == kind.TYPE_STRING:
            yield from many
        elif kind.type == kind.TYPE_MESSAGE:
            for each in many:
                yield from _texts(each)


def _no_model(where: str, got: str) -> ArtifactError:
    return ArtifactError(
        where,
        expected="an ONNX model",
        got=got,
        action="Export it again with python -m export",
    )
