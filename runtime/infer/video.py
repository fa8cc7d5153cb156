"""A video's faces, frame by frame: as rows, and drawn into a video with the same times."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from runtime.cli.command_line import progress
from runtime.cli.language import ENGLISH, Words
from runtime.detector import Detector
from runtime.errors import InferenceError, InputError
from runtime.files import Writing, json_text, printable, shown, written_whole
from runtime.files.lock import folder_locked
from runtime.files.owned import OwnedFiles, sweep
from runtime.many.folder import RUN_NAME, Wanted
from runtime.many.inputs import no_place
from runtime.many.journal import JOURNAL_NAME
from runtime.many.names import FileNames
from runtime.many.rows import FrameRow, failed_frame, rows_of_frame
from runtime.many.summary import faces_line
from runtime.many.tables import TABLES, write_pts, write_table
from runtime.video.file import SUFFIXES, Video
from runtime.video.motion import Jitter, OneEuro
from runtime.video.tracking import Tracker
from runtime.video.writing import VideoWriter, video_written

# Of a face in a frame, by its track.
POINTS = re.compile(r"\d{6,}_\d+\.pts")


@dataclass(kw_only=True)
class VideoSummary:
    """What a video came to.

    Attributes:
        frames: that were decoded.
        faces: rows with points.
        unsure: rows whose points are unsure.
        without_face: frames without one.
        tracks: faces, each counted once as long as it was followed.
        jitter_px: how much the points tremble, see `Jitter`; as they are written.
        jitter_raw_px: before they were smoothed.
        failed: frames that failed, and one more for a damaged video.
        damage: what is missing or cannot be decoded.
        seconds_now: it took.
        saved: the files and folders.
    """

    frames: int = 0
    faces: int = 0
    unsure: int = 0
    without_face: int = 0
    tracks: int = 0
    jitter_px: float | None = None
    jitter_raw_px: float | None = None
    failed: int = 0
    damage: str = ""
    seconds_now: float = 0.0
    saved: list[str] = field(default_factory=list)

    def lines(self, say: Words = ENGLISH) -> list[str]:
        """A few lines for people."""
        jitter = say("unknown: no face in three frames")
        if self.jitter_px is not None:
            jitter = f"{self.jitter_px:.3f} px"
            if self.jitter_raw_px is not None:
                jitter += say(" smoothed, {raw} px before", raw=f"{self.jitter_raw_px:.3f}")
        seconds, rate = f"{self.seconds_now:.1f}", self.frames / max(self.seconds_now, 1e-9)
        return [
            say(
                "Frames: {count} (in {seconds} s, {rate} a second)",
                count=self.frames,
                seconds=seconds,
                rate=f"{rate:.1f}",
            ),
            faces_line(self.faces, self.unsure, say)
            + say(" in {tracks} tracks", tracks=self.tracks),
            say("Without a face: {count}", count=self.without_face),
            say("Jitter: {jitter}", jitter=jitter),
            *([say("Failed: {count}", count=self.failed)] if self.failed else []),
            *([say("Damaged: {damage}", damage=self.damage)] if self.damage else []),
            *(say("Saved: {name}", name=printable(name)) for name in self.saved),
        ]

    def json(self, **beside: str) -> str:
        """The same for machines, after what stands beside it."""
        return json_text({**beside, **asdict(self)}).rstrip("\n")


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its suffix."""
    return path.suffix.lower() in SUFFIXES


def drawn_video(folder: Path, video: Path) -> Path:
    """Where a video is drawn to, in the folder of its results."""
    name = f"{shown(video.stem)}.mp4"
    return folder / FileNames([name]).drawn(name)


def check_no_pictures_run(folder: Path) -> None:
    """Refuse a folder with results of pictures, which --resume would then report as complete.

    Raises:
        ConfigError: they are there.
    """
    for name in (RUN_NAME, JOURNAL_NAME):
        if (folder / name).exists():
            raise no_place(folder, "a folder without results of pictures", name)


