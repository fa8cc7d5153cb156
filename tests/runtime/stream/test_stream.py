"""The stream: order, bounds, failures at their own row, and nothing left behind."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from builders import PHOTO_BOX, run_python
from cann.control import Control
from cann.plugin import Cann
from grey_backend import SIZE, U8, Grey, failure, grey_levels, picture, raising, threads_left
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import runtime.stream.pipeline
from runtime.backends import Backend, Outputs
from runtime.detector import LARGEST_BATCH, Detector
from runtime.errors import BackendUnavailable, ConfigError, InferenceError, InputError
from runtime.model.spec import spec_of
from runtime.stream.stream import MOST_READERS, Stream


def greys(rows: list[Any]) -> list[int]:
    """What the network said of each row, read off its outputs."""
    return [grey_levels(row.trace.outputs.landmarks[0, 0, 0])[0] for row in rows]


@settings(deadline=None, max_examples=30)
@given(
    count=st.integers(0, 40),
    devices=st.integers(1, 3),
    at_once=st.integers(1, 3),
    batch=st.integers(1, 5),
    readers=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_each_item_has_one_row_in_the_order_of_the_input(
    count: int, devices: int, at_once: int, batch: int, readers: int, seed: int
) -> None:
    """However many devices and readers there are, and however long each takes."""
    backends = [Grey(number, seed + number, at_once=at_once) for number in range(devices)]
    items = [picture(index) for index in range(count)]
    detectors = [Detector(backend) for backend in backends]
    with Stream(detectors, iter(items), batch=batch, readers=readers) as stream:
        rows = list(stream)

    assert [row.index for row in rows] == list(range(count))
    assert all(row.item is item for row, item in zip(rows, items, strict=True))
    assert greys(rows) == list(range(count))
    assert sum(sum(backend.sizes) for backend in backends) == count
    assert all(size <= batch for backend in backends for size in backend.sizes)
    assert all(len(backend.threads) <= at_once for backend in backends)
    assert threads_left() == []


KINDS = ("nothing", "input", "picture", "network", "engine", "lost device", "consumer")


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(KINDS),
    at=st.integers(0, 25),
    on_error=st.sampled_from(("raise", "yield")),
    devices=st.integers(1, 2),
    at_once=st.integers(1, 3),
    batch=st.integers(1, 4),
)
def test_what_goes_wrong_is_seen_at_its_own_row_and_ends_in_order(
    kind: str, at: int, on_error: Any, devices: int, at_once: int, batch: int
) -> None:
    """The rows before it are complete, and no thread is left, whoever stops and wherever."""
    count = 30
    backends = [Grey(number, at, at_once=at_once) for number in range(devices)]
    expected: type[BaseException] | None = None
    if kind in ("network", "engine", "lost device"):
        for backend in backends:
            error = ZeroDivisionError() if kind == "engine" else failure()
            backend.faults[at] = raising(error)
            if kind == "lost device":
                backend.faults[at] = lambda own=backend: (own.close(), raising(failure())())  # type: ignore[misc]
        expected = ZeroDivisionError if kind == "engine" else InferenceError

    def items() -> Iterator[Any]:
        for index in range(count):
            if kind == "input" and index == at:
                raise LookupError
            yield "no.jpg" if kind == "picture" and index == at else picture(index)

    expected = {"input": LookupError, "picture": InputError}.get(kind, expected)
    stays = on_error == "yield" and kind in ("picture", "network")
    stream = Stream([Detector(b) for b in backends], items(), batch=batch, on_error=on_error)
    rows = []
    caught: BaseException | None = None
    try:
        for row in stream:
            rows.append(row)
            if kind == "consumer" and row.index == at:
                break
    except (LookupError, ZeroDivisionError, InputError, InferenceError) as error:
        caught = error
    if kind == "consumer":
        stream.close()

    assert threads_left() == []
    assert next(stream, None) is None
    if kind == "nothing" or stays:
        assert caught is None
        assert len(rows) == count
    elif kind == "consumer":
        assert len(rows) == at + 1
    else:
        assert type(caught) is expected
        # a lost device may have had earlier pictures waiting for it
        assert len(rows) == at if kind != "lost device" else len(rows) <= at
    failed = [row.index for row in rows if row.error is not None]
    assert failed == ([at] if stays else [])
    good = [row for row in rows if row.error is None]
    assert greys(good) == [row.index for row in good]
    if stays:
        with pytest.raises(expected or AssertionError):
            _ = rows[at].landmarks


def test_calls_run_side_by_side_where_an_engine_takes_several() -> None:
    """Three calls meet, which none of them could alone; a fourth would never come."""
    backend = Grey(at_once=3)
    meeting = threading.Barrier(3, timeout=60)
    backend.faults = dict.fromkeys(range(9), meeting.wait)
    with Stream(Detector(backend), map(picture, range(9)), batch=1) as stream:
        assert stream.ahead == 2 * (3 + 2)
        assert greys(list(stream)) == list(range(9))
    assert len(backend.threads) == 3


@pytest.mark.parametrize("batch", [1, 4])
def test_no_more_is_read_than_the_stream_promises(
    monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Items pulled and not yet given back, and decoded pictures alive at once."""
    alive: set[int] = set()
    most_alive = 0
    lock = threading.Lock()

    def read(path: Path) -> U8:
        nonlocal most_alive
        decoded = picture(int(path.stem))
        with lock:
            alive.add(id(decoded))
            most_alive = max(most_alive, len(alive))
        weakref.finalize(decoded, alive.discard, id(decoded))
        return decoded

    monkeypatch.setattr(runtime.stream.pipeline, "read_picture", read)
    pulled = itertools.count()
    items = (Path(f"{next(pulled) % 256}.jpg") for _ in itertools.repeat(None))
    taken = -1
    with Stream(Detector(Grey()), items, batch=batch, readers=3) as stream:
        for row in itertools.islice(stream, 200):
            taken = row.index
            if taken == 5:
                time.sleep(0.05)  # a slow consumer lets everything run full
            assert row.trace is not None
    most_ahead = next(pulled) - (taken + 1)

    assert most_ahead <= stream.ahead == 2 * (batch + 3)
    assert most_alive <= 3
    assert not alive


