"""onnxruntime's calls run side by side: whatever their order, the first cause is what all report.

The provider's texts have the form of onnxruntime-cann 1.24.4's: see `test_ort_cann`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from turns import Turns

from runtime.backends import Outputs, Settings, ort_cann
from runtime.backends.ort import OnnxRuntimeBackend
from runtime.errors import InferenceError
from runtime.model.device import CPU
from runtime.model.source import find_artifact, parse_source

LONGEST_WAIT_S = 20.0
CALL_FAILED = (
    "/build/onnxruntime/core/providers/cann/cann_call.cc:142 CANN failure {code}: (look for"
    " ACL_ERROR_xxx in acl.h) ; NPU=3 ; hostname=box-9 ; expr=aclrtSynchronizeStream(stream);"
)


class Session:
    """A session whose runs end as they are told, in the order in which they began.

    Attributes:
        begun: one event for each run.
    """

    def __init__(self, real: Any) -> None:
        self._real = real
        self._lock, self._count = threading.Lock(), 0
        self._ends: list[Future[int]] = [Future() for _ in range(2)]
        self.begun = [threading.Event() for _ in self._ends]

    def end(self, index: int, code: int) -> None:
        """End that run with an ACL code; 0 is success."""
        self._ends[index].set_result(code)

    def run(self, *arguments: Any) -> Any:
        with self._lock:
            index, self._count = self._count, self._count + 1
        self.begun[index].set()
        code = self._ends[index].result(LONGEST_WAIT_S)
        if code:
            raise RuntimeError(CALL_FAILED.format(code=code))
        return self._real.run(*arguments)


@pytest.fixture
def backend(starter_bundle: Path) -> OnnxRuntimeBackend:
    """A backend whose session is a `Session`."""
    artifact = find_artifact(parse_source(f"{starter_bundle}@onnxruntime/cpu", "auto"))
    opened = OnnxRuntimeBackend(artifact, CPU, Settings())
    opened._session = Session(opened._session)
    return opened


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def one_run(backend: OnnxRuntimeBackend) -> Outputs:
    expected = backend.spec.input
    return backend.run(np.zeros(expected.shape(1), expected.dtype))


def at_the_device(backend: OnnxRuntimeBackend, threads: ThreadPoolExecutor) -> list[Future[Any]]:
    """Two calls, the first and the second of the session's runs."""
    calls = []
    for begun in backend._session.begun:
        calls.append(threads.submit(one_run, backend))
        assert begun.wait(LONGEST_WAIT_S)
    return calls


def said(call: Future[Any]) -> str:
    return str(call.exception(LONGEST_WAIT_S))


def held_behind_its_checks(
    backend: OnnxRuntimeBackend, threads: ThreadPoolExecutor
) -> tuple[Future[Any], threading.Event]:
    """A call that was let in, and goes on once the event is set."""
    checked, gate, check = threading.Event(), threading.Event(), backend._check_call

    def wait_behind(batch: Any) -> None:
        check(batch)
        checked.set()
        assert gate.wait(LONGEST_WAIT_S)

    backend._check_call = wait_behind  # type: ignore[method-assign]
    call = threads.submit(one_run, backend)
    assert checked.wait(LONGEST_WAIT_S)
    backend._check_call = check  # type: ignore[method-assign]
    return call, gate


def test_a_call_that_was_let_in_before_the_loss_meets_its_cause(
    backend: OnnxRuntimeBackend, threads: ThreadPoolExecutor
) -> None:
    """It finds no session any more: that is a consequence."""
    late, gate = held_behind_its_checks(backend, threads)
    first = threads.submit(one_run, backend)
    backend._session.end(0, 507015)
    assert "an AI Core failed" in said(first)
    gate.set()

    assert said(late) == said(first)
    assert isinstance(late.exception(), InferenceError)
    assert late.exception() is not first.exception()


def test_a_call_that_was_let_in_before_it_was_closed_meets_that(
    backend: OnnxRuntimeBackend, threads: ThreadPoolExecutor
) -> None:
    """Nothing was lost."""
    late, gate = held_behind_its_checks(backend, threads)
    backend.close()
    gate.set()

    assert "an open backend, got a closed one" in said(late)


@pytest.mark.parametrize("code", [507901, 207018, 161002])
def test_a_call_that_fails_after_the_loss_reports_the_first_cause(
    backend: OnnxRuntimeBackend, threads: ThreadPoolExecutor, code: int
) -> None:
    """Both were at the device: the second one's code may be of another kind, or of none."""
    session = backend._session
    calls = at_the_device(backend, threads)
    session.end(1, 507035)
    assert "a vector core failed" in said(calls[1])
    session.end(0, code)

    assert said(calls[0]) == said(calls[1]) == str(backend.lost_to)
    assert type(calls[0].exception()) is InferenceError


def test_of_two_calls_that_fail_together_one_is_the_first(
    backend: OnnxRuntimeBackend, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second fails while the first is still being translated."""
    session, turns = backend._session, Turns()
    backend._failing = turns  # type: ignore[assignment]
    translating, gate = threading.Event(), threading.Event()
    code_in = ort_cann.code_in

    def slow(text: str) -> Any:
        translating.set()
        assert gate.wait(LONGEST_WAIT_S)
        return code_in(text)

    monkeypatch.setattr("runtime.backends.ort.ort_cann", SimpleNamespace(code_in=slow))
    calls = at_the_device(backend, threads)
    session.end(0, 507014)
    assert translating.wait(LONGEST_WAIT_S)
    session.end(1, 507015)
    assert turns.has_two.wait(LONGEST_WAIT_S)
    gate.set()

    assert "an AI Core hung" in said(calls[0])
    assert said(calls[1]) == said(calls[0])


def test_closing_leaves_calls_at_the_device_their_own_outcome(
    backend: OnnxRuntimeBackend, threads: ThreadPoolExecutor
) -> None:
    """One ends well; the other says why it failed, and not that something is closed."""
    session = backend._session
    calls = at_the_device(backend, threads)
    backend.close()
    session.end(0, 0)
    session.end(1, 207018)

    assert calls[0].result(LONGEST_WAIT_S).landmarks.shape == (1, 68, 2)
    assert "the device has no memory left" in said(calls[1])
