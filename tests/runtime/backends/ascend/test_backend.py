"""The pyACL engine against the simulator: right numbers, and nothing left behind whatever fails."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from cann.control import Control
from cann.plugin import Cann
from numpy.typing import NDArray

from runtime.backends import Backend, Settings, open_backend
from runtime.backends.ascend import backend as om
from runtime.backends.ascend import process
from runtime.backends.ascend.backend import OmBackend, plan
from runtime.detector import Detector
from runtime.errors import (
    ArtifactError,
    BackendUnavailable,
    ConfigError,
    InferenceError,
    StarmarkError,
)
from runtime.machine.soc import soc_of
from runtime.model.om_file import read_om

ORIGIN = ("--precision_mode_v2", "origin")
CODES = (500000, 107000, 507011)
# nothing hangs on them: a message's text, the context to return to, the dtype of the hidden input
MAY_PASS = {"get_recent_err_msg", "rt.get_context", "mdl.get_input_data_type"}


@pytest.fixture
def crops(rng: np.random.Generator) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (11, 256, 256, 3), dtype=np.uint8)


def cycle(bundle: Path, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Load, run, close."""
    with open_backend(f"{bundle}@npu:0") as backend:
        return backend.run(backend.spec.input.pack(crops)).landmarks


def failure_of(bundle: Path, crops: NDArray[np.uint8], right: NDArray[np.float32]) -> str:
    """A cycle's error; where there is none, its numbers must be right."""
    try:
        found = cycle(bundle, crops)
    except StarmarkError as error:
        return str(error)
    np.testing.assert_array_equal(found, right)
    return ""


def test_gears_serve_every_batch(npu: Control, tiny_om: Path, crops: NDArray[np.uint8]) -> None:
    """1 to 11 pictures through gears 1, 2, 4, 8: as onnxruntime says, to float rounding."""
    with open_backend(tiny_om, "cpu") as cpu, open_backend(tiny_om, "npu:0") as backend:
        for count in range(1, 12):
            batch = cpu.spec.input.pack(crops[:count])
            here, there = backend.run(batch), cpu.run(batch)
            assert here.landmarks.shape == (count, 68, 2)
            np.testing.assert_allclose(here.landmarks, there.landmarks, atol=1e-5)
            np.testing.assert_allclose(here.covariance, there.covariance, atol=1e-4)
            assert {"h2d", "compute", "d2h"} == set(here.timings)
    sizes = [call.arguments[3] for call in npu.calls("mdl.set_dynamic_batch_size")]
    assert sizes[:12] == [1, 2, 4, 4, 8, 8, 8, 8, 8, 1, 8, 2]


@pytest.mark.parametrize(
    ("pictures", "sizes", "expected"),
    [
        (1, [1], [1]),
        (3, [1], [1, 1, 1]),
        (3, [4], [4]),
        (5, [1, 4], [4, 1]),
        (7, [1, 4], [4, 4]),
        (11, [1, 2, 4, 8], [8, 4]),
        (16, [1, 8], [8, 8]),
    ],
)
def test_a_call_is_split_into_the_batches_there_are(
    pictures: int, sizes: list[int], expected: list[int]
) -> None:
    assert plan(pictures, sizes) == expected


def test_static_batches_are_loaded_when_they_are_needed(
    npu: Control, converted: Callable[..., Path], crops: NDArray[np.uint8]
) -> None:
    """With batches 1 and 4: one file for one picture, the other from two pictures on."""
    bundle = converted("--batch_sizes", "1,4", "--precision_mode_v2", "origin")
    with open_backend(bundle, "npu:0") as backend, open_backend(bundle, "cpu") as cpu:
        assert len(npu.calls("mdl.load_from_file")) == 1
        packed = cpu.spec.input.pack(crops[:5])
        backend.run(packed[:1])
        assert len(npu.calls("mdl.load_from_file")) == 1
        difference = backend.run(packed).landmarks - cpu.run(packed).landmarks
        assert len(npu.calls("mdl.load_from_file")) == 2
        assert np.abs(difference).max() * 128 < 1e-3


