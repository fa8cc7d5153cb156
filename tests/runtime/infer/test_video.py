"""Videos through the command line: followed, timed as they were, whole or not at all."""

from __future__ import annotations

import csv
import itertools
import json
import math
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from builders import ROOT, CommandLine, run_python
from grey_backend import Grey
from numpy.typing import NDArray

from runtime.backends import Outputs
from runtime.detector import Detector
from runtime.errors import ConfigError, InferenceError, InputError
from runtime.image.picture import read_picture
from runtime.infer.video import run_video
from runtime.many.folder import Wanted
from runtime.video.file import Video
from runtime.video.writing import video_written

pytest.importorskip("av", reason="videos need the extra video")

PHOTO = ROOT / "assets/test.jpg"
Picture = NDArray[np.uint8]
# seconds; now and then a frame is late, as a telephone's camera does in the dark
TIMES_S = [round(float(t), 3) for t in np.cumsum([0, *[0.04] * 5, 0.12, *[0.04] * 5, 0.2, 0.04])]


def rows_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def panned(picture: Picture, count: int, step_px: float = 1.5, noise: float = 4) -> list[Picture]:
    """A camera that moves evenly, with some noise."""
    rng = np.random.default_rng(0)
    frames = []
    for index in range(count):
        matrix = np.array([[1, 0, step_px * index], [0, 1, 0]], np.float64)
        moved = cv2.warpAffine(
            picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE
        )
        noisy = moved + rng.normal(0, noise, moved.shape)
        frames.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return frames


def write(path: Path, frames: Sequence[Picture], times_s: Sequence[float]) -> Path:
    with video_written(path, Fraction(1, 1000)) as video:
        for frame, time_s in zip(frames, times_s, strict=True):
            video.add(frame, time_s)
    return path


def times_of(path: Path) -> list[float]:
    with Video(path) as video:
        return [frame.time_s for frame in video]


