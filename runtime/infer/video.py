"""A video's faces, frame by frame: as rows, and drawn into a video with the same times."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.cli.command_line import progress
from runtime.detector import Detector
from runtime.errors import ConfigError
from runtime.files import json_text, shown
from runtime.image.draw import draw_faces
from runtime.many.formats import TABLES, check_format, write_pts, write_table
from runtime.many.journal import JOURNAL_NAME
from runtime.many.rows import FrameRow, rows_of_frame
from runtime.many.summary import RUN_NAME
from runtime.video.file import SUFFIXES, Frame, Video, VideoWriter, video_written
from runtime.video.motion import Jitter, OneEuro
from runtime.video.tracking import TrackedFace, Tracker


@dataclass(frozen=True, kw_only=True)
class WantedOfVideo:
    """What is to be written, and how faces are followed.

    Attributes:
        output: a folder, or a video file for the drawn video alone.
        formats: of `runtime.many.formats.FORMATS`, into the folder.
        drawn: into the folder, drawn/NAME.mp4, too.
        contours, ellipses: as for `draw_landmarks_with_contours`.
        find_every, smooth: as for `Tracker`.
    """

    output: Path
    formats: tuple[str, ...] = ("jsonl",)
    drawn: bool = False
    contours: bool = False
    ellipses: bool = False
    find_every: int
    smooth: bool = False


@dataclass(kw_only=True)
class VideoSummary:
    """What a video came to.

    Attributes:
        frames: that were decoded.
        faces: rows with points.
        without_face: frames without one.
        tracks: faces, each counted once as long as it was followed.
        jitter_px: how much the points tremble, see `Jitter`; as they are written.
        jitter_raw_px: before they were smoothed.
        failed: 1 for a video that ends in damage.
        damage: which.
        seconds_now: it took.
        saved: the files and folders.
    """

    frames: int = 0
    faces: int = 0
    without_face: int = 0
    tracks: int = 0
    jitter_px: float | None = None
    jitter_raw_px: float | None = None
    failed: int = 0
    damage: str = ""
    seconds_now: float = 0.0
    saved: list[str] = field(default_factory=list)

    def text(self) -> str:
        """A few lines for people."""
        jitter = "unknown: no face in three frames"
        if self.jitter_px is not None:
            jitter = f"{self.jitter_px:.3f} px"
            if self.jitter_raw_px is not None:
                jitter += f" smoothed, {self.jitter_raw_px:.3f} px before"
        rate = self.frames / max(self.seconds_now, 1e-9)
        return "\n".join(
            (
                f"Frames: {self.frames} (in {self.seconds_now:.1f} s, {rate:.1f} a second)",
                f"Faces: {self.faces} in {self.tracks} tracks",
                f"Without a face: {self.without_face}",
                f"Jitter: {jitter}",
                *([f"Damaged: {self.damage}"] if self.damage else []),
                *(f"Saved: {name}" for name in self.saved),
            )
        )

    def json(self, device: str, engine: str) -> str:
        """The same for machines."""
        return json_text({"device": device, "engine": engine, **asdict(self)})


def is_video(path: Path) -> bool:
    """Whether a file is taken for a video, by its suffix."""
    return path.suffix.lower() in SUFFIXES


def drawn_video(folder: Path, video: Path) -> Path:
    """Where a video is drawn to, in the folder of its results."""
    return folder / "drawn" / f"{video.stem}.mp4"


def check_no_pictures_run(folder: Path) -> None:
    """Refuse a folder with results of pictures, which --resume would take for whole.

    Raises:
        ConfigError: they are there.
    """
    for name in (RUN_NAME, JOURNAL_NAME):
        if (folder / name).exists():
            raise ConfigError(
                f"--output {shown(folder)}",
                expected="a folder without results of pictures",
                got=name,
                action="Write the video's results to another folder",
            )


def run_video(detector: Detector, path: Path, wanted: WantedOfVideo) -> VideoSummary:
    """Follow the faces of a video, and write what is wanted, each file whole or not at all.

    Raises:
        BackendUnavailable: the package av is missing, or that of a format.
        ConfigError: `find_every` cannot be.
        InputError: not a video, or one without a frame.
        InferenceError: the engine or the finder failed.
        OSError: something cannot be written.
    """
    alone = is_video(wanted.output)
    for name in wanted.formats:
        check_format(name)
    smooth = OneEuro() if wanted.smooth else None
    tracker = Tracker(detector, find_every=wanted.find_every, smooth=smooth)
    start = time.perf_counter()
    with Video(path) as video, ExitStack() as writing:
        folder = wanted.output.parent if alone else wanted.output
        folder.mkdir(parents=True, exist_ok=True)
        drawn: VideoWriter | None = None
        target = wanted.output if alone else drawn_video(folder, path)
        if alone or wanted.drawn:
            target.parent.mkdir(exist_ok=True)
            drawn = writing.enter_context(video_written(target, video.time_base))
        spool = _Spool(writing.enter_context(tempfile.TemporaryFile(dir=folder)))
        summary = _followed(tracker, video, wanted, spool, drawn)
        if not alone:
            _write_rows(spool, wanted, detector.spec.points, summary)
    if drawn is not None:
        summary.saved.append(shown(target))
    summary.seconds_now = time.perf_counter() - start
    return summary


def _followed(
    tracker: Tracker,
    video: Video,
    wanted: WantedOfVideo,
    spool: _Spool,
    drawn: VideoWriter | None,
) -> VideoSummary:
    summary = VideoSummary()
    jitter, raw = Jitter(), Jitter()
    tracks: set[int] = set()
    name = shown(video.path.name)
    for frame in progress(video, "frames", video.frames):
        faces = tracker.next(frame.image, frame.time_s)
        spool.add(rows_of_frame(name, frame, faces))
        if drawn is not None:
            drawn.add(_drawing(frame, faces, wanted), frame.time_s)
        jitter.add({face.track: face.points_px for face in faces}, frame.time_s)
        if wanted.smooth:
            unsmoothed = {face.track: face.trace.landmarks.points_px for face in faces}
            raw.add(unsmoothed, frame.time_s)
        tracks |= {face.track for face in faces}
        summary.frames += 1
        summary.faces += len(faces)
        summary.without_face += not faces
    if video.damage:
        summary.failed, summary.damage = 1, video.damage
        said = f"the video ends early: {video.damage}"
        spool.add([FrameRow(picture=name, status="error", frame=summary.frames, error=said)])
    summary.tracks = len(tracks)
    summary.jitter_px, summary.jitter_raw_px = jitter.px, raw.px
    return summary


def _drawing(frame: Frame, faces: list[TrackedFace], wanted: WantedOfVideo) -> NDArray[np.uint8]:
    found = (face.landmarks for face in faces)
    return draw_faces(frame.image, found, contours=wanted.contours, ellipses=wanted.ellipses)


def _write_rows(spool: _Spool, wanted: WantedOfVideo, points: int, summary: VideoSummary) -> None:
    folder = wanted.output
    for name in wanted.formats:
        path = folder / (f"results.{name}" if name in TABLES else name)
        if name in TABLES:
            write_table(name, path, spool.rows, points, FrameRow)
        else:
            with tempfile.TemporaryDirectory(dir=folder, prefix=".pts.") as made:
                (Path(made) / "pts").mkdir()
                for row in spool.rows():
                    if row.points_px is not None:
                        write_pts(Path(made) / "pts" / f"{row.frame:06d}_{row.track}.pts", row)
                shutil.rmtree(path, ignore_errors=True)  # of an earlier, perhaps longer video
                (Path(made) / "pts").rename(path)
        summary.saved.append(shown(path))


class _Spool:
    """Rows on disk until all are there: a video may be long."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, rows: Iterable[FrameRow]) -> None:
        for row in rows:
            self._file.write(msgspec.json.encode(row) + b"\n")

    def rows(self) -> Iterator[FrameRow]:
        """All of them, from the first on."""
        decoder = msgspec.json.Decoder(FrameRow)
        self._file.seek(0)
        for line in self._file:
            yield decoder.decode(line)
