"""The one table of engines. Classes are named as strings, so that importing this loads none."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Callable

from runtime.backends.base import DEFAULT_SETTINGS, Backend, Outputs, Settings
from runtime.errors import BackendUnavailable, ConfigError
from runtime.machine.packages import importing
from runtime.model.device import Device
from runtime.model.source import Artifact, Source, find_artifact, parse_source

__all__ = ["ENGINES", "Backend", "Outputs", "Settings", "open_backend"]

logger = logging.getLogger("starmark")

# engine -> (class, the kind of file it opens); of two engines for one kind the first is the default
ENGINES: dict[str, tuple[str, str]] = {
    "torch": ("runtime.backends.torch.backend:TorchBackend", "checkpoint"),
    "onnxruntime": ("runtime.backends.ort:OnnxRuntimeBackend", "onnx"),
    "openvino": ("runtime.backends.openvino:OpenVinoBackend", "onnx"),
    "om": ("runtime.backends.ascend.backend:OmBackend", "om"),
}
# Engines whose arithmetic can be chosen.
CHOOSES_PRECISION = frozenset({"openvino"})


def open_backend(
    source: str | os.PathLike[str] | Source,
    device: str = "auto",
    *,
    settings: Settings = DEFAULT_SETTINGS,
) -> Backend:
    """Open what a source names, on the device it names.

    Args:
        source: `PATH[@[ENGINE/]DEVICE]`.
        device: "auto", "cpu", "cuda:0", "npu:0", an onnxruntime provider's name, or for OpenVINO a
            device of its own, also with a precision ("cpu:bf16").
        settings: what else the caller chooses.

    Raises:
        ConfigError: the source cannot be read, or names an engine for another kind of file.
        ArtifactError: the file is no model, or the bundle does not match its manifest.
        BackendUnavailable: the engine or the device is missing. Nothing else is tried.
    """
    if not isinstance(source, Source):
        source = parse_source(source, device)
    if source.engine is not None and source.engine not in ENGINES:
        raise ConfigError(
            f"source {source.text!r}",
            expected=f"one of the engines {', '.join(ENGINES)}",
            got=repr(source.engine),
            action="Name a known engine, or leave it out: the file decides",
        )
    if source.engine is None and source.device in ENGINES:
        raise ConfigError(
            f"source {source.text!r}",
            expected=f"a device behind the engine: {source.path}@{source.device}/cpu, for example",
            got=f"the engine {source.device!r} alone",
            action="Name its device, too",
        )
    artifact = find_artifact(source)
    _say_unproven(source, artifact)
    by_kind = (name for name, (_, kind) in ENGINES.items() if kind == artifact.kind)
    engine = source.engine or next(by_kind)
    _, kind = ENGINES[engine]
    if kind != artifact.kind:
        raise ConfigError(
            f"source {source.text!r}",
            expected=f"a file of kind {kind} for {engine}",
            got=f"{artifact.path.name}, of kind {artifact.kind}",
            action="Leave the engine out: the file decides",
        )
    check_precision(engine, source, settings)
    chooses = source.device == "auto" and engine == "onnxruntime"
    backend, refusal = None, "the source names its ONNX"
    # a bundle leaves the choice open; a named file or engine is never replaced
    if chooses and source.engine is None and source.path.is_dir():
        backend, refusal = _on_npu(artifact, settings)
    if backend is None:
        backend = _load(engine)(artifact, Device.of(source.device), settings)
        if chooses:
            cpu = "cpu: onnxruntime runs on the CPU unless a device is named"
            backend.reasons = (f"npu: {refusal}", cpu)
    return backend


def _on_npu(artifact: Artifact, settings: Settings) -> tuple[Backend | None, str]:
    """Open the NPU, the first choice of `auto`, or return why it cannot be used.

    A model for another chip than this machine's is still an error: it was not carried here for its
    ONNX.
    """
    manifest = artifact.manifest
    if manifest is None or not manifest.om:
        return None, "the source holds no .om"
    found = importlib.util.find_spec("acl")
    if found is None or found.origin is None:  # a folder of that name is no module
        return None, "pyACL (Python's module acl, of CANN) is not there"
    converted = Artifact(
        path=artifact.path.with_name(manifest.om[0].file),
        kind="om",
        manifest=manifest,
        oms=manifest.om,
    )
    try:
        backend = _load("om")(converted, Device("npu", 0), settings)
    except BackendUnavailable as error:
        return None, str(error)
    backend.reasons = (f"npu: {backend.device} is there, and the bundle's .om is for it",)
    return backend, ""


def check_precision(engine: str, source: Source, settings: Settings) -> None:
    """Refuse a choice that an engine would pass over.

    Raises:
        ConfigError: a precision for an engine that runs what the file holds.
    """
    if settings.precision is not None and engine not in CHOOSES_PRECISION:
        raise ConfigError(
            f"--precision {settings.precision}",
            expected=f"only engines that can choose: {', '.join(sorted(CHOOSES_PRECISION))}",
            got=f"{engine} for {source}",
            action=f"Leave it out; for one source of several, write"
            f" {source.path}@openvino/cpu:{settings.precision}",
        )


def _say_unproven(source: Source, artifact: Artifact) -> None:
    if artifact.manifest is not None and not artifact.manifest.parity.passed:
        verdict = artifact.manifest.parity.passed
        found = "was never judged" if verdict is None else "was judged and found wanting"
        logger.warning("WARNING: %s %s: see parity in its manifest", source, found)


def _load(engine: str) -> Callable[[Artifact, Device, Settings], Backend]:
    module, _, name = ENGINES[engine][0].partition(":")
    with importing(engine):
        opener: Callable[[Artifact, Device, Settings], Backend]
        opener = getattr(importlib.import_module(module), name)
    return opener
