"""A drawn video, whole or not at all, with the times, the pixels' aspect and the sound it had."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.errors import one_line
from runtime.files import Writing, shown, written_whole
from runtime.video.file import import_av

# Those that hold H.264.
DRAWN_SUFFIXES = (".mp4", ".mov", ".mkv", ".m4v")
# What OpenCV and every browser play. It needs even sides: odd ones are widened by a pixel.
CODEC, PIXELS, QUALITY = "libx264", "yuv420p", {"crf": "18"}

logger = logging.getLogger("starmark")


class VideoWriter:
    """See `video_written`."""

    def __init__(
        self, container: Any, frame_type: Any, time_base: Fraction, sound: Sequence[Any]
    ) -> None:
        self._container, self._frame_type, self._time_base = container, frame_type, time_base
        self._stream: Any = None
        self._last = -1
        self._copied = [one for one in sound if self._holds(one)]
        self._sound: dict[int, Any] = {}
        self._last_sound = {one.index: -1 for one in self._copied}

    def add(
        self, image: NDArray[np.uint8], time_s: float, pixel_aspect: Fraction = Fraction(1)
    ) -> None:
        """Append a frame, BGR, at its time, which is kept to the source's own unit."""
        height, width = image.shape[:2]
        if self._stream is None:
            self._size_wh = (width, height)
            self._stream = self._container.add_stream(CODEC, options=QUALITY)
            self._stream.width, self._stream.height = width + width % 2, height + height % 2
            self._stream.pix_fmt = PIXELS
            self._stream.codec_context.time_base = self._time_base
            self._stream.codec_context.sample_aspect_ratio = pixel_aspect
            add = self._container.add_stream_from_template
            self._sound = {one.index: add(one) for one in self._copied}
        # a video may change its size on the way; the first frame's is the video's, as ffmpeg has it
        if (width, height) != self._size_wh:
            image = np.asarray(cv2.resize(image, self._size_wh), np.uint8)
        odd = [(0, side % 2) for side in image.shape[:2]]
        even = np.pad(image, (*odd, (0, 0)), mode="edge")
        frame = self._frame_type.from_ndarray(np.ascontiguousarray(even), format="bgr24")
        # the unit may be coarser than the times, and encoders refuse the same time twice
        self._last = max(round(time_s / self._time_base), self._last + 1)
        frame.pts, frame.time_base = self._last, self._time_base
        self._container.mux(self._stream.encode(frame))

    def copy(self, sound: Iterable[Any]) -> None:
        """Append compressed sound as it is, after the first frame: `Video.taken_sound`."""
        for packet in sound:
            index = packet.stream_index
            if index in self._sound:
                packet.dts = self._last_sound[index] = max(packet.dts, self._last_sound[index] + 1)
                packet.pts = max(packet.pts, packet.dts)
                packet.stream = self._sound[index]
                self._container.mux(packet)

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))

    def _holds(self, stream: Any) -> bool:
        """Whether the format can hold a stream's sound; a warning where it cannot."""
        codec = "unknown" if stream.codec_context is None else stream.codec_context.codec
        name = getattr(codec, "canonical_name", codec)
        held = name in self._container.supported_codecs
        if not held:
            left_out = "warning: the drawn video goes without a sound track: .%s cannot hold %s"
            logger.warning(left_out, self._container.format.name, name)
        return held


@contextmanager
def video_written(
    path: Path,
    time_base: Fraction,
    sound: Sequence[Any] = (),
    *,
    writing: Writing = written_whole,
) -> Iterator[VideoWriter]:
    """Write a video, whole or not at all, its frames at the times they are given.

    Args:
        path: of the video.
        time_base: unit of its times, s.
        sound: streams whose packets will be copied, `Video.sound`.
        writing: as `written_whole`.

    Raises:
        BackendUnavailable: the package av is missing.
    """
    av = import_av()
    with writing(path) as temporary:
        try:
            with av.open(f"file:{temporary}", "w") as container:
                writer = VideoWriter(container, av.VideoFrame, time_base, sound)
                yield writer
                writer.finish()
        except av.FFmpegError as error:
            raise OSError(error.errno, one_line(error, 200), shown(path)) from error