def run_video(
    detector: Detector, path: Path, wanted: Wanted, *, find_every: int, smooth: bool
) -> VideoSummary:
    """Follow the faces of a video, and write what is wanted, each file whole or not at all.

    Args:
        detector: open, with its finder.
        path: of the video.
        wanted: into a folder, or as `output` the drawn video alone.
        find_every: as for `Tracker`.
        smooth: smooth the points.

    Raises:
        BackendUnavailable: the package av is missing, or that of a format.
        ConfigError: `find_every` cannot be.
        InputError: not a video, or one without a frame.
        InferenceError: the device is lost.
    """
    wanted.check_packages()
    tracker = Tracker(detector, find_every=find_every, smooth=OneEuro() if smooth else None)
    start = time.perf_counter()
    alone = is_video(wanted.output)
    folder = wanted.output.parent if alone else wanted.output
    target = wanted.output if alone else drawn_video(folder, path)
    drawing, summary = alone or wanted.drawn, VideoSummary()
    with Video(path, sound=drawing) as video, ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        owned: OwnedFiles | None = None
        if not alone:
            stack.enter_context(folder_locked(folder))
            owned = stack.enter_context(closing(OwnedFiles(folder)))
            owned.check(_targets(wanted, target), again=False)
            sweep(folder)
        # rows on disk until all are there: a video may be long
        spool = stack.enter_context(tempfile.TemporaryFile(dir=folder))
        writing = written_whole if owned is None else owned.writing
        with ExitStack() as drawn_whole:
            drawn: VideoWriter | None = None
            if drawing:
                target.parent.mkdir(exist_ok=True)
                begun = video_written(target, video.time_base, video.sound, writing=writing)
                drawn = drawn_whole.enter_context(begun)
            _follow(detector, tracker, video, wanted, spool, drawn, summary)
        if owned is not None:
            names = _write_rows(spool, wanted, detector.spec.points, summary, writing)
            names += [target.relative_to(folder).as_posix()] if drawing else []
            owned.keep(names)
    if drawing:
        summary.saved.append(shown(target))
    summary.seconds_now = time.perf_counter() - start
    return summary


def _targets(wanted: Wanted, drawn: Path) -> Iterator[str]:
    """The files that may be written, as far as something may be in their way."""
    folder = wanted.output
    yield from (f"results.{name}" for name in wanted.formats if name in TABLES)
    beside = [drawn.relative_to(folder).as_posix()] if wanted.drawn else []
    yield from beside
    if "pts" in wanted.formats:
        beside.append("pts/0")
        yield from (f"pts/{one.name}" for one in folder.glob("pts/*") if POINTS.fullmatch(one.name))
    for name in beside:
        kind = name.partition("/")[0]
        if not (folder / kind).is_dir():
            yield kind


def _follow(
    detector: Detector,
    tracker: Tracker,
    video: Video,
    wanted: Wanted,
    spool: IO[bytes],
    drawn: VideoWriter | None,
    summary: VideoSummary,
) -> None:
    def add(rows: Iterable[FrameRow]) -> None:
        spool.writelines(msgspec.json.encode(row) + b"\n" for row in rows)

    jitter, raw = Jitter(), Jitter()
    tracks: set[int] = set()
    name = shown(video.path.name)
    for frame in progress(video, "frames", video.frames):
        try:
            faces = tracker.next(frame.image, frame.time_s)
            rows = rows_of_frame(name, frame, faces)
        except (InputError, InferenceError) as error:
            if detector.backend.closed:
                raise
            faces, rows = [], [failed_frame(name, frame, error)]
            summary.failed += 1
        add(rows)
        if drawn is not None:
            image = wanted.draw(frame.image, (face.landmarks for face in faces))
            drawn.add(image, frame.time_s, frame.pixel_aspect)
            drawn.copy(video.taken_sound())
        jitter.add({face.track: face.points_px for face in faces}, frame.time_s)
        raw.add({face.track: face.trace.landmarks.points_px for face in faces}, frame.time_s)
        tracks |= {face.track for face in faces}
        summary.frames += 1
        summary.faces += len(faces)
        summary.unsure += sum(bool(row.warning) for row in rows)
        summary.without_face += rows[0].status == "no face"
    if drawn is not None:
        drawn.copy(video.taken_sound())
    if video.damage:
        summary.failed, summary.damage = summary.failed + 1, video.damage
        said = f"the video {video.damage}"
        add([FrameRow(picture=name, status="error", frame=summary.frames, error=said)])
    summary.tracks = len(tracks)
    summary.jitter_px, summary.jitter_raw_px = jitter.px, raw.px


def _write_rows(
    spool: IO[bytes], wanted: Wanted, points: int, summary: VideoSummary, writing: Writing
) -> list[str]:
    """Write the tables and the points of each face.

    Returns:
        The files, from the folder on.
    """
    folder = wanted.output
    names: list[str] = []
    for kind in wanted.formats:
        spool.seek(0)
        path = folder / (f"results.{kind}" if kind in TABLES else kind)
        if kind in TABLES:
            raw = wanted.raw_csv
            write_table(kind, path, spool, points, FrameRow, raw_csv=raw, writing=writing)
            names.append(path.name)
        else:
            path.mkdir(exist_ok=True)
            for row in map(msgspec.json.Decoder(FrameRow).decode, spool):
                if row.points_px is not None:
                    names.append(f"pts/{row.frame:06d}_{row.track}.pts")
                    write_pts(folder / names[-1], row.points_px, writing=writing)
        summary.saved.append(shown(path))
    return names