def test_the_input_runs_in_the_callers_thread() -> None:
    """A database cursor or a window's event loop would refuse any other."""
    seen: set[int] = set()

    def items() -> Iterator[U8]:
        for index in range(10):
            seen.add(threading.get_ident())
            yield picture(index)

    assert len(list(Stream(Detector(Grey()), items()))) == 10
    assert seen == {threading.get_ident()}


def test_a_slow_input_does_not_hold_rows_back() -> None:
    """A camera's first row comes after a picture or two, not once the stream has run full."""
    pulled = 0
    ready = threading.Event()

    class Told(Grey):
        def _run(self, batch: NDArray[Any]) -> Outputs:
            said = super()._run(batch)
            ready.set()
            return said

    def camera() -> Iterator[U8]:
        nonlocal pulled
        for index in itertools.count():
            if index:
                ready.wait()
                time.sleep(0.2)
            pulled += 1
            yield picture(index)

    with Stream(Detector(Told()), camera(), readers=8) as stream:
        next(stream)
    assert pulled < stream.ahead


def test_ready_pictures_share_a_call() -> None:
    """What waits while a device is busy goes in one call, up to the batch."""
    backend = Grey()
    gate = threading.Event()
    backend.faults[0] = gate.wait
    with Stream(Detector(backend), map(picture, range(30)), batch=4) as stream:
        threading.Timer(0.2, gate.set).start()
        rows = list(stream)

    assert greys(rows) == list(range(30))
    assert max(backend.sizes) == 4


