"""Other forms of the network in torch: for a stopwatch, with the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runtime.backends.torch.backend import TorchBackend
from runtime.detector import Detector
from runtime.errors import BackendUnavailable


def crops(count: int) -> Any:
    return np.random.default_rng(0).random((count, 3, 256, 256), dtype=np.float32) * 2 - 1


def opened(tiny: Path) -> TorchBackend:
    backend = Detector(f"{tiny}@cpu").backend
    assert isinstance(backend, TorchBackend)
    return backend


def test_a_large_batch_runs_in_parts_that_suit_a_processor(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each picture gets the answer that its part alone gets, in its own place."""
    backend = opened(tiny)
    asked: list[int] = []
    called = backend._called

    def noted(crops: torch.Tensor) -> Any:
        asked.append(len(crops))
        return called(crops)

    monkeypatch.setattr(backend, "_called", noted)
    batch = crops(9)
    found = backend.run(batch)

    assert asked == [4, 4, 1]
    for start in (0, 4, 8):
        alone = backend.run(batch[start : start + 4])
        assert np.array_equal(found.landmarks[start : start + 4], alone.landmarks)
        assert np.array_equal(found.covariance[start : start + 4], alone.covariance)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_channels_last_says_what_eager_says(tiny: Path, count: int) -> None:
    """To rounding, at any batch; the name says what runs."""
    eager, other = opened(tiny), opened(tiny)
    other.use_form("channels-last")
    said, expected = other.run(crops(count)), eager.run(crops(count))

    assert np.abs(said.landmarks - expected.landmarks).max() < 1e-4
    assert np.abs(said.covariance - expected.covariance).max() < 1e-4
    assert other.name == f"{eager.name} channels-last"
    taps, expected_taps = other.taps(crops(1)), eager.taps(crops(1))
    assert all(np.abs(taps[n] - expected_taps[n]).max() < 1e-3 for n in expected_taps)


@pytest.mark.slow
def test_compiled_is_what_torch_compile_makes(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own compiler is not run here, which takes a minute: its eager backend stands in."""
    compile_really = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network: compile_really(network, backend="eager"))
    eager, other = opened(tiny), opened(tiny)
    other.use_form("compiled")

    said, expected = other.run(crops(1)), eager.run(crops(1))
    assert np.abs(said.landmarks - expected.landmarks).max() < 1e-4
    assert other.name == f"{eager.name} compiled"


def test_compiler_that_fails_is_named_and_eager_goes_on(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 3's error, with what to install."""

    class RefusedError(Exception):
        pass

    def refuse(_network: object) -> object:
        raise RefusedError("no working C++ compiler found")

    monkeypatch.setattr(torch, "compile", refuse)
    backend = opened(tiny)
    with pytest.raises(
        BackendUnavailable, match=r"RefusedError: no working C\+\+.*apt-get install g\+\+"
    ):
        backend.use_form("compiled")
    assert backend.run(crops(1)).landmarks.shape == (1, 68, 2)
    assert "compiled" not in backend.name
