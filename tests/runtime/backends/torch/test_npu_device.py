"""Torch on an NPU: threads, precision, warm-up and timing, against a torch_npu that tells on us."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from runtime.backends import Backend, Settings, open_backend
from runtime.backends.ascend.codes import CODES, acl_code
from runtime.detector import Detector
from runtime.errors import BackendError, BackendUnavailable, InferenceError, StarmarkError
from runtime.published_port import FaceLandmarkDetector

F32 = NDArray[np.float32]
FAST = Settings(allow_hf32=True)
NO_COMPILER = (
    "at_npu::native::AclSetCompileopt(aclCompileOpt::ACL_PRECISION_MODE, precision_mode), error"
    " code is 500001\n[ERROR] 2025-04-16-13:15:44 (PID:96) ERR00100 PTA call acl api failed"
)


def batch(count: int = 1, seed: int = 0) -> F32:
    return np.random.default_rng(seed).random((count, 3, 256, 256), dtype=np.float32) * 2 - 1


def conv_bits(npu: Any) -> list[int]:
    """Mantissa bits of every convolution that ran."""
    return [detail[1] for what, _, detail in npu.diary if what == "conv2d"]


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Let threads start at the same moment; each is a new one, with no device set."""
    start = threading.Barrier(count)

    def begin(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


@pytest.fixture
def on_npu(torch_npu: Any, tiny: Path) -> Backend:  # noqa: ARG001  # the fake must be there
    return open_backend(f"{tiny}@npu:0")


@pytest.fixture
def expected(tiny: Path) -> F32:
    """What the CPU says of `batch()`."""
    with open_backend(tiny, "cpu") as backend:
        return backend.run(batch()).landmarks


def test_same_numbers_as_on_the_cpu(on_npu: Backend, expected: F32) -> None:
    """In fp32 there is no other rounding in the fake: bits may not differ."""
    np.testing.assert_array_equal(on_npu.run(batch()).landmarks, expected)


def test_only_the_named_device_is_ever_touched(torch_npu: Any, tiny: Path) -> None:
    """An option that is set before the device would start npu:0; a full card may be there."""
    with open_backend(f"{tiny}@npu:1") as backend:
        backend.run(batch())

    calls = [what for what, _, _ in torch_npu.diary if what != "device_count"]
    assert calls[0] == "set_device"
    assert {d for what, _, d in torch_npu.diary if what == "set_device"} == {"npu:1"}
    assert {d for what, _, d in torch_npu.diary if what in ("to", "module.to", "cpu")} == {1}
    assert (backend.device, backend.name.split()[-1]) == ("npu:1", "npu:1")


@pytest.mark.slow
def test_eight_threads_share_a_backend(torch_npu: Any, on_npu: Backend, expected: F32) -> None:
    """Ten runs each: every thread sets its device before anything else, and answers are right."""

    def ten(_: int) -> list[F32]:
        return [on_npu.run(batch()).landmarks for _ in range(10)]

    del torch_npu.diary[:]
    for answers in in_threads(8, ten):
        for answer in answers:
            np.testing.assert_array_equal(answer, expected)
    by_thread: dict[int, list[str]] = {}
    for what, thread, _ in torch_npu.diary:
        by_thread.setdefault(thread, []).append(what)
    assert len(by_thread) == 8
    for calls in by_thread.values():
        assert calls[0] == "set_device"
        assert calls.count("set_device") == 10


def test_convolutions_are_fp32_from_the_first_run(torch_npu: Any, on_npu: Backend) -> None:
    """HF32 is torch_npu's default; parity would judge it instead of the port."""
    assert torch_npu.conv.allow_hf32 is False
    on_npu.run(batch())

    assert set(conv_bits(torch_npu)) == {23}
    assert torch_npu.matmul.allow_hf32 is False
    assert torch_npu.options["ACL_PRECISION_MODE"] == "must_keep_origin_dtype"
    assert ("set_compile_mode", threading.get_ident(), False) in torch_npu.diary


def test_hf32_is_a_choice_that_the_name_tells(torch_npu: Any, tiny: Path, expected: F32) -> None:
    """11 mantissa bits: the numbers move, and recordings say why."""
    with Detector(f"{tiny}@npu:0", settings=FAST) as detector:
        answer = detector.backend.run(batch()).landmarks
    with FaceLandmarkDetector(tiny, "npu:0", settings=FAST) as same:
        assert same.detector.backend.name == detector.backend.name

    assert set(conv_bits(torch_npu)) == {11}
    assert detector.backend.name.endswith(" npu:0 HF32")
    assert 0 < np.abs(answer - expected).max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("other", ["device", "settings"])
def test_backends_that_share_a_process_do_not_mix(torch_npu: Any, tiny: Path, other: str) -> None:
    """Two devices or two settings, from threads that use both in turn: each run has its own."""
    first = open_backend(f"{tiny}@npu:0")
    if other == "device":
        second = open_backend(f"{tiny}@npu:1")
    else:  # the switch is the process's
        second = open_backend(f"{tiny}@npu:0", settings=FAST)
    backends = (first, second)
    wanted = [backend.run(batch()).landmarks for backend in backends]
    assert np.array_equal(wanted[0], wanted[1]) == (other == "device")

    def both(number: int) -> list[tuple[int, F32]]:
        order = (0, 1) if number % 2 else (1, 0)
        return [(which, backends[which].run(batch()).landmarks) for which in order * 3]

    for answers in in_threads(4, both):
        for which, answer in answers:
            np.testing.assert_array_equal(answer, wanted[which])
    ran_on = {detail[0] for what, _, detail in torch_npu.diary if what == "conv2d"}
    assert ran_on == ({0, 1} if other == "device" else {0})
    assert set(conv_bits(torch_npu)) == ({23} if other == "device" else {11, 23})


def test_other_code_may_switch_hf32_on(torch_npu: Any, on_npu: Backend, expected: F32) -> None:
    """The host process may use torch_npu for something else between our runs."""
    on_npu.run(batch())
    torch_npu.conv.allow_hf32 = True
    torch_npu.set_option({"ACL_PRECISION_MODE": "allow_fp32_to_fp16"})

    np.testing.assert_array_equal(on_npu.run(batch()).landmarks, expected)


@pytest.mark.slow
def test_new_shape_is_run_once_before_it_is_timed(
    torch_npu: Any, on_npu: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """The fake compiles an operator's first shape for a minute; no timing may show it."""
    caplog.set_level(logging.INFO, logger="starmark")
    convolutions = []
    for count in (1, 1, 4, 1, 4):
        del torch_npu.diary[:]
        timings = on_npu.run(batch(count)).timings
        assert max(timings.values()) < torch_npu.FIRST_OF_SHAPE_MS / 1e3
        convolutions.append(len(conv_bits(torch_npu)))

    once = convolutions[1]
    assert convolutions == [2 * once, once, 2 * once, once, once]
    said = [record.getMessage() for record in caplog.records if "warm-up" in record.getMessage()]
    assert [text.partition(" of ")[2].partition(":")[0] for text in said] == ["1", "4"]


def test_threads_warm_a_shape_once(torch_npu: Any, on_npu: Backend) -> None:
    """Eight threads bring the same new shape."""
    alone = in_threads(8, lambda _: on_npu.run(batch(2)).timings["compute"])
    runs = len(conv_bits(torch_npu))
    del torch_npu.diary[:]
    on_npu.run(batch(2))

    assert runs == 9 * len(conv_bits(torch_npu))
    assert len(set(alone)) == 1


def test_stages_are_timed_by_events(torch_npu: Any, on_npu: Backend) -> None:
    """On the device's clock, where each kernel takes a millisecond, after synchronising."""
    on_npu.run(batch())
    del torch_npu.diary[:]
    timings = on_npu.run(batch()).timings
    order = [what for what, _, _ in torch_npu.diary]

    assert list(timings) == ["h2d", "compute", "d2h"]
    assert timings["h2d"] == pytest.approx(0.001)
    assert timings["d2h"] == pytest.approx(0.002)
    assert 0.05 < timings["compute"] < 1
    assert order.index("synchronize") < order.index("record") < order.index("to")
    assert order.count("record") == 4
    assert order.index("event.synchronize") > order.index("cpu")


@pytest.mark.parametrize("chip", ["Ascend310P3", "Ascend910A"])
def test_chip_without_fp32_is_not_lowered_unasked(torch_npu: Any, tiny: Path, chip: str) -> None:
    """Named, it is an error that says what to do; `auto` says why it was passed over."""
    torch_npu.chips[:] = [chip]
    with pytest.raises(BackendUnavailable, match=rf"{chip}, whose .* in fp16.*Pass --allow-hf32"):
        open_backend(f"{tiny}@npu:0")
    with open_backend(tiny) as backend:
        assert backend.device == "cpu"
        assert any(chip in reason for reason in backend.reasons)


def test_chip_without_fp32_computes_in_fp16_where_that_is_accepted(
    torch_npu: Any, tiny: Path, expected: F32
) -> None:
    """And the name says so."""
    torch_npu.chips[:] = ["Ascend310P3"]
    with open_backend(f"{tiny}@npu:0", settings=FAST) as backend:
        answer = backend.run(batch()).landmarks

    assert set(conv_bits(torch_npu)) == {10}
    assert backend.name.endswith(" npu:0 fp16")
    assert 0 < np.abs(answer - expected).max() < 0.1


def test_chip_that_is_newer_than_the_table_is_opened(torch_npu: Any, tiny: Path) -> None:
    """Its cube units have fp32 as far as anybody knows; torch_npu has the last word."""
    torch_npu.chips[:] = ["Ascend999X"]
    with open_backend(f"{tiny}@npu:0") as backend:
        assert backend.run(batch()).landmarks.shape == (1, 68, 2)


def test_switch_that_does_not_switch_is_an_error(torch_npu: Any, tiny: Path) -> None:
    """torch_npu swallows names that it does not know."""
    torch_npu.conv.works = False
    with pytest.raises(BackendUnavailable, match="allow_hf32 still True after it was set"):
        open_backend(f"{tiny}@npu:0")


@pytest.mark.parametrize(
    ("call", "failure", "says"),
    [
        ("set_device", 507033, "could not be set up.*npu-smi info"),
        ("set_device", 107001, "no such device.*npu-smi info lists"),
        ("module.to", 207018, "no memory left.*smaller batches"),
        # for the name as soon as a device is set, but for Ascend950's
        (
            "set_device",
            RuntimeError("Unsupported soc version: Ascend999"),
            "does not support the chip.*runtime.doctor",
        ),
        (
            "set_option",
            ValueError("value of ACL_PRECISION_MODE should be in [...]"),
            "does not take ACL_PRECISION_MODE.*Install a newer torch_npu",
        ),
        ("set_option", RuntimeError(f"NPU function error: {NO_COMPILER}"), "decorator sympy cffi"),
    ],
)
def test_device_that_does_not_open_tells_why(
    torch_npu: Any, tiny: Path, call: str, failure: int | Exception, says: str
) -> None:
    """Exit code 3, with what to do; it may be tried again, and never runs in another precision."""
    torch_npu.faults[call] = (
        torch_npu.acl_error("SetDevice", failure) if isinstance(failure, int) else failure
    )
    with pytest.raises(BackendUnavailable, match=says) as raised:
        open_backend(f"{tiny}@npu:0")
    assert raised.value.exit_code == 3
    with open_backend(f"{tiny}@npu:0") as backend:
        assert backend.run(batch()).landmarks.shape == (1, 68, 2)


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        (
            "error code is 107002\n[Error]: The context is empty.",
            InferenceError,
            "no context is set",
        ),
        ("NPU out of memory. Tried to allocate 5.03 GiB (NPU 0)", InferenceError, "smaller batch"),
        (NO_COMPILER, BackendUnavailable, "compiler does not start.*absl-py"),
        ("something new", InferenceError, "something new.*with @cpu"),
    ],
)
def test_failed_call_says_what_it_means(
    torch_npu: Any, on_npu: Backend, text: str, kind: type[StarmarkError], says: str
) -> None:
    """Device, meaning, remedy; and a run that can work does, afterwards."""
    torch_npu.faults["conv2d"] = RuntimeError(text)
    with pytest.raises(kind, match=rf"torch \S+ npu:0: .*{says}"):
        on_npu.run(batch())
    assert on_npu.run(batch()).landmarks.shape == (1, 68, 2)