def test_a_batch_that_fails_once_is_run_picture_by_picture(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One picture's fault is not the others', and what passes is no error; it is said, though."""

    class Small(Grey):
        def _run(self, batch: NDArray[Any]) -> Outputs:
            if len(batch) > 1:
                raise failure()
            return super()._run(batch)

    backend = Small()
    gate = threading.Event()
    backend.faults[0] = gate.wait
    with Stream(Detector(backend), map(picture, range(20)), batch=4) as stream:
        threading.Timer(0.2, gate.set).start()
        rows = list(stream)

    assert greys(rows) == list(range(20))
    assert "npu:0: a batch of" in caplog.text


def test_ctrl_c_while_waiting_ends_everything() -> None:
    """It comes while the consumer waits for a device that is busy."""
    backend = Grey()
    gate = threading.Event()

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        gate.wait(0.2)

    backend.faults[3] = interrupt
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        stream = Stream(Detector(backend), map(picture, itertools.count()))
        with pytest.raises(KeyboardInterrupt):
            for _ in stream:
                pass
    finally:
        signal.signal(signal.SIGINT, before)
    assert next(stream, None) is None


@pytest.mark.slow
def test_an_interpreter_ends_with_a_stream_half_read() -> None:
    """No thread keeps the process alive, and none complains."""
    code = (
        "import itertools, numpy as np\n"
        "from runtime import Detector, Stream\n"
        "from runtime.stream.stream import Stream as S\n"
        "stream = Stream('assets/starter68.safetensors@cpu',"
        " itertools.repeat(np.zeros((64, 64, 3), np.uint8)))\n"
        "print(next(stream).index)\n"
    )
    done = run_python("-c", code)

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "0", "")


def test_a_forgotten_stream_ends_its_threads_and_closes_what_it_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it was given stays open."""
    own, given = Grey(0), Grey(1)
    monkeypatch.setattr("runtime.detector.open_backend", lambda *_, **__: own)
    for source in ("model", Detector(given)):
        stream = Stream(source, map(picture, itertools.count()))
        next(stream)
        assert threads_left()
        del stream
        gc.collect()
        assert threads_left() == []

    assert own.closed
    assert not given.closed


def test_what_was_opened_is_closed_when_the_next_device_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Grey()

    def opened(_: object, device: str, **__: object) -> Backend:
        if device == "npu:1":
            raise failure()
        return first

    monkeypatch.setattr("runtime.detector.open_backend", opened)
    with pytest.raises(InferenceError):
        Stream("model", [], devices=["npu:0", "npu:1"])
    assert first.closed


def test_a_fork_is_told_instead_of_waiting() -> None:
    """The threads that would finish its rows stay in the parent."""
    stream = Stream(Detector(Grey()), map(picture, itertools.count()))
    next(stream)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            next(stream)
        except InferenceError as error:
            os.write(writer, str(error).encode())
            stream.close()
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as said:
        assert "Open a Stream in each process" in said.read()
    assert next(stream).index == 1
    stream.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"readers": 0}, f"readers: expected 1 to {MOST_READERS}, got 0"),
        ({"readers": True}, "readers: expected"),
        ({"batch": LARGEST_BATCH + 1}, f"batch: expected 1 to {LARGEST_BATCH}"),
        ({"batch": 0}, "batch: expected"),
        ({"on_error": "ignore"}, "on_error: expected raise or yield, got 'ignore'"),
        ({"devices": ["npu:0"]}, "none beside a Detector"),
        ({"source": []}, "got a list of nothing"),
        ({"source": ["a", "b"]}, "got a list of str, str"),
        ({"source": "m.onnx", "devices": "npu:0"}, "a list of devices, got 'npu:0'"),
        ({"source": "m.onnx", "devices": []}, "a list of devices"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Stream(**{"source": Detector(Grey()), "items": [], **arguments})


@pytest.mark.parametrize("items", ["face.jpg", Path("face.jpg"), picture(0), None, 3], ids=str)
def test_one_picture_is_no_stream(items: Any) -> None:
    """A text would be taken for its letters, a picture for its rows."""
    with pytest.raises(InputError, match="stream: expected an iterable of pictures"):
        Stream(Detector(Grey()), items)


def test_models_of_different_inputs_cannot_share_a_stream() -> None:
    with pytest.raises(ConfigError, match="2 points and InputSpec"):
        Stream([Detector(Grey()), Detector(Grey(0, 0, 64))], [])


def test_a_stream_finds_what_a_detector_finds(
    detector: Detector, photo: U8, tmp_path: Path
) -> None:
    """Pictures, paths and pairs with boxes, beside files that are none."""
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), photo)
    boxed_items: list[Any] = [(path, PHOTO_BOX), (str(path), None)]
    items = [path, photo, *boxed_items, tmp_path / "no.jpg", (photo, 3), 7]
    with Stream(detector, items, on_error="yield") as stream:
        rows = list(stream)
    whole, boxed = detector.detect(photo), detector.detect(photo, PHOTO_BOX)

    for row, expected in zip(rows, (whole, whole, boxed, whole), strict=False):
        np.testing.assert_array_equal(row.landmarks.points_px, expected.points_px)
        np.testing.assert_array_equal(row.landmarks.covariance_px2, expected.covariance_px2)
        assert row.device == "cpu"
    stages = {"read", "crop", "pack", "compute", "home"}
    assert rows[0].trace is not None
    assert rows[1].trace is not None
    assert set(rows[0].trace.timings) == stages
    assert set(rows[1].trace.timings) == stages - {"read"}
    said = [str(row.error) for row in rows[4:]]
    assert said[0].startswith("picture 4: ")
    assert "no.jpg" in said[0]
    assert said[1].startswith("picture 5: face box: expected")
    assert said[2].startswith("picture 6: image: expected a decoded picture")


