"""Following faces: who is asked when, who is whom, and what smoothing does to known noise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import ROOT
from grey_backend import Grey
from numpy.typing import NDArray

from runtime.backends import Outputs
from runtime.detector import Detector
from runtime.errors import ConfigError
from runtime.image.picture import read_picture
from runtime.video.motion import Jitter, OneEuro, Smoothed
from runtime.video.tracking import Tracker

FRAME_S = 0.04
FACE_PX = 100.0


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    return read_picture(ROOT / "assets/test.jpg")


@pytest.fixture
def box(starter_bundle: Path, photo: NDArray[np.uint8]) -> list[float]:
    """Around the face of the photo."""
    with Detector(starter_bundle, "cpu", refine=2) as detector:
        points_px = detector.detect(photo).points_px
    return [*points_px.min(axis=0).tolist(), *points_px.max(axis=0).tolist()]


class Finder:
    """Says what it is told, and counts."""

    def __init__(self, *boxes: list[float]) -> None:
        self.boxes = list(boxes)
        self.calls = 0

    def __call__(self, image: Any) -> Any:  # noqa: ARG002  # as finders are called
        self.calls += 1
        return self.boxes


def test_the_finder_runs_every_n_frames_and_no_more(
    starter_bundle: Path, photo: NDArray[np.uint8], box: list[float]
) -> None:
    finder = Finder([*box, 0.9])
    with Detector(starter_bundle, "cpu", faces=finder) as detector:
        tracker = Tracker(detector, find_every=4)
        asked, scores = [], []
        for index in range(9):
            (face,) = tracker.next(photo, FRAME_S * index)
            asked.append(finder.calls)
            scores.append(face.score)
            assert face.track == 0
    assert asked == [1, 1, 1, 1, 2, 2, 2, 2, 3]
    assert [index for index, score in enumerate(scores) if score] == [0, 4, 8]


def test_a_face_that_is_lost_is_looked_for_at_once(
    starter_bundle: Path, photo: NDArray[np.uint8], box: list[float]
) -> None:
    """And is another one when it comes back."""
    finder = Finder(box)
    black = np.zeros_like(photo)
    with Detector(starter_bundle, "cpu", faces=finder) as detector:
        tracker = Tracker(detector, find_every=100)
        assert [face.track for face in tracker.next(photo, 0)] == [0]
        (unsure,) = tracker.next(black, FRAME_S)
        assert unsure.trace.warnings
        finder.boxes = []
        assert tracker.next(black, 2 * FRAME_S) == []
        assert finder.calls == 2
        finder.boxes = [box]
        assert [face.track for face in tracker.next(photo, 3 * FRAME_S)] == [1]
        assert finder.calls == 3


def test_what_the_finder_misses_twice_is_let_go(
    starter_bundle: Path, photo: NDArray[np.uint8], box: list[float]
) -> None:
    """Once, as of a face in profile, is no reason while its points are sure."""
    finder = Finder(box)
    with Detector(starter_bundle, "cpu", faces=finder) as detector:
        tracker = Tracker(detector, find_every=1)
        tracker.next(photo, 0)
        finder.boxes = []
        assert [face.track for face in tracker.next(photo, 1)] == [0]
        finder.boxes = [box]
        assert [face.track for face in tracker.next(photo, 2)] == [0]
        finder.boxes = []
        assert [face.track for face in tracker.next(photo, 3)] == [0]
        assert tracker.next(photo, 4) == []


def test_two_boxes_upon_one_face_are_one(
    starter_bundle: Path, photo: NDArray[np.uint8], box: list[float]
) -> None:
    """Boxes too different to be one; the points say that they are."""
    x1, y1, x2, y2 = box
    side = x2 - x1
    off = [x1 - 0.3 * side, y1 - 0.3 * side, x2 + 0.1 * side, y2 + 0.1 * side]
    with Detector(starter_bundle, "cpu", faces=Finder(box, off)) as detector:
        tracker = Tracker(detector)
        faces = [tracker.next(photo, FRAME_S * index) for index in range(3)]
    assert [[face.track for face in found] for found in faces[1:]] == [[0], [0]]


def test_what_was_just_found_is_refined_as_in_a_picture(
    starter_bundle: Path, photo: NDArray[np.uint8], box: list[float]
) -> None:
    """By `refine`; once it is followed, its own points cut it."""
    wide = [box[0] - 60, box[1] - 60, box[2] + 60, box[3] + 60]
    with Detector(starter_bundle, "cpu", faces=Finder(wide), refine=2) as detector:
        (face,) = Tracker(detector).next(photo, 0)
        (same,) = detector.detect_faces(photo)
    assert np.allclose(face.points_px, same.points_px, atol=1e-3)


class Told(Grey):
    """Finds points in a square in the middle of each crop; unsure where the picture is dark."""

    def _run(self, batch: NDArray[Any]) -> Outputs:
        said = super()._run(batch)
        dark = batch.mean(axis=(1, 2, 3)) < 0
        said.landmarks[:] = [[-0.5, -0.5], [0.5, 0.5]]
        said.covariance[dark] = 1.0
        return said


def lit(width: int, height: int, level: int = 200) -> NDArray[np.uint8]:
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize("has_finder", [True, False])
def test_a_still_face_of_unsure_points_is_one_track(*, has_finder: bool) -> None:
    """The finder finds it anew in each frame, a little to the side."""
    finder = Finder()
    tracker = Tracker(Detector(Told(), faces=finder if has_finder else None))
    for index in range(12):
        finder.boxes = [[40 + index, 40, 80 + index, 80]]
        (face,) = tracker.next(lit(160, 120, 20), FRAME_S * index)
        assert face.trace.warnings
        assert face.track == 0
        assert (face.box_xyxy is not None) == has_finder
    assert finder.calls == 12 * has_finder


def test_what_was_lost_elsewhere_or_before_the_last_frame_is_another() -> None:
    box, far = [10.0, 10.0, 50.0, 50.0], [100.0, 60.0, 140.0, 100.0]
    finder = Finder(box)
    tracker = Tracker(Detector(Told(), faces=finder))
    tracks = []
    steps: list[list[list[float]]] = [[box], [far], [], [far], [far, box]]
    for boxes in steps:
        finder.boxes = boxes
        tracks.append([face.track for face in tracker.next(lit(160, 120, 20), 0)])
    assert tracks == [[0], [1], [], [2], [2, 3]]


@pytest.mark.parametrize("factor", [2, 0.5])
def test_frames_of_another_size_are_looked_at_again(factor: float) -> None:
    """Faces move with it and keep their numbers where the finder finds them; a cut has others."""
    finder = Finder([40, 40, 80, 80])
    tracker = Tracker(Detector(Told(), faces=finder), find_every=100, smooth=OneEuro())
    size = (160, 120)
    (before,) = tracker.next(lit(*size), 0)
    size, finder.boxes = (
        (int(160 * factor), int(120 * factor)),
        [[40 * factor] * 2 + [80 * factor] * 2],
    )
    (after,) = tracker.next(lit(*size), FRAME_S)
    assert (before.track, after.track, finder.calls) == (0, 0, 2)
    assert np.allclose(after.points_px, before.points_px * factor, atol=1)
    finder.boxes = []
    assert tracker.next(lit(160, 160), 2 * FRAME_S) == []
    finder.boxes = [[10, 10, 30, 30]]
    assert [face.track for face in tracker.next(lit(160, 160), 3 * FRAME_S)] == [1]


def test_frames_between_finders_are_at_least_one(starter_bundle: Path) -> None:
    with Detector(starter_bundle, "cpu") as detector:
        for wrong in (0, -1, 2.0, True):
            with pytest.raises(ConfigError, match="find_every: expected 1 or more"):
                Tracker(detector, find_every=wrong)  # type: ignore[arg-type]
    for name, value in (("least_cutoff_hz", 0.0), ("speed_gain", -1.0), ("speed_gain", math.nan)):
        with pytest.raises(ConfigError, match=f"{name}: expected"):
            OneEuro(**{name: value})


def smoothed(
    points_px: NDArray[np.float64], times_s: NDArray[np.floating], settings: OneEuro
) -> NDArray[np.float64]:
    """The points through a tracker's filter."""
    made = Smoothed(settings, points_px[0], float(times_s[0]))
    return np.array([made.next(p, float(t)) for p, t in zip(points_px, times_s, strict=True)])


