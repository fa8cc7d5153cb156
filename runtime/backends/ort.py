"""ONNX graphs through onnxruntime: on the CPU by default, on other providers by name."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends import ort_cann
from runtime.backends.base import Outputs, Settings
from runtime.backends.graph_spec import GraphBackend, GraphTensor
from runtime.backends.torch.npu_failures import Refusal
from runtime.errors import (
    ArtifactError,
    BackendError,
    BackendUnavailable,
    InferenceError,
    one_line,
)
from runtime.machine import npu_packages, processor
from runtime.model.device import CPU, Device
from runtime.model.source import Artifact
from runtime.model.spec import CHECKPOINT_KEY

try:
    import onnxruntime
except Exception as error:  # whatever a broken one raises
    failure = ort_cann.import_failure(error)
    if failure is not None:
        raise failure from error
    raise

# device -> (provider, its option for the device's index)
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "npu": npu_packages.CANN_PROVIDER,
}
# onnxruntime's own names of the two input types
DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
ERROR_SEVERITY = 3
# How long a thread looks for work before it sleeps. onnxruntime's own time is far longer: on cores
# that another process wants, a call then takes 1.8 times as long; where none does, they are equal.
# Sleeping at once costs a tenth. Releases without this setting pass over it.
SPIN_US = "50"


class _ByBytes(os.PathLike[bytes]):
    """A path by its own bytes: onnxruntime makes UTF-8 of text, also where names are in GBK."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __fspath__(self) -> bytes:
        return os.fsencode(self._path)


class OnnxRuntimeBackend(GraphBackend):
    """One onnxruntime session. `Session.run` is safe to call from several threads."""

    def __init__(self, artifact: Artifact, device: Device, settings: Settings) -> None:
        provider, options, self.device = _provider_of(device)
        self.name = f"onnxruntime {onnxruntime.__version__} {provider}"
        where = str(artifact.path)
        several = settings.throughput and self.device == str(CPU)
        threads = 1 if several else settings.threads  # one is the caller's own
        session = _open(where, artifact.graph, provider, options, threads=threads)
        inputs, outputs = _tensors(session.get_inputs()), _tensors(session.get_outputs())
        self._describe(artifact, inputs, outputs)
        if several:
            most = max(self.batches, default=1)
            self.at_once = processor.calls_at_once(settings.threads, most)
        if self.device != str(CPU):
            self.arithmetic = ""  # a provider's own choice: TF32 on a GPU, CANN's mode on an NPU
        self.checkpoint_sha256 = session.get_modelmeta().custom_metadata_map.get(CHECKPOINT_KEY, "")
        self._session: Any = session
        self._failing = threading.Lock()

    def _infer(self, batch: NDArray[Any]) -> Outputs:
        # bound before the check: what closes the backend in between is found by it, and what does
        # so afterwards leaves this call its session
        session = self._session
        self._check_open()
        start = time.perf_counter()
        try:
            landmarks, covariance, *taps = session.run(
                [*self.spec.outputs, *self.spec.taps], {self.spec.input.name: batch}
            )
        # onnxruntime raises its own classes, which it does not export, and RuntimeError
        except Exception as error:
            with self._failing:  # of calls that fail together one is the first
                lost_to = self.lost_to
                raise lost_to or self._failure(error) from error
        # the session copies to and from its device inside run(), where it cannot be timed
        return Outputs(
            landmarks=np.asarray(landmarks),
            covariance=np.asarray(covariance),
            timings={"compute": time.perf_counter() - start},
            taps=dict(zip(self.spec.taps, map(np.asarray, taps), strict=True)),
        )

    def _failure(self, error: Exception) -> BackendError:
        text = one_line(error, 300, kind=True)
        code = ort_cann.code_in(str(error))
        kind = BackendUnavailable if code and code.kind == "unavailable" else InferenceError
        failure = kind(
            self.name,
            got=f"{code.meaning}: {text}" if code else text,
            action=code.remedy
            if code
            else "Run the same source with @cpu to see whether the device is at fault",
        )
        if code and code.loses_device:
            self._lose_device(failure)
        return failure

    def _close(self) -> None:
        self._session = None