def test_two_simulated_npus_behind_one_stream(
    npu: Control, cann: Cann, tiny_om: Path, rng: np.random.Generator
) -> None:
    """Gears up to 8, rows in order, both devices at work, each in a thread of its own."""
    cann.set_soc("Ascend910B3", devices=2)
    npu.reset(latency_s=0.002)
    pictures = [rng.integers(0, 256, (90, 80, 3), dtype=np.uint8) for _ in range(60)]
    with Detector(tiny_om, "npu:0") as alone:
        expected = [alone.detect(one).points_px for one in pictures]
    with Stream(tiny_om, pictures, devices=["npu:0", "npu:1"]) as stream:
        assert [detector.device for detector in stream.detectors] == ["npu:0", "npu:1"]
        assert stream.ahead == 2 * (8 * 2 + 2)
        rows = list(stream)

    assert len(rows) == 60
    for row, points_px in zip(rows, expected, strict=True):
        np.testing.assert_allclose(row.landmarks.points_px, points_px, atol=1e-3)
    assert {row.device for row in rows} == {"npu:0", "npu:1"}
    assert npu.leaks() == {}


def test_a_row_that_failed_lets_its_picture_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows may be kept, for a list of what failed; decoded pictures must not be kept with them."""
    pictures: list[weakref.ref[Any]] = []

    def read(_: Path) -> U8:
        made = picture(len(pictures))
        pictures.append(weakref.ref(made))
        return made

    monkeypatch.setattr(runtime.stream.pipeline, "read_picture", read)
    outside = (1e6, 1e6, 1e6 + 5, 1e6 + 5)
    items = [(tmp_path / f"{index}.png", outside) for index in range(3)]
    with Stream(Detector(Grey()), items, on_error="yield") as stream:
        rows = list(stream)
    gc.collect()

    assert [isinstance(row.error, InputError) for row in rows] == [True] * 3
    assert [made() for made in pictures] == [None] * 3


class Waits(Grey):
    """Holds its first call until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.gate = threading.Event(), threading.Event()

    def _run(self, batch: NDArray[Any]) -> Outputs:
        self.began.set()
        self.gate.wait()
        return super()._run(batch)


@pytest.mark.parametrize("wait_at", [0, 1])
def test_closing_from_another_thread_ends_a_consumer_that_waits(wait_at: int) -> None:
    """Whether the row it waits for is at the device or has not begun: the stream is over for it."""
    backend = Waits()
    stream = Stream(Detector(backend), map(picture, itertools.count()), readers=1)
    rows: list[Any] = []
    consumer = threading.Thread(target=lambda: rows.extend(stream), name="consumer")
    if wait_at:
        backend.gate.set()
        next(stream)
        backend.gate.clear()
        backend.began.clear()
    consumer.start()
    assert backend.began.wait(10)
    threading.Timer(0.1, backend.gate.set).start()  # close() waits for what has begun
    stream.close()
    consumer.join(10)

    assert not consumer.is_alive()
    assert len(rows) <= 1 + stream.ahead
    assert next(stream, None) is None


