"""OpenVINO beyond the contract: precision, devices, silence towards the network, threads."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from builders import ROOT, run_python
from numpy.typing import NDArray

from parity.compare import __main__ as compare
from runtime.backends import CHOOSES_PRECISION, ENGINES, Settings, open_backend
from runtime.errors import BackendUnavailable, ConfigError, InferenceError
from runtime.machine import processor
from runtime.model.device import CPU
from runtime.model.source import find_artifact, parse_source
from runtime.model.spec import CHECKPOINT_KEY

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None,
    reason="openvino is not installed (extra openvino)",
)
NO_BF16 = "flags\t\t: fpu avx2 avx512f avx512_vnni\n"
BF16 = "processor: 0\nflags\t\t: fpu avx512f avx512_bf16\n"


@pytest.fixture
def graph(starter_bundle: Path) -> Path:
    return starter_bundle / "model.onnx"


def crops(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (count, 256, 256, 3), dtype=np.uint8)


def openvino_backend() -> Any:
    """The module, imported only here: openvino may not be installed."""
    return importlib.import_module("runtime.backends.openvino")


@pytest.fixture
def said_to_have_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO's core claims that its CPU has bf16."""
    openvino_backend()  # which keeps the package's telemetry out
    core = importlib.import_module("openvino").Core
    real = core.get_property

    def claimed(self: Any, device: str, name: str) -> Any:
        found = real(self, device, name)
        return [*found, "BF16"] if name == "OPTIMIZATION_CAPABILITIES" else found

    monkeypatch.setattr(core, "get_property", claimed)


def test_is_never_chosen_silently(starter_bundle: Path, graph: Path) -> None:
    """The default for graphs and bundles stays onnxruntime, also for `auto`."""
    for source in (starter_bundle, f"{starter_bundle}@cpu", graph):
        with open_backend(source) as backend:
            assert backend.name.startswith("onnxruntime ")


@pytest.mark.slow
def test_name_says_engine_device_and_precision(graph: Path) -> None:
    """What was compiled, and not what was asked for."""
    with open_backend(f"{graph}@openvino/cpu") as backend:
        assert backend.name == f"openvino {openvino_backend().VERSION} CPU fp32"
        assert backend.device == "cpu"
        assert len(backend.checkpoint_sha256) == 64
    with open_backend(f"{graph}@openvino/auto") as backend:
        assert backend.device == "cpu"


@pytest.mark.slow
def test_quantised_graph_is_said_to_run_in_int8(graph: Path, tmp_path: Path) -> None:
    """A hint of fp32 does not undo what the graph says."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class OneCrop(CalibrationDataReader):  # type: ignore[misc]  # it has no types
        def __init__(self) -> None:
            self.left = [np.zeros((1, 3, 256, 256), np.float32)]

        def get_next(self) -> dict[str, Any] | None:
            return {"image": self.left.pop()} if self.left else None

    quantize_static(graph, tmp_path / "q.onnx", OneCrop(), quant_format=QuantFormat.QDQ)
    with open_backend(f"{tmp_path / 'q.onnx'}@openvino/cpu") as backend:
        assert "int8" in backend.name.split()[-1].split("+")


@pytest.mark.parametrize("way", ["device", "settings"])
def test_bf16_runs_or_is_refused(graph: Path, way: str) -> None:
    """Where the processor has none, OpenVINO would run fp32 in silence."""
    source = f"{graph}@openvino/cpu" + (":bf16" if way == "device" else "")
    settings = Settings(precision="bf16" if way == "settings" else None)
    if processor.has_bf16():
        with open_backend(source, settings=settings) as backend:
            assert "bf16" in backend.name.split()[-1].split("+")
            batch = backend.spec.input.pack(crops(1))
            with open_backend(f"{graph}@cpu") as exact:
                moved = np.abs(backend.run(batch).landmarks - exact.run(batch).landmarks) * 128
        assert 0 < moved.mean() < 3
    else:
        with pytest.raises(BackendUnavailable, match=r"bf16 on CPU: .* which has none"):
            open_backend(source, settings=settings)


@pytest.mark.usefixtures("said_to_have_bf16")
def test_bf16_by_imitation_is_refused(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AVX-512 without bf16 counts as capable with OpenVINO, and is slower than fp32."""
    monkeypatch.setattr(processor, "has_bf16", lambda: False)
    with pytest.raises(BackendUnavailable, match="which has none"):
        open_backend(f"{graph}@openvino/cpu:bf16")