@pytest.mark.usefixtures("npu")
def test_aipp_takes_the_crops_own_bytes(
    converted: Callable[..., Path], photo: NDArray[np.uint8]
) -> None:
    """Its points are the float input's, but for the rounding that the manifest states."""
    bundle = converted("--aipp", "--precision_mode_v2", "origin")
    with Detector(bundle, "npu:0") as detector, Detector(bundle, "cpu") as cpu:
        assert detector.spec.input.dtype == "uint8"
        assert detector.spec.input.layout == "NHWC"
        manifest = detector.backend.manifest
        assert manifest is not None
        stated = manifest.om[0].aipp
        assert stated is not None
        one, other = detector.trace(photo), cpu.trace(photo)
        moved = np.abs(one.outputs.landmarks - other.outputs.landmarks) * 128
        assert 1e-5 < moved.max() <= stated.max_px * 1.01 + 1e-3
        assert stated.max_px < 0.05


@pytest.mark.usefixtures("npu")
@pytest.mark.parametrize(
    "options", [("--output_type", "FP16", *ORIGIN), (*ORIGIN, "--", "--input_fp16_nodes=image")]
)
def test_fp16_at_either_end_is_float32_to_callers(
    converted: Callable[..., Path], crops: NDArray[np.uint8], options: tuple[str, ...]
) -> None:
    """Both halve a copy; inputs are narrowed, and outputs widened, on the host."""
    bundle = converted(*options)
    with open_backend(bundle, "npu:0") as backend, open_backend(bundle, "cpu") as cpu:
        packed = cpu.spec.input.pack(crops[:2])
        found = backend.run(packed).landmarks
        assert found.dtype == np.float32
        if "--" in options:
            rounded = cpu.run(packed.astype(np.float16).astype(np.float32)).landmarks
            assert np.abs(found - rounded).max() * 128 < 1e-3
        else:
            assert np.abs(found - cpu.run(packed).landmarks).max() < 2**-11


@pytest.mark.parametrize("chip", ["Ascend910B2", "Ascend910C7"])  # the second: of no table
def test_another_chip_is_refused_before_loading(
    npu: Control, cann: Cann, tiny_om: Path, chip: str
) -> None:
    """One line that names both; the command names the chip as it is: elsewhere there is no auto."""
    cann.set_soc(chip)
    npu.reset()
    with pytest.raises(ArtifactError, match=rf"npu:0 {chip}, got one for Ascend910B3") as told:
        open_backend(tiny_om, "npu:0")
    command = told.value.action.split()
    assert soc_of(command[command.index("--soc_version") + 1]).name == chip
    assert npu.calls("mdl.load_from_file") == []


