"""Other programs on a bundle's graph: the same landmarks, and a reason where one is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmarks.suite import peers
from benchmarks.suite.first_landmarks import Opening
from benchmarks.suite.plan import PEER, ROWS
from runtime.detector import Detector
from runtime.errors import BackendUnavailable


@pytest.mark.parametrize("name", peers.PEERS)
def test_a_peer_gives_the_graphs_own_landmarks(name: str, starter_bundle: Path) -> None:
    """Whatever the batch; named as what it is, with its version."""
    module = peers.PEERS[name][0]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs {module}")
    crops = np.random.default_rng(3).integers(0, 256, (3, 256, 256, 3), np.uint8)
    with (
        Opening(source=str(starter_bundle), peer=name).detector() as peer,
        Detector(starter_bundle, "cpu") as own,
    ):
        for count in (1, 3, 2):
            batch = own.spec.input.pack(crops[:count])
            wanted, found = own.backend.run(batch), peer.backend.run(batch)
            assert np.abs(found.landmarks - wanted.landmarks).max() * 128 < 2e-2
            assert np.abs(found.covariance - wanted.covariance).max() < 1e-3
        package = peers.PEERS[name][1]
        assert peer.backend.name.startswith(f"{package} ")
        assert peer.backend.name.endswith(" alone")


def test_every_peers_row_names_one_that_there_is() -> None:
    rows = [form for _, _, device, form in ROWS.values() if device == PEER]
    assert rows == list(peers.PEERS)


def test_a_peer_that_is_not_installed_is_named(
    starter_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(peers.PEERS, "mnn", ("no_such_mnn", "no-such-mnn", peers.mnn))
    with pytest.raises(BackendUnavailable, match="pip install no-such-mnn"):
        Opening(source=str(starter_bundle), peer="mnn").detector()
