"""Sources that say what leaves their stages, and cannot be run stage by stage."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from parity.locate.stage_runs import F32, Shown, crop_of, stacks_in
from parity.recording.recording import Recording
from runtime.backends import Backend
from runtime.errors import ArtifactError
from runtime.model.spec import OUTPUT_NAMES


class TappedStages:
    """A debug bundle on an engine that runs it as a whole, an NPU's .om for example.

    Args:
        name: of the source.
        backend: gives the taps; closed with this.

    Raises:
        ArtifactError: a model that gives none.
    """

    def __init__(self, name: str, backend: Backend) -> None:
        self.name = name
        self._backend = backend
        if not backend.spec.taps:
            raise ArtifactError(
                name,
                expected="a debug bundle, which gives the tensors between its stages",
                got="a model that gives landmarks and covariance alone",
                action="Make one with python -m export --taps",
            )
        self.stacks = stacks_in(name, (*backend.spec.taps, *OUTPUT_NAMES))

    def taps(self, shown: Shown) -> dict[str, F32]:
        """Every stage's tensors for one picture."""
        said = self._backend.run(self._backend.spec.input.pack(crop_of(shown)[np.newaxis]))
        return _with_outputs(said.taps, said.landmarks, said.covariance)

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()


class RecordedStages:
    """A recording with taps.

    Args:
        name: of the source.
        recording: whose taps stay in its file, and are read in order.

    Raises:
        InputError: a recording without them.
    """

    def __init__(self, name: str, recording: Recording) -> None:
        self.name = name
        self._recording = recording
        self._coming = recording.taps()
        self._next = 0
        if not recording.header.spec.taps:
            next(self._coming)  # says what is missing, and what to do
        self.stacks = stacks_in(name, (*recording.header.spec.taps, *OUTPUT_NAMES))

    def taps(self, shown: Shown) -> dict[str, F32]:
        """Every stage's tensors for one picture; going back begins the file again."""
        if shown.index < self._next:
            self.close()
            self._coming, self._next = self._recording.taps(), 0
        found: dict[str, F32] = {}
        while self._next <= shown.index:
            found = next(self._coming)
            self._next += 1
        one = slice(shown.index, shown.index + 1)
        taps = {name: np.array(tap[np.newaxis], np.float32) for name, tap in found.items()}
        return _with_outputs(taps, self._recording.landmarks[one], self._recording.covariance[one])

    def close(self) -> None:
        """Close the file."""
        self._coming.close()


def _with_outputs(taps: Mapping[str, F32], landmarks: F32, covariance: F32) -> dict[str, F32]:
    return {**taps, **dict(zip(OUTPUT_NAMES, (landmarks, covariance), strict=True))}
