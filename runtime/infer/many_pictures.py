"""The part of `runtime.infer` that is about many pictures, and about videos."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.cli.options import EngineOptions
from runtime.detector import Detector
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK, ConfigError
from runtime.faces import YuNetFaces
from runtime.files import check_target, sha256_file, shown
from runtime.image.picture import SUFFIXES
from runtime.infer.video import (
    VideoSummary,
    WantedOfVideo,
    check_no_pictures_run,
    drawn_video,
    is_video,
    run_video,
)
from runtime.many.folder import Wanted, check_apart, run_folder
from runtime.many.formats import FORMATS
from runtime.many.inputs import PictureFile, find_pictures
from runtime.many.journal import Heading, heading_of
from runtime.many.summary import Summary, log_failed
from runtime.video.file import DRAWN_SUFFIXES
from runtime.video.tracking import FIND_EVERY


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only a folder, a glob or a video has."""
    add = parser.add_argument_group("many pictures or a video, into a folder").add_argument
    add(
        "--format",
        action="append",
        choices=FORMATS,
        help="results.jsonl, .csv or .parquet, or pts/NAME.pts; may be repeated (default jsonl)",
    )
    add("--draw", action="store_true", help="drawn/NAME, too (also by --contour or --ellipses)")
    add("--resume", action="store_true", help="go on with a run that was stopped")
    add("--readers", type=int, default=2, metavar="N", help="threads that decode (default 2)")
    add("--batch", type=int, metavar="N", help="faces in one call of the device at most")
    add = parser.add_argument_group("a video, into a folder or a video").add_argument
    add("--smooth", action="store_true", help="smooth the points from frame to frame (One-Euro)")
    add(
        "--find-every",
        type=int,
        metavar="N",
        help=f"look for faces in each Nth frame, else follow them (default {FIND_EVERY})",
    )


def open_detector(arguments: argparse.Namespace, finder: YuNetFaces | None) -> Detector:
    """As the options say."""
    return Detector(
        arguments.model,
        arguments.device,
        settings=EngineOptions.of(arguments),
        faces=finder,
        refine=arguments.refine,
    )


def many(arguments: argparse.Namespace, box: Any, finder: YuNetFaces | None) -> int:
    """Run the pictures of a folder or glob; arguments as `runtime.infer` reads them.

    Returns:
        Exit code: 0, or 1 where a picture failed.
    """
    _check_folder(arguments)
    _check_no_box(arguments, box)
    check_apart(arguments.input, arguments.output)
    files = find_pictures(arguments.input)
    _check_no_videos(arguments, files)
    wanted = Wanted(
        folder=arguments.output,
        formats=_formats(arguments),
        drawn=_draws(arguments),
        contours=arguments.contour,
        ellipses=arguments.ellipses,
        resume=arguments.resume,
        readers=arguments.readers,
        batch=arguments.batch,
    )
    with open_detector(arguments, finder) as detector:
        heading = _heading(arguments, detector, wanted)
        summary = run_folder(detector, files, heading, wanted)
        log_failed(summary.first_failed, summary.failed)
        return _say(arguments, detector, summary)


def _check_no_videos(arguments: argparse.Namespace, files: Sequence[PictureFile]) -> None:
    """A glob may mean them; a folder's videos are not listed."""
    videos = [file.name for file in files if is_video(file.path)]
    if videos:
        raise ConfigError(
            f"--input {shown(arguments.input)}",
            expected="pictures, or the name of one video",
            got=f"{len(videos)} videos, {videos[0]} first",
            action="Run them one by one",
        )