@pytest.fixture(scope="module")
def photo() -> Picture:
    """The embedded photo, of sides that encoders dislike."""
    small = cv2.resize(read_picture(PHOTO), (321, 241), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


@pytest.fixture(scope="module")
def clip(photo: Picture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One face that moves, at times that are not even."""
    path = tmp_path_factory.mktemp("video") / "一个 clip.mp4"
    return write(path, panned(photo, len(TIMES_S)), TIMES_S)


@pytest.mark.slow
def test_a_video_in_every_format_with_its_times(
    infer: CommandLine, clip: Path, tmp_path: Path
) -> None:
    """Rows and drawn frames have the video's own times, however uneven."""
    pq = pytest.importorskip("pyarrow.parquet")
    formats = [x for name in ("jsonl", "csv", "parquet", "pts") for x in ("--format", name)]
    out = tmp_path / "out"
    done = infer(clip, out, "--draw", "--json", *formats)

    assert done.code == 0
    summary = json.loads(done.out)
    rows = rows_in(out / "results.jsonl")
    assert [row["frame"] for row in rows] == list(range(len(TIMES_S)))
    assert np.allclose([row["time_s"] for row in rows], TIMES_S, atol=1e-3)
    assert {row["track"] for row in rows} == {0}
    assert {(row["status"], row["width"], row["height"]) for row in rows} == {("ok", 322, 242)}
    assert summary["frames"] == summary["faces"] == len(TIMES_S)
    assert (summary["tracks"], summary["failed"]) == (1, 0)
    assert 0 < summary["jitter_px"] < 2
    with (out / "results.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [float(line["time_s"]) for line in table] == [row["time_s"] for row in rows]
    assert float(table[3]["x5"]) == rows[3]["points_px"][5][0]
    columns = pq.read_table(out / "results.parquet").to_pydict()
    assert columns["time_s"] == [row["time_s"] for row in rows]
    assert columns["frame"] == list(range(len(TIMES_S)))
    assert len(list((out / "pts").glob("*_0.pts"))) == len(TIMES_S)
    assert np.allclose(times_of(out / "drawn/一个 clip.mp4"), TIMES_S, atol=1e-3)
    # the face moves as the camera does: 1.5 px a frame
    middles = np.array([np.mean(row["points_px"], axis=0) for row in rows])
    assert np.allclose(np.diff(middles[:, 0]).mean(), 1.5, atol=0.3)


@pytest.mark.slow
def test_a_drawn_video_alone(infer: CommandLine, clip: Path, tmp_path: Path) -> None:
    """Nothing else appears in its folder; its frames are those of the video, drawn on."""
    out = tmp_path / "out.mp4"
    assert infer(clip, out).code == 0

    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    with Video(clip) as before, Video(out) as after:
        for one, other in zip(before, after, strict=True):
            assert other.image.shape == one.image.shape  # 322 x 242: even already
            changed = np.abs(one.image.astype(int) - other.image).max(axis=2) > 60
            assert 0.001 < changed.mean() < 0.2


@pytest.mark.slow
def test_smoothing_takes_the_tremble_out(
    infer: CommandLine, photo: Picture, tmp_path: Path
) -> None:
    """Of a face at rest in bad light."""
    frames = panned(photo, 25, 0, noise=30)
    dark = write(tmp_path / "dark.mp4", frames, [0.04 * i for i in range(25)])
    summary = json.loads(infer(dark, tmp_path / "out", "--smooth", "--json").out)
    assert summary["jitter_px"] < 0.6 * summary["jitter_raw_px"]
    text = infer(dark, tmp_path / "out", "--smooth").out
    assert f"Jitter: {summary['jitter_px']:.3f} px smoothed" in text


@pytest.mark.slow
def test_two_faces_are_followed_through_a_cut(
    infer: CommandLine, shared: Path, tmp_path: Path
) -> None:
    """Each keeps its number; behind the cut there is nobody, and then another."""
    files = sorted((shared / "faces").glob("*.jpg"))
    first, second, third = (
        np.asarray(cv2.resize(read_picture(file), (250, 250)), np.uint8) for file in files[:3]
    )
    empty = np.full((250, 500, 3), 90, np.uint8)
    frames = [
        *panned(np.hstack([first, second]), 12, 1),
        *[empty] * 4,
        *panned(np.hstack([third, third[:, ::-1]]), 12, 1),
    ]
    clip = write(tmp_path / "two.mkv", frames, [0.04 * i for i in range(len(frames))])
    yunet = shared / "models/face_detection_yunet_n.onnx"
    done = infer(clip, tmp_path / "out", "--faces", yunet, "--draw", "--json")

    assert done.code == 0
    summary = json.loads(done.out)
    rows = rows_in(tmp_path / "out/results.jsonl")
    tracks = [
        sorted(r["track"] for r in rows if r["frame"] == i and r["faces"] == 2) for i in range(28)
    ]
    assert tracks[:12] == [[0, 1]] * 12
    assert tracks[13:16] == [[]] * 3
    assert tracks[17:] == [tracks[17]] * 11
    assert len(tracks[17]) == 2
    assert not {0, 1} & {*tracks[17]}
    assert [row["status"] for row in rows if row["frame"] in (13, 14)] == ["no face"] * 2
    assert summary["without_face"] >= 3


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_a_video_cut_off_gives_what_it_holds(
    infer: CommandLine, photo: Picture, tmp_path: Path, suffix: str
) -> None:
    """A row says where it ends, and so does the exit code."""
    whole = write(tmp_path / f"whole{suffix}", panned(photo, 60), [0.04 * i for i in range(60)])
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: int(0.6 * whole.stat().st_size)])
    done = infer(cut, tmp_path / "out")

    assert done.code == 1
    assert "Damaged: " in done.out
    rows = rows_in(tmp_path / "out/results.jsonl")
    assert rows[-1]["status"] == "error"
    assert rows[-1]["frame"] == len(rows) - 1
    assert "the video ends early" in rows[-1]["error"]
    assert 10 < len(rows) < 60


def test_an_mp4_cut_off_or_no_video_is_refused(
    infer: CommandLine, clip: Path, tmp_path: Path
) -> None:
    """Its index stands at its end; and nothing is written for it."""
    import av

    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:3000])
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream: Any = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    out = tmp_path / "out"
    for name, got in (
        ("cut", ""),
        ("text", ""),
        ("empty", ""),
        ("sound", "a file without moving pictures"),
        ("missing", "No such file"),
    ):
        done = infer(tmp_path / f"{name}.mp4", out, "--draw")
        assert done.code == 2
        assert f"{name}.mp4: expected a video with frames, got {got}" in done.err
    assert [path for path in out.rglob("*") if path.is_file()] == []


