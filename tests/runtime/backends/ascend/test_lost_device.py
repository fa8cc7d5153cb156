"""A lost NPU is reported as what it is: by its first cause, to everybody, whatever comes first."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cann.control import Control
from numpy.typing import NDArray
from turns import Turns

from runtime.backends import open_backend
from runtime.backends.ascend.backend import OmBackend
from runtime.backends.ascend.codes import CODES
from runtime.detector import Detector
from runtime.errors import (
    DEVICE_LOST,
    BackendError,
    InferenceError,
    StarmarkError,
)

LOST = sorted(number for number, code in CODES.items() if code.loses_device)
UNLISTED = 507013
LONGEST_WAIT_S = 20.0


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


def said(call: Future[Any]) -> str:
    """A call's error; empty where there is none."""
    return str(call.exception(LONGEST_WAIT_S) or "")


def opened(bundle: Path) -> OmBackend:
    backend = open_backend(bundle, "npu:0")
    assert isinstance(backend, OmBackend)
    return backend


def watched(backend: OmBackend) -> Turns:
    turns = Turns()
    backend._session.lock = turns  # type: ignore[assignment]
    return turns


@pytest.fixture
def crop(rng: np.random.Generator) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)


@pytest.mark.parametrize("code", [*LOST, UNLISTED])
def test_a_lost_device_closes_the_backend_and_a_new_one_works(
    npu: Control, tiny_om: Path, crop: NDArray[np.uint8], code: int
) -> None:
    """Every later call raises what the first raised, and `closed` before it or after is no news."""
    backend = opened(tiny_om)
    packed = backend.spec.input.pack([crop])
    npu.inject("rt.synchronize_stream", code)
    with pytest.raises(BackendError, match=rf": {code} .*new Detector") as told:
        backend.run(packed)
    assert told.value.code == DEVICE_LOST
    # what ACL said of this failure, and not of an earlier question
    assert "ordered" in str(told.value)
    assert "get_context" not in str(told.value)
    for _ in range(2):
        with pytest.raises(type(told.value)) as later:
            backend.run(packed)
        assert str(later.value) == str(told.value)
        assert later.value is not told.value
        backend.close()
    with open_backend(tiny_om, "npu:0") as again:
        assert again.run(packed).landmarks.shape == (1, 68, 2)


@pytest.mark.parametrize("code", [507011, 500000, 207001, 107000])
def test_a_device_that_is_not_lost_goes_on(
    npu: Control, tiny_om: Path, crop: NDArray[np.uint8], code: int
) -> None:
    with open_backend(tiny_om, "npu:0") as backend:
        packed = backend.spec.input.pack([crop])
        right = backend.run(packed).landmarks
        npu.inject("rt.synchronize_stream", code)
        with pytest.raises(InferenceError, match=str(code)) as told:
            backend.run(packed)
        assert backend.lost_to is None
        assert told.value.code == "inference"
        np.testing.assert_array_equal(backend.run(packed).landmarks, right)


def test_a_stream_that_does_not_come_to_rest_is_lost_to_the_failure_before(
    npu: Control, tiny_om: Path, crop: NDArray[np.uint8]
) -> None:
    """507011 alone loses nothing; with work still queued behind it, it does, and is the cause."""
    backend = opened(tiny_om)
    packed = backend.spec.input.pack([crop])
    npu.inject("mdl.execute_async", 507011)
    npu.inject("rt.synchronize_stream", 107003)
    for _ in range(2):
        with pytest.raises(InferenceError, match=r"mdl\.execute_async.*507011"):
            backend.run(packed)


