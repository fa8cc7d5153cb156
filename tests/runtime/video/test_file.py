"""Video files as people have them, held against what FFmpeg's formats and ffmpeg itself define."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.video.file import Frame, Video
from runtime.video.writing import VideoWriter, video_written

av: Any = pytest.importorskip("av", reason="videos need the extra video")

Picture = NDArray[np.uint8]
WIDTH, HEIGHT = 64, 48
RATE = 25


def grey(index: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Picture:
    """A frame that can be told by its grey, which decoders return to within a few levels."""
    return np.full((size[1], size[0], 3), 20 + 4 * index % 200, np.uint8)


def made(
    path: Path,
    frames: Iterable[tuple[int, Picture]],
    *,
    codec: str = "mpeg4",
    sound_s: float = 0.0,
    start_s: float = 0.0,
    form: str | None = None,
    options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    muxer: dict[str, str] | None = None,
) -> Path:
    """Write a video by PyAV alone: frames at their places of a 25th of a second, and a tone."""
    with av.open(str(path), "w", format=form, options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=RATE, options=options or {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        tone: list[Any] = []
        if sound_s:
            sound = container.add_stream("mp2" if form == "mpegts" else "libmp3lame", rate=44_100)
            tone += sound_packets(sound, sound_s, start_s)

        def mux(packets: Iterable[Any]) -> None:
            for packet in packets:
                packet.pts += round(start_s / packet.time_base) if start_s else 0
                packet.dts += round(start_s / packet.time_base) if start_s else 0
                while tone and tone[0].dts * tone[0].time_base < packet.dts * packet.time_base:
                    container.mux(tone.pop(0))
                container.mux(packet)

        for place, image in frames:
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = place, Fraction(1, RATE)
            mux(stream.encode(frame))
        mux(stream.encode(None))
        for packet in tone:
            container.mux(packet)
    return path


def sound_packets(stream: Any, seconds: float, start_s: float) -> Iterable[Any]:
    count = 1152
    for index in range(round(seconds * 44_100 / count)):
        phase = np.arange(index * count, (index + 1) * count) * 2 * np.pi * 440 / 44_100
        layout = "mono" if stream.layout.nb_channels == 1 else "stereo"
        data = np.tile(np.int16(8000 * np.sin(phase)), (1, 1))
        wide = np.repeat(data, 2, axis=1) if layout == "stereo" else data
        frame = av.AudioFrame.from_ndarray(wide, "s16", layout)
        frame.sample_rate, frame.pts = 44_100, index * count
        for packet in stream.encode(frame):
            packet.pts += round(start_s / packet.time_base)
            packet.dts += round(start_s / packet.time_base)
            yield packet
    yield from stream.encode(None)


def steady(count: int) -> list[tuple[int, Picture]]:
    return [(index, grey(index)) for index in range(count)]


def read(path: Path) -> tuple[list[Frame], str]:
    with Video(path) as video:
        return [*video], video.damage


def places(frames: Sequence[Frame]) -> list[float]:
    """Times in frames."""
    return [round(frame.time_s * RATE, 2) for frame in frames]


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Of an .mp4's only track, as telephones write it."""
    data = bytearray(path.read_bytes())
    # ISO 14496-12: version and flags, five words, eight bytes, four half words, then the matrix
    at = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    assert data[at : at + 36] == struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    short = path.with_name(f"cut_{path.name}")
    short.write_bytes(data[: int(share * len(data))])
    return short