def test_frames_are_turned_as_players_turn_them(photo: Picture, tmp_path: Path) -> None:
    """By the matrix in the file, as telephones write it."""
    path = write(tmp_path / "lying.mp4", [np.rot90(photo)] * 3, [0, 0.04, 0.08])
    data = bytearray(path.read_bytes())
    # ISO 14496-12: version and flags, five words, eight bytes, four half words, then the matrix
    at = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    clockwise = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    assert data[at : at + 36] == struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", *clockwise)
    path.write_bytes(data)

    with Video(path) as video:
        frame = next(iter(video)).image
    assert frame.shape[0] < frame.shape[1]
    shown = frame[: photo.shape[0], -photo.shape[1] :].astype(int)
    assert np.abs(shown - photo).mean() < 12


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--resume"], "--resume: expected pictures: a video's faces are followed"),
        (["--bbox", "0,0,9,9"], "--bbox: expected one picture"),
        (["--cropped"], "--cropped: expected one picture"),
        (["--batch", "4"], "--batch: expected pictures: the faces of a frame go together"),
        (["--find-every", "0"], "find_every: expected 1 or more, got 0"),
    ],
)
def test_what_a_video_cannot_have(
    infer: CommandLine, clip: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    done = infer(clip, tmp_path / "out", *options)
    assert done.code == 2
    assert says in done.err
    assert not (tmp_path / "out").exists()


def test_what_pictures_and_drawn_videos_cannot_have(
    infer: CommandLine, clip: Path, tmp_path: Path
) -> None:
    glob = clip.with_name("*.mp4")
    for given, output, options, message in (
        (ROOT / "assets", "o", ["--smooth"], "--smooth: expected a video"),
        (PHOTO, "o.png", ["--find-every", 3], "--find-every: expected a video"),
        (clip, "o.mp4", ["--format", "csv"], "--format: expected a folder as --output"),
        (clip, clip, [], "a file that is read, too"),
        (clip, "o.webm", [], "a name that ends in .mp4, .mov, .mkv, .m4v, which hold H.264"),
        (clip, "o.png", [], "expected a folder"),
        (PHOTO, "o.mp4", [], "ends in .png"),
        (glob, "o", [], "got none, but 1 with another suffix ("),
    ):
        done = infer(given, tmp_path / output, *options)
        assert done.code == 2
        assert message in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_without_the_package_it_says_how_to_get_it(clip: Path, tmp_path: Path) -> None:
    """Exit code 3."""
    code = (
        "import sys\nsys.modules['av'] = None\nfrom runtime.infer.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    model = ROOT / "assets/starter68.safetensors"
    out = ("--output", tmp_path / "out", "--model", model)
    done = run_python("-c", code, "--input", clip, *out)
    assert done.returncode == 3
    assert "pip install -e '.[video]'" in done.stderr


def test_ctrl_c_leaves_nothing_half_written(
    starter_bundle: Path, photo: Picture, tmp_path: Path
) -> None:
    frames = panned(photo, 100, 0)
    clip = write(tmp_path / "long.mp4", frames * 8, [0.04 * i for i in range(800)])
    out = tmp_path / "out"
    command = ["-m", "runtime.infer", "--input", clip, "--output", out, "--model", starter_bundle]
    process = subprocess.Popen(
        [sys.executable, *map(str, command), "--draw"], cwd=ROOT, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("drawn/.*.part.mp4")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode == 130
    assert [path for path in out.rglob("*") if path.is_file()] == []


def test_a_video_read_twice_says_what_is_wrong(clip: Path) -> None:
    with Video(clip) as video:
        assert sum(1 for _ in video) == len(TIMES_S)
        with pytest.raises(InputError, match="expected a video with frames"):
            next(iter(video))
    assert math.isclose(times_of(clip)[-1], TIMES_S[-1], abs_tol=1e-3)


def test_a_video_replaces_neither_itself_nor_results_of_pictures(
    infer: CommandLine, clip: Path, tmp_path: Path
) -> None:
    """What was drawn may be run again; a finished run of pictures would be taken for whole."""
    out = tmp_path / "out"
    (out / "drawn").mkdir(parents=True)
    drawn = out / "drawn/a.mp4"
    drawn.write_bytes(clip.read_bytes())
    assert infer(drawn, out, "--draw").code == 2
    assert drawn.read_bytes() == clip.read_bytes()

    (out / "run.json").write_text("{}")
    done = infer(clip, out)
    assert done.code == 2
    assert "expected a folder without results of pictures, got run.json" in done.err


@pytest.mark.slow
def test_points_of_an_earlier_video_do_not_stay(
    infer: CommandLine, clip: Path, photo: Picture, tmp_path: Path
) -> None:
    short = write(tmp_path / "short.mp4", panned(photo, 3), [0, 0.04, 0.08])
    for video in (clip, short):
        assert infer(video, tmp_path / "out", "--format", "pts").code == 0
    found = sorted(path.name for path in (tmp_path / "out/pts").iterdir())
    assert found == [f"{index:06d}_0.pts" for index in range(3)]
    assert not list((tmp_path / "out").glob(".*"))


def test_a_video_replaces_no_file_of_the_users(tmp_path: Path) -> None:
    """Points that a person has placed for its frames, or a table of the same name."""
    clip = write(tmp_path / "a.mp4", [np.full((64, 64, 3), 80, np.uint8)] * 3, range(3))
    out = tmp_path / "out"
    wanted = Wanted(output=out, formats=("csv", "pts"), drawn=True)
    for name in ("results.csv", "pts/000001_4.pts", "drawn/a.mp4", "drawn"):
        (out / name).parent.mkdir(parents=True)
        (out / name).write_bytes(b"mine")
        with pytest.raises(ConfigError, match=f"{name}: expected no file here"):
            run_video(Detector(Grey()), clip, wanted, find_every=10, smooth=False)
        assert [path for path in out.rglob("*") if path.is_file()] == [out / name]
        shutil.rmtree(out)
    (out / "pts").mkdir(parents=True)
    (out / "pts/mine.pts").write_bytes(b"mine")
    for _ in range(2):
        run_video(Detector(Grey()), clip, wanted, find_every=10, smooth=False)
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    points = {f"pts/{index:06d}_0.pts" for index in range(3)}
    assert found == points | {"results.csv", "files.jsonl", "drawn/a.mp4", "pts/mine.pts"}


def test_a_frame_that_fails_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a row with its error, and is drawn as it is."""
    clip = write(
        tmp_path / "a.mp4", [np.full((64, 64, 3), 40 * i, np.uint8) for i in range(5)], range(5)
    )
    backend = Grey()
    wrong = InferenceError("grey", expected="numbers", got="nan", action="Try again")
    calls = itertools.count()

    def third(batch: NDArray[Any]) -> Outputs:
        if next(calls) == 2:
            raise wrong
        return Grey._run(backend, batch)

    monkeypatch.setattr(backend, "_run", third)
    out = tmp_path / "out"
    wanted = Wanted(output=out, drawn=True)
    summary = run_video(Detector(backend), clip, wanted, find_every=10, smooth=False)
    rows = rows_in(out / "results.jsonl")
    assert [row["status"] for row in rows] == ["ok", "ok", "error", "ok", "ok"]
    assert [row["frame"] for row in rows] == [*range(5)]
    assert rows[2]["error"] == "grey: expected numbers, got nan. Try again."
    assert (rows[2]["time_s"], rows[2]["width"]) == (2, 64)
    assert (summary.frames, summary.failed, summary.without_face, summary.damage) == (5, 1, 0, "")
    assert times_of(out / "drawn/a.mp4") == [*range(5)]


def test_what_a_killed_run_left_is_swept_by_the_next(tmp_path: Path) -> None:
    """Also by one that writes other files; what is the user's stays."""
    clip = write(tmp_path / "a.mp4", [np.full((64, 64, 3), 80, np.uint8)] * 3, range(3))
    out = tmp_path / "out"
    for name in ("drawn/.0123abcd.part.mp4", "pts/.0123abcd.part.pts", ".89abcdef.part.csv"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"half")
    (out / "mine.part.mp4").write_bytes(b"whole")
    run_video(Detector(Grey()), clip, Wanted(output=out), find_every=10, smooth=False)
    found = {path.name for path in out.rglob("*") if path.is_file()}
    assert found == {"results.jsonl", "files.jsonl", "mine.part.mp4"}