@pytest.mark.parametrize("speed_px_s", [0.0, 300.0])
@pytest.mark.parametrize("even", [True, False])
def test_jitter_is_the_noise_whatever_the_motion_and_the_times(
    speed_px_s: float, even: bool
) -> None:
    rng = np.random.default_rng(0)
    times_s = np.arange(400) * FRAME_S if even else np.cumsum(rng.uniform(0.01, 0.2, 400))
    base = rng.uniform(0, FACE_PX, (68, 2))
    moved = base + speed_px_s * times_s[:, None, None] * [1.0, 0.5]
    jitter = Jitter()
    for points_px, time_s in zip(moved + rng.normal(0, 0.8, moved.shape), times_s, strict=True):
        jitter.add({7: points_px}, float(time_s))
    assert jitter.px == pytest.approx(0.8, rel=0.05)


@pytest.mark.parametrize("times_s", [(0, 1, None, 3), (0, 0, 1), (0, 1, 1)])
def test_jitter_does_not_bridge_a_gap(times_s: tuple[int | None, ...]) -> None:
    """Nor is it known from two frames, or from times that do not go on."""
    jitter = Jitter()
    points = np.random.default_rng(0).uniform(0, 100, (4, 68, 2))
    for points_px, time_s in zip(points, times_s, strict=False):
        jitter.add({} if time_s is None else {7: points_px}, float(time_s or 0))
    assert jitter.px is None