@pytest.mark.parametrize(
    "matrix",
    [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)]
    + [(0, b, c, 0) for b in (1, -1) for c in (1, -1)],
)
def test_frames_are_turned_and_mirrored_by_their_matrix(
    tmp_path: Path, matrix: tuple[int, int, int, int]
) -> None:
    """Corner by corner: ISO 14496-12 multiplies (x, y, 1) by the matrix of the track."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for index, (top, left) in enumerate(itertools.product((0, 24), (0, 32))):
        image[top : top + 24, left : left + 32] = 60 * index
    path = made(tmp_path / "a.mp4", [(0, image)], aspect=Fraction(2))
    a, b, c, d = (value << 16 for value in matrix)
    set_matrix(path, a, b, c, d)

    ((frame,), damage) = read(path)
    expected: dict[tuple[bool, bool], int] = {}
    for index, (y, x) in enumerate(itertools.product((-1, 1), (-1, 1))):
        a, b, c, d = matrix
        expected[(a * x + c * y > 0, b * x + d * y > 0)] = 60 * index
    height, width = frame.image.shape[:2]
    found = {
        (right, low): int(frame.image[(1 + 2 * low) * height // 4, (1 + 2 * right) * width // 4, 0])
        for right, low in itertools.product((False, True), repeat=2)
    }
    assert all(abs(found[corner] - expected[corner]) < 12 for corner in expected)
    turned = matrix[0] == 0
    assert (width, height) == ((HEIGHT, WIDTH) if turned else (WIDTH, HEIGHT))
    assert frame.pixel_aspect == (Fraction(1, 2) if turned else 2)
    assert damage == ""


def test_a_matrix_of_another_angle_turns_about_the_centre(tmp_path: Path) -> None:
    """By 30 degrees clockwise, the size kept, as ffmpeg's autorotation does."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    cv2.circle(image, (52, 24), 4, (255, 255, 255), -1)
    path = made(tmp_path / "a.mp4", [(0, image)])
    cosine, sine = (round(value * (1 << 16)) for value in (np.sqrt(0.75), 0.5))
    set_matrix(path, cosine, sine, -sine, cosine)
    ((frame,), _) = read(path)
    y, x = np.argwhere(frame.image[..., 0] > 128).mean(axis=0)
    assert frame.image.shape == image.shape
    assert np.allclose((x - 32, y - 24), (20 * np.sqrt(0.75), 10), atol=1)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".avi", ".wmv", ".flv"])
def test_damage_is_told_by_the_length_of_the_pictures(tmp_path: Path, suffix: str) -> None:
    """A longer or shorter sound neither makes a video damaged nor hides that it is cut off."""
    codec = {".wmv": "wmv2", ".flv": "flv1"}.get(suffix, "mpeg4")
    muxer = {"movflags": "faststart"} if suffix == ".mp4" else {}
    for sound_s in (0, 2, 4) if suffix != ".flv" else (0, 2):
        path = made(
            tmp_path / f"{sound_s}{suffix}", steady(75), codec=codec, sound_s=sound_s, muxer=muxer
        )
        frames, damage = read(path)
        assert (len(frames), damage) == (75, "")
        frames, damage = read(cut(path, 0.5))
        assert 0 < len(frames) < 70
        assert "ends early: " in damage


def test_frames_that_were_dropped_are_no_damage(tmp_path: Path) -> None:
    """An .avi counts them in its header, and shows the one before for longer."""
    kept = [(i, image) for i, image in steady(75) if not 20 <= i < 40 and i != 60]
    path = made(tmp_path / "a.avi", kept)
    with Video(path) as video:
        assert places([*video]) == [place for place, _ in kept]
        assert (video.frames, video.damage) == (75, "")