@pytest.mark.skipif(bool(processor.has_bf16()), reason="this processor has bf16")
@pytest.mark.usefixtures("said_to_have_bf16")
def test_fp32_in_the_place_of_bf16_is_refused(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled graph is looked at, whatever device and kernel said."""
    monkeypatch.setattr(processor, "has_bf16", lambda: True)

    with pytest.raises(BackendUnavailable, match=r"to compute in bf16, got .* compiled it to fp32"):
        open_backend(f"{graph}@openvino/cpu:bf16")


@pytest.mark.parametrize(
    ("text", "expected"),
    [(BF16, True), (NO_BF16, False), ("Features : fp asimd bf16\n", True), ("model: 1\n", None)],
)
def test_kernel_lists_bf16(
    tmp_path: Path, text: str, expected: bool | None
) -> None:  # what is expected
    """On x86 and on Arm; None where it lists nothing."""
    (tmp_path / "cpuinfo").write_text(text)
    assert processor.has_bf16(tmp_path / "cpuinfo") is expected
    assert processor.has_bf16(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("device", "error", "says"),
    [
        ("nothing", BackendUnavailable, "expected a device that OpenVINO lists: cpu"),
        ("AUTO:CPU", ConfigError, "one precision: fp32 or bf16"),
        ("cpu:1", ConfigError, "one precision: fp32 or bf16, got 1"),
        ("cpu:fp16", ConfigError, "got fp16"),
        ("cpu:", ConfigError, "got nothing after the colon"),
        ("hetero", BackendUnavailable, "a device that OpenVINO lists"),
        ("cpu:bf16", ConfigError, "one precision.*got bf16 and fp32"),  # the settings' own
    ],
)
def test_device_that_is_missing_is_an_error_and_no_fallback(
    graph: Path, device: str, error: type[Exception], says: str
) -> None:
    """OpenVINO's own devices that choose (AUTO, HETERO) are none of ours."""
    with pytest.raises(error, match=says):
        open_backend(f"{graph}@openvino/{device}", settings=Settings(precision="fp32"))


@pytest.mark.parametrize("engine", sorted(set(ENGINES) - CHOOSES_PRECISION))
def test_engines_that_cannot_choose_refuse_a_precision(starter_bundle: Path, engine: str) -> None:
    """Never passed over, whichever engine."""
    source = {"torch": ROOT / "assets/starter68.safetensors"}.get(engine, starter_bundle)
    with pytest.raises((ConfigError, BackendUnavailable)) as caught:
        open_backend(f"{source}@{engine}/cpu", settings=Settings(precision="fp32"))
    # a bundle without an .om is refused for that before any choice is looked at
    assert isinstance(caught.value, ConfigError) or engine == "om"


def test_rehearsal_refuses_a_precision(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It runs in onnxruntime; the message says how one source of two is told."""
    arguments = [f"{graph}@rehearse/fp16", f"{graph}@openvino/cpu", "--precision", "fp32"]
    assert compare.main(arguments) == 2
    assert "@openvino/cpu:fp32" in capsys.readouterr().err


def test_threads_share_one_backend(graph: Path) -> None:
    """Each gets its own answers, of batches of different sizes."""
    with open_backend(f"{graph}@openvino/cpu") as backend, ThreadPoolExecutor(4) as pool:
        batches = [backend.spec.input.pack(crops(4)[i : i + 1 + i % 2]) for i in range(4)]
        alone = [backend.run(batch).landmarks for batch in batches]
        start = threading.Barrier(4)

        def work(batch: NDArray[Any]) -> list[NDArray[np.float32]]:
            start.wait()
            return [backend.run(batch).landmarks for _ in range(3)]

        for expected, answers in zip(alone, pool.map(work, batches), strict=True):
            for answer in answers:
                np.testing.assert_allclose(answer, expected, atol=1e-6)


def test_uses_the_threads_it_is_given(graph: Path) -> None:
    """As the compiled graph says; the answers are the same."""
    said = []
    for threads in (1, None):
        settings = Settings(threads=threads)
        with open_backend(f"{graph}@openvino/cpu", settings=settings) as backend:
            assert isinstance(backend, openvino_backend().OpenVinoBackend)
            used = backend._compiled.get_property("INFERENCE_NUM_THREADS")
            assert used == threads if threads else used >= 1
            said.append(backend.run(backend.spec.input.pack(crops(2))).landmarks)
    np.testing.assert_allclose(said[0], said[1], atol=1e-5)


def test_taps_are_those_of_onnxruntime(tiny_debug: Path) -> None:
    """Of a debug bundle, by name and shape, and to rounding."""
    with (
        open_backend(f"{tiny_debug}@onnxruntime/cpu") as other,
        open_backend(f"{tiny_debug}@openvino/cpu") as backend,
    ):
        batch = backend.spec.input.pack(crops(2))
        here, there = backend.run(batch).taps, other.run(batch).taps
    assert list(here) == list(there) == list(backend.spec.taps)
    for name, tap in there.items():
        np.testing.assert_allclose(here[name], tap, atol=1e-3 * max(1, np.abs(tap).max()))


def test_answers_are_not_overwritten_by_the_next_call(graph: Path) -> None:
    """Outputs are the caller's own, though requests are used again."""
    with open_backend(f"{graph}@openvino/cpu") as backend:
        one, other = (backend.spec.input.pack(crops(2)[i : i + 1]) for i in (0, 1))
        first = backend.run(one).landmarks
        kept = first.copy()
        assert not np.array_equal(backend.run(other).landmarks, kept)
        np.testing.assert_array_equal(first, kept)


def test_failing_run_is_an_inference_error(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever OpenVINO raises; the request that failed is not used again."""
    with open_backend(f"{graph}@openvino/cpu") as backend:
        batch = backend.spec.input.pack(crops(1))

        def fail(*_: Any) -> None:
            raise RuntimeError("[CPU] out of luck")

        with monkeypatch.context() as patched:
            patched.setattr(openvino_backend().OpenVinoBackend, "_request", fail)
            with pytest.raises(InferenceError, match="out of luck"):
                backend.run(batch)
        assert backend.run(batch).landmarks.shape == (1, 68, 2)


def test_graph_in_memory_is_opened_in_the_files_place(graph: Path) -> None:
    """As onnxruntime does for a graph that was changed in memory."""
    model = onnx.load(str(graph))
    (checkpoint,) = [p for p in model.metadata_props if p.key == CHECKPOINT_KEY]
    checkpoint.value = "0" * 64
    artifact = find_artifact(parse_source(graph))
    changed = replace(artifact, manifest=None, graph=model.SerializeToString())
    with openvino_backend().OpenVinoBackend(changed, CPU, Settings()) as backend:
        assert backend.checkpoint_sha256 == "0" * 64


def test_nothing_is_reported_and_nothing_is_written(graph: Path, tmp_path: Path) -> None:
    """OpenVINO's telemetry is never imported, and leaves no identity in the home folder."""
    if importlib.util.find_spec("openvino_telemetry") is None:
        pytest.skip("openvino-telemetry is not installed")
    code = (
        "import sys, socket\n"
        "def refused(*_): raise AssertionError('a connection')\n"
        "socket.socket.connect = refused\n"
        "from runtime.backends import open_backend\n"
        f"open_backend({str(graph) + '@openvino/cpu'!r}).close()\n"
        "assert 'openvino' in sys.modules\n"
        "loaded = [m for m in sys.modules if m.startswith('openvino_telemetry')]\n"
        "assert not loaded, loaded\n"
        "print('silent')\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    clean = {"HOME": str(home), "PYTHONPATH": os.pathsep.join([str(ROOT)])}
    done = run_python("-c", code, **clean)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "silent\n"
    assert not list(home.iterdir())


def test_missing_package_says_what_installs_it(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 3, with the extra's name."""
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "runtime.backends.openvino", raising=False)
    with pytest.raises(BackendUnavailable, match=r"pip install -e '\.\[openvino\]'"):
        open_backend(f"{graph}@openvino/cpu")