@pytest.mark.usefixtures("npu")
def test_the_chip_in_other_letters_is_the_same(
    tiny_om: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the file alone: the manifest has the name as ATC writes it."""
    monkeypatch.setattr(
        om, "read_om", lambda path: replace(read_om(path), soc_version="ascend910b3")
    )
    with open_backend(tiny_om, "npu:0") as backend:
        assert backend.name.startswith("pyACL Ascend910B3")


def test_auto_takes_the_npu_where_it_starts_and_tells_why(npu: Control, tiny_om: Path) -> None:
    with open_backend(tiny_om) as backend:
        assert backend.device == "npu:0"
        assert "is there" in backend.reasons[0]
    npu.inject("rt.set_device", 507033)
    with open_backend(tiny_om) as backend:
        assert backend.device == "cpu"
        assert "507033" in backend.reasons[0]


def test_whoever_names_the_onnx_gets_the_onnx(npu: Control, tiny_om: Path) -> None:
    """Else a comparison of a bundle's ONNX with its .om would compare the .om with itself."""
    for source in (tiny_om / "model.onnx", f"{tiny_om}@onnxruntime/auto", f"{tiny_om}@cpu"):
        with open_backend(source) as backend:
            assert backend.device == "cpu"
            assert backend.name.startswith("onnxruntime")
    assert npu.calls() == []


@pytest.mark.parametrize("there", ["nothing", "a folder"])
def test_without_pyacl_a_named_npu_is_unavailable(
    tiny_om: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    """And `auto` tells why it takes the CPU; a folder called acl is no pyACL."""
    monkeypatch.setattr(process, "_process", process._Process())
    if there == "a folder":
        (tmp_path / "acl").mkdir()
        monkeypatch.syspath_prepend(str(tmp_path))
    says = "is not pyACL" if there == "a folder" else r"module acl.*set_env\.sh"
    with pytest.raises(BackendUnavailable, match=says):
        open_backend(tiny_om, "npu:0")
    with open_backend(tiny_om) as backend:
        assert backend.device == "cpu"
        assert "pyACL" in backend.reasons[0]


def test_a_pyacl_without_a_call_is_named(
    npu: Control, tiny_om: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(npu.acl.mdl, "get_dynamic_batch")
    with pytest.raises(BackendUnavailable, match=r"has acl\.mdl\.get_dynamic_batch"):
        open_backend(tiny_om, "npu:0")


@pytest.mark.usefixtures("npu")
@pytest.mark.parametrize("device", ["cpu", "cuda:0", "npu:x", "npu:²"])
def test_an_om_runs_on_an_npu_alone(tiny_om: Path, device: str) -> None:
    om = next(tiny_om.glob("*.om"))
    with pytest.raises(BackendUnavailable, match="npu:N for an .om"):
        open_backend(f"{om}@{device}")


@pytest.mark.usefixtures("npu")
def test_a_bare_om_brings_its_manifest(tiny_om: Path) -> None:
    om = next(tiny_om.glob("*.om"))
    with open_backend(f"{om}@npu:0") as backend:
        assert backend.manifest is not None


@pytest.mark.usefixtures("npu")
def test_settings_of_other_engines(tiny_om: Path, caplog: pytest.LogCaptureFixture) -> None:
    """HF32 is chosen at the conversion; threads of the processor have no effect."""
    with pytest.raises(ConfigError, match="allow-hf32"):
        open_backend(tiny_om, "npu:0", settings=Settings(allow_hf32=True))
    with open_backend(tiny_om, "npu:0", settings=Settings(threads=2)) as backend:
        assert backend.batches == (1, 2, 4, 8)
    assert "threads=2 has no effect on npu:0" in caplog.text


def test_every_call_may_fail(npu: Control, tiny_om: Path, crops: NDArray[np.uint8]) -> None:
    """Each call of load, run and close, with three codes: the right error, no leak, no double free.

    And a new backend works afterwards.
    """
    right = cycle(tiny_om, crops[:3])
    # once for a process, and tested by itself below
    seen = [call.name for call in npu.calls() if call.name != "init"]
    counted = {name: seen.count(name) for name in seen}
    assert len(seen) > 50
    for name, times in counted.items():
        for nth in range(1, times + 1):
            for code in CODES:
                npu.inject(name, code, nth)
                said = failure_of(tiny_om, crops[:3], right)
                # a call without a code may come out as another file's facts
                known = said == "" and name in MAY_PASS
                named = f"acl.{name}" in said and (str(code) in said or "no handle" in said)
                described = "as manifest.json says" in said or "expected input image" in said
                assert known or named or described, (name, nth, code, said)
                assert npu.violations() == [], (name, nth, code)
                assert npu.leaks() == {}, (name, nth, code)
                npu.reset()
    np.testing.assert_array_equal(cycle(tiny_om, crops[:3]), right)


def test_eight_threads_share_one_detector(
    npu: Control, tiny_om: Path, crops: NDArray[np.uint8]
) -> None:
    """8 threads x 40 detections: each gets its own picture's points."""
    with Detector(tiny_om, "npu:0") as detector:
        right = [detector.detect_from_cropped(crop).points_px for crop in crops]

        def work(thread: int) -> None:
            for number in range(40):
                index = (thread + number) % len(crops)
                found = detector.detect_from_cropped(crops[index]).points_px
                np.testing.assert_array_equal(found, right[index])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
    assert npu.leaks() == {}
    assert {call.thread for call in npu.calls("rt.set_context")} != {threading.get_ident()}


def test_several_devices_in_one_process(
    npu: Control, cann: Cann, tiny_om: Path, crops: NDArray[np.uint8]
) -> None:
    """Each with its context; two backends on one device share it."""
    cann.set_soc("Ascend910B3", devices=2)
    npu.reset()
    backends: list[Backend] = [open_backend(tiny_om, f"npu:{index}") for index in (0, 1, 0)]
    packed = backends[0].spec.input.pack(crops[:1])
    said = [backend.run(packed).landmarks for backend in backends]
    for other in said[1:]:
        np.testing.assert_array_equal(other, said[0])
    assert len(npu.calls("rt.create_context")) == 2
    backends[0].close()
    backends[2].run(packed)
    for backend in backends:
        backend.close()


def test_a_forgotten_backend_is_released_when_it_is_collected(
    npu: Control, tiny_om: Path, crops: NDArray[np.uint8]
) -> None:
    """Also while another one is open, whose context must stay current."""
    with open_backend(tiny_om, "npu:0") as kept:
        packed = kept.spec.input.pack(crops[:1])
        forgotten = open_backend(tiny_om, "npu:0")
        forgotten.run(packed)
        del forgotten
        gc.collect()
        assert len(npu.calls("mdl.unload")) == 1
        kept.run(packed)


def test_an_interrupt_does_not_mix_runs(
    npu: Control, tiny_om: Path, crops: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after the work is queued: the next run's numbers are its own."""
    with open_backend(tiny_om, "npu:0") as backend:
        packed = backend.spec.input.pack(crops[:2])
        right = backend.run(packed[1:]).landmarks
        execute = npu.acl.mdl.execute_async

        def interrupted(*arguments: int) -> int:
            execute(*arguments)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(npu.acl.mdl, "execute_async", interrupted)
            with pytest.raises(KeyboardInterrupt):
                backend.run(packed[:1])
        # no call came between: what is queued has run on its own data
        assert npu.calls()[-1].name == "rt.synchronize_stream"
        np.testing.assert_array_equal(backend.run(packed[1:]).landmarks, right)


def test_closing_fails_loudly_and_still_releases_the_rest(npu: Control, tiny_om: Path) -> None:
    backend = open_backend(tiny_om, "npu:0")
    npu.inject("rt.destroy_stream", 107003)
    with pytest.raises(InferenceError, match=r"rt\.destroy_stream.*107003"):
        backend.close()
    backend.close()
    assert npu.leaks() == {}


def test_what_a_collected_backend_could_not_release_is_said(
    npu: Control, tiny_om: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = open_backend(tiny_om, "npu:0")
    npu.inject("rt.destroy_stream", 107003)
    del backend
    gc.collect()
    assert "rt.destroy_stream" in caplog.text


@pytest.mark.usefixtures("npu")
def test_a_model_the_manifest_does_not_describe(
    tiny_om: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ACL says of the file is held to each fact of the manifest before anything is run."""
    seen: list[Any] = []
    check = om._check_model
    monkeypatch.setattr(om, "_check_model", lambda *told: seen.append((check(*told), *told)))
    open_backend(tiny_om, "npu:0").close()
    ((_, path, fact, spec, model),) = seen
    change = msgspec.structs.replace
    for other_fact, other_spec in (
        (change(fact, batches=(1, 2, 8)), spec),
        (fact, change(spec, outputs=("landmarks", "other"))),
        (fact, change(spec, outputs=spec.outputs[::-1])),
        (fact, change(spec, input=change(spec.input, size=128))),
        (fact, change(spec, input=change(spec.input, dtype="uint8"))),
    ):
        with pytest.raises(ArtifactError, match=r"outputs .*'landmarks'"):
            check(path, other_fact, other_spec, model)


@pytest.mark.parametrize(("side", "factor"), [("output", 0.5), ("input", 0.5), ("output", 2)])
def test_buffers_hold_the_largest_batch(
    npu: Control,
    tiny_om: Path,
    crops: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
    side: str,
    factor: float,
) -> None:
    """A size that ACL gives for less is no buffer to run into; one for more is."""
    right = cycle(tiny_om, crops[:8])
    size = getattr(npu.acl.mdl, f"get_{side}_size_by_index")
    # of one tensor alone, the first of several
    monkeypatch.setattr(
        npu.acl.mdl,
        f"get_{side}_size_by_index",
        lambda desc, index: int(size(desc, index) * (1 if index else factor)),
    )
    if factor < 1:
        with pytest.raises(ArtifactError, match=r"expected input image .*Make the bundle again"):
            open_backend(tiny_om, "npu:0")
    else:
        np.testing.assert_array_equal(cycle(tiny_om, crops[:8]), right)


def test_latency_is_the_devices(npu: Control, tiny_om: Path, crops: NDArray[np.uint8]) -> None:
    """The device's time stands under compute, not under the copies."""
    npu.set_latency(0.05)
    with open_backend(tiny_om, "npu:0") as backend:
        packed = backend.spec.input.pack(crops[:1])
        backend.run(packed)
        start = time.perf_counter()
        said = backend.run(packed)
        assert time.perf_counter() - start >= 0.05
    assert said.timings["compute"] >= 0.05
    assert isinstance(backend, OmBackend)
