"""The tensors inside the network, from every engine that gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import TINY, convert
from cann.control import Control
from numpy.typing import NDArray

from runtime.backends import open_backend
from runtime.backends.base import Backend, Outputs
from runtime.backends.torch.backend import TorchBackend
from runtime.detector import Detector
from runtime.errors import InferenceError, InputError
from runtime.model.spec import OUTPUT_NAMES, spec_of
from runtime.model.stages import stages_of, tap_names, tap_shapes


@pytest.fixture(scope="module")
def checkpoint(tiny: Path) -> Iterator[TorchBackend]:
    with open_backend(tiny, "cpu") as backend:
        assert isinstance(backend, TorchBackend)
        yield backend


@pytest.fixture(scope="module")
def batch() -> NDArray[np.float32]:
    """Eleven pictures: the gears 8 and 4, with one to pad."""
    rng = np.random.default_rng(7)
    return rng.uniform(-1, 1, (11, 3, 256, 256)).astype(np.float32)


@pytest.mark.usefixtures("npu")
@pytest.mark.parametrize("device", ["cpu", "npu:0"])
def test_a_debug_bundle_gives_the_checkpoints_taps(
    tiny_debug: Path, checkpoint: TorchBackend, batch: NDArray[np.float32], device: str
) -> None:
    """Of every picture of a batch, by name; landmarks and covariance are what they were."""
    with open_backend(tiny_debug, device) as backend:
        said = backend.run(batch)
    expected, taps = checkpoint.run(batch), checkpoint.taps(batch)

    assert tuple(said.taps) == tuple(taps) == tap_names(TINY)
    for name, tap in said.taps.items():
        assert tap.dtype == np.float32
        assert tap.shape == (11, *tap_shapes(TINY)[name])
        scale = np.abs(taps[name]).max()
        assert np.abs(tap - taps[name]).max() < 1e-4 * scale, name
    assert np.abs(said.landmarks - expected.landmarks).max() * 128 < 1e-3
    one = said.of(10)
    assert one.taps["stem"].shape == (1, 8, 64, 64)
    np.testing.assert_array_equal(one.taps["stem"][0], said.taps["stem"][10])
    assert one.taps["stem"].base is not None  # a view


@pytest.mark.usefixtures("npu")
def test_taps_come_through_aipp_and_fp16(
    tiny_debug: Path, tmp_path: Path, photo: NDArray[np.uint8]
) -> None:
    """Static batches whose outputs are fp16 on the chip: float32 here, and off by its rounding."""
    config = ("--config", tiny_debug.parent / "tiny.toml", "--taps", "--no-parity")
    asked = ("--aipp", "--batch_sizes", "1,4", "--output_type", "FP16")
    bundle = convert(tiny_debug, tmp_path / "b", *config, *asked)
    with Detector(bundle, "npu:0") as npu, Detector(bundle, "cpu") as cpu:
        assert npu.spec.input.dtype == "uint8"
        found, exact = npu.trace(photo).outputs.taps, cpu.trace(photo).outputs.taps
    assert tuple(found) == tuple(exact) == tap_names(TINY)
    for name, tap in found.items():
        assert tap.dtype == np.float32
        moved = np.abs(tap - exact[name]).max() / np.abs(exact[name]).max()
        assert 1e-5 < moved < 0.05, name


def test_other_sources_give_no_taps(
    npu: Control, tiny_om: Path, checkpoint: TorchBackend, batch: NDArray[np.float32]
) -> None:
    """Neither an engine's bundle nor the checkpoint's run."""
    assert npu
    with open_backend(tiny_om, "npu:0") as om, open_backend(tiny_om, "cpu") as ort:
        for backend in (om, ort, checkpoint):
            assert not backend.spec.taps
            assert not backend.run(batch[:1]).taps


def test_a_trace_keeps_the_taps_and_a_batch_does_not(
    tiny_debug: Path, photo: NDArray[np.uint8]
) -> None:
    """Tens of MB a picture would pile up over a batch; the landmarks are the same."""
    with Detector(tiny_debug, "cpu") as detector:
        one = detector.trace(photo)
        both = detector.trace_batch([photo, photo[:, ::-1]])

    assert tuple(one.outputs.taps) == tap_names(TINY)
    assert [trace.outputs.taps for trace in both] == [{}, {}]
    np.testing.assert_allclose(one.landmarks.points_px, both[0].landmarks.points_px, atol=1e-2)


@pytest.mark.slow
def test_each_stage_runs_alone_on_what_it_is_given(
    checkpoint: TorchBackend, batch: NDArray[np.float32]
) -> None:
    """The chain of single stages is the network, bit for bit."""
    tensors: dict[str, NDArray[np.float32]] = {"image": batch[:2]}
    for stage in stages_of(TINY.stacks):
        tensors |= checkpoint.run_stage(stage.name, tensors)
    said, taps = checkpoint.run(batch[:2]), checkpoint.taps(batch[:2])

    assert tuple(tensors) == ("image", *tap_names(TINY), *OUTPUT_NAMES)
    for name, tap in taps.items():
        np.testing.assert_array_equal(tensors[name], tap)
    np.testing.assert_array_equal(tensors["landmarks"], said.landmarks)
    np.testing.assert_array_equal(tensors["covariance"], said.covariance)


def test_a_stage_is_not_run_on_what_is_not_its_own(checkpoint: TorchBackend) -> None:
    """An unknown stage; a tensor missing, of another dtype, width, side or batch."""
    heat = np.zeros((2, 68, 64, 64), np.float32)
    edge = np.zeros((2, 9, 64, 64), np.float32)
    good = {"stack0.heatmaps": heat, "stack0.pointmaps": heat, "stack0.edgemaps": edge}
    wrong: list[tuple[str, Mapping[str, NDArray[Any]], str]] = [
        ("stack2.fused", good, r"expected one of stem, stack0\.hourglass, .*'stack2\.fused'"),
        ("stack0.fused", {}, "got none of them"),
        ("stack0.fused", {"stack0.heatmaps": heat}, r"stack0\.edgemaps float32 \(2, 9, 64, 64\)"),
        ("stack0.fused", {**good, "stack0.edgemaps": edge[:1]}, r"got .*float32 \(1, 9, 64, 64\)"),
        ("stack0.fused", {**good, "stack0.pointmaps": heat.astype(np.float64)}, "float64"),
        ("stack0.fused", {**good, "stack0.edgemaps": edge[:, :8]}, r"\(2, 8, 64, 64\)"),
        ("stack0.fused", {**good, "stack0.edgemaps": edge[..., :32]}, r"\(2, 9, 64, 32\)"),
        ("stem", {"image": np.zeros((), np.float32)}, r"float32 \(1, 3, 256, 256\)"),
        ("stem", {"image": np.zeros((0, 3, 256, 256), np.float32)}, r"got .*\(0, 3, 256, 256\)"),
    ]
    assert checkpoint.run_stage("stack0.fused", good)["stack0.fused"].shape == heat.shape
    for name, inputs, says in wrong:
        with pytest.raises(InputError, match=says):
            checkpoint.run_stage(name, inputs)
    with pytest.raises(InputError, match="float32"):
        checkpoint.taps(np.zeros((1, 3, 128, 128), np.float32))


def test_a_closed_checkpoint_gives_nothing(tiny: Path, batch: NDArray[np.float32]) -> None:
    """As any backend."""
    backend = open_backend(tiny, "cpu")
    assert isinstance(backend, TorchBackend)
    backend.close()
    with pytest.raises(InferenceError, match="a closed one"):
        backend.taps(batch[:1])
    with pytest.raises(InferenceError, match="a closed one"):
        backend.run_stage("stem", {"image": batch[:1]})
    with pytest.raises(InferenceError, match="a closed one"):
        backend.use_form("channels-last")


class Saying(Backend):
    """A backend that says what it is told to."""

    def __init__(self, changed: Mapping[str, NDArray[Any]]) -> None:
        self.name, self.device = "saying", "cpu"
        self.spec = spec_of(points=TINY.points, taps=tap_shapes(TINY))
        self._changed = changed

    def _run(self, batch: NDArray[Any]) -> Outputs:
        count = len(batch)
        taps = {n: np.zeros((count, *s), np.float32) for n, s in tap_shapes(TINY).items()}
        changed = dict(self._changed)
        landmarks = changed.pop("landmarks", np.zeros((count, 68, 2), np.float32))
        return Outputs(
            landmarks=landmarks,
            covariance=np.zeros((count, 68, 3), np.float32),
            taps={**taps, **changed},
        )

    def _close(self) -> None:
        """Nothing is open."""


def test_an_overflow_inside_is_a_finding_and_not_an_error() -> None:
    """It comes through; where an output is no number, the error names the first tensor."""
    image = np.zeros((1, 3, 256, 256), np.float32)
    infinite = np.full((1, 8, 64, 64), np.inf, np.float32)
    said = Saying({"stack0.features": infinite, "stack1.features": -infinite}).run(image)
    assert np.isinf(said.taps["stack0.features"]).all()

    dead = np.full((1, 68, 2), np.nan, np.float32)
    with pytest.raises(InferenceError, match=r"overflowed, stack0\.features before any other\."):
        Saying({"stack1.features": infinite, "stack0.features": infinite, "landmarks": dead}).run(
            image
        )
    with pytest.raises(InferenceError, match=r"a tensor has overflowed\."):
        Saying({"landmarks": dead}).run(image)


@pytest.mark.parametrize("shape", [(1, 8, 64, 32), (2, 8, 64, 64), (8, 64, 64)])
def test_a_tap_of_another_shape_is_an_error(shape: tuple[int, ...]) -> None:
    """It is not the tensor that the spec says it is."""
    with pytest.raises(InferenceError, match=r"saying: stem: expected float32 \(1, 8, 64, 64\)"):
        Saying(changed={"stem": np.zeros(shape, np.float32)}).run(
            np.zeros((1, 3, 256, 256), np.float32)
        )
