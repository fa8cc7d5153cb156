"""Checkpoints through torch: the reference every other engine is judged against."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import runtime.network  # noqa: F401  # holds torch's device autoload back; must come first

# isort: split
import torch

from runtime.backends.base import F32, Backend, Outputs, Settings
from runtime.backends.torch import npu_import
from runtime.backends.torch.npu_device import SAME_ON_CPU, NpuDevice
from runtime.backends.torch.npu_device import Stopwatch as NpuStopwatch
from runtime.backends.torch.npu_failures import NEW_PROCESS, Refusal, refusal_of
from runtime.errors import BackendError, BackendUnavailable, InferenceError, InputError, one_line
from runtime.machine import processor
from runtime.model.device import Device
from runtime.model.source import Artifact
from runtime.model.spec import INPUT_NAME, spec_of
from runtime.model.stages import Stage, tap_names, tap_shapes
from runtime.network.checkpoint import build_network, load_checkpoint, parameter_count
from runtime.network.forms import Form, in_form
from runtime.network.hourglass import StackedHourglass
from runtime.network.probe import ModuleProbe

ACCELERATORS = ("npu", "cuda")
STAGES = ("h2d", "compute", "d2h")
# what the process began with: another backend's number must not become this one's
DEFAULT_THREADS = min(torch.get_num_threads(), processor.cores())

# Pictures in one pass on a CPU: of more, each operator's maps are new memory from the system, and
# 16 at once take longer than 4 times 4 [measured, docs/engines.md].
MOST_ON_CPU = 4

# numbers that float32 holds exactly, and plenty between two that are equal
MOST_RUNS_TOLD_APART = 1 << 20

logger = logging.getLogger("starmark")

Answer = TypeVar("Answer")


class TorchBackend(Backend):
    """One network in evaluation mode on one torch device."""

    def __init__(self, artifact: Artifact, device: Device, settings: Settings) -> None:
        self.device, self._npu, self.reasons = _choose(device, settings)
        self.name = f"torch {torch.__version__} {self.device}"
        if self._npu is not None and self._npu.precision:
            self.name += f" {self._npu.precision}"
        self.arithmetic = (self._npu.precision.lower() if self._npu else "") or "fp32"
        checkpoint = load_checkpoint(artifact.path, settings.weights_key, settings.input_size)
        network = build_network(checkpoint)
        self.parameters = parameter_count(network)
        self.checkpoint_sha256 = checkpoint.sha256
        self._architecture = checkpoint.architecture
        self.spec = spec_of(points=self._architecture.points, size=self._architecture.size)
        self._network: Any = self._placed(network)
        self._called: Any = self._network
        self._threads = settings.threads or DEFAULT_THREADS
        if settings.throughput and self.device == "cpu":
            self.at_once, self._threads = processor.calls_at_once(self._threads), 1
        self._warm: set[tuple[int, ...]] = set()
        self._runs = 0

    def _placed(self, network: torch.nn.Module) -> torch.nn.Module:
        turn = self._npu.turn() if self._npu is not None else contextlib.nullcontext()
        try:
            with turn:
                return network.to(self.device)
        except RuntimeError as error:
            refused = refusal_of(error, otherwise="no room for the network", action=SAME_ON_CPU)
            raise _unavailable(self.device, refused) from error

    @property
    def network(self) -> StackedHourglass:
        """The network itself, in the checkpoint's own form: to be copied, and not changed."""
        network: StackedHourglass = self._network
        return network

    def taps(self, batch: NDArray[Any]) -> dict[str, F32]:
        """Every tensor between picture and outputs, by the names of `runtime.model.stages`.

        Returns:
            float32 (N, C, S / 4, S / 4) each, as the device left them: what overflowed, too.
        """
        self._check_call(batch)
        names = tap_names(self._architecture)
        return self._in_turn(lambda: self._fetched(self._network.tensors(self._sent(batch), names)))

    def run_stage(self, name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, F32]:
        """Run one stage alone, for example on what another engine gave to it.

        Args:
            name: of one of `runtime.model.stages.stages_of`.
            inputs: at least the tensors that the stage reads, float32 (N, C, H, W) by their names.

        Raises:
            InputError: no such stage, or a tensor missing or of another shape or dtype.
        """
        self._check_open()
        stages = {stage.name: stage for stage in self.network.stages}
        if name not in stages:
            raise InputError(
                f"{self.name}: stage {name!r}",
                expected=f"one of {', '.join(stages)}",
                got=repr(name),
                action="Choose one of them",
            )
        stage = stages[name]
        self._check_stage_inputs(stage, inputs)

        def run() -> dict[str, F32]:
            made = self._network.run_stage(stage, *(self._sent(inputs[n]) for n in stage.inputs))
            return self._fetched(dict(zip(stage.outputs, made, strict=True)))

        return self._in_turn(run)

    def use_form(self, form: Form) -> None:
        """Run the same network another way, to measure it: see `runtime.network.forms`.

        For measurements of torch itself: production runs an exported model. A form changes the last
        bits of float32 and nothing else.

        Raises:
            BackendUnavailable: torch.compile cannot work here.
        """
        self._check_open()
        first = np.zeros(self.spec.input.shape(1), np.float32)
        self._called = self._in_turn(lambda: in_form(self._network, form, self._sent(first)))
        self.name += f" {form}"

    def probe(self) -> ModuleProbe:
        """Look into the stages, module by module."""
        self._check_open()
        return ModuleProbe(self._network, self.device, self._in_turn)

    def _check_stage_inputs(self, stage: Stage, inputs: Mapping[str, NDArray[Any]]) -> None:
        shapes: dict[str, tuple[int, ...]] = {INPUT_NAME: self.spec.input.shape(1)[1:]}
        shapes |= tap_shapes(self._architecture)
        given = {name: inputs[name] for name in stage.inputs if name in inputs}
        found = {name: f"{array.dtype} {array.shape}" for name, array in given.items()}
        pictures = max((array.shape[0] for array in given.values() if array.ndim), default=0)
        expected = {name: f"float32 {(max(pictures, 1), *shapes[name])}" for name in stage.inputs}
        if found != expected:
            raise InputError(
                f"{self.name}: stage {stage.name!r}",
                expected=", ".join(f"{name} {what}" for name, what in expected.items()),
                got=", ".join(f"{name} {what}" for name, what in found.items()) or "none of them",
                action="Give it the tensors of one run of the same network",
            )

    def _run(self, batch: NDArray[Any]) -> Outputs:
        return self._in_turn(lambda: self._timed(batch))

    def _in_turn(self, work: Callable[[], Answer]) -> Answer:
        """Run work on the device, one caller at a time, and translate its failures."""
        # torch keeps this setting by thread: set at every call
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        turn = self._npu.turn() if self._npu is not None else contextlib.nullcontext()
        try:
            with turn, torch.inference_mode():
                answer = work()
                if self._npu is not None:
                    self._check_queue(self._npu)
                return answer
        except RuntimeError as error:
            failure = self._failure(error)
            self._close_where_lost(failure)
            raise failure from error
        except BackendError as failure:  # another backend lost the device, or it was found here
            self._close_where_lost(failure)
            raise

    def _check_queue(self, npu: NpuDevice) -> None:
        """Add 1 on the device to a number that no earlier run used.

        Where other code in this process made torch_npu's queue stop, and swallowed that error, the
        operators of this run were dropped without one: its outputs are those of an earlier run.
        """
        self._runs = (self._runs + 1) % MOST_RUNS_TOLD_APART
        got = (self._sent(np.full(1, self._runs, np.float32)) + 1).cpu().item()
        if got != self._runs + 1:
            cause = InferenceError(
                self.name,
                expected=f"{self._runs + 1} from {self._runs} + 1 on the device",
                got=f"{got:g}: torch_npu's queue has stopped after an earlier error in this"
                " process, and drops what it is given",
                action=NEW_PROCESS,
            )
            npu.lose(cause)
            raise cause

    def _close_where_lost(self, cause: BackendError) -> None:
        if self._npu is not None and self._npu.lost_to is not None:
            self._lose_device(cause)

    def _timed(self, batch: NDArray[Any]) -> Outputs:
        if self._npu is None:
            return self._forward(batch, _HostStopwatch(self.device))
        if batch.shape not in self._warm:
            self._warm_up(self._npu, batch)
        return self._forward(batch, self._npu.stopwatch())

    def _sent(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

    def _fetched(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, F32]:
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}

    def _forward(self, batch: NDArray[Any], stopwatch: _HostStopwatch | NpuStopwatch) -> Outputs:
        stopwatch.mark()
        crops = self._sent(batch)
        stopwatch.mark()
        parts = torch.split(crops, MOST_ON_CPU) if self.device == "cpu" else (crops,)
        answers = [self._called(part) for part in parts]
        stopwatch.mark()
        landmarks, covariance = (
            np.concatenate([part.cpu().numpy() for part in output])
            for output in zip(*answers, strict=True)
        )
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
        if self._npu is not None:
            return self._npu.failure(self.name, error)
        return InferenceError(self.name, got=one_line(error, 300), action=SAME_ON_CPU)

    def _close(self) -> None:
        self._network = self._called = None


