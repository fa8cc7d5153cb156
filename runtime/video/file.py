"""Frames of a video file with their times, and its sound."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError, one_line
from runtime.files import shown
from runtime.machine.packages import importing
from runtime.video.times import FrameTimes, OneClock
from runtime.video.upright import upright

SUFFIXES = (
    *(".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"),
    *(".asf", ".ts", ".mts", ".m2ts", ".3gp", ".flv", ".ogv", ".vob"),
)
# A video that ends so much before the length that its file declares is cut off. Its last frames may
# have been dropped when it was made, or their durations not stored; only .mp4 and .mov are exact.
CUT_OFF_S = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """A frame, upright.

    Attributes:
        index: from 0.
        time_s: when it is shown, from the video's first frame on; above that of the frame before.
        image: uint8 (H, W, 3) BGR.
        pixel_aspect: width by height of a pixel.
    """

    index: int
    time_s: float
    image: NDArray[np.uint8]
    pixel_aspect: Fraction = Fraction(1)


class Video:
    """A video file, to be gone through once.

    Args:
        path: of the file.
        sound: keep the compressed sound for `taken_sound`.

    Attributes:
        frames: the count in the file's header; 0 where there is none.
        sound: streams of sound, PyAV's; empty where they are not kept.
        damage: once it was gone through: what is missing or cannot be decoded; empty for a whole
            file.

    Raises:
        BackendUnavailable: the package av is missing.
        InputError: not a video.
    """

    def __init__(self, path: Path, *, sound: bool = False) -> None:
        self._av = import_av()
        self.path, self.damage, self._failures = path, "", list[str]()
        if path.exists() and not path.is_file():
            raise self._refused("a folder" if path.is_dir() else "a pipe or device")
        try:
            # a name may have a colon, and what is inside may name other files and addresses
            # (options for streams, too, crash PyAV before 18 on .flv)
            options = {"protocol_whitelist": "file"}
            self._container = self._av.open(f"file:{path}", container_options=options)
        # FFmpeg's errors are classes of their own, some of them Python's, too
        except (self._av.FFmpegError, OSError, ValueError) as error:
            got = getattr(error, "strerror", None) or error  # without the path once more
            raise self._refused(one_line(got, 200)) from error
        self._stream: Any = self._container.streams.best("video")  # no album's cover beside a film
        if self._stream is None or self._stream.codec_context is None:
            self._container.close()
            missing = "a codec for its pictures" if self._stream else "moving pictures"
            raise self._refused(f"a file without {missing}")
        # not by frames: PyAV then drops the error, and the frames, behind damage at the end
        self._stream.thread_type = "SLICE"
        self.frames = int(self._stream.frames or 0)
        self.sound = tuple(self._container.streams.audio) if sound else ()
        self._sound: list[Any] = []
        self._spans_s: dict[int, tuple[Fraction, Fraction]] = {}
        self._durations_s = Fraction(0)
        format_names = self._container.format.name.split(",")
        self._is_avi, self._is_mov = "avi" in format_names, "mov" in format_names
        flags = self._av.format.Flags
        has = flags(self._container.format.flags)
        self._estimated = bool(has & (flags.ts_discont | flags.no_timestamps))
        self._clock = OneClock(leaps=flags.ts_discont in has)
        self._times = FrameTimes(
            self.time_base,
            counted=flags.no_timestamps in has,
            decoding=self._is_avi,
            interval_s=self._interval_s,
        )

    @property
    def time_base(self) -> Fraction:
        """The unit of the frames' times, s."""
        return Fraction(self._stream.time_base or Fraction(1, 90_000))

    @property
    def _interval_s(self) -> Fraction:
        return 1 / Fraction(self._stream.average_rate or 25)

    def __iter__(self) -> Iterator[Frame]:
        """Each frame that can be decoded.

        Raises:
            InputError: not one can.
        """
        index = 0
        for picture in self._decoded():
            time_s = float(self._times.next(picture))
            image, turned = upright(picture)
            aspect = Fraction(self._stream.sample_aspect_ratio or 1) or Fraction(1)
            aspect = 1 / aspect if turned else aspect
            yield Frame(index=index, time_s=time_s, image=image, pixel_aspect=aspect)
            index += 1
        if self._failures:
            more = f" ({len(self._failures)} times)" if len(self._failures) > 1 else ""
            self.damage = f"cannot be decoded {self._failures[0]}{more}"
        if index == 0:
            raise self._refused(self.damage or "a video without frames")
        self.damage = "; ".join(filter(None, (self.damage, self._missing())))

    def taken_sound(self) -> list[Any]:
        """The packets of sound that were read since the last call, their times as the frames'.

        To be called after a frame; sound from before the first one is left out.
        """
        taken, self._sound = self._sound, []
        for packet in taken:
            start = round((self._times.start_s or 0) / packet.time_base)
            packet.dts = (packet.pts if packet.dts is None else packet.dts) - start
            packet.pts = packet.dts if packet.pts is None else packet.pts - start
        return [packet for packet in taken if packet.pts >= 0]

    def close(self) -> None:
        """Let the file go."""
        self._container.close()

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decoded(self) -> Iterator[Any]:
        """Each frame; what cannot be decoded is noted, and costs no other."""
        for packet in self._packets():
            try:
                yield from self._stream.decode(packet)
            except self._av.FFmpegError as error:
                self._note(error)

    def _packets(self) -> Iterator[Any]:
        """The pictures' packets, and None, which flushes the decoder; the sound's are put aside."""
        streams = self._container.streams
        try:
            for packet in self._container.demux(self._stream, *streams.audio):
                if packet.dts is None and packet.size == 0:
                    continue  # FFmpeg's own for the end
                self._clock.move(packet)
                self._measure(packet)
                if packet.stream_index == self._stream.index:
                    self._durations_s += (packet.duration or 0) * packet.time_base
                    yield packet
                elif self.sound and (packet.dts is not None or packet.pts is not None):
                    self._sound.append(packet)
        except self._av.FFmpegError as error:
            self._note(error)
        yield None

    def _measure(self, packet: Any) -> None:
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None:
            start_s = time * packet.time_base
            end_s = start_s + (packet.duration or 0) * packet.time_base
            first_s, last_s = self._spans_s.get(packet.stream_index, (start_s, end_s))
            span_s = (min(first_s, start_s), max(last_s, end_s))
            self._spans_s[packet.stream_index] = span_s

    def _note(self, error: Any) -> None:
        _, end_s = self._spans_s.get(self._stream.index, (0, Fraction(0)))
        self._failures.append(f"at {float(end_s):.2f} s: {one_line(error.strerror or error, 200)}")

    def _missing(self) -> str:
        """What the file declares and does not hold."""
        if self._estimated:
            return ""  # FFmpeg's duration is made up from what is there
        first_s, last_s = self._spans_s.get(self._stream.index, (Fraction(0), Fraction(0)))
        found_s, declared_s, least_s = last_s - first_s, self._declared_s(), CUT_OFF_S
        if self._is_mov and declared_s:
            # one after the other without a gap, whatever the order that they are shown in
            found_s, least_s = self._durations_s, float(self._interval_s) / 2
        elif not declared_s:
            # the whole file's, which is that of its longest stream
            spans_s = [*self._spans_s.values()] or [(Fraction(0), Fraction(0))]
            found_s = max(s[1] for s in spans_s) - min(s[0] for s in spans_s)
            duration = self._container.duration
            declared_s = float(duration) / self._av.time_base if duration else _asf_s(self.path)
        short = declared_s - float(found_s) > least_s
        return f"ends early: {float(found_s):.2f} of {declared_s:.2f} s" if short else ""

    def _declared_s(self) -> float:
        """The length of the pictures' own stream, not of the sound; 0 where it is not declared."""
        if self._is_avi:
            # of all frames, also dropped ones; FFmpeg's duration is of those that are there
            return float(self.frames * self.time_base)
        if self._stream.duration and self._container.format.name != "asf":
            return float(self._stream.duration * self.time_base)
        text = self._stream.metadata.get("DURATION", "")  # Matroska's: 00:00:02.000000000
        try:
            hours, minutes, seconds = map(float, text.split(":"))
        except ValueError:
            return 0.0
        return 3600 * hours + 60 * minutes + seconds

    def _refused(self, got: str) -> InputError:
        return InputError(
            shown(self.path),
            expected="a video with frames",
            got=got,
            action="Check the path, or copy the file again",
        )


def _asf_s(path: Path) -> float:
    """The length in the header of a .wmv, which FFmpeg ignores where the file is cut off; else 0.

    Source: Advanced Systems Format, 3.2, the File Properties Object.
    """
    with path.open("rb") as file:
        head = file.read(1 << 16)
    at = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if at < 0 or len(head) < at + 92:
        return 0.0
    length, _, preroll_ms, flags = struct.unpack_from("<QQQI", head, at + 64)
    return 0.0 if flags & 1 else max(length / 1e7 - preroll_ms / 1e3, 0.0)


def import_av() -> Any:
    """Return PyAV, which contains FFmpeg.

    Raises:
        BackendUnavailable: it is missing.
    """
    with importing("video"):
        import av
    return av