def test_what_cannot_be_decoded_costs_no_other_frame(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mkv", steady(50), options={"g": "1"})
    with av.open(str(path)) as container:
        at = [packet.pos for packet in container.demux(video=0) if packet.size][20]
    data = bytearray(path.read_bytes())
    data[at + 10 : at + 40] = bytes(30)
    path.write_bytes(data)
    frames, damage = read(path)
    assert places(frames) == [place for place in range(50) if place != 20]
    assert damage.startswith("cannot be decoded at 0.84 s: ")


def test_an_avi_with_frames_out_of_order_keeps_its_pace(tmp_path: Path) -> None:
    """It has times of decoding only: what FFmpeg makes of them goes back and forth."""
    options = {"bf": "2", "x264-params": "b-adapt=0"}
    path = made(tmp_path / "a.avi", steady(50), codec="libx264", options=options)
    with av.open(str(path)) as container:
        raw = [frame.pts for frame in container.decode(video=0)]
    assert sorted(raw) != raw
    frames, damage = read(path)
    assert (places(frames), damage) == ([*range(50)], "")


def test_a_stream_without_times_is_counted(tmp_path: Path) -> None:
    options = {"bf": "2"}
    path = made(
        tmp_path / "a.mpg",
        steady(50),
        codec="mpeg1video",
        options=options,
        form="mpeg1video",
    )
    frames, damage = read(path)
    assert (places(frames), damage) == ([*range(50)], "")


@pytest.mark.parametrize("second_s", [0.0, 3600.0])
def test_joined_recordings_follow_each_other(tmp_path: Path, second_s: float) -> None:
    """Whether the second one's clock starts before the end of the first, or an hour after."""
    parts = [
        made(tmp_path / f"{start_s}.ts", steady(50), sound_s=2, start_s=start_s, form="mpegts")
        for start_s in (second_s, 3600.0 - second_s)
    ]
    for order in (parts, parts[::-1]):
        path = tmp_path / "joined.ts"
        path.write_bytes(b"".join(part.read_bytes() for part in order))
        with Video(path, sound=True) as video:
            found, sound_s = [], []
            for frame in video:
                found.append(frame)
                sound_s += [float(p.pts * p.time_base) for p in video.taken_sound()]
            sound_s += [float(p.pts * p.time_base) for p in video.taken_sound()]
            damage = video.damage
        assert len(found) == 100
        assert damage == ""
        steps = np.diff([frame.time_s for frame in found])
        assert np.allclose(np.delete(steps, 49), 1 / RATE, atol=1e-4)
        assert 0 < steps[49] < 0.2
        # within the length of a packet, the sound stays with its pictures
        assert np.all(np.diff(sound_s) > 0)
        assert abs(sound_s[-1] - found[-1].time_s) < 0.12


def drawn(path: Path, out: Path) -> Path:
    """Copy a video through the writer."""
    with Video(path, sound=True) as video, video_written(out, video.time_base, video.sound) as copy:
        for frame in video:
            copy.add(frame.image, frame.time_s, frame.pixel_aspect)
            copy.copy(video.taken_sound())
        copy.copy(video.taken_sound())
    return out


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.ts"])
def test_a_drawn_video_keeps_its_sound_and_its_pixels(tmp_path: Path, name: str) -> None:
    """Byte for byte, at its times."""
    form = "mpegts" if name == "a.ts" else None
    path = made(tmp_path / name, steady(50), sound_s=3, aspect=Fraction(2), form=form)
    out = drawn(path, tmp_path / "b.mp4")

    def sound(of: Path) -> list[tuple[float, bytes]]:
        with av.open(str(of)) as container:
            start_s = next(container.decode(video=0)).time
        with av.open(str(of)) as container:
            return [
                (float(packet.pts * packet.time_base) - start_s, bytes(packet))
                for packet in container.demux(audio=0)
                if packet.size
            ]

    expected = [(time_s, data) for time_s, data in sound(path) if time_s >= 0]
    found = sound(out)
    assert [data for _, data in found] == [data for _, data in expected]
    assert np.allclose([t for t, _ in found], [t for t, _ in expected], atol=2e-3)
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert (stream.index, stream.sample_aspect_ratio) == (0, 2)
    assert places(read(out)[0]) == places(read(path)[0])


def test_sound_that_the_format_cannot_hold_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = made(tmp_path / "a.mkv", steady(5), sound_s=1)
    with Video(path, sound=True) as video, av.open(str(tmp_path / "b.ogv"), "w") as container:
        VideoWriter(container, av.VideoFrame, video.time_base, video.sound)
    assert "goes without a sound track: .ogv cannot hold mp3" in caplog.text


def test_frames_of_another_size_are_drawn_in_the_first_ones(tmp_path: Path) -> None:
    """Larger or smaller ones: in full, not cut or padded."""
    for first, second in itertools.permutations(((96, 64), (48, 32))):
        with video_written(tmp_path / "a.mkv", Fraction(1, 1000)) as video:
            for index, (width, height) in enumerate((first, second)):
                image = np.zeros((height, width, 3), np.uint8)
                image[:, width // 2 :] = 200
                video.add(image, index / RATE)
        for frame in read(tmp_path / "a.mkv")[0]:
            assert frame.image.shape == (first[1], first[0], 3)
            halves = (frame.image[:, : first[0] // 2 - 4], frame.image[:, first[0] // 2 + 4 :])
            assert [round(half.mean(), -1) for half in halves] == [0, 200]


@pytest.mark.parametrize("name", [b"12:30.mp4", b"http:%03d#?.mp4", b"\xff\xe9.MTS", b"-a.m2ts"])
def test_any_name_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(os.fsdecode(name))
    made(tmp_path / "a.mp4", steady(3)).rename(path)
    assert len(read(path)[0]) == 3
    assert len(read(drawn(path, Path("1:2.mp4")))[0]) == 3


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """And a list of other files and addresses, under a video's name."""
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    made(tmp_path / "there.mp4", steady(3))
    (tmp_path / "hls.mp4").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile http://127.0.0.1:9/a.ts\n")
    for name, got in (
        ("pipe", "a pipe or device"),
        ("folder", "a folder"),
        ("hls", ""),
        ("list", ""),
    ):
        with pytest.raises(InputError, match=f"expected a video with frames, got {got}"):
            read(tmp_path / f"{name}.mp4")