def test_closing_while_the_input_is_asked_ends_the_stream() -> None:
    """What the input gives afterwards is dropped; nobody runs it, and nobody waits for it."""
    asked, gate = threading.Event(), threading.Event()

    def items() -> Iterator[U8]:
        asked.set()
        gate.wait()
        yield picture(0)

    stream = Stream(Detector(Grey()), items())
    rows: list[Any] = []
    consumer = threading.Thread(target=lambda: rows.extend(stream), name="consumer")
    consumer.start()
    assert asked.wait(10)
    stream.close()
    gate.set()
    consumer.join(10)

    assert not consumer.is_alive()
    assert rows == []


@pytest.mark.parametrize("on_error", ["raise", "yield"])
def test_a_device_thread_that_cannot_start_says_why(
    monkeypatch: pytest.MonkeyPatch, on_error: Any
) -> None:
    """A limit on threads, for one; nothing waits for the thread that never was."""
    start = threading.Thread.start

    def refusing(thread: threading.Thread) -> None:
        if thread.name.startswith("starmark-device"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refusing)
    stream = Stream(Detector(Grey()), map(picture, range(9)), on_error=on_error)
    with pytest.raises(InferenceError, match="a thread for its device, got .*new thread") as caught:
        list(stream)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_device_that_cannot_begin_in_its_thread_raises_its_own_error() -> None:
    """As an NPU whose context cannot be made there does, at its first call."""

    class NoContext(Grey):
        def _run(self, batch: NDArray[Any]) -> Outputs:
            raise failure() from OSError(f"no context for {len(batch)}")

    with pytest.raises(InferenceError, match="grey: expected a run") as caught:
        list(Stream(Detector(NoContext()), map(picture, range(9)), batch=3))
    assert isinstance(caught.value.__cause__, OSError)


def test_rows_hold_no_taps() -> None:
    """They are tens of MB a picture, and rows may be kept."""

    class Tapped(Grey):
        def __init__(self) -> None:
            super().__init__()
            self.spec = spec_of(points=2, size=SIZE, taps={"stem": (4, 8, 8)})

        def _run(self, batch: NDArray[Any]) -> Outputs:
            taps = {"stem": np.zeros((len(batch), 4, 8, 8), np.float32)}
            return replace(super()._run(batch), taps=taps)

    rows = list(Stream(Detector(Tapped()), map(picture, range(5)), batch=2))
    assert [dict(row.trace.outputs.taps) for row in rows if row.trace] == [{}] * 5


def test_an_engine_that_is_not_installed_is_named_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, starter_bundle: Path
) -> None:
    """With its package, and the stream leaves no thread."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "runtime.backends.ort", raising=False)
    asked = map(picture, itertools.count())
    with pytest.raises(BackendUnavailable, match="pip install onnxruntime"):
        Stream(f"{starter_bundle}@cpu", asked)
    monkeypatch.undo()
    with pytest.raises(BackendUnavailable, match="expected a provider of onnxruntime"):
        Stream(starter_bundle, asked, devices=["cpu", "CUDAExecutionProvider"])
    assert next(asked).max() == 0


def test_a_batch_stays_as_it_was_packed_while_its_device_runs() -> None:
    """Packed crops lie in a ring: none may be written over before its device is done."""

    class Slow(Grey):
        def _run(self, batch: NDArray[Any]) -> Outputs:
            before = batch.copy()
            time.sleep(5e-3)
            np.testing.assert_array_equal(batch, before)
            return super()._run(batch)

    detectors = [Detector(Slow()), Detector(Grey(1))]
    with Stream(detectors, map(picture, range(120)), batch=3, readers=4) as stream:
        assert greys(list(stream)) == [*range(120)]
