"""Other programs on a bundle's graph: the same landmarks, and a reason where one is missing."""

from __future__ import annotations

import importlib.util
import shlex
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.suite import peers
from benchmarks.suite.first_landmarks import Opening
from benchmarks.suite.plan import PEER, ROWS, parse_models, plan_model
from runtime.detector import Detector
from runtime.errors import BackendUnavailable


@pytest.mark.parametrize("threads", [None, 1])
@pytest.mark.parametrize("name", peers.PEERS)
def test_a_peer_gives_the_graphs_own_landmarks(
    name: str, threads: int | None, starter_bundle: Path, request: pytest.FixtureRequest
) -> None:
    """Whatever the batch and the threads; named as what it is, with its version."""
    request.addfinalizer(partial(cv2.setNumThreads, cv2.getNumThreads()))
    module = peers.PEERS[name][0]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs {module}")
    crops = np.random.default_rng(3).integers(0, 256, (3, 256, 256, 3), np.uint8)
    with (
        Opening(source=str(starter_bundle), peer=name, threads=threads).detector() as peer,
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
    if name == "opencv" and threads:
        assert cv2.getNumThreads() == threads


@pytest.mark.parametrize("name", peers.PEERS)
def test_a_peers_row_has_the_threads_and_the_command_of_its_model(
    name: str, starter_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails is run again alone, with the model that it is about and not with the starter."""
    given: list[tuple[Path, int | None]] = []
    package = peers.PEERS[name][1]

    def opening(graph: Path, threads: int | None) -> peers.Run:
        given.append((graph, threads))
        return lambda batch: batch

    monkeypatch.setitem(peers.PEERS, name, ("numpy", package, opening))
    builds = starter_bundle.parent
    weights = tmp_path / "my weights.pkl"
    weights.touch()
    plan = plan_model(starter_bundle.name, weights, builds, [f"peer-{name}"], 3)
    (row,) = (row for row in plan.rows if row.key == f"peer-{name}")
    row.opening.detector().close()

    assert given == [(starter_bundle / "model.onnx", 3)]
    *asked, models = shlex.split(row.command)
    assert asked[3:] == ["--rows", f"peer-{name}", "--builds", str(builds), "--models"]
    assert parse_models([models]) == {starter_bundle.name: weights}


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
