"""The checkpoint in torch, the reference of every step of an export."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends import open_backend
from runtime.backends.base import DEFAULT_SETTINGS, Backend, Outputs, Settings
from runtime.files import shown
from runtime.model.source import Source


class Reference:
    """One checkpoint on the CPU, which is opened once and runs each crop once.

    Verification, judgement and self-test look at the same crops, and torch takes longer for one
    than all else. Crops are run one by one, so that no step's answer depends on another's batch.

    Attributes:
        source: its name, as reports show it.

    Args:
        weights: the checkpoint.
        settings: which of its weights, and their input's side.
    """

    def __init__(self, weights: Path, settings: Settings = DEFAULT_SETTINGS) -> None:
        self.source = Source(text=f"{shown(weights.name)}@cpu", path=weights, device="cpu")
        self._settings = settings
        self._opened: Backend | None = None
        self._answers: dict[bytes, Outputs] = {}

    @property
    def backend(self) -> Backend:
        """The one backend, which stays this object's own; raises as `open_backend`."""
        if self._opened is None:
            self._opened = open_backend(self.source, settings=self._settings)
        return self._opened

    def open(self) -> Backend:
        """A backend that is the caller's to close; raises as `open_backend`."""
        return _CachedBackend(self.backend, self._answers)

    def __enter__(self) -> Reference:
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened is not None:
            self._opened.close()


class _CachedBackend(Backend):
    def __init__(self, backend: Backend, answers: dict[bytes, Outputs]) -> None:
        self._backend, self._answers = backend, answers
        self.name, self.device, self.spec = backend.name, backend.device, backend.spec
        self.parameters, self.checkpoint_sha256 = backend.parameters, backend.checkpoint_sha256

    def _run(self, batch: NDArray[Any]) -> Outputs:
        each = [self._answer(batch[i : i + 1]) for i in range(len(batch))]
        return Outputs(
            landmarks=np.concatenate([one.landmarks for one in each]),
            covariance=np.concatenate([one.covariance for one in each]),
            timings={stage: sum(one.timings[stage] for one in each) for stage in each[0].timings},
        )

    def _answer(self, crop: NDArray[Any]) -> Outputs:
        key = hashlib.sha256(crop.tobytes()).digest()  # the crop itself is 768 KiB
        if key not in self._answers:
            self._answers[key] = self._backend.run(crop)
        return self._answers[key]

    def _close(self) -> None:
        """Nothing: the checkpoint stays open for the next step."""
