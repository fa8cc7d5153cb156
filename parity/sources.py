"""Opening what a comparison names: all the runtime opens, and rehearsals of an accelerator."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import get_args

from parity.arithmetic import Arithmetic, rehearsed_graph
from runtime.backends import Settings
from runtime.backends.base import FOR_PARITY, Backend
from runtime.detector import Detector
from runtime.errors import ConfigError
from runtime.source import Source, find_artifact

REHEARSAL = "rehearse"


def open_detector(
    source: Source, settings: Settings = FOR_PARITY, keep_fp32: Collection[str] = ()
) -> Detector:
    """Open a source; `m.onnx@rehearse/fp16` runs in an accelerator's arithmetic on the CPU.

    Args:
        source: anything `Detector` takes, or a rehearsal.
        settings: as for `Detector`.
        keep_fp32: names of a rehearsed graph's nodes that stay in fp32.

    Raises:
        ConfigError: an arithmetic that is none, or a rehearsal of something without a graph.
        StarmarkError: as `Detector`.
    """
    if source.engine != REHEARSAL:
        return Detector(source, settings=settings)
    return Detector(_rehearsal(source, settings, keep_fp32))


def _rehearsal(source: Source, settings: Settings, keep_fp32: Collection[str]) -> Backend:
    from runtime.backends.ort import OnnxRuntimeBackend

    arithmetics = get_args(Arithmetic)
    if source.device not in arithmetics:
        raise ConfigError(
            f"source {source.text!r}",
            expected=f"an arithmetic to rehearse: {', '.join(arithmetics)}",
            got=repr(source.device),
            action=f"Write {source.path}@{REHEARSAL}/fp16, for example",
        )
    artifact = find_artifact(replace(source, engine="onnxruntime", device="cpu"))
    if artifact.kind != "onnx":
        raise ConfigError(
            f"source {source.text!r}",
            expected="a bundle or an .onnx file: a rehearsal rewrites its graph",
            got=f"{artifact.path.name}, of kind {artifact.kind}",
            action="Export it first with python -m export",
        )
    arithmetic: Arithmetic = source.device  # type: ignore[assignment]  # checked above
    graph = rehearsed_graph(artifact.path.read_bytes(), arithmetic, keep_fp32)
    backend = OnnxRuntimeBackend(replace(artifact, graph=graph), "cpu", settings)
    kept = f", {len(keep_fp32)} nodes kept in fp32" if keep_fp32 else ""
    backend.name += f" rehearsing {arithmetic}{kept}"
    backend.device = f"{REHEARSAL}/{arithmetic}"
    return backend