def film(arguments: argparse.Namespace, box: Any, finder: YuNetFaces | None) -> int:
    """Follow the faces of a video; arguments as `runtime.infer` reads them.

    Returns:
        Exit code: 0, or 1 where the video is damaged.
    """
    _check_no_box(arguments, box)
    if arguments.resume:
        raise ConfigError(
            "--resume",
            expected="pictures: a video's faces are followed from its first frame on",
            got=shown(arguments.input),
            action="Leave it out: a video is run anew, and what is there is replaced at the end",
        )
    if arguments.batch is not None:
        raise ConfigError(
            "--batch",
            expected="pictures: the faces of a frame go together, and wait for no other frame",
            got=shown(arguments.input),
            action="Leave it out",
        )
    given = Path(arguments.input)
    if is_video(arguments.output):
        _check_drawn_alone(arguments)
        check_target(arguments.output, "--output", [given])
    else:
        _check_folder(arguments)
        check_apart(arguments.input, arguments.output)
        check_no_pictures_run(arguments.output)
        drawn = drawn_video(arguments.output, given)
        if drawn.exists():
            check_target(drawn, "--output", [given])
    find_every = FIND_EVERY if arguments.find_every is None else arguments.find_every
    wanted = WantedOfVideo(
        output=arguments.output,
        formats=_formats(arguments),
        drawn=_draws(arguments),
        contours=arguments.contour,
        ellipses=arguments.ellipses,
        find_every=find_every,
        smooth=arguments.smooth,
    )
    with open_detector(arguments, finder) as detector:
        summary = run_video(detector, given, wanted)
        return _say(arguments, detector, summary)


def check_no_video_options(arguments: argparse.Namespace) -> None:
    """Refuse, for pictures, what only a video can have.

    Raises:
        ConfigError: one of them was given.
    """
    for name, given in (
        ("--smooth", arguments.smooth),
        ("--find-every", arguments.find_every is not None),
    ):
        if given:
            raise ConfigError(
                name,
                expected="a video, whose frames follow each other",
                got=shown(arguments.input),
                action="Leave it out for pictures",
            )


def _say(arguments: argparse.Namespace, detector: Detector, summary: Summary | VideoSummary) -> int:
    machine = summary.json(detector.device, detector.backend.name).rstrip("\n")
    print(machine if arguments.json else summary.text())
    return EXIT_FOUND_WANTING if summary.failed else EXIT_OK


def _formats(arguments: argparse.Namespace) -> tuple[str, ...]:
    return tuple(dict.fromkeys(arguments.format or ("jsonl",)))


def _draws(arguments: argparse.Namespace) -> bool:
    return bool(arguments.draw or arguments.contour or arguments.ellipses)


def _check_folder(arguments: argparse.Namespace) -> None:
    if arguments.output.suffix.lower() in SUFFIXES:
        raise ConfigError(
            f"--output {shown(arguments.output)}",
            expected="a folder, where results of many pictures go",
            got="a picture's name",
            action="Name a folder, or leave --format, --draw and --resume out for one picture",
        )


def _check_drawn_alone(arguments: argparse.Namespace) -> None:
    if arguments.output.suffix.lower() not in DRAWN_SUFFIXES:
        raise ConfigError(
            f"--output {shown(arguments.output)}",
            expected=f"a name that ends in {', '.join(DRAWN_SUFFIXES)}, which hold H.264",
            got=repr(arguments.output.suffix),
            action="Change the suffix",
        )
    if arguments.format:
        raise ConfigError(
            "--format",
            expected="a folder as --output, where results go",
            got=f"a video's name, {shown(arguments.output)}",
            action="Name a folder, and add --draw for the video",
        )


def _check_no_box(arguments: argparse.Namespace, box: Any) -> None:
    for name, value in (("--bbox", box), ("--cropped", arguments.cropped or None)):
        if value is not None:
            raise ConfigError(
                name,
                expected="one picture, and a picture as --output",
                got=f"results of many in {shown(arguments.output)}",
                action="Use --faces with YuNet's ONNX file for the boxes of many pictures",
            )


def _heading(arguments: argparse.Namespace, detector: Detector, wanted: Wanted) -> Heading:
    finder = "none"
    if arguments.faces is not None:
        found_by = sha256_file(Path(arguments.faces))[:12]
        finder = f"{found_by} from {arguments.least_score:g} at {arguments.faces_side} px"
    options = {
        "formats": ", ".join(wanted.formats),
        "draw": f"{wanted.drawn}, {wanted.contours}, {wanted.ellipses}",
        "refine": str(arguments.refine),
        "faces": finder,
    }
    return heading_of(arguments.model, detector, arguments.input, options)