class _HostStopwatch:
    """Seconds between marks by the host's clock, read once the device has nothing left to do."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._marks: list[float] = []

    def mark(self) -> None:
        if Device.of(self._device).kind == "cuda":
            torch.cuda.synchronize(self._device)  # else the clock is read while kernels are queued
        self._marks.append(time.perf_counter())

    def seconds(self) -> list[float]:
        return [end - start for start, end in zip(self._marks, self._marks[1:], strict=False)]


def _choose(device: Device, settings: Settings) -> tuple[str, NpuDevice | None, tuple[str, ...]]:
    """Resolve a device, and open it where it is an NPU."""
    if device.kind != "auto":
        refused = _refusal(device)
        if refused:
            raise _unavailable(str(device), refused)
        npu = NpuDevice(device.number, settings) if device.kind == "npu" else None
        on_cpu = device.kind not in ACCELERATORS
        return "cpu" if on_cpu else f"{device.kind}:{device.number}", npu, ()
    reasons: list[str] = []
    for kind in ACCELERATORS:
        refused = _refusal(Device(kind))
        if not refused:
            try:
                npu = NpuDevice(0, settings) if kind == "npu" else None
                return f"{kind}:0", npu, (*reasons, f"{kind}: found")
            except BackendUnavailable as error:
                refused = Refusal(error.got, error.action)
        reasons.append(f"{kind}: {refused.got}")
    return "cpu", None, (*reasons, "cpu: taken")


def _refusal(device: Device) -> Refusal | None:
    """Why this device cannot be used; None where it can."""
    if device.detail:
        return Refusal(f"{device.detail!r} is not a device number", f"Write {device.kind}:0")
    if device.kind == "cpu":
        return Refusal("the CPU is one device", "Name it cpu") if device.number else None
    if device.kind == "npu":
        return npu_import.refusal(device.number, torch.__version__)
    if device.kind == "cuda":
        # TF32 is cuDNN's default for convolutions and cuts fp32 to 10 mantissa bits
        torch.backends.cudnn.allow_tf32 = False
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        none = Refusal(f"{count} cuda devices found", "Name another device")
        return none if device.number >= count else None
    return Refusal("torch runs on cpu, cuda:N and npu:N here", "Name one of these")


def _unavailable(device: str, refused: Refusal) -> BackendUnavailable:
    return BackendUnavailable(
        f"device {device!r}",
        expected=f"a device torch {torch.__version__} can use",
        got=refused.got,
        action=refused.action,
    )
