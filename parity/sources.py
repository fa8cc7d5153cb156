"""Opening the sources of a comparison: all that the runtime opens, and rehearsals."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import get_args

from parity.rehearsal.arithmetic import Arithmetic
from parity.rehearsal.keep_list import KeepList
from runtime.backends import Settings, check_precision
from runtime.backends.base import DEFAULT_SETTINGS, Backend
from runtime.detector import Detector
from runtime.errors import ConfigError
from runtime.model.device import CPU
from runtime.model.source import Artifact, Source, find_artifact

REHEARSAL = "rehearse"
NOTHING_KEPT = KeepList(lines=())


def open_detector(
    source: Source, settings: Settings = DEFAULT_SETTINGS, keep_fp32: KeepList = NOTHING_KEPT
) -> Detector:
    """Open a source; `m.onnx@rehearse/fp16` runs in an accelerator's arithmetic on the CPU.

    Args:
        source: anything `Detector` opens, or a rehearsal.
        settings: as for `Detector`.
        keep_fp32: which of a rehearsed graph's operators stay in fp32.

    Raises:
        StarmarkError: as `Detector`, or as `rehearsed_source`.
    """
    if source.engine is None and source.device == REHEARSAL:
        source = replace(source, engine=REHEARSAL, device="")  # without an arithmetic: refused
    if source.engine != REHEARSAL:
        return Detector(source, settings=settings)
    check_precision("onnxruntime", source, settings)
    artifact, arithmetic, kept = rehearsed_source(source, keep_fp32)
    return Detector(rounded_backend(artifact, arithmetic, kept, settings))


def is_rehearsal(device: str) -> bool:
    """Whether a backend's device is a rehearsal's."""
    return device.startswith(f"{REHEARSAL}/")


def graph_of(source: Source) -> Artifact:
    """Find the ONNX file that a source's rehearsal rewrites.

    Raises:
        ConfigError: something else than a graph.
        ArtifactError: nothing there, or a damaged bundle.
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


def rehearsed_source(
    source: Source, keep_fp32: KeepList = NOTHING_KEPT
) -> tuple[Artifact, Arithmetic, frozenset[str]]:
    """Read a rehearsal's graph, and insert the rounding.

    Returns:
        The artifact with the rewritten graph, its arithmetic, and the nodes that stay in fp32.

    Raises:
        ConfigError: an unknown arithmetic, something without a graph, or a list that names what
            the graph does not hold.
        ArtifactError: nothing there, or a damaged bundle.
    """
    arithmetics = get_args(Arithmetic)
    if source.device not in arithmetics:
        raise ConfigError(
            f"source {source.text!r}",
            expected=f"an arithmetic to rehearse: {', '.join(arithmetics)}",
            got=repr(source.device),
            action=f"Write {source.path}@{REHEARSAL}/fp16, for example",
        )
    from parity.onnx_weights import whole_graph  # onnx: only for rehearsals
    from parity.rehearsal.graph import rehearsed_graph, types_by_node

    arithmetic: Arithmetic = source.device  # type: ignore[assignment]  # checked above
    artifact = graph_of(source)
    graph = whole_graph(artifact.path)
    kept = keep_fp32.nodes_in(types_by_node(graph)) if keep_fp32.lines else frozenset[str]()
    rounded = rehearsed_graph(graph, arithmetic, kept)
    return replace(artifact, graph=rounded), arithmetic, kept


def rounded_backend(
    artifact: Artifact,
    arithmetic: Arithmetic,
    kept: Collection[str],
    settings: Settings = DEFAULT_SETTINGS,
) -> Backend:
    """Open a rewritten graph, under a name that tells what was rounded and how much was not."""
    from runtime.backends.ort import OnnxRuntimeBackend

    backend = OnnxRuntimeBackend(artifact, CPU, settings)
    nodes = f", {len(kept)} nodes kept in fp32" if kept else ""
    backend.name += f" rehearsing {arithmetic}{nodes}"
    backend.device = f"{REHEARSAL}/{arithmetic}"
    backend.arithmetic = arithmetic
    return backend
