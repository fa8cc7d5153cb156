"""The network against what the published code answers, full size and starter."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import oracles
import pytest
import torch
from builders import STARTER, TINY, tiny_network

from runtime.backends import Backend, open_backend
from runtime.model.spec import INPUT_NAME, OUTPUT_NAMES, Architecture
from runtime.model.stages import tap_names
from runtime.network.checkpoint import Checkpoint, build_network, load_checkpoint, parameter_count
from runtime.network.coord_conv import coordinate_planes
from runtime.network.hourglass import StackedHourglass, with_constant_maps
from runtime.network.soft_argmax import soft_argmax

CROP_PX = 128  # crop px per unit of the normalised frame
FULL = Architecture(stacks=4, depth=4, channels=256, stem=64, points=68, contours=9)


@pytest.fixture(scope="module")
def full_checkpoint(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The deterministic full-size stand-in, in the published container."""
    state = runpy.run_path(str(shared / "golden/make_checkpoint.py"))["state_dict"]()
    path = tmp_path_factory.mktemp("full") / "pytorch_model.pkl"
    torch.save({"net": state}, path)
    return load_checkpoint(path)


def test_full_model_has_the_published_keys_and_parameters(shared: Path) -> None:
    """17,069,572 parameters, 1,450 keys, every shape."""
    published = json.loads((shared / "golden/checkpoint_keys.json").read_text())
    network = StackedHourglass(FULL)

    assert parameter_count(network) == 17_069_572
    assert len(published) == 1_450
    assert {key: list(t.shape) for key, t in network.state_dict().items()} == published


