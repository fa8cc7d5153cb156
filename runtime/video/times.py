"""Times of packets and frames that never fall, whatever the file's own do."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

# ffmpeg's own bounds for a clock that has started again: `ts_discontinuity_detect` in
# fftools/ffmpeg_demux.c, and its option -dts_delta_threshold.
FALL_S, LEAP_S = Fraction(1, 10), Fraction(10)


class OneClock:
    """Packets of joined recordings on one clock: each part follows the end of the one before.

    Each stream meets a joint at its own packet, and all are moved by the same time there, so that
    sound and pictures stay together.

    Args:
        leaps: the format's clock may also leap forward at a joint (MPEG's streams).
    """

    def __init__(self, *, leaps: bool) -> None:
        self._leaps = leaps
        self._shifts_s = [Fraction(0)]
        self._part: dict[int, int] = {}
        self._last_s: dict[int, Fraction] = {}
        self._end_s = Fraction(0)

    def move(self, packet: Any) -> None:
        """Move a packet's times, in the order of the file."""
        stream, unit = packet.stream_index, packet.time_base
        part, last_s = self._part.get(stream, 0), self._last_s.get(stream)
        if packet.dts is not None:
            time_s, length_s = packet.dts * unit, (packet.duration or 0) * unit
            now_s = time_s + self._shifts_s[part]
            leaps = self._leaps and now_s > self._end_s + LEAP_S
            if last_s is not None and (now_s < last_s - FALL_S or leaps):
                part += 1
                if part == len(self._shifts_s):
                    self._shifts_s.append(self._end_s - time_s)
                now_s = time_s + self._shifts_s[part]
            self._part[stream], self._last_s[stream] = part, now_s
            self._end_s = max(self._end_s, now_s + length_s)
            packet.dts += round(self._shifts_s[part] / unit)
        if packet.pts is not None:
            packet.pts += round(self._shifts_s[part] / unit)


class FrameTimes:
    """When each frame of a video is shown, from its first one on.

    A frame's own time counts as long as such times are as sound as those of decoding, which
    follow their order but come late; a frame without one, or with one that does not go on, follows
    the frame before by its duration.

    Args:
        unit: of the file's times, s.
        counted: the format has no times; what FFmpeg makes up is not used.
        decoding: the format has times of decoding only (AVI).
        interval_s: between frames, where the file does not tell.

    Attributes:
        start_s: the first frame's time in the file.

    Source: `guess_correct_pts` in FFmpeg's libavcodec/decode.c.
    """

    def __init__(
        self, unit: Fraction, *, counted: bool, decoding: bool, interval_s: Fraction
    ) -> None:
        self.start_s: Fraction | None = None
        self._unit, self._counted, self._interval_s = unit, counted, interval_s
        self._faults = [int(decoding), 0]
        self._before: list[int | None] = [None, None]
        self._last_s, self._next_s = Fraction(-1), Fraction(0)

    def next(self, frame: Any) -> Fraction:
        """The next frame's, s."""
        unit = self._unit
        for kind, time in enumerate((frame.pts, frame.dts)):
            before = self._before[kind]
            if time is not None:
                self._faults[kind] += before is not None and time <= before
                self._before[kind] = time
        time = frame.pts if self._faults[0] <= self._faults[1] else frame.dts
        if self.start_s is None:
            self.start_s = (frame.dts or 0) * unit if time is None else time * unit
        time_s = self._next_s
        if time is not None and not self._counted:
            own_s = time * unit - self.start_s
            time_s = own_s if own_s > self._last_s else time_s
        self._last_s = time_s
        self._next_s = time_s + ((frame.duration or 0) * unit or self._interval_s)
        return time_s