def open_graph(where: str, graph: bytes, device: str, threads: int | None = None) -> Any:
    """Open any graph, not only a landmark network's: a slice of one, or one with more outputs.

    It runs as it is written: an optimised graph fuses across the tensors that are looked at, so
    that their values would depend on which ones are.

    Raises:
        ArtifactError: onnxruntime refuses the graph.
        BackendUnavailable: the device's provider is missing, or cannot run all of the graph.
    """
    provider, options, _ = _provider_of(Device.of(device))
    return _open(where, graph, provider, options, threads=threads, optimised=False)


def _provider_of(device: Device) -> tuple[str, dict[str, Any], str]:
    device = CPU if device.kind == "auto" else device
    available = onnxruntime.get_available_providers()
    provider = PROVIDERS.get(device.kind, str(device))
    one_device = device.kind == "cpu" and device.number
    if provider not in available or device.detail or one_device:
        raise BackendUnavailable(
            f"device '{device}'",
            expected=f"a provider of onnxruntime {onnxruntime.__version__}: {', '.join(available)}",
            got=provider,
            action=(ort_cann.overwritten() if provider == npu_packages.CANN_PROVIDER else "")
            or "Choose @cpu, or install the onnxruntime build that has this provider",
        )
    if device.kind == "cpu":
        return provider, {}, "cpu"
    options = {} if device.index is None else {"device_id": device.index}
    if device.kind in PROVIDERS:
        return provider, options, f"{device.kind}:{device.number}"
    return provider, options, str(device)


def _open(
    where: str,
    graph: bytes | None,
    provider: str,
    options: dict[str, Any],
    *,
    threads: int | None = None,
    optimised: bool = True,
) -> Any:
    if graph is None and Path(where).stat().st_size == 0:
        raise _not_a_graph(where, "an empty file")
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = ERROR_SEVERITY
    # 0: one for each core
    settings.intra_op_num_threads = threads or processor.quota_cores() or 0
    settings.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_US)
    if not optimised:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # slices are many, and the threads of each would spin while they wait for work
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    on_cpu = provider == PROVIDERS["cpu"]
    if not on_cpu:
        # a node the provider cannot run would silently go to the CPU
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    # releases before 1.24 print to stdout what failed, and take the CPU instead
    apart = contextlib.nullcontext() if on_cpu else contextlib.redirect_stdout(sys.stderr)
    try:
        with apart:
            session = onnxruntime.InferenceSession(
                graph or _ByBytes(where),
                settings,
                providers=[(provider, options)],
                enable_fallback=0,
            )
    # as above: onnxruntime's classes are not exported
    except Exception as error:
        if "fallback to CPU EP has been explicitly disabled" in str(error):
            raise BackendUnavailable(
                where,
                expected=f"a graph that {provider} runs as a whole",
                got="nodes that only the CPU would run",
                action="Choose @cpu, or another provider",
            ) from error
        refused = ort_cann.start_refusal(error) if provider == npu_packages.CANN_PROVIDER else None
        if refused is not None:
            raise _not_started(where, provider, refused) from error
        raise _not_a_graph(where, one_line(error, 300, kind=True)) from error
    # those releases pass over `enable_fallback`, also where a run fails later
    session.disable_fallback()
    if session.get_providers()[0] != provider:
        # onnxruntime takes the CPU when a provider cannot start; a comparison would then compare
        # the CPU with itself and pass
        refused = ort_cann.start_refusal() if provider == npu_packages.CANN_PROVIDER else None
        taken = Refusal(
            f"one on {session.get_providers()[0]}", "Repair the provider's driver, or choose @cpu"
        )
        raise _not_started(where, provider, refused or taken)
    return session


def _not_started(where: str, provider: str, refused: Refusal) -> BackendUnavailable:
    return BackendUnavailable(
        where, expected=f"a session on {provider}", got=refused.got, action=refused.action
    )


def _not_a_graph(where: str, got: str) -> ArtifactError:
    return ArtifactError(
        where,
        expected=f"an ONNX graph that onnxruntime {onnxruntime.__version__} opens",
        got=got,
        action="Export it again with python -m export",
    )


def _tensors(nodes: Any) -> dict[str, GraphTensor]:
    return {
        node.name: GraphTensor(
            DTYPES.get(node.type, node.type),
            tuple(size if isinstance(size, int) else None for size in node.shape),
        )
        for node in nodes
    }
