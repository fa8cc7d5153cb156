"""ONNX graphs through OpenVINO: on the CPU by default, on its other devices by name.

OpenVINO takes bf16 or fp16 by itself where a device has them, passes over a hint that a device
cannot follow, and has devices that choose others. Here it runs in fp32 unless bf16 is chosen, and a
backend's name holds what its convolutions were really compiled to.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.base import PRECISIONS, Outputs, Settings
from runtime.backends.graph_spec import GraphBackend, GraphTensor
from runtime.errors import (
    ArtifactError,
    BackendUnavailable,
    ConfigError,
    InferenceError,
    InputError,
    one_line,
)
from runtime.machine import processor
from runtime.machine.telemetry import unreported
from runtime.model.device import Device
from runtime.model.source import Artifact
from runtime.model.spec import CHECKPOINT_KEY

with unreported():
    import openvino

CPU = "CPU"
VERSION = str(openvino.__version__).partition("-")[0]
# OpenVINO's names of what a node computes in
NAMES = {"f32": "fp32", "f16": "fp16", "u8": "int8", "i8": "int8"}
HINTS = {"fp32": "f32", "bf16": "bf16"}
DTYPES = {"f32": "float32", "u8": "uint8"}


class OpenVinoBackend(GraphBackend):
    """One graph, compiled for the batches that it takes.

    Each call takes an inference request of its own, so that several threads may call.
    """

    def __init__(self, artifact: Artifact, device: Device, settings: Settings) -> None:
        precision = _chosen_precision(device, settings)
        core = openvino.Core()
        target = _chosen_device(core, device)
        if precision == "bf16":
            _check_bf16(core, target)
        where = str(artifact.path)
        model = _read(core, artifact, where)
        self._describe(artifact, _tensors(model.inputs), _tensors(model.outputs))
        key = ["framework", CHECKPOINT_KEY]
        if model.has_rt_info(key):
            self.checkpoint_sha256 = model.get_rt_info(key).astype(str)
        options = {"INFERENCE_PRECISION_HINT": HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
        if target == CPU:
            # a thread that is pinned to a core cannot leave it to the process that took it
            options["ENABLE_CPU_PINNING"] = "NO"
            threads = settings.threads or processor.quota_cores()
            if settings.throughput:
                most = max(self.batches, default=1)
                self.at_once = threads = processor.calls_at_once(settings.threads, most)
                options |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(threads)}
            if threads is not None:
                options["INFERENCE_NUM_THREADS"] = str(threads)
        compiled = _compile(core, model, target, options, where)
        executed = _executed(compiled)
        _check_executed(executed, precision, where, target)
        self.arithmetic = next((one for one in executed if one != "fp32"), "fp32")
        self.device = target.lower()
        self.name = f"openvino {VERSION} {target} {'+'.join(executed)}"
        self._compiled: Any = compiled
        self._idle: list[Any] = []

    def _infer(self, batch: NDArray[Any]) -> Outputs:
        _check_finite(batch, self.name)
        start = time.perf_counter()
        try:
            found = self._request(np.ascontiguousarray(batch))
        # OpenVINO raises RuntimeError for whatever is wrong
        except Exception as error:
            raise InferenceError(
                self.name,
                got=one_line(error, 300, kind=True),
                action="Run the same source with @onnxruntime/cpu to see whether the engine is at"
                " fault",
            ) from error
        landmarks, covariance = (found[name] for name in self.spec.outputs)
        return Outputs(
            landmarks=landmarks,
            covariance=covariance,
            timings={"compute": time.perf_counter() - start},
            taps={name: found[name] for name in self.spec.taps},
        )

    def _request(self, batch: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Run one batch; the outputs are copies, which the next call leaves alone."""
        compiled = self._compiled
        try:
            request = self._idle.pop()  # one step for Python's threads
        except IndexError:
            request = compiled.create_infer_request()
        found = request.infer({0: batch}, share_inputs=True)
        self._idle.append(request)  # one that failed is not used again
        return {output.get_any_name(): found[output] for output in compiled.outputs}

    def _close(self) -> None:
        self._compiled = None
        self._idle.clear()


def _check_finite(batch: NDArray[Any], where: str) -> None:
    """OpenVINO's ReLU makes 0 of NaN, so that no output would show it."""
    if np.isfinite(batch.sum()) or np.isfinite(batch).all():
        return
    place = np.argwhere(~np.isfinite(batch))[0]
    raise InputError(
        where,
        expected="finite numbers",
        got=f"{batch[tuple(place)]} at picture {place[0]}",
        action="Pack crops with spec.input.pack()",
    )


