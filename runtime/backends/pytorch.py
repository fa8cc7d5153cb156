"""Checkpoints through torch: the reference every other engine is judged against."""

from __future__ import annotations

import importlib.util
import time
from typing import Any

from numpy.typing import NDArray

import runtime.network  # noqa: F401  # holds torch's device autoload back; must come first

# isort: split
import torch

from runtime.backends.base import Backend, Outputs, Settings
from runtime.errors import BackendUnavailable, InferenceError, one_line
from runtime.network.checkpoint import build_network, load_checkpoint, parameter_count
from runtime.source import Artifact, is_index
from runtime.spec import spec_of

ACCELERATORS = ("npu", "cuda")


class TorchBackend(Backend):
    """One network in evaluation mode on one torch device."""

    def __init__(self, artifact: Artifact, device: str, _: Settings) -> None:
        self.device, self.reasons = _choose(device)
        self.name = f"torch {torch.__version__} {self.device}"
        checkpoint = load_checkpoint(artifact.path)
        network = build_network(checkpoint)
        self.parameters = parameter_count(network)
        self.checkpoint_sha256 = checkpoint.sha256
        self.spec = spec_of(
            points=checkpoint.architecture.points, size=checkpoint.architecture.size
        )
        try:
            self._network: Any = network.to(self.device)
        except RuntimeError as error:
            raise _unavailable(self.device, one_line(error, 300)) from error

    def _run(self, batch: NDArray[Any]) -> Outputs:
        clock = time.perf_counter
        try:
            if self.device.startswith("npu"):
                # the current device belongs to the thread, and any thread may call
                torch.npu.set_device(self.device)  # type: ignore[attr-defined]  # by torch_npu
            with torch.inference_mode():
                start = clock()
                crops = torch.from_numpy(batch).to(self.device)
                self._synchronise()
                sent = clock()
                outputs = self._network(crops)
                self._synchronise()
                computed = clock()
                landmarks, covariance = (output.cpu().numpy() for output in outputs)
                fetched = clock()
        except RuntimeError as error:
            raise InferenceError(
                self.name,
                expected="a run without an error",
                got=one_line(error, 300),
                action="Run the same source with @cpu to see whether the device is at fault",
            ) from error
        stages = {"h2d": sent - start, "compute": computed - sent, "d2h": fetched - computed}
        return Outputs(landmarks=landmarks, covariance=covariance, timings=stages)

    def _synchronise(self) -> None:
        """Wait for the device: a clock read while kernels are queued measures nothing."""
        kind = self.device.partition(":")[0]
        if kind in ACCELERATORS:
            getattr(torch, kind).synchronize()

    def _close(self) -> None:
        self._network = None


def _choose(device: str) -> tuple[str, tuple[str, ...]]:
    if device != "auto":
        kind, _, index = device.partition(":")
        refusal = _refusal(kind, index)
        if refusal:
            raise _unavailable(device, refusal)
        return (f"{kind}:{index or 0}" if kind in ACCELERATORS else "cpu"), ()
    reasons: list[str] = []
    for kind in ACCELERATORS:
        refusal = _refusal(kind, "")
        if not refusal:
            return f"{kind}:0", (*reasons, f"{kind}: found")
        reasons.append(f"{kind}: {refusal}")
    return "cpu", (*reasons, "cpu: taken")


def _refusal(kind: str, index: str) -> str:
    """Why this device cannot be used; empty where it can."""
    if not is_index(index):
        return f"{index!r} is not a device number"
    if kind == "cpu":
        return "the CPU is one device" if int(index or 0) else ""
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        # TF32 is cuDNN's default for convolutions and cuts fp32 to 10 mantissa bits
        torch.backends.cudnn.allow_tf32 = False
    elif kind == "npu":
        count, reason = _npu_count()
        if reason:
            return reason
    else:
        return "torch runs on cpu, cuda:N and npu:N here"
    return "" if int(index or 0) < count else f"{count} {kind} devices found"


def _npu_count() -> tuple[int, str]:
    if importlib.util.find_spec("torch_npu") is None:
        return 0, "torch_npu is not installed"
    try:
        importlib.import_module("torch_npu")
    # torch_npu fails its import in many ways where CANN is missing or not sourced
    except Exception as error:  # noqa: BLE001  # reported as the reason, never swallowed
        return 0, f"torch_npu does not import: {one_line(f'{type(error).__name__}: {error}', 200)}"
    npu: Any = torch.npu  # type: ignore[attr-defined]  # added by torch_npu
    if not npu.is_available():
        return 0, "torch_npu sees no device"
    # HF32 is torch_npu's default for convolutions and cuts fp32 to 11 mantissa bits
    npu.conv.allow_hf32 = False
    npu.matmul.allow_hf32 = False
    return int(npu.device_count()), ""


def _unavailable(device: str, got: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"device {device!r}",
        expected=f"a device torch {torch.__version__} can use",
        got=got,
        action="Name another device; for npu:N install torch_npu and source CANN's set_env.sh",
    )