def test_an_interrupted_run_whose_stream_is_lost_names_the_stream(
    npu: Control, tiny_om: Path, crop: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C is raised as it is; what loses the device is what came of waiting afterwards."""
    backend = opened(tiny_om)
    packed = backend.spec.input.pack([crop])
    npu.inject("rt.synchronize_stream", 507015)

    def interrupted(*_: int) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(npu.acl.mdl, "execute_async", interrupted)
        with pytest.raises(KeyboardInterrupt):
            backend.run(packed)
    with pytest.raises(InferenceError, match=r"rt\.synchronize_stream.*507015"):
        backend.run(packed)


def test_a_device_lost_at_any_call_leaves_nothing(
    npu: Control, tiny_om: Path, crop: NDArray[np.uint8]
) -> None:
    """From then on every call fails with 507033 until the device is reset."""

    def cycle() -> str:
        try:
            with Detector(tiny_om, "npu:0") as detector:
                detector.detect_from_cropped(crop)
        except StarmarkError as error:
            return str(error)
        return ""

    assert cycle() == ""
    seen = set()
    for after in range(0, len(npu.calls()), 2):
        npu.reset()
        npu.lose_device(0, after)
        said = cycle()
        seen.add("507033" in said)
        assert "507033" in said or not said
        assert npu.violations() == [], after
        assert npu.leaks() == {}, after
    assert True in seen
    npu.reset()
    assert cycle() == ""


def test_a_device_lost_while_opening_is_opened_anew(npu: Control, tiny_om: Path) -> None:
    """Also while another backend still holds the lost one."""
    other = open_backend(tiny_om, "npu:0")
    npu.inject("mdl.load_from_file", 507033)
    with pytest.raises(BackendError, match="507033"):
        open_backend(tiny_om, "npu:0")
    with open_backend(tiny_om, "npu:0"):
        assert len(npu.calls("rt.create_context")) == 2
    other.close()


def test_whoever_waited_for_a_turn_gets_the_first_cause(
    npu: Control, tiny_om: Path, crop: NDArray[np.uint8], threads: ThreadPoolExecutor
) -> None:
    """One call is at the device, another waits behind it, and the device is lost."""
    with Detector(opened(tiny_om)) as detector:
        turns = watched(detector.backend)  # type: ignore[arg-type]
        npu.inject_hang("rt.synchronize_stream")  # ends with 507000
        first = threads.submit(detector.detect_from_cropped, crop)
        assert turns.has_one.wait(LONGEST_WAIT_S)
        second = threads.submit(detector.detect_from_cropped, crop)
        assert turns.has_two.wait(LONGEST_WAIT_S)
        npu.end_hangs()

        assert ": 507000 ACL_ERROR_RT_INTERNAL_ERROR" in said(first)
        assert said(second) == said(first)
        with pytest.raises(InferenceError) as later:
            detector.detect_from_cropped(crop)
        assert str(later.value) == said(first)


def test_closing_in_between_does_not_hide_the_first_cause(
    npu: Control, tiny_om: Path, crop: NDArray[np.uint8], threads: ThreadPoolExecutor
) -> None:
    """`close` is called while a call is at the device, which is lost after that."""
    detector = Detector(opened(tiny_om))
    turns = watched(detector.backend)  # type: ignore[arg-type]
    npu.inject_hang("rt.synchronize_stream")
    running = threads.submit(detector.detect_from_cropped, crop)
    assert turns.has_one.wait(LONGEST_WAIT_S)
    closing = threads.submit(detector.close)
    assert turns.has_two.wait(LONGEST_WAIT_S)
    npu.end_hangs()

    assert ": 507000" in said(running)
    assert said(closing) == ""
    with pytest.raises(InferenceError) as later:
        detector.detect_from_cropped(crop)
    assert str(later.value) == said(running)


def test_whoever_waited_while_it_was_closed_is_told_that(
    npu: Control,
    tiny_om: Path,
    crop: NDArray[np.uint8],
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing was lost: a call that is at the device ends well, and the one behind it is late."""
    detector = Detector(opened(tiny_om))
    turns, gate = watched(detector.backend), threading.Event()  # type: ignore[arg-type]
    synchronize = npu.acl.rt.synchronize_stream

    def wait_first(stream: int) -> Any:
        assert gate.wait(LONGEST_WAIT_S)
        return synchronize(stream)

    monkeypatch.setattr(npu.acl.rt, "synchronize_stream", wait_first)
    running = threads.submit(detector.detect_from_cropped, crop)
    assert turns.has_one.wait(LONGEST_WAIT_S)
    waiting = threads.submit(detector.detect_from_cropped, crop)
    assert turns.has_two.wait(LONGEST_WAIT_S)
    closing = threads.submit(detector.close)
    assert turns.has_three.wait(LONGEST_WAIT_S)
    gate.set()

    assert said(running) == ""
    assert said(closing) == ""
    assert "an open backend, got a closed one" in said(waiting)


def test_a_lost_backend_keeps_no_batch(
    npu: Control, tiny_om: Path, crop: NDArray[np.uint8]
) -> None:
    """What it remembers is the text, not the frames of the call that failed."""
    backend = opened(tiny_om)
    packed: Any = copy.deepcopy(backend.spec.input.pack([crop]))
    kept = weakref.ref(packed)
    npu.inject("mdl.execute_async", 507015)
    with pytest.raises(InferenceError, match="507015"):
        backend.run(packed)
    del packed
    gc.collect()
    assert kept() is None
    assert backend.lost_to is not None
    assert backend.lost_to.__traceback__ is None
