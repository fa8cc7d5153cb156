"""Checkpoints through torch: the reference every other engine is judged against."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any

from numpy.typing import NDArray

import runtime.network  # noqa: F401  # holds torch's device autoload back; must come first

# isort: split
import torch

from runtime.backends import npu_import
from runtime.backends.base import Backend, Outputs, Settings
from runtime.backends.npu_device import NpuDevice
from runtime.backends.npu_device import Stopwatch as NpuStopwatch
from runtime.backends.npu_failures import Refusal, explain, refusal_of
from runtime.errors import BackendError, BackendUnavailable, InferenceError, one_line
from runtime.network.checkpoint import build_network, load_checkpoint, parameter_count
from runtime.source import Artifact, is_index
from runtime.spec import spec_of

ACCELERATORS = ("npu", "cuda")
STAGES = ("h2d", "compute", "d2h")
SAME_ON_CPU = "Run the same source with @cpu to see whether the device is at fault"

logger = logging.getLogger("starmark")


class TorchBackend(Backend):
    """One network in evaluation mode on one torch device."""

    def __init__(self, artifact: Artifact, device: str, settings: Settings) -> None:
        self.device, self._npu, self.reasons = _choose(device, settings)
        self.name = f"torch {torch.__version__} {self.device}"
        if self._npu is not None and self._npu.precision:
            self.name += f" {self._npu.precision}"
        checkpoint = load_checkpoint(artifact.path)
        network = build_network(checkpoint)
        self.parameters = parameter_count(network)
        self.checkpoint_sha256 = checkpoint.sha256
        self.spec = spec_of(
            points=checkpoint.architecture.points, size=checkpoint.architecture.size
        )
        self._network: Any = self._placed(network)
        self._warm: set[tuple[int, ...]] = set()

    def _placed(self, network: torch.nn.Module) -> torch.nn.Module:
        turn = self._npu.turn() if self._npu is not None else contextlib.nullcontext()
        try:
            with turn:
                return network.to(self.device)
        except RuntimeError as error:
            refused = refusal_of(error, otherwise="no room for the network", action=SAME_ON_CPU)
            raise _unavailable(self.device, refused) from error

    def _run(self, batch: NDArray[Any]) -> Outputs:
        try:
            if self._npu is None:
                return self._forward(batch, _HostStopwatch(self.device))
            with self._npu.turn():
                if batch.shape not in self._warm:
                    self._warm_up(self._npu, batch)
                return self._forward(batch, self._npu.stopwatch())
        except RuntimeError as error:
            raise self._failure(error) from error

    def _forward(self, batch: NDArray[Any], stopwatch: _HostStopwatch | NpuStopwatch) -> Outputs:
        with torch.inference_mode():
            stopwatch.mark()
            crops = torch.from_numpy(batch).to(self.device)
            stopwatch.mark()
            outputs = self._network(crops)
            stopwatch.mark()
            landmarks, covariance = (output.cpu().numpy() for output in outputs)
            stopwatch.mark()
        timings = dict(zip(STAGES, stopwatch.seconds(), strict=True))
        return Outputs(landmarks=landmarks, covariance=covariance, timings=timings)

    def _warm_up(self, npu: NpuDevice, batch: NDArray[Any]) -> None:
        """Run a shape once before it is timed: the device loads or compiles operators for it."""
        start = time.perf_counter()
        self._forward(batch, npu.stopwatch())
        self._warm.add(batch.shape)
        logger.info(
            "%s: warm-up for batches of %d: %.1f s",
            self.device,
            len(batch),
            time.perf_counter() - start,
        )

    def _failure(self, error: RuntimeError) -> BackendError:
        known = explain(str(error)) if self._npu is not None else None
        kind = BackendUnavailable if known is not None and known.unavailable else InferenceError
        said = one_line(error, 300 if known is None else 160)
        return kind(
            self.name,
            expected="a run without an error",
            got=said if known is None else f"{known.meaning}: {said}",
            action=SAME_ON_CPU if known is None else known.action,
        )

    def _close(self) -> None:
        self._network = None


class _HostStopwatch:
    """Seconds between marks by the host's clock, read once the device has nothing left to do."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._marks: list[float] = []

    def mark(self) -> None:
        if self._device.startswith("cuda"):
            torch.cuda.synchronize(self._device)  # else the clock is read while kernels are queued
        self._marks.append(time.perf_counter())

    def seconds(self) -> list[float]:
        return [end - start for start, end in zip(self._marks, self._marks[1:], strict=False)]


def _choose(device: str, settings: Settings) -> tuple[str, NpuDevice | None, tuple[str, ...]]:
    """Resolve a device, and open it where it is an NPU."""
    if device != "auto":
        kind, _, index = device.partition(":")
        refused = _refusal(kind, index)
        if refused:
            raise _unavailable(device, refused)
        resolved = f"{kind}:{int(index or 0)}" if kind in ACCELERATORS else "cpu"
        return resolved, NpuDevice(resolved, settings) if kind == "npu" else None, ()
    reasons: list[str] = []
    for kind in ACCELERATORS:
        refused = _refusal(kind, "")
        if not refused:
            try:
                npu = NpuDevice("npu:0", settings) if kind == "npu" else None
                return f"{kind}:0", npu, (*reasons, f"{kind}: found")
            except BackendUnavailable as error:
                refused = Refusal(error.got, error.action)
        reasons.append(f"{kind}: {refused.got}")
    return "cpu", None, (*reasons, "cpu: taken")


def _refusal(kind: str, index: str) -> Refusal | None:
    """Why this device cannot be used; None where it can."""
    if not is_index(index):
        return Refusal(f"{index!r} is not a device number", f"Write {kind}:0")
    if kind == "cpu":
        one = Refusal("the CPU is one device", "Name it cpu")
        return one if int(index or 0) else None
    if kind == "npu":
        return npu_import.refusal(index, torch.__version__)
    if kind == "cuda":
        # TF32 is cuDNN's default for convolutions and cuts fp32 to 10 mantissa bits
        torch.backends.cudnn.allow_tf32 = False
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        none = Refusal(f"{count} cuda devices found", "Name another device")
        return none if int(index or 0) >= count else None
    return Refusal("torch runs on cpu, cuda:N and npu:N here", "Name one of these")


def _unavailable(device: str, refused: Refusal) -> BackendUnavailable:
    return BackendUnavailable(
        f"device {device!r}",
        expected=f"a device torch {torch.__version__} can use",
        got=refused.got,
        action=refused.action,
    )
