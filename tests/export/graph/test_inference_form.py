"""Each rewrite is the same function, on random and trained weights, and leaves its input alone."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from builders import STARTER, TINY, tiny_network
from torch import Tensor

from export.config import DEFAULT_REWRITES, REWRITES, OnnxTable, Rewrite
from export.graph.inference_form import inference_form
from export.graph.simplify import simplify
from export.graph.to_onnx import export_graph
from parity.locate.module_tensors import composed_of, module_paths
from runtime.backends import open_backend
from runtime.image.crop import crop_whole
from runtime.image.picture import read_picture
from runtime.model.spec import OUTPUT_NAMES
from runtime.model.stages import tap_names
from runtime.network.checkpoint import build_network, load_checkpoint
from runtime.network.hourglass import StackedHourglass, with_constant_maps

CROP_PX = 128  # crop px per unit of the normalised frame
FORMS: list[tuple[Rewrite, ...]] = [
    (),
    *[(name,) for name in REWRITES],
    *combinations(REWRITES, 2),
    DEFAULT_REWRITES,
    REWRITES,
]


@pytest.fixture(scope="module", params=["random", "trained"])
def network(request: pytest.FixtureRequest) -> StackedHourglass:
    """A tiny network of random weights with batch norms that do something, or the starter."""
    if request.param == "trained":
        return build_network(load_checkpoint(STARTER)).eval()
    made = tiny_network(5)
    generator = torch.Generator().manual_seed(6)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            size = module.num_features
            module.running_mean = torch.randn(size, generator=generator) * 0.2
            module.running_var = torch.rand(size, generator=generator) + 0.5
            module.weight.data = torch.rand(size, generator=generator) + 0.5
            module.bias.data = torch.randn(size, generator=generator) * 0.1
    return made


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1


def everything(network: StackedHourglass, image: Tensor) -> dict[str, Tensor]:
    names = (*tap_names(network.architecture), *OUTPUT_NAMES)
    with torch.inference_mode():
        return network.tensors(image, names)


@pytest.fixture(scope="module")
def expected(network: StackedHourglass, image: Tensor) -> dict[str, Tensor]:
    return everything(network, image)


@pytest.mark.parametrize("rewrites", FORMS, ids=lambda names: "+".join(names) or "none")
def test_every_stage_is_the_same_but_for_rounding(
    network: StackedHourglass,
    image: Tensor,
    expected: dict[str, Tensor],
    rewrites: tuple[Rewrite, ...],
) -> None:
    """Alone, in pairs, by default and all together; all taps, landmarks and covariance."""
    found = everything(with_constant_maps(inference_form(network, rewrites)), image)

    assert found.keys() == expected.keys()
    for name, here in found.items():
        there = expected[name]
        assert (here - there).norm() <= 1e-5 * there.norm(), name
    moved = (found["landmarks"] - expected["landmarks"]).abs().max() * CROP_PX
    assert moved < 1e-3


@pytest.mark.parametrize("name", REWRITES)
def test_a_rewrite_leaves_the_network_it_is_given_as_it_was(name: Rewrite) -> None:
    """Keys, numbers and modules; the form shares none of its tensors."""
    network = tiny_network(2)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    modules = [type(module) for module in network.modules()]

    form = inference_form(network, [name])

    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert [type(module) for module in network.modules()] == modules
    own = {parameter.data_ptr() for parameter in network.parameters()}
    assert own.isdisjoint(parameter.data_ptr() for parameter in form.parameters())


@pytest.mark.parametrize("half_open", [0.0, 0.05, 1.0])
def test_the_boundary_gate_switches_where_it_did(half_open: float) -> None:
    """The planes of stack 1 from heatmaps at the threshold, below and above it."""
    network = tiny_network(4)
    form = inference_form(network, ["coordinates"])
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(3, TINY.channels, 64, 64, generator=generator)
    heat = torch.rand(3, TINY.points, 64, 64, generator=generator) * 2 * half_open
    with torch.inference_mode():
        here = network.hgs[1].coordconv(x, heat)  # type: ignore[operator]  # torch types no submodule
        there = form.hgs[1].coordconv(x, heat)  # type: ignore[operator]  # likewise

    np.testing.assert_allclose(there.numpy(), here.numpy(), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_what_is_composed_names_the_checkpoints_modules(exporter: str, tiny: Path) -> None:
    """By the names that both exporters leave; every key is one of the checkpoint's."""
    table = OnnxTable(exporter=exporter, rewrites=REWRITES)  # type: ignore[arg-type]  # a name of it
    graph = simplify(export_graph(tiny, table)).graph
    named = {
        key
        for node in graph.node
        if node.op_type == "Conv"
        for path in module_paths(node)
        for key in composed_of(path)
    }
    network = tiny_network()

    assert named <= {name for name, _ in network.named_modules()}
    assert {"merge_edgemaps.0.conv", "out_heatmaps.1.conv", "features.0.0.conv3.conv"} <= named
    assert {"hgs.0.coordconv.conv", "hgs.1.coordconv.conv"} <= named


@pytest.mark.slow
def test_the_starter_moves_by_rounding_on_real_faces(shared: Path, tmp_path: Path) -> None:
    """The default graph against the published form in onnxruntime: below 0.001 crop px."""
    pictures = sorted((shared / "faces").glob("*.jpg"))
    crops = np.stack([crop_whole(read_picture(path), 256).pixels for path in pictures])
    said = []
    for name, rewrites in (("plain", ()), ("form", DEFAULT_REWRITES)):
        path = tmp_path / f"{name}.onnx"
        onnx.save(simplify(export_graph(STARTER, OnnxTable(rewrites=rewrites))), path)
        with open_backend(path, "cpu") as backend:
            batches = [backend.spec.input.pack(crops[i : i + 8]) for i in range(0, len(crops), 8)]
            said.append(np.concatenate([backend.run(batch).landmarks for batch in batches]))

    assert len(pictures) == 48
    assert np.abs(said[1] - said[0]).max() * CROP_PX < 1e-3