def _read(core: Any, artifact: Artifact, where: str) -> Any:
    try:
        # not by its path: that is mapped into memory, and in UTF-8 whatever the locale
        graph = artifact.graph or artifact.path.read_bytes()
        if not graph:
            raise ValueError("an empty file")
        return core.read_model(graph)
    # as above
    except Exception as error:
        raise ArtifactError(
            where,
            expected=f"an ONNX graph that OpenVINO {VERSION} opens",
            got=one_line(error, 300, kind=True),
            action="Export it again with python -m export",
        ) from error


def _compile(core: Any, model: Any, target: str, options: dict[str, str], where: str) -> Any:
    try:
        return core.compile_model(model, target, options)
    # as above
    except Exception as error:
        raise ArtifactError(
            where,
            expected=f"a graph that OpenVINO {VERSION} compiles for {target}",
            got=one_line(error, 300, kind=True),
            action="Choose @onnxruntime/cpu, or export it again with python -m export",
        ) from error


def _tensors(ports: Any) -> dict[str, GraphTensor]:
    found: dict[str, GraphTensor] = {}
    for port in ports:
        shape = port.get_partial_shape()
        dims = list(shape) if shape.rank.is_static else []
        dtype = port.get_element_type().get_type_name()
        found[port.get_any_name()] = GraphTensor(
            DTYPES.get(dtype, dtype),
            tuple(None if size.is_dynamic else size.get_length() for size in dims),
        )
    return found


def _executed(compiled: Any) -> tuple[str, ...]:
    """What the compiled graph's convolutions compute in; the device's word where none is listed."""
    found: set[str] = set()
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if "Convolution" in info["layerType"].astype(str):
            found.add(info["runtimePrecision"].astype(str))
    if not found:
        found.add(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
    return tuple(sorted({NAMES.get(name, name) for name in found}))


def _chosen_precision(device: Device, settings: Settings) -> str:
    """The precision beside the device or in the settings; fp32 where there is neither."""
    index = "" if device.index is None else str(device.index)
    chosen = {one for one in (device.detail, index, settings.precision) if one}
    if not chosen <= set(PRECISIONS) or len(chosen) > 1:
        raise ConfigError(
            f"device '{device}'",
            expected=f"one precision: {' or '.join(PRECISIONS)}",
            got=" and ".join(sorted(chosen)),
            action="Write @openvino/cpu or @openvino/cpu:bf16",
        )
    return chosen.pop() if chosen else PRECISIONS[0]


def _chosen_device(core: Any, device: Device) -> str:
    """OpenVINO's own name of a device, and none of those that choose for themselves."""
    named = device.kind
    available = {name.lower(): name for name in core.available_devices}
    wanted = CPU.lower() if named == "auto" else named.lower()
    if wanted not in available:
        raise BackendUnavailable(
            f"device {named!r}",
            expected=f"a device that OpenVINO lists: {', '.join(available)}",
            got=repr(named),
            action="Choose @openvino/cpu, or install the device's driver",
        )
    return str(available[wanted])


def _check_bf16(core: Any, target: str) -> None:
    """Refuse bf16 where OpenVINO would run fp32 in its place, or imitate bf16.

    It counts AVX-512 without bf16 as capable: it rounds there, and is slower than in fp32.
    """
    capable = "BF16" in core.get_property(target, "OPTIMIZATION_CAPABILITIES")
    if capable and (target != CPU or processor.has_bf16() is not False):
        return
    raise BackendUnavailable(
        f"bf16 on {target}",
        expected="a processor with bf16 arithmetic (avx512_bf16, amx_bf16 or avx_ne_convert)",
        got=f"{core.get_property(target, 'FULL_DEVICE_NAME')}, which has none",
        action="Leave bf16 out: @openvino/cpu runs in fp32",
    )


def _check_executed(executed: Sequence[str], chosen: str, where: str, target: str) -> None:
    """Refuse a graph that was compiled to another precision: a hint may be passed over."""
    floats = set(executed) - {"int8"}
    if chosen == "bf16" and ("bf16" in floats or not floats) and "fp16" not in floats:
        return
    if chosen == "fp32" and floats <= {"fp32"}:
        return
    raise BackendUnavailable(
        where,
        expected=f"{target} to compute in {chosen}",
        got=f"OpenVINO compiled it to {', '.join(executed)}",
        action="Choose another device, or @onnxruntime/cpu",
    )
