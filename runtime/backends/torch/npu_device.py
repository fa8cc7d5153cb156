"""One Ascend device through torch_npu: opened, and held to the chosen precision.

How torch_npu computes is a setting of the process, and its current device one of the thread. Both
are set before every run, by one thread at a time (`NpuDevice.turn`): whatever else uses torch_npu
in this process, and in whatever order, a run has the precision its Detector was opened with.

A device that is lost stays lost for the process, for every backend on it: torch_npu's queue, once
an operator has failed in it, drops all others silently, and a run would end with the numbers of
unwritten memory [V: Ascend/pytorch, NPUQueue.cpp, Repository::Enqueue and MakeSureQueueEmpty].

Source: torch_npu, npu/__init__.py, npu/npu_config.py, npu/streams.py [V].
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator
from typing import Any

from runtime.backends.base import Settings
from runtime.backends.torch.npu_failures import CHECK_DRIVER, Refusal, explain, refusal_of
from runtime.backends.torch.npu_import import import_torch_npu
from runtime.errors import BackendError, BackendUnavailable, ConfigError, InferenceError, one_line
from runtime.machine.soc import FP16_CUBE_FAMILIES, soc_of

# HF32 off, and this mode: KEEP_DTYPE. HF32 on, and this mode: USE_HF32. HF32 off, and the other
# (the default before Ascend910B1): USE_FP16. Both on: the chip's own lower precision.
# [V: torch_npu, CalcuOpUtil::GetCubeMathType]
PRECISION = "ACL_PRECISION_MODE"
KEEP_FP32 = "must_keep_origin_dtype"
LOWER_TO_FP16 = "allow_fp32_to_fp16"

SAME_ON_CPU = "Run the same source with @cpu to see whether the device is at fault"

_turn = threading.Lock()
# device -> the failure that this process lost it to
_lost: dict[str, BackendError] = {}


class NpuDevice:
    """An open device.

    Args:
        index: of a device that `npu_import.refusal` has let pass.
        settings: `allow_hf32` also lets chips without fp32 in their cube units compute in fp16.

    Attributes:
        chip: its name, for example "Ascend910B3".
        precision: "HF32" or "fp16" where convolutions may be lowered to it, else empty.

    Raises:
        BackendUnavailable: it does not start, or cannot compute as the settings ask.
    """

    def __init__(self, index: int, settings: Settings) -> None:
        self.device = f"npu:{index}"
        self._index = index
        self._allow_hf32 = settings.allow_hf32
        self._npu, refused = import_torch_npu()
        if refused:
            raise self.unavailable(refused)
        with _turn:
            lost = self.lost_to
            if lost is not None:
                raise self.unavailable(Refusal(lost.got, lost.action))
            self.chip = self._start()
            fp16 = _has_fp16_cube(self.chip)
            if fp16 and not self._allow_hf32:
                # kept as fp32 they would fail; lowered unasked, a comparison would judge fp16
                raise self.unavailable(
                    Refusal(
                        f"{self.chip}, whose convolutions run in fp16 and never in fp32",
                        "Pass --allow-hf32 (Settings(allow_hf32=True)) to accept that,"
                        " or name another device",
                    )
                )
            self._mode = LOWER_TO_FP16 if fp16 else KEEP_FP32
            self._set_precision()
            self._check_precision()
        self.precision = ("fp16" if fp16 else "HF32") if self._allow_hf32 else ""

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the process's torch_npu, set up for this thread and these settings.

        All work must have come back when the turn ends: torch_npu launches from a queue of its own,
        which may read the settings later than they were set.

        Raises:
            BackendError: the device was lost before, or torch_npu does not take the settings.
            RuntimeError: torch_npu's, from setting the device; and what the turn itself raises.
        """
        with _turn:
            lost = self.lost_to
            if lost is not None:
                raise lost
            try:
                self._npu.set_device(self.device)
                self._set_precision()
                yield
            except RuntimeError as error:
                self._note_loss(error)  # before the next one has its turn
                raise

    @property
    def lost_to(self) -> BackendError | None:
        """The failure that this process lost the device to, the first one; None where it works."""
        return copy.copy(_lost.get(self.device))

    def failure(self, where: str, error: Exception) -> BackendError:
        """Translate what torch_npu raised while it worked."""
        known = explain(str(error))
        kind = BackendUnavailable if known is not None and known.unavailable else InferenceError
        text = one_line(error, 300 if known is None else 160)
        return kind(
            where,
            got=text if known is None else f"{known.meaning}: {text}",
            action=SAME_ON_CPU if known is None else known.action,
        )

    def lose(self, cause: BackendError) -> None:
        """Refuse the device to this process from now on; only within a turn."""
        _lost.setdefault(self.device, copy.copy(cause))

    def _note_loss(self, error: Exception) -> None:
        known = explain(str(error))
        if known is not None and known.loses_device:
            self.lose(self.failure(f"device {self.device!r}", error))

    def stopwatch(self) -> Stopwatch:
        """Time stages by events in the device's own stream; only within a turn."""
        return Stopwatch(self._npu)

    def unavailable(self, refused: Refusal) -> BackendUnavailable:
        """The error for a device that cannot be used."""
        return BackendUnavailable(
            f"device {self.device!r}",
            expected="an Ascend device that torch_npu can use",
            got=refused.got,
            action=refused.action,
        )

    def _start(self) -> str:
        npu = self._npu
        try:
            # before everything else: an option would start the default device, npu:0 [V: torch_npu
            # 2.1, Module.cpp, THNPModule_setOption_wrap]
            npu.set_device(self.device)
            # compiled operators are the default from Ascend910B1 on only; older chips would compile
            # at the first run of every shape
            npu.set_compile_mode(jit_compile=False)
            return str(npu.get_device_name(self._index))
        except (RuntimeError, AssertionError) as error:
            refused = refusal_of(error, otherwise="it does not start", action=CHECK_DRIVER)
            raise self.unavailable(refused) from error

    def _set_precision(self) -> None:
        try:
            # the matmul switch first: the one for convolutions writes both into the compiler's
            # options, and torch_npu 2.1 takes an unset one for on [V: EnvVariables.cpp]
            self._npu.matmul.allow_hf32 = False
            self._npu.conv.allow_hf32 = self._allow_hf32
            self._npu.set_option({PRECISION: self._mode})
        except (ValueError, TypeError, RuntimeError) as error:
            self._note_loss(error)
            refused = refusal_of(
                error,
                otherwise=f"it does not take {PRECISION}={self._mode}",
                action="Install a newer torch_npu",
            )
            raise self.unavailable(refused) from error

    def _check_precision(self) -> None:
        # torch_npu's switches ignore unknown names in silence
        if bool(self._npu.conv.allow_hf32) != self._allow_hf32:
            raise self.unavailable(
                Refusal(
                    f"conv.allow_hf32 still {not self._allow_hf32} after it was set",
                    "Install a torch_npu that has this switch (2.1 or newer)",
                )
            )


class Stopwatch:
    """Seconds between marks in the current stream, as the device saw them."""

    def __init__(self, npu: Any) -> None:
        self._npu = npu
        self._events: list[Any] = []
        npu.synchronize()  # what was queued before is not ours to time

    def mark(self) -> None:
        """Mark this place in the stream; waits for nothing."""
        event = self._npu.Event(enable_timing=True)
        event.record()
        self._events.append(event)

    def seconds(self) -> list[float]:
        """Wait for the last mark, and give the seconds from each mark to the next."""
        for event in self._events:
            event.synchronize()
        pairs = zip(self._events[:-1], self._events[1:], strict=True)
        return [start.elapsed_time(end) / 1e3 for start, end in pairs]


def _has_fp16_cube(chip: str) -> bool:
    try:
        return soc_of(chip).family in FP16_CUBE_FAMILIES
    except ConfigError:
        return False  # newer than the table of chips
