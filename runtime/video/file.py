"""Frames of a video with their times, and a video with the same times back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError, one_line
from runtime.files import shown, written_whole
from runtime.machine.packages import importing

SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
# Those that hold H.264.
DRAWN_SUFFIXES = (".mp4", ".mov", ".mkv", ".m4v")
# What OpenCV and every browser play. It needs even sides: odd ones are widened by a pixel.
CODEC, PIXELS, QUALITY = "libx264", "yuv420p", {"crf": "18"}
# Where a file does not count its frames, it is cut off if it ends so much before its own duration.
CUT_OFF_S = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """A frame, upright.

    Attributes:
        index: from 0.
        time_s: when it is shown, from the video's first frame on.
        image: uint8 (H, W, 3) BGR.
    """

    index: int
    time_s: float
    image: NDArray[np.uint8]


class Video:
    """A video file, to be gone through once.

    Args:
        path: of the file.

    Attributes:
        frames: the count in the file's header; 0 where there is none.
        damage: once it was gone through: what ended it early; empty for a whole file.

    Raises:
        BackendUnavailable: the package av is missing.
        InputError: not a video.
    """

    def __init__(self, path: Path) -> None:
        self._av = import_av()
        self.path, self.damage, self._packets = path, "", 0
        try:
            self._container = self._av.open(str(path))
        # FFmpeg's errors are classes of their own, some of them Python's, too
        except (self._av.FFmpegError, OSError, ValueError) as error:
            got = getattr(error, "strerror", None) or error  # without the path once more
            raise self._refused(one_line(got, 200)) from error
        streams = self._container.streams.video
        if not streams:
            self._container.close()
            raise self._refused("a file without moving pictures")
        self._stream = streams[0]
        self._stream.thread_type = "AUTO"
        self.frames = int(self._stream.frames or 0)

    @property
    def time_base(self) -> Fraction:
        """The unit of the frames' times, s."""
        return Fraction(self._stream.time_base or Fraction(1, 90_000))

    def __iter__(self) -> Iterator[Frame]:
        """Each frame; a damaged file's up to its damage.

        Raises:
            InputError: not one frame can be decoded.
        """
        start_s = time_s = last_s = 0.0
        index = 0
        try:
            for picture in self._decoded():
                # a frame without a time follows the one before
                known = picture.time is not None
                time_s = float(picture.time) - start_s if known else time_s + last_s
                if index == 0:
                    start_s, time_s = time_s, 0.0
                last_s = self._shown_s(picture)
                yield Frame(index=index, time_s=time_s, image=_upright(picture))
                index += 1
        except self._av.FFmpegError as error:
            self.damage = one_line(error.strerror or error, 200)
        if index == 0:
            raise self._refused(self.damage or "a video without frames")
        self.damage = self.damage or self._missing(time_s + last_s)

    def close(self) -> None:
        """Let the file go."""
        self._container.close()

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decoded(self) -> Iterator[Any]:
        for packet in self._container.demux(self._stream):
            # the last one is empty and flushes the decoder
            self._packets += packet.dts is not None or packet.size > 0
            yield from packet.decode()

    def _shown_s(self, picture: Any) -> float:
        """How long a frame is shown."""
        duration, unit = getattr(picture, "duration", None), picture.time_base
        return float(duration * unit) if duration and unit else self._interval_s()

    def _interval_s(self) -> float:
        return 1 / float(self._stream.average_rate or 25)

    def _missing(self, found_s: float) -> str:
        """What the file announced and did not hold.

        Packets are counted, not frames: a cut may leave out frames that are in the file, and an
        empty packet repeats the frame before.
        """
        count = self._packets
        if self.frames:
            return f"{count} of {self.frames} frames" if count < self.frames else ""
        # with sound in it, the duration may be the sound's
        if len(self._container.streams) > 1 or not self._container.duration:
            return ""
        announced_s = float(self._container.duration) / self._av.time_base
        return f"{found_s:.2f} of {announced_s:.2f} s" if announced_s - found_s > CUT_OFF_S else ""

    def _refused(self, got: str) -> InputError:
        return InputError(
            shown(self.path),
            expected="a video with frames",
            got=got,
            action="Check the path, or copy the file again",
        )


class VideoWriter:
    """See `video_written`."""

    def __init__(self, container: Any, frame_type: Any, time_base: Fraction) -> None:
        self._container, self._frame_type, self._time_base = container, frame_type, time_base
        self._stream: Any = None
        self._last = -1

    def add(self, image: NDArray[np.uint8], time_s: float) -> None:
        """Append a frame, BGR, at its time, which is kept to the source's own unit."""
        height, width = image.shape[:2]
        if self._stream is None:
            self._stream = self._container.add_stream(CODEC, options=QUALITY)
            self._stream.width, self._stream.height = width + width % 2, height + height % 2
            self._stream.pix_fmt = PIXELS
            self._stream.codec_context.time_base = self._time_base
        # a video may change its size on the way; the first frame's is the video's
        sides = (self._stream.height, self._stream.width)
        missing = [
            (0, max(side - there, 0)) for side, there in zip(sides, image.shape, strict=False)
        ]
        even = np.pad(image, (*missing, (0, 0)), mode="edge")[: sides[0], : sides[1]]
        frame = self._frame_type.from_ndarray(np.ascontiguousarray(even), format="bgr24")
        # never twice the same, which damaged files repeat and encoders refuse
        self._last = max(round(time_s / self._time_base), self._last + 1)
        frame.pts, frame.time_base = self._last, self._time_base
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))


@contextmanager
def video_written(path: Path, time_base: Fraction) -> Iterator[VideoWriter]:
    """Write a video, whole or not at all, its frames at the times they are given.

    Raises:
        BackendUnavailable: the package av is missing.
    """
    av = import_av()
    with written_whole(path) as temporary:
        try:
            with av.open(str(temporary), "w") as container:
                writer = VideoWriter(container, av.VideoFrame, time_base)
                yield writer
                writer.finish()
        except av.FFmpegError as error:
            raise OSError(error.errno, one_line(error, 200), shown(path)) from error


def import_av() -> Any:
    """Return PyAV, which contains FFmpeg.

    Raises:
        BackendUnavailable: it is missing.
    """
    with importing("video"):
        import av
    return av


def _upright(picture: Any) -> NDArray[np.uint8]:
    """Decode a frame and turn it by its file's rotation: counter-clockwise, in quarter turns."""
    image: NDArray[np.uint8] = picture.to_ndarray(format="bgr24")
    turns = round(float(getattr(picture, "rotation", 0) or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns))