# of today's table, which `ascend/test_codes.py` pins, and one of its kind that no table has
LOST = [number for number, code in CODES.items() if code.loses_device and number != 545601]


@pytest.mark.parametrize("code", [*LOST, 507777])
def test_device_lost_in_a_run_is_found_where_it_is_waited_for(
    torch_npu: Any, on_npu: Backend, code: int
) -> None:
    """In `.cpu()`, as in the real one: the backend is closed, and its first cause stands."""
    torch_npu.kernel_faults["conv2d"] = code
    with pytest.raises(BackendError, match=rf"error code:{code}\. ") as raised:
        on_npu.run(batch())
    meant = acl_code(code).meaning
    assert raised.value.got.startswith(meant)
    assert torch_npu.diary[-1][0] == "cpu"
    assert on_npu.closed
    for _ in range(2):
        with pytest.raises(type(raised.value)) as again:
            on_npu.run(batch())
        assert str(again.value) == str(raised.value)


@pytest.mark.parametrize("call", ["synchronize", "event.synchronize"])
def test_device_lost_by_somebody_else_is_found_in_the_first_wait(
    torch_npu: Any, on_npu: Backend, call: str
) -> None:
    """A wait of another form, whose text has another form, too."""
    torch_npu.faults[call] = torch_npu.acl_error(call, 507014)
    with pytest.raises(InferenceError, match="an AI Core hung.*Start a new process"):
        on_npu.run(batch())
    assert on_npu.closed


