"""A stream over a lost device ends with the failure that lost it, whatever ran before or behind."""

from __future__ import annotations

import gc
import itertools
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cann.control import Control
from grey_backend import U8, Grey, failure, picture, raising
from numpy.typing import NDArray

import runtime.stream.pipeline
from runtime.backends import Outputs
from runtime.detector import Detector
from runtime.errors import InferenceError
from runtime.stream.pipeline import Job, Pipeline
from runtime.stream.stream import Stream

LONGEST_WAIT_S = 20.0


class Fragile(Grey):
    """A device that does as it is told at some of its calls, the first being number 0."""

    def __init__(self) -> None:
        super().__init__()
        self.at_call: dict[int, Callable[[], object]] = {}
        self.lost = threading.Event()

    @property
    def calls(self) -> int:
        return len(self.sizes)

    def lose(self, got: str) -> None:
        """As an engine does: close, and fail."""
        error = failure(got)
        self._lose_device(error)
        self.lost.set()
        raise error

    def _run(self, batch: NDArray[Any]) -> Outputs:
        said = super()._run(batch)
        self.at_call.get(self.calls - 1, lambda: None)()
        return said


def test_a_lost_npu_is_raised_even_where_rows_may_fail(
    npu: Control, tiny_om: Path, rng: np.random.Generator
) -> None:
    """A million rows of the same error would help nobody.

    What runs when the device is lost is left to chance here. That the first cause is reported in
    any order is promised by the tests below, which force each order.
    """
    pictures = (rng.integers(0, 256, (90, 80, 3), dtype=np.uint8) for _ in range(200))
    stream = Stream(tiny_om, pictures, devices=["npu:0"], on_error="yield")
    assert all(row.error is None for row in itertools.islice(stream, 4))
    npu.inject("mdl.execute_async", 507015)
    with pytest.raises(InferenceError, match="507015"):
        list(itertools.takewhile(lambda row: row.error is None, stream))

    assert next(stream, None) is None


def hold_until(event: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have reading a file take until then."""

    def slow(_: Path) -> U8:
        assert event.wait(LONGEST_WAIT_S)
        return picture(0)

    monkeypatch.setattr(runtime.stream.pipeline, "read_picture", slow)


@pytest.mark.parametrize("on_error", ["raise", "yield"])
def test_a_picture_that_is_read_late_meets_the_first_cause(
    monkeypatch: pytest.MonkeyPatch, on_error: Any
) -> None:
    """The first row runs after the second one, which has lost the device."""
    backend = Fragile()
    backend.at_call[0] = lambda: backend.lose("507015")
    hold_until(backend.lost, monkeypatch)
    items: list[Any] = ["late.png", picture(1)]
    stream = Stream(Detector(backend), items, readers=2, batch=1, on_error=on_error)
    with pytest.raises(InferenceError, match="507015"):
        next(stream)
    assert backend.calls == 1


def test_a_picture_that_is_read_late_meets_the_npu_s_own_failure(
    npu: Control, tiny_om: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same through the simulated NPU: 507015, and not that something is closed."""
    with Detector(tiny_om, "npu:0") as detector:
        lost, lose = threading.Event(), detector.backend._lose_device

        def watched(cause: Any) -> None:
            lose(cause)
            lost.set()

        monkeypatch.setattr(detector.backend, "_lose_device", watched)
        hold_until(lost, monkeypatch)
        npu.inject("mdl.execute_async", 507015)
        items: list[Any] = ["late.png", rng.integers(0, 256, (90, 80, 3), dtype=np.uint8)]
        with pytest.raises(InferenceError, match=r"mdl\.execute_async: 507015"):
            next(Stream(detector, items, readers=2, on_error="yield"))


def test_two_streams_over_one_detector_end_with_the_same_cause() -> None:
    """Whichever of them it was that lost the device."""
    backend = Fragile()
    second_is_under_way, gate = threading.Event(), threading.Event()

    def wait_until_lost() -> None:
        second_is_under_way.set()
        assert gate.wait(LONGEST_WAIT_S)
        backend._check_open()  # as an engine does that gives calls their turns

    backend.at_call = {0: wait_until_lost, 1: lambda: backend.lose("507035")}
    detector = Detector(backend)
    with Stream(detector, [picture(0)]) as waits, Stream(detector, [picture(1)]) as loses:
        said: list[str] = []

        def consume() -> None:
            with pytest.raises(InferenceError) as caught:
                next(waits)
            said.append(str(caught.value))

        consumer = threading.Thread(target=consume)
        consumer.start()
        assert second_is_under_way.wait(LONGEST_WAIT_S)
        with pytest.raises(InferenceError, match="507035") as caught:
            next(loses)
        gate.set()
        consumer.join(LONGEST_WAIT_S)
        assert said == [str(caught.value)]


@pytest.mark.parametrize("pictures", [1, 3])
def test_a_failure_beside_a_loss_is_reported_as_the_loss(pictures: int) -> None:
    """Outputs that are no numbers, while another stream loses the device: that ends this one."""
    backend = Fragile()

    def lose_elsewhere() -> None:
        backend._lose_device(failure("507015"))
        raise failure("nan")

    backend.at_call[0] = lose_elsewhere
    jobs = packed_jobs(Detector(backend), pictures)
    assert [str(job.said.exception()) for job in jobs] == [str(failure("507015"))] * pictures
    assert all(job.lost_device for job in jobs)


def test_a_batch_that_is_run_picture_by_picture_keeps_the_first_cause() -> None:
    """The first is fine, the second loses the device, the others have not been tried."""
    backend = Fragile()
    backend.at_call = {0: raising(failure("nan")), 2: lambda: backend.lose("507899")}
    jobs = packed_jobs(Detector(backend), 4)
    assert jobs[0].said.exception() is None
    assert [str(job.said.exception()) for job in jobs[1:]] == [str(failure("507899"))] * 3
    assert [job.lost_device for job in jobs] == [False, True, True, True]
    assert backend.calls == 3


def test_the_first_of_two_losses_is_kept() -> None:
    """Two calls that were at a device together may both lose it, each in its own way."""
    backend = Fragile()
    for got in ("507015", "507899"):
        with pytest.raises(InferenceError, match=got):
            backend.lose(got)
    with pytest.raises(InferenceError, match="507015"):
        Detector(backend).detect(picture(0))


@pytest.mark.slow
def test_what_a_backend_keeps_of_a_loss_holds_no_batch() -> None:
    """It may stay open for long, with whoever has not noticed."""
    backend = Fragile()
    backend.at_call[0] = lambda: backend.lose("507015")
    batch: Any = np.zeros(backend.spec.input.shape(1), np.float32)
    kept = weakref.ref(batch)
    with pytest.raises(InferenceError, match="507015"):
        backend.run(batch)
    del batch
    gc.collect()
    assert kept() is None


def test_a_detector_that_was_closed_under_a_stream_is_named_as_such() -> None:
    """Nothing was lost, and nothing is made up."""
    backend = Fragile()
    detector = Detector(backend)
    with Stream(detector, map(picture, itertools.count()), on_error="yield") as stream:
        next(stream)
        detector.close()
        with pytest.raises(InferenceError, match="an open backend, got a closed one"):
            list(stream)


def packed_jobs(detector: Detector, count: int) -> list[Job]:
    """One batch of them, run by a pipeline's own hand."""
    pipeline = Pipeline([detector], batch=count, readers=1)
    jobs = [Job(index, picture(index)) for index in range(count)]
    for slot, job in enumerate(jobs):
        job.slot = slot
    pipeline._ring[:] = 0
    pipeline._run(detector, jobs)
    pipeline.stop()
    return jobs
