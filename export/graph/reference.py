"""The checkpoint in torch, which every step of an export holds the graph against."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends import open_backend
from runtime.backends.base import Backend, Outputs
from runtime.files import shown
from runtime.model.source import Source


class Reference:
    """One checkpoint on the CPU, opened at most once and asked at most once about each crop.

    Verification, judgement and self-test look at the same crops, and torch takes longer for one
    than all else. Crops are run one by one, so that no step's answer depends on another's batch.

    Attributes:
        source: its name, as reports show it.
    """

    def __init__(self, weights: Path) -> None:
        self.source = Source(text=f"{shown(weights.name)}@cpu", path=weights, device="cpu")
        self._opened: Backend | None = None
        self._answers: dict[bytes, Outputs] = {}

    @property
    def backend(self) -> Backend:
        """The one backend, which stays this object's own.

        Raises:
            ArtifactError, BackendUnavailable: as `open_backend`.
        """
        if self._opened is None:
            self._opened = open_backend(self.source)
        return self._opened

    def open(self) -> Backend:
        """A backend that is the caller's to close.

        Raises:
            ArtifactError, BackendUnavailable: as `open_backend`.
        """
        return _Remembering(self.backend, self._answers)

    def __enter__(self) -> Reference:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            self._opened.close()


class _Remembering(Backend):
    def __init__(self, asked: Backend, answers: dict[bytes, Outputs]) -> None:
        self._asked, self._answers = asked, answers
        self.name, self.device, self.spec = asked.name, asked.device, asked.spec
        self.parameters, self.checkpoint_sha256 = asked.parameters, asked.checkpoint_sha256

    def _run(self, batch: NDArray[Any]) -> Outputs:
        said = [self._answer(batch[i : i + 1]) for i in range(len(batch))]
        return Outputs(
            landmarks=np.concatenate([one.landmarks for one in said]),
            covariance=np.concatenate([one.covariance for one in said]),
            timings={stage: sum(one.timings[stage] for one in said) for stage in said[0].timings},
        )

    def _answer(self, crop: NDArray[Any]) -> Outputs:
        key = hashlib.sha256(crop.tobytes()).digest()  # the crop itself is 768 KiB
        if key not in self._answers:
            self._answers[key] = self._asked.run(crop)
        return self._answers[key]

    def _close(self) -> None:
        """Nothing: what is asked stays open for the next step."""