def test_lost_device_is_lost_for_every_backend_and_no_other_device(
    torch_npu: Any, tiny: Path
) -> None:
    """Also for one that is opened afterwards; `auto` says why it takes the CPU."""
    first, second = open_backend(f"{tiny}@npu:0"), open_backend(f"{tiny}@npu:0")
    other = open_backend(f"{tiny}@npu:1")
    torch_npu.kernel_faults["conv2d"] = 507035
    with pytest.raises(InferenceError):
        first.run(batch())

    with pytest.raises(InferenceError, match="a vector core failed.*error code:507035"):
        second.run(batch())
    assert second.closed
    with pytest.raises(BackendUnavailable, match="a vector core failed.*Start a new process"):
        open_backend(f"{tiny}@npu:0")
    with open_backend(tiny) as backend:
        assert backend.device == "cpu"
        assert "a vector core failed" in backend.reasons[0]
    assert other.run(batch()).landmarks.shape == (1, 68, 2)


def test_threads_that_wait_for_a_lost_device_get_its_cause(
    torch_npu: Any, on_npu: Backend, tiny: Path
) -> None:
    """Eight runs at once on two backends: no run on the device that was lost ends with numbers."""
    backends = (on_npu, open_backend(f"{tiny}@npu:0"))
    torch_npu.kernel_faults["conv2d"] = 507015

    def attempt(number: int) -> StarmarkError:
        with pytest.raises(InferenceError) as raised:
            backends[number % 2].run(batch())
        return raised.value

    assert {error.got for error in in_threads(8, attempt)} == {
        "an AI Core failed: ACL stream synchronize failed, error code:507015"
    }


def test_queue_that_stops_loses_the_device(torch_npu: Any, on_npu: Backend) -> None:
    """The real queue raises once, then drops every operator and `.cpu()` gives stale memory."""
    torch_npu.queue_faults["conv2d"] = "EZ1001: weight's dtype is not supported"
    with pytest.raises(InferenceError, match="queue has stopped.*Start a new process"):
        on_npu.run(batch())
    with pytest.raises(InferenceError, match="queue has stopped"):
        on_npu.run(batch())
    assert on_npu.closed


def test_queue_that_other_code_stopped_is_noticed(torch_npu: Any, on_npu: Backend) -> None:
    """The host process swallowed the one error that there was: nothing but numbers can tell."""
    on_npu.run(batch())
    torch_npu.set_device("npu:0")
    torch_npu.queue_faults["abs"] = "EZ9999: Inner Error!"
    crop = torch.zeros(1).to("npu:0")
    with contextlib.suppress(RuntimeError):
        crop.abs().cpu()

    with pytest.raises(InferenceError, match="drops what it is given.*Start a new process"):
        on_npu.run(batch())
    assert on_npu.closed
