"""Opening what a comparison names: all the runtime opens, and rehearsals of an accelerator."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import get_args

from parity.rehearsal.arithmetic import Arithmetic, rehearsed_graph
from parity.rehearsal.keep_list import KeepList
from runtime.backends import Settings, check_precision
from runtime.backends.base import DEFAULT_SETTINGS, Backend
from runtime.detector import Detector
from runtime.errors import ConfigError
from runtime.model.source import Artifact, Source, find_artifact

REHEARSAL = "rehearse"
NOTHING_KEPT = KeepList(lines=())


def open_detector(
    source: Source, settings: Settings = DEFAULT_SETTINGS, keep_fp32: KeepList = NOTHING_KEPT
) -> Detector:
    """Open a source; `m.onnx@rehearse/fp16` runs in an accelerator's arithmetic on the CPU.

    Args:
        source: anything `Detector` takes, or a rehearsal.
        settings: as for `Detector`.
        keep_fp32: which of a rehearsed graph's operators stay in fp32.

    Raises:
        ConfigError: an arithmetic that is none, a rehearsal of something without a graph, or a
            line of the list that names nothing in the graph.
        StarmarkError: as `Detector`.
    """
    if source.engine is None and source.device == REHEARSAL:
        source = replace(source, engine=REHEARSAL, device="")  # without saying what: refused there
    if source.engine != REHEARSAL:
        return Detector(source, settings=settings)
    return Detector(_open_rehearsal(source, settings, keep_fp32))


def is_rehearsal(device: str) -> bool:
    """Whether a backend's device is a rehearsal's."""
    return device.startswith(f"{REHEARSAL}/")


def graph_of(source: Source) -> Artifact:
    """Find the ONNX file that a source's rehearsal rewrites.

    Raises:
        ConfigError: something else than a graph.
        ArtifactError: nothing there, or a bundle that is not what it says.
    """
    artifact = find_artifact(replace(source, engine="onnxruntime", device="cpu"))
    if artifact.kind != "onnx":
        raise ConfigError(
            f"source {source.text!r}",
            expected="a bundle or an .onnx file: a rehearsal rewrites its graph",
            got=f"{artifact.path.name}, of kind {artifact.kind}",
            action="Export it first with python -m export",
        )
    return artifact


def rounded_backend(
    artifact: Artifact,
    graph: bytes,
    arithmetic: Arithmetic,
    kept: Collection[str],
    settings: Settings = DEFAULT_SETTINGS,
) -> Backend:
    """Open a graph with rounding in it, under a name that says so.

    Args:
        artifact: what the graph was made from.
        graph: its bytes, rounded.
        arithmetic: what was rounded.
        kept: the nodes that were not.
        settings: as for `Detector`.
    """
    from runtime.backends.ort import OnnxRuntimeBackend

    backend = OnnxRuntimeBackend(replace(artifact, graph=graph), "cpu", settings)
    nodes = f", {len(kept)} nodes kept in fp32" if kept else ""
    backend.name += f" rehearsing {arithmetic}{nodes}"
    backend.device = f"{REHEARSAL}/{arithmetic}"
    return backend


@dataclass(frozen=True, kw_only=True, eq=False)
class Rehearsal:
    """A graph with an accelerator's rounding in it.

    Attributes:
        artifact: what it was made from.
        graph: its bytes; the file's own for fp32.
        kept: names of the nodes that stay in fp32.
    """

    artifact: Artifact
    graph: bytes
    arithmetic: Arithmetic
    kept: frozenset[str]


def rehearsal_of(source: Source, keep_fp32: KeepList = NOTHING_KEPT) -> Rehearsal:
    """Read and rewrite the graph that a rehearsal runs.

    Raises:
        ConfigError: an arithmetic that is none, something without a graph, or a list that names
            what the graph does not hold.
        ArtifactError: nothing there, or a bundle that is not what it says.
    """
    arithmetics = get_args(Arithmetic)
    if source.device not in arithmetics:
        raise ConfigError(
            f"source {source.text!r}",
            expected=f"an arithmetic to rehearse: {', '.join(arithmetics)}",
            got=repr(source.device),
            action=f"Write {source.path}@{REHEARSAL}/fp16, for example",
        )
    arithmetic: Arithmetic = source.device  # type: ignore[assignment]  # checked above
    artifact = graph_of(source)
    graph = artifact.path.read_bytes()
    kept: frozenset[str] = frozenset()
    if keep_fp32.lines:
        from parity.rehearsal.graph import types_by_node  # onnx: only where names are looked up

        kept = keep_fp32.nodes_in(types_by_node(graph))
    rounded = rehearsed_graph(graph, arithmetic, kept)
    return Rehearsal(artifact=artifact, graph=rounded, arithmetic=arithmetic, kept=kept)


def _open_rehearsal(source: Source, settings: Settings, keep_fp32: KeepList) -> Backend:
    check_precision("onnxruntime", source, settings)
    made = rehearsal_of(source, keep_fp32)
    return rounded_backend(made.artifact, made.graph, made.arithmetic, made.kept, settings)
