"""All rules over one graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import google.protobuf.message
import numpy as np
import onnx
from numpy.typing import NDArray

from export.preflight.file_rules import LARGEST_FILE_BYTES, too_large
from export.preflight.finding import SEVERITIES, Finding, Rule
from export.preflight.graph import Graph
from export.preflight.plan import Plan, plan_of
from export.preflight.rules import LAST_RULES, RULES
from runtime.errors import ArtifactError, one_line
from runtime.files import shown
from runtime.model.manifest import ONNX_NAME

IN_MEMORY = "the model in memory"


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
        precision: as ATC is given it, for example "precision_mode_v2=origin"; empty for its
            default, fp16.
        crops: uint8 (N, S, S, 3) BGR to measure activations on, S the side of the input; None
            takes the embedded samples.

    Returns:
        Refused before changed before risks, each in the order of the graph; empty where nothing
        was found.

    Raises:
        ArtifactError: no such file, or no ONNX model in it.
        BackendUnavailable: "auto", and npu-smi names no chip.
        ConfigError: no such chip or precision mode, or a batch below 1.
        InputError: crops of another size than the input.
    """
    plan = plan_of(soc_version=soc_version, batches=batches, gears=gears, precision=precision)
    if isinstance(model, onnx.ModelProto):
        where = IN_MEMORY
        graph = Graph(model, plan, crops=crops, path=None, file_bytes=_bytes_of(model))
    else:
        path = _file_of(model)
        where = shown(path)
        graph = _read(path, plan, crops)
    if any(isinstance(each, bytes) for each in _texts(graph.model)):
        raise _no_model(where, "names that are not UTF-8")
    return tuple(_findings(graph))


def _findings(graph: Graph) -> Iterator[Finding]:
    if graph.file_bytes > LARGEST_FILE_BYTES:
        # protobuf reads no such file, so that nothing else can be said of it
        yield from (finding for _, finding in too_large.apply(graph))
        return
    found = _apply(RULES, graph)
    if not any(finding.severity == "refused" for _, _, _, finding in found):
        found += next(filter(None, (_apply((rule,), graph) for rule in LAST_RULES)), [])
    for _, _, _, finding in sorted(found, key=lambda each: each[:3]):
        yield finding


def _apply(rules: tuple[Rule, ...], graph: Graph) -> list[tuple[int, int, int, Finding]]:
    """Findings behind what they are sorted by: severity, place in the graph, place in the table."""
    return [
        (SEVERITIES.index(finding.severity), position, index, finding)
        for index, rule in enumerate(rules)
        for position, finding in rule.apply(graph)
    ]


def _file_of(path: Path) -> Path:
    """The .onnx a path means; a bundle's own where it is a folder."""
    try:
        inside = path / ONNX_NAME if path.is_dir() else path
        if inside.is_file():
            return inside
        got = "a folder without it" if path.is_dir() else "a pipe or device"
        if not inside.exists() and not path.is_dir():
            got = "no such file"
    except (OSError, ValueError) as error:  # a name too long, a NUL in it, a closed folder
        got = one_line(getattr(error, "strerror", None) or error)
    raise ArtifactError(
        shown(path),
        expected=f"an .onnx file, or a bundle with {ONNX_NAME}",
        got=got,
        action="Check the path, or make a bundle with python -m export",
    )


def _read(path: Path, plan: Plan, crops: NDArray[np.uint8] | None) -> Graph:
    parsed = onnx.ModelProto()
    try:
        size = path.stat().st_size
        if size <= LARGEST_FILE_BYTES:
            parsed.ParseFromString(path.read_bytes())
    except google.protobuf.message.DecodeError as error:
        raise _no_model(shown(path), f"{size} bytes that are none") from error
    except OSError as error:
        raise _no_model(shown(path), error.strerror or str(error)) from error
    if size <= LARGEST_FILE_BYTES and not parsed.HasField("graph"):
        raise _no_model(shown(path), "no graph in it" if size else "an empty file")
    return Graph(parsed, plan, crops=crops, path=path, file_bytes=size)


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


def _bytes_of(model: onnx.ModelProto) -> int:
    try:
        return int(model.ByteSize())
    except (ValueError, google.protobuf.message.EncodeError):
        return LARGEST_FILE_BYTES + 1  # more than protobuf can count


def _no_model(where: str, got: str) -> ArtifactError:
    return ArtifactError(
        where,
        expected="an ONNX model",
        got=got,
        action="Export it again with python -m export",
    )
