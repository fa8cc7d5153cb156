"""When a face is cut again: alike for a picture, a folder or batch, and a video."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.backends import Backend, Outputs
from runtime.detector import Detector
from runtime.errors import InferenceError
from runtime.image.landmarks import F32
from runtime.image.picture import MAX_PIXELS
from runtime.many.search import search
from runtime.model.spec import spec_of
from runtime.video.tracking import Tracker

FACE = np.random.default_rng(0).uniform(-0.9, 0.9, (68, 2)).astype(np.float32)
SURE, UNSURE = 0.01, 0.5


class Scripted(Backend):
    """The same face in every crop, as sure as the script has it call by call; None fails."""

    name, device = "scripted", "cpu"

    def __init__(self, *spreads: float | None) -> None:
        self.spec = spec_of(points=68)
        self.spreads = list(spreads)
        self.threads: set[str] = set()

    def _run(self, batch: NDArray[Any]) -> Outputs:
        spread = self.spreads.pop(0)
        self.threads.add(threading.current_thread().name)
        if spread is None:
            raise InferenceError("scripted", expected="a result", got="none", action="Try again")
        covariance = np.zeros((len(batch), 68, 3), np.float32)
        covariance[..., ::2] = spread**2
        return Outputs(landmarks=np.stack([FACE / 2] * len(batch)), covariance=covariance)

    def _close(self) -> None:
        pass


class InMemory:
    name, boxes = "picture", None

    def read(self, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:  # noqa: ARG002
        return np.zeros((300, 300, 3), np.uint8)


def of_picture(detector: Detector) -> F32:
    return detector.detect_faces(InMemory().read())[0].points_px


def of_folder(detector: Detector) -> F32:
    (found,) = search(detector, [InMemory()])
    if found.error is not None:
        raise found.error
    return found.faces[0].points_px


def of_video(detector: Detector) -> F32:
    return Tracker(detector).next(InMemory().read(), 0)[0].points_px


@pytest.mark.parametrize("run", [of_picture, of_folder, of_video])
@pytest.mark.parametrize(
    ("spreads", "calls"),
    [
        ([SURE] * 9, 4),
        ([UNSURE] * 9, 1),
        ([SURE, UNSURE, SURE, SURE], 2),
        ([SURE, None, SURE, SURE], None),
    ],
)
def test_passes_end_alike(
    run: Callable[[Detector], F32], spreads: list[float | None], calls: int | None
) -> None:
    """After `refine` passes or where points are unsure; an engine that fails is an error."""

    def opened() -> Detector:
        return Detector(Scripted(*spreads), faces=lambda _: [[100, 100, 200, 200]], refine=3)

    with opened() as detector, opened() as other:
        if calls is None:
            with pytest.raises(InferenceError, match="scripted: expected a result"):
                run(detector)
            return
        np.testing.assert_allclose(run(detector), of_picture(other), atol=1e-3)
        assert isinstance(detector.backend, Scripted)
        assert len(spreads) - len(detector.backend.spreads) == calls


def test_pictures_stay_in_order_and_passes_share_one_stream() -> None:
    """Whatever number of faces each has; no pass starts threads of its own."""
    faces = {0: 0, 1: 3, 2: 1, 3: 0, 4: 0, 5: 2}

    class Numbered(InMemory):
        def __init__(self, number: int) -> None:
            self.name, self.number = str(number), number

        def read(self, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:  # noqa: ARG002
            return np.full((300, 300, 3), self.number, np.uint8)

    def find(image: NDArray[np.uint8]) -> list[list[int]]:
        return [[100, 100, 200, 200]] * faces[int(image[0, 0, 0])]

    backend = Scripted(*[SURE] * 99)
    with Detector(backend, faces=find, refine=2) as detector:
        found = list(search(detector, map(Numbered, faces), readers=2))

    assert [int(one.file.name) for one in found] == [*faces]
    assert [len(one.faces) for one in found] == [*faces.values()]
    assert 99 - len(backend.spreads) == 3 * sum(faces.values())
    assert len(backend.threads) == 1