def test_smoothing_holds_still_what_rests_and_follows_what_moves() -> None:
    """Noise to less than a half; a moving face at most a frame and a half late."""
    rng = np.random.default_rng(0)
    times_s = np.arange(200) * FRAME_S
    base = rng.uniform(0, FACE_PX, (68, 2))
    rest = np.repeat(base[None], 200, axis=0)
    noisy = rest + rng.normal(0, 0.5, rest.shape)
    assert (smoothed(noisy, times_s, OneEuro()) - rest)[50:].std() < 0.25

    speed_px_s = 200.0  # twice its own size a second
    moving = base + speed_px_s * times_s[:, None, None] * [1.0, 0.0]
    late_px = (moving - smoothed(moving, times_s, OneEuro()))[50:, :, 0]
    assert 0 < late_px.mean() < 1.5 * speed_px_s * FRAME_S


def test_smoothing_is_the_published_filter() -> None:
    """Point by point, as the paper writes it, with speeds in the longer side of the points."""
    rng = np.random.default_rng(0)
    times_s = np.cumsum(rng.uniform(0.01, 0.1, 8))
    points = rng.uniform(0, [FACE_PX, FACE_PX / 2], (8, 5, 2))
    settings = OneEuro(least_cutoff_hz=0.7, speed_gain=3.0, speed_cutoff_hz=2.5)

    def low_pass(new: complex, old: complex, cutoff_hz: float, elapsed_s: float) -> complex:
        share = 2 * math.pi * cutoff_hz * elapsed_s / (2 * math.pi * cutoff_hz * elapsed_s + 1)
        return share * new + (1 - share) * old

    expected = points[..., 0] + 1j * points[..., 1]
    for point in range(5):
        speed = 0j
        for now in range(1, 8):
            elapsed_s, here = times_s[now] - times_s[now - 1], expected[now - 1, point]
            speed = low_pass((expected[now, point] - here) / elapsed_s, speed, 2.5, elapsed_s)
            cutoff_hz = 0.7 + 3.0 * abs(speed) / max(np.ptp(points[now], axis=0))
            expected[now, point] = low_pass(expected[now, point], here, cutoff_hz, elapsed_s)
    assert np.allclose(smoothed(points, times_s, settings) @ [1, 1j], expected)


def test_times_that_do_not_go_on_start_anew() -> None:
    """Also the speed."""
    points = np.random.default_rng(0).uniform(0, FACE_PX, (4, 68, 2))
    found = smoothed(points, np.array([0.0, 0.04, 0.04, 0.08]), OneEuro())
    anew = smoothed(points[2:], np.array([0.04, 0.08]), OneEuro())
    assert np.array_equal(found[2], points[2])
    assert np.allclose(found[3], anew[1])
