"""One contract for every backend in the table, on the same model."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from builders import STARTER, skip_without_openvino
from numpy.typing import NDArray
from planted_graphs import model, node, value

from runtime.backends import ENGINES, Backend, Settings, open_backend
from runtime.errors import (
    ArtifactError,
    BackendUnavailable,
    ConfigError,
    InferenceError,
    InputError,
)
from runtime.machine import processor

Shapes = dict[str, list[str | int | None]]


@pytest.fixture(params=list(ENGINES))
def backend(request: pytest.FixtureRequest, starter_bundle: Path) -> Iterator[Backend]:
    if request.param == "openvino":
        skip_without_openvino()
    source, device = (STARTER if request.param == "torch" else starter_bundle), "cpu"
    if request.param == "om":
        request.getfixturevalue("npu")
        source = request.getfixturevalue("converted")("--precision_mode_v2", "origin")
        device = "npu:0"
    with open_backend(f"{source}@{request.param}/{device}") as opened:
        yield opened


def batch_of(backend: Backend, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    return backend.spec.input.pack(crops).astype(np.float32, copy=False)


def crops(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (count, 256, 256, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_outputs_are_what_the_spec_says(backend: Backend, count: int) -> None:
    """Shape, dtype, finite, inside the crop, spread positive."""
    said = backend.run(batch_of(backend, crops(count)))

    assert said.landmarks.shape == (count, 68, 2)
    assert said.covariance.shape == (count, 68, 3)
    assert said.landmarks.dtype == said.covariance.dtype == np.float32
    assert np.abs(said.landmarks).max() <= 1
    assert said.covariance[..., [0, 2]].min() > 0


def test_runs_repeat_and_pictures_do_not_mix(backend: Backend) -> None:
    """Twice the same bits; a picture's result does not depend on its neighbours."""
    both = crops(2)
    said = backend.run(batch_of(backend, both))
    again = backend.run(batch_of(backend, both))
    turned = backend.run(batch_of(backend, both[::-1]))

    np.testing.assert_array_equal(again.landmarks, said.landmarks)
    np.testing.assert_allclose(turned.landmarks[::-1], said.landmarks, atol=1e-5)


def threads_of_a_call(backend: Any) -> int:
    """In the engine's own word, right after a call of this thread."""
    if backend.name.startswith("torch"):
        return torch.get_num_threads()
    if backend.name.startswith("openvino"):
        said = backend._compiled.get_property
        threads, streams = int(said("INFERENCE_NUM_THREADS")), int(said("NUM_STREAMS"))
        assert threads % streams == 0
        return threads // streams
    return int(backend._session.get_session_options().intra_op_num_threads)


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_throughput_is_one_call_a_thread_side_by_side(starter_bundle: Path, engine: str) -> None:
    """As many as there are threads, each on one of them, with the same answers."""
    if engine == "openvino":
        skip_without_openvino()
    source = f"{STARTER if engine == 'torch' else starter_bundle}@{engine}/cpu"
    with (
        open_backend(source, settings=Settings(threads=3)) as one,
        open_backend(source, settings=Settings(threads=3, throughput=True)) as several,
        ThreadPoolExecutor(3) as pool,
    ):
        batches = [batch_of(one, crops(3)[index : index + 1]) for index in range(3)] * 3
        expected = [one.run(batch).landmarks for batch in batches]
        several.run(batches[0])
        assert threads_of_a_call(several) == 1
        found = list(pool.map(lambda batch: several.run(batch).landmarks, batches))

    assert (one.at_once, several.at_once) == (1, 3)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_throughput_takes_each_core_once(starter_bundle: Path) -> None:
    settings = Settings(throughput=True)
    for source in (f"{STARTER}@torch/cpu", f"{starter_bundle}@onnxruntime/cpu"):
        with open_backend(source, settings=settings) as several:
            assert several.at_once == processor.calls_at_once(None)