@pytest.mark.slow
def test_full_model_reproduces_the_published_answers_at_every_stack(
    shared: Path, full_checkpoint: Checkpoint
) -> None:
    """Landmarks of all four stacks to a thousandth of a crop px, and the maps they come from."""
    golden = np.load(shared / "golden/network_golden.npz")
    network = build_network(full_checkpoint)
    image = torch.from_numpy(golden["image_u8_nchw_bgr"]).float() / 127.5 - 1
    with torch.inference_mode():
        said = network.tensors(image, tap_names(FULL))
        landmarks = [soft_argmax(said[f"stack{i}.fused"])[0].numpy() for i in range(FULL.stacks)]
        folded, _ = with_constant_maps(network)(image)

    assert full_checkpoint.architecture == FULL
    for found, expected in zip(landmarks, golden["stack_landmarks_f64"], strict=True):
        assert np.abs(found - expected).max() * CROP_PX < 1e-3
    assert np.abs(folded.numpy() - golden["landmarks_f64"]).max() * CROP_PX < 1e-3
    for maps, name in (
        (said["stack3.fused"].sum((2, 3)), "heatmap_sum_f64"),
        (said["stack3.fused"].amax((2, 3)), "heatmap_max_f64"),
        (said["stack3.edgemaps"].mean((2, 3)), "edgemap_mean_f64"),
        (said["stack3.pointmaps"].mean((2, 3)), "pointmap_mean_f64"),
    ):
        np.testing.assert_allclose(maps.numpy(), golden[name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_starter_reproduces_its_answers_in_float64(shared: Path, starter_torch: Backend) -> None:
    """Landmarks to a thousandth of a crop px, covariance to 0.1 %."""
    golden = np.load(shared / "golden/starter_golden.npz")
    said = starter_torch.run(starter_torch.spec.input.pack(golden["crops_u8_nhwc_bgr"]))
    scale = golden["covariance_f64"][..., [0, 2]].max(axis=-1, keepdims=True)

    assert np.abs(said.landmarks - golden["landmarks_f64"]).max() * CROP_PX < 1e-3
    assert np.abs((said.covariance - golden["covariance_f64"]) / scale).max() < 1e-3


def test_decoder_agrees_with_the_oracle(rng: np.random.Generator) -> None:
    """Sharp, blurred, off-centre and dead maps; a dead one reads as unknown."""
    maps = rng.random((2, 3, 16, 16)) ** 8
    maps[0, 1] = 0
    maps[1, 0] = 0
    maps[1, 0, 3, 12] = 5
    points, covariance = soft_argmax(torch.from_numpy(maps))

    for n in range(2):
        for p in range(3):
            point, moments = oracles.decode(maps[n, p])
            np.testing.assert_allclose(points[n, p], point, atol=1e-12)
            np.testing.assert_allclose(covariance[n, p], moments, atol=1e-12)
    np.testing.assert_allclose(covariance[0, 1], [1, 0, 1])


@pytest.mark.slow
def test_float32_decode_of_real_maps_agrees_with_the_oracle() -> None:
    """From the network's own heatmaps, points and spread to a thousandth of a crop px."""
    network = build_network(load_checkpoint(STARTER))
    with torch.inference_mode():
        image = torch.rand(1, 3, 256, 256) * 2 - 1
        fused = network.tensors(image, ["stack1.fused"])["stack1.fused"]
        points, covariance = soft_argmax(fused)
    for p in range(0, 68, 7):
        point, moments = oracles.decode(fused[0, p].double().numpy())
        np.testing.assert_allclose(points[0, p].numpy() * CROP_PX, point * CROP_PX, atol=1e-3)
        np.testing.assert_allclose(
            np.sqrt(covariance[0, p, ::2].numpy()) * CROP_PX,
            np.sqrt(moments[::2]) * CROP_PX,
            atol=1e-3,
        )


def test_coordinate_planes_are_transposed_as_published() -> None:
    """Xx varies along the rows, yy along the columns, rr is 1 in the corners."""
    xx, yy, rr = coordinate_planes(5)[0].numpy()

    np.testing.assert_allclose(xx[:, 0], [-1, -0.5, 0, 0.5, 1])
    np.testing.assert_allclose(yy[0], [-1, -0.5, 0, 0.5, 1])
    np.testing.assert_allclose([rr[0, 0], rr[2, 2], rr[4, 4]], [1, 0, 1])


@pytest.mark.slow
def test_constant_maps_change_nothing_but_the_shape_of_the_graph() -> None:
    """Same function, also where the boundary gate is half open."""
    image = torch.rand(3, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        network = tiny_network(3)
        expected = network(image)
        heat = network.tensors(image, ["stack0.heatmaps"])["stack0.heatmaps"]
        gate = heat[:, -1:] > 0.05
        found = with_constant_maps(network)(image)

    assert 0.05 < gate.float().mean() < 0.95
    for here, there in zip(found, expected, strict=True):
        assert (here - there).abs().max() * CROP_PX < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture",
    [
        TINY,
        Architecture(stacks=1, depth=2, channels=16, stem=8, points=29, contours=7),
        Architecture(stacks=3, depth=4, channels=8, stem=4, points=98, contours=9),
    ],
)
def test_architecture_is_inferred_from_keys_and_shapes(
    architecture: Architecture, tmp_path: Path
) -> None:
    """Stacks, depth, widths, points and contours; the backend then needs nothing else."""
    path = tmp_path / "weights.pth"
    torch.save(StackedHourglass(architecture).state_dict(), path)

    assert load_checkpoint(path).architecture == architecture
    with open_backend(path, "cpu") as backend:
        said = backend.run(backend.spec.input.pack(np.zeros((2, 256, 256, 3), np.uint8)))
    assert said.landmarks.shape == (2, architecture.points, 2)


@pytest.mark.slow
def test_each_stage_alone_gives_what_the_whole_network_gives() -> None:
    """Fed with the whole run's tensors, every stage answers bit for bit the same."""
    image = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(2)) * 2 - 1
    names = (INPUT_NAME, *tap_names(TINY), *OUTPUT_NAMES)
    network = tiny_network(1)
    with torch.inference_mode():
        whole = network.tensors(image, names)
        landmarks, covariance = network(image)
        for stage in network.stages:
            made = network.run_stage(stage, *(whole[name] for name in stage.inputs))
            for name, found in zip(stage.outputs, made, strict=True):
                assert torch.equal(found, whole[name]), name

    assert torch.equal(whole["landmarks"], landmarks)
    assert torch.equal(whole["covariance"], covariance)
    assert {name: whole[name].shape[1] for name in tap_names(TINY)[:5]} == {
        "stem": 8,
        "stack0.hourglass": 8,
        "stack0.features": 8,
        "stack0.heatmaps": 68,
        "stack0.pointmaps": 68,
    }
