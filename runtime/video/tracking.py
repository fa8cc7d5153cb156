"""Faces from frame to frame: followed by their points, looked for now and then, smoothed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from runtime.detector import Detector
from runtime.errors import ConfigError
from runtime.faces import find_boxes
from runtime.image.geometry import F64
from runtime.image.landmarks import F32, Landmarks
from runtime.refine import next_box
from runtime.tracing import Trace
from runtime.video.motion import OneEuro, Smoothed

# A found box and a followed one are the same face from this intersection over union on.
SAME_FACE = 0.3
# Two followed ones beyond it have come upon the same face.
ONE_FACE = 0.7
FIND_EVERY = 10
# A followed face that the finder misses so often in a row is dropped.
MOST_MISSED = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackedFace:
    """A face in a frame.

    Attributes:
        track: its number, kept as long as it is followed.
        box_xyxy: (4,) that its crop was cut by, image px; None for the whole picture.
        score: of the finder, where it was found in this frame.
        landmarks: its points, smoothed where the tracker smooths, and their spread.
        trace: everything seen on the way; its points are as the network gave them.
    """

    track: int
    box_xyxy: F64 | None
    score: float | None
    landmarks: Landmarks
    trace: Trace

    @property
    def points_px(self) -> F32:
        """(P, 2) image px."""
        return self.landmarks.points_px


class Tracker:
    """Follows the faces of one video, frame by frame.

    A face is cut by its points in the frame before. The detector's finder runs at first, every
    `find_every` frames, when a face is lost, as its points are unsure or leave the picture, and
    when the frames change their size. A face that the finder finds where one was just lost is the
    same. Without a finder, one face is followed, and looked for in the picture as a whole.

    Example:
        >>> from runtime import Detector, OneEuro, read_picture
        >>> camera = [(read_picture("assets/test.jpg"), frame / 25) for frame in range(2)]
        >>> tracker = Tracker(Detector("build/starter68"), smooth=OneEuro())
        >>> for image, time_s in camera:
        ...     print([face.track for face in tracker.next(image, time_s)])
        [0]
        [0]

    Args:
        detector: open, with its finder.
        find_every: frames between two runs of the finder.
        smooth: how points are smoothed; None leaves them as they are.

    Raises:
        ConfigError: frames below 1.
    """

    def __init__(
        self, detector: Detector, *, find_every: int = FIND_EVERY, smooth: OneEuro | None = None
    ) -> None:
        if type(find_every) is not int or find_every < 1:
            raise ConfigError(
                "find_every", expected="1 or more", got=repr(find_every), action="Correct it"
            )
        self._detector, self._find_every, self._smooth = detector, find_every, smooth
        self._numbers = itertools.count()
        self._tracks: list[_Track] = []
        self._since_found = find_every
        self._lost: list[_Track] = []  # in the frame before
        self._size_wh = (0, 0)

    def next(self, image: NDArray[np.uint8], time_s: float) -> list[TrackedFace]:
        """The faces of the next frame.

        Args:
            image: uint8 (H, W, 3) BGR.
            time_s: of the frame.

        Raises:
            InputError: the picture cannot be used.
            InferenceError: the engine or the finder failed.
        """
        self._since_found += 1
        self._fit(image.shape[1], image.shape[0])
        if self._since_found >= self._find_every or self._lost or not self._tracks:
            self._look(image)
        tracks = self._tracks
        boxes = [track.box_xyxy for track in tracks]
        traces = self._detector.trace_batch([image] * len(tracks), boxes)
        found = [i for i, track in enumerate(tracks) if track.fresh and boxes[i] is not None]
        self._detector.refined([image] * len(tracks), traces, found)
        faces: list[TrackedFace] = []
        kept: list[_Track] = []
        for track, trace in zip(tracks, traces, strict=True):
            face = track.face(trace, time_s, self._smooth)
            box_xyxy = next_box(trace, image)
            if box_xyxy is not None and any(
                _overlap(box_xyxy, other.box_xyxy) >= ONE_FACE for other in kept
            ):
                continue  # it slid onto a face that is followed already
            faces.append(face)
            if box_xyxy is None:
                self._lost.append(track)
            else:
                track.box_xyxy = box_xyxy
                kept.append(track)
        self._tracks = kept
        return faces

    def _look(self, image: NDArray[np.uint8]) -> None:
        """Bring in what the finder finds."""
        finder = self._detector.faces
        if finder is None:
            # one face: as long as it is followed there is nothing to look for
            for track in self._lost:
                track.box_xyxy = None
            self._tracks = self._tracks or self._lost or [_Track(next(self._numbers))]
            self._lost = []
            return
        self._since_found = 0
        going = self._tracks + self._lost
        for box_xyxy, score in find_boxes(finder, image):
            same = max(going, key=lambda track: _overlap(box_xyxy, track.box_xyxy), default=None)
            if same is not None and _overlap(box_xyxy, same.box_xyxy) >= SAME_FACE:
                going.remove(same)
            else:
                same = _Track(next(self._numbers), box_xyxy)
                self._tracks.append(same)
            if same in self._lost:
                same.box_xyxy, same.fresh = box_xyxy, True
                self._tracks.append(same)
            # else its own points cut it closer than the finder's box
            same.score, same.missed = score, 0
        for track in going:
            track.missed += 1
        kept = (track for track in self._tracks if track.missed < MOST_MISSED)
        # by age: of two upon one face the older is kept
        self._tracks, self._lost = sorted(kept, key=lambda track: track.number), []

    def _fit(self, width: int, height: int) -> None:
        """Where frames change their size, move all faces with it, and have them looked for."""
        before, self._size_wh = self._size_wh, (width, height)
        if before in (self._size_wh, (0, 0)):
            return
        scale = np.tile(np.divide(self._size_wh, before), 2)
        self._tracks, self._lost = [], self._tracks + self._lost
        for track in self._lost:
            track.move(scale)


class _Track:
    """One face that is followed."""

    def __init__(self, number: int, box_xyxy: F64 | None = None) -> None:
        self.number, self.box_xyxy = number, box_xyxy
        self.score: float | None = None
        self.missed = 0
        self.fresh = True
        self._smoothed: Smoothed | None = None

    def move(self, scale: F64) -> None:
        """Go on in frames of another size, smoothing anew; `scale` is that of a box's sides."""
        self.box_xyxy = None if self.box_xyxy is None else self.box_xyxy * scale
        self._smoothed = None

    def face(self, trace: Trace, time_s: float, smooth: OneEuro | None) -> TrackedFace:
        """Make its result in a frame; the score appears once, in the frame it was found in."""
        landmarks = trace.landmarks
        if smooth is not None:
            raw = landmarks.points_px.astype(np.float64)
            if self._smoothed is None:
                self._smoothed = Smoothed(smooth, raw, time_s)
            smoothed = self._smoothed.next(raw, time_s).astype(np.float32)
            landmarks = replace(landmarks, points_px=smoothed)
        score, self.score, self.fresh = self.score, None, False
        return TrackedFace(
            track=self.number,
            box_xyxy=self.box_xyxy,
            score=score,
            landmarks=landmarks,
            trace=trace,
        )


def _overlap(one: F64, other: F64 | None) -> float:
    """Intersection over union of two boxes."""
    if other is None:
        return 0.0
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    areas = sum(float(np.prod(box[2:] - box[:2])) for box in (one, other))
    return shared / (areas - shared) if areas > shared else 0.0