def test_engines_agree(backend: Backend, starter_torch: Backend) -> None:
    """With torch on the CPU, to a thousandth of a crop px."""
    batch = batch_of(backend, crops(2))
    here, there = backend.run(batch), starter_torch.run(batch)

    assert np.abs(here.landmarks - there.landmarks).max() * 128 < 1e-3


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        (np.float64, (1, 3, 256, 256)),
        (np.uint8, (1, 3, 256, 256)),
        (np.float32, (3, 256, 256)),
        (np.float32, (1, 256, 256, 3)),
        (np.float32, (1, 3, 128, 128)),
        (np.float32, (0, 3, 256, 256)),
        (np.float32, ()),
    ],
)
def test_another_input_is_refused(
    backend: Backend, dtype: type[np.generic], shape: tuple[int, ...]
) -> None:
    """By shape and dtype, before the engine sees it."""
    with pytest.raises(InputError, match=r"expected float32 \(1, 3, 256, 256\)"):
        backend.run(np.zeros(shape, dtype))


def test_nan_is_never_passed_on(backend: Backend) -> None:
    """The picture is named; OpenVINO loses a NaN on its way, and is not given one."""
    batch = batch_of(backend, crops(2))
    batch[1, 0, 100, 100] = np.nan
    lost = backend.name.startswith("openvino")
    kind, says = (
        (InputError, "expected finite numbers, got nan at picture 1")
        if lost
        else (InferenceError, r"within 2.5, got \[nan, nan\] at picture 1, point 0")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(kind, match=says):
            backend.run(batch)


def test_fork_is_refused_and_does_not_hang(backend: Backend) -> None:
    """An engine's threads do not survive a fork; the child is told instead of waiting for ever."""
    batch = batch_of(backend, crops(1))
    backend.run(batch)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            backend.run(batch)
        except InferenceError as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as said:
        assert "Open a Detector in each process" in said.read()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted by Linux")
def test_onnxruntime_uses_the_threads_it_is_given(starter_bundle: Path) -> None:
    """The caller's own is one of them; the numbers stay the same."""
    said = {}
    tasks = Path("/proc/self/task")
    batch = np.zeros((1, 3, 256, 256), np.float32)
    for threads in (1, 3):
        before = len([*tasks.iterdir()])
        with open_backend(starter_bundle, "cpu", settings=Settings(threads=threads)) as backend:
            said[threads] = backend.run(batch)
            assert len([*tasks.iterdir()]) - before == threads - 1

    np.testing.assert_allclose(said[3].landmarks, said[1].landmarks, atol=1e-5)


def test_torch_uses_the_threads_it_is_given() -> None:
    """Also in a thread that was started before, and where somebody has changed them since."""
    before = torch.get_num_threads()
    batch = np.zeros((1, 3, 256, 256), np.float32)
    found: list[int] = []

    def run(backend: Backend) -> None:
        torch.set_num_threads(2)
        backend.run(batch)
        found.append(torch.get_num_threads())

    try:
        with open_backend(STARTER, "cpu", settings=Settings(threads=1)) as backend:
            run(backend)
            other = threading.Thread(target=run, args=(backend,))
            other.start()
            other.join()
    finally:
        torch.set_num_threads(before)
    assert found == [1, 1]


@pytest.mark.parametrize("threads", [0, -1, 100_000, True, 1.5, "2"])
def test_a_number_of_threads_that_cannot_be_is_refused(threads: Any) -> None:
    """Zero, absurd, or no number; before any engine opens."""
    with pytest.raises(ConfigError, match="threads: expected 1 to 1024"):
        Settings(threads=threads)


def test_closes_twice_and_says_so_afterwards(backend: Backend) -> None:
    """A context manager whose close may be called again."""
    backend.close()
    backend.close()
    with pytest.raises(InferenceError, match="closed"):
        backend.run(batch_of(backend, crops(1)))


def test_says_what_and_where_it_runs(backend: Backend) -> None:
    """Engine and version, device, parameters."""
    engine = backend.name.split()[0]
    if engine == "pyACL":
        assert backend.name == "pyACL Ascend910B3 precision_mode_v2=origin"
    else:
        assert metadata.version(engine) in backend.name
    assert backend.device == ("npu:0" if engine == "pyACL" else "cpu")
    assert backend.parameters == 1_282_818


NO_PROVIDER = "expected a provider of onnxruntime"


@pytest.mark.parametrize(
    ("source", "device", "says"),
    [
        ("checkpoint", "npu:0", "torch_npu is not installed"),
        ("checkpoint", "cuda:7", "0 cuda devices"),
        ("checkpoint", "cpu:1", "the CPU is one device"),
        ("checkpoint", "npu:x", "not a device number"),
        ("checkpoint", "tpu", "torch runs on cpu"),
        ("graph", "cuda:0", NO_PROVIDER),
        ("graph", "CUDAExecutionProvider", NO_PROVIDER),
        ("graph", "nonsense", NO_PROVIDER),
        ("graph", "cpu:7", NO_PROVIDER),
        ("graph", "cpu:bf16", NO_PROVIDER),
    ],
)
def test_device_that_is_missing_is_an_error_and_no_fallback(
    starter_bundle: Path, source: str, device: str, says: str
) -> None:
    """Exit code 3, with the reason; onnxruntime would take the CPU, and compare it with itself."""
    with pytest.raises(BackendUnavailable, match=says):
        open_backend(STARTER if source == "checkpoint" else starter_bundle / "model.onnx", device)


def test_provider_that_leaves_nodes_to_the_cpu_is_refused(starter_bundle: Path) -> None:
    """Its session opens, and would compare the CPU with itself."""
    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no provider that runs nothing of a graph")
    with pytest.raises(BackendUnavailable, match="nodes that only the CPU would run"):
        open_backend(f"{starter_bundle}@AzureExecutionProvider")


def test_providers_go_by_name(starter_bundle: Path) -> None:
    """The CPU's own name is a device, too."""
    with open_backend(f"{starter_bundle}@CPUExecutionProvider") as backend:
        assert backend.device == "CPUExecutionProvider"


def test_engine_for_another_kind_of_file_is_refused(starter_bundle: Path) -> None:
    """Torch opens no bundle; an unknown engine is not guessed."""
    with pytest.raises(ConfigError, match="a file of kind checkpoint for torch"):
        open_backend(f"{starter_bundle}@torch/cpu")
    with pytest.raises(ConfigError, match="one of the engines torch, onnxruntime"):
        open_backend(f"{starter_bundle}@tensorrt/cpu")


def graph(path: Path, inputs: Shapes, outputs: Shapes) -> Path:
    """A graph that names its inputs and outputs as told and passes zeros along."""
    nodes = [node("Identity", ["zeros"], [name]) for name in outputs]
    given, made = ([value(*one) for one in side.items()] for side in (inputs, outputs))
    zeros = {"zeros": np.zeros((1, 68, 2), np.float32)}
    onnx.save(model(nodes, constants=zeros, inputs=given, outputs=made), str(path))
    return path


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"x": ["N", 3, 256, 256]}, {"landmarks": [1, 68, 2]}),
        ({"image": ["N", 3, 256, 256]}, {"heatmaps": [1, 68, 2], "covariance": [1, 68, 2]}),
        ({"image": ["N", 3, 256, 128]}, {"landmarks": [1, 68, 2], "covariance": [1, 68, 2]}),
        ({"image": ["N", 3, 256, 256]}, {"landmarks": [1, 68, 2], "covariance": [1, 68, 2]}),
        ({"image": [1, 3, 256, 256]}, {"landmarks": [1, 68, 2], "covariance": [1, 68, 3]}),
    ],
)
def test_foreign_graph_is_refused(tmp_path: Path, inputs: Shapes, outputs: Shapes) -> None:
    """Other inputs, other outputs, other shapes."""
    with pytest.raises(ArtifactError, match="expected input image float32"):
        open_backend(graph(tmp_path / "m.onnx", inputs, outputs))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.6])
def test_corrupt_graph_is_refused(
    starter_bundle: Path, tmp_path: Path, engine: str, keep: float
) -> None:
    """Empty, a header, most of it."""
    if engine == "openvino":
        skip_without_openvino()
    content = (starter_bundle / "model.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ArtifactError, match=rf"cut.onnx: .* ONNX graph that (?i:{engine})"):
        open_backend(f"{path}@{engine}/cpu")


@pytest.mark.parametrize("engine", list(ENGINES))
def test_an_engine_alone_is_no_device(tiny: Path, engine: str) -> None:
    """`m.onnx@openvino` would otherwise be taken for a provider of onnxruntime."""
    with pytest.raises(ConfigError, match=f"@{engine}/cpu, for example"):
        open_backend(f"{tiny}@{engine}")
