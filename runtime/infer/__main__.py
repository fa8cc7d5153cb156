"""python -m runtime.infer: pictures and videos to their landmarks, drawn and as tables."""

from __future__ import annotations

import argparse
import glob
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from runtime.cli import command_line
from runtime.cli.language import LanguageOption
from runtime.cli.options import DEFAULT_MODEL, EngineOptions, FaceOptions
from runtime.detector import Detector
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK, ConfigError
from runtime.faces import Face, FaceFinder
from runtime.faces.choice import AUTO, NONE
from runtime.files import check_target, json_text, printable, shown
from runtime.image.geometry import check_box, read_box
from runtime.image.picture import SUFFIXES, check_encoder, read_picture, size_text, write_picture
from runtime.infer.video import (
    VideoSummary,
    check_no_pictures_run,
    drawn_video,
    is_video,
    run_video,
)
from runtime.many.boxes import Box
from runtime.many.folder import Wanted, run_folder
from runtime.many.heading import Heading, digest_of
from runtime.many.inputs import (
    PictureFile,
    boxes_of,
    check_apart,
    check_is_no_address,
    find_pictures,
    no_place,
)
from runtime.many.summary import Summary, faces_line
from runtime.many.tables import FORMATS
from runtime.model.source import parse_source
from runtime.video.tracking import FIND_EVERY
from runtime.video.writing import DRAWN_SUFFIXES

FIRST_POINTS = 5
# What many pictures cannot have; one picture's results in a folder may have the first.
BOXED = ("bbox", "cropped")
EXAMPLE = """\
python -m runtime.infer --input assets/test.jpg --output out.png --contour
  python -m runtime.infer --input photos/ --output out/ --faces yunet.onnx --format csv --resume
  python -m runtime.infer --input clip.mp4 --output out.mp4 --faces yunet.onnx --smooth"""

logger = logging.getLogger("starmark")


def main(argv: list[str] | None = None) -> int:
    """Read pictures, find their landmarks, write them drawn or as tables.

    Returns:
        Exit code: 0; 1 where some of many pictures failed; or as `runtime.errors` lists them.
    """
    return command_line.run(lambda: _infer(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "runtime.infer",
        "Find the landmarks of the faces in a picture, in many pictures, or in a video.",
        EXAMPLE,
    )
    add = parser.add_argument
    add(
        "--input",
        required=True,
        action="extend",
        nargs="+",
        type=command_line.named,
        metavar="IMG",
        help="pictures, folders of pictures, globs; or one video",
    )
    help_of = "drawn picture or video, or a folder"
    add("--output", required=True, type=command_line.named, metavar="PNG", help=help_of)
    add("--device", default="auto", help="auto, cpu, cuda:N, npu:N or a provider (default auto)")
    add("--cropped", action="store_true", help="the picture already is the network's crop")
    add("--bbox", metavar="X1,Y1,X2,Y2", help="face box in px; without it, the whole picture")
    add("--contour", action="store_true", help="join the points along the contours")
    add("--ellipses", action="store_true", help="draw each point's two-sigma ellipse")
    add(
        "--model",
        default=DEFAULT_MODEL,
        metavar="SOURCE",
        help=f"bundle, checkpoint or .onnx, as PATH[@[ENGINE/]DEVICE] (default {DEFAULT_MODEL})",
    )
    FaceOptions.add(parser)
    EngineOptions.add(parser)
    add = parser.add_argument_group("many pictures or a video, into a folder").add_argument
    add(
        "--format",
        action="append",
        choices=FORMATS,
        help="results.jsonl, .csv or .parquet, or pts/NAME.pts; may be repeated (default jsonl)",
    )
    help_of = "write names as they are, also those that a spreadsheet would run (=, +, -, @)"
    add("--raw-csv", action="store_true", help=help_of)
    add("--draw", action="store_true", help="drawn/NAME, too (also by --contour or --ellipses)")
    add("--resume", action="store_true", help="go on with a run that was stopped")
    add = parser.add_argument_group("a video, into a folder or a video").add_argument
    add("--smooth", action="store_true", help="smooth the points from frame to frame (One-Euro)")
    add(
        "--find-every",
        type=int,
        metavar="N",
        help=f"look for faces in each Nth frame, else follow them (default {FIND_EVERY})",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    LanguageOption.add(parser)
    parser.add_argument("--verbose", action="store_true", help="log more")
    return parser.parse_args(_joined(sys.argv[1:] if argv is None else argv))


def _joined(argv: list[str]) -> list[str]:
    """Argparse takes the box -5,0,300,300 for an option, unless it is written --bbox=-5,..."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] == "--bbox":
            joined[-1] = f"--bbox={argument}"
        else:
            joined.append(argument)
    return joined


def _infer(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr(verbose=arguments.verbose)
    if arguments.bbox is not None:
        check_box(read_box(arguments.bbox))
    boxed = [name for name in ("cropped", "bbox", "boxes", "faces") if getattr(arguments, name)]
    boxed = [name for name in boxed if getattr(arguments, name) != NONE]
    if len(boxed) > 1:
        expected = f"either --{boxed[0]} or --{boxed[1]}"
        action = "A face is cut in one way: leave one of them out"
        raise ConfigError(f"--{boxed[1]}", expected=expected, got="both", action=action)
    options = FaceOptions.of(arguments, default=NONE if boxed else AUTO)
    finder = options.finder()
    wanted = Wanted(
        output=Path(arguments.output),
        formats=tuple(dict.fromkeys(arguments.format or ("jsonl",))),
        drawn=arguments.draw or arguments.contour or arguments.ellipses,
        contours=arguments.contour,
        ellipses=arguments.ellipses,
        raw_csv=arguments.raw_csv,
    )
    for one in arguments.input:
        check_is_no_address(one)
    given = Path(arguments.input[0])
    is_glob = glob.has_magic(arguments.input[0]) and not given.exists()
    several = len(arguments.input) > 1 or given.is_dir() or is_glob
    if is_video(given) and not several:
        return _video(arguments, wanted, options, finder)
    expected = "a video, whose frames follow each other"
    action = "Leave it out for pictures"
    _refuse("--smooth", arguments.smooth, expected, _inputs(arguments), action)
    _refuse("--find-every", arguments.find_every is not None, expected, _inputs(arguments), action)
    into_folder = arguments.output.endswith("/") or wanted.output.is_dir()
    if several or into_folder or arguments.format or arguments.draw or arguments.resume:
        _check_folder(arguments, wanted.output, BOXED if several else BOXED[-1:])
        wanted = replace(wanted, drawn=wanted.drawn or (into_folder and not several))
        return _folder(arguments, wanted, options, finder)
    return _picture(arguments, wanted, options, finder)


def _inputs(arguments: argparse.Namespace) -> str:
    return shown(", ".join(arguments.input))


def _refuse(option: str, given: bool, expected: str, got: object, action: str) -> None:
    """Refuse an option that this kind of input or output cannot have."""
    if given:
        raise ConfigError(option, expected=expected, got=shown(got), action=action)


def _opened(
    arguments: argparse.Namespace, finder: FaceFinder | None, *, throughput: bool = False
) -> Detector:
    return Detector(
        arguments.model,
        arguments.device,
        settings=replace(EngineOptions.of(arguments), throughput=throughput),
        faces=finder,
        refine=arguments.refine,
    )


def _picture(
    arguments: argparse.Namespace, wanted: Wanted, options: FaceOptions, finder: FaceFinder | None
) -> int:
    given = Path(arguments.input[0])
    (boxes,) = _boxes(arguments, options, [PictureFile(name=shown(given), path=given)])
    image = read_picture(given, arguments.max_pixels)
    check_target(wanted.output, "--output", [given])
    check_encoder(wanted.output)
    with _opened(arguments, finder) as detector:
        if finder is not None:
            faces = detector.detect_faces(image)
        elif boxes is not None:
            faces = [
                Face(box_xyxy=np.array(box, float), score=None, trace=detector.trace(image, box))
                for box in boxes
            ]
        else:
            trace = detector.trace(image, cropped=arguments.cropped)
            faces = [Face(box_xyxy=None, score=None, trace=trace)]
        write_picture(wanted.output, wanted.draw(image, (face.landmarks for face in faces)))
        for index, face in enumerate(faces):
            for warning in face.trace.warnings:
                face_of_many = f"face {index}: " if _of_many(detector, arguments) else ""
                logger.warning("warning: %s%s", face_of_many, warning)
        if boxes is None and not arguments.cropped:
            options.hint(_unsure(faces))
        if arguments.json:
            print(_as_json(detector, faces, arguments, image), end="")
        else:
            print(_as_text(detector, faces, arguments, image))
    return EXIT_OK


def _of_many(detector: Detector, arguments: argparse.Namespace) -> bool:
    """Whether a picture may have any number of faces: found, or by a file."""
    return detector.faces is not None or arguments.boxes is not None


def _unsure(faces: list[Face]) -> int:
    """How many faces have unsure points."""
    return sum(bool(face.trace.warnings) for face in faces)


def _boxes(
    arguments: argparse.Namespace, options: FaceOptions, files: Sequence[PictureFile]
) -> Sequence[Sequence[Box] | None]:
    """Each picture's boxes, where --boxes or --bbox gives them."""
    if options.boxes is not None:
        return boxes_of(options.boxes, [(file.name, str(file.path)) for file in files])
    if arguments.bbox is None:
        return [None] * len(files)
    return [[cast("Box", read_box(arguments.bbox))]] * len(files)


def _as_text(
    detector: Detector, faces: list[Face], arguments: argparse.Namespace, image: NDArray[np.uint8]
) -> str:
    """The reference's log, in its order."""
    say = LanguageOption.of(arguments)
    count = say("unknown") if detector.parameters is None else f"{detector.parameters:,}"
    lines = [
        say("Device: {device} ({engine})", device=detector.device, engine=detector.backend.name),
        say("Parameters: {count}", count=count),
        say("Image: {name} ({size})", name=printable(_inputs(arguments)), size=size_text(image)),
    ]
    if _of_many(detector, arguments):
        lines.append(faces_line(len(faces), _unsure(faces), say))
    for face in faces:
        if face.box_xyxy is not None and _of_many(detector, arguments):
            corners = ", ".join(f"{value:.1f}" for value in face.box_xyxy)
            score = "" if face.score is None else say(" (score {score})", score=f"{face.score:.2f}")
            lines.append(say("Box: {corners}{score}", corners=corners, score=score))
        points = ", ".join(f"({x:.1f}, {y:.1f})" for x, y in face.landmarks[:FIRST_POINTS])
        lines.append(say("Landmarks: {count} points", count=len(face.landmarks)))
        lines.append(say("First {count} points: {points}", count=FIRST_POINTS, points=points))
    return "\n".join((*lines, say("Saved: {name}", name=printable(shown(arguments.output)))))


def _as_json(
    detector: Detector, faces: list[Face], arguments: argparse.Namespace, image: NDArray[np.uint8]
) -> str:
    result: dict[str, Any] = {
        "device": detector.device,
        "engine": detector.backend.name,
        "parameters": detector.parameters,
        "image": _inputs(arguments),
        "size_wh": [image.shape[1], image.shape[0]],
    }
    if not _of_many(detector, arguments):
        result |= faces[0].record()
    else:
        result["faces"] = [
            {
                "box_xyxy": [] if f.box_xyxy is None else f.box_xyxy.round(3).tolist(),
                "score": f.score,
                **f.record(),
            }
            for f in faces
        ]
    return json_text(result | {"saved": shown(arguments.output)})


def _folder(
    arguments: argparse.Namespace, wanted: Wanted, options: FaceOptions, finder: FaceFinder | None
) -> int:
    listing = find_pictures(*arguments.input)
    videos = [file.name for file in listing.files if is_video(file.path)]
    if videos:  # named as such: neither a folder's nor a glob's are listed
        raise ConfigError(
            f"--input {_inputs(arguments)}",
            expected="pictures, or the name of one video",
            got=f"{len(videos)} videos, {videos[0]} first",
            action="Run them one by one",
        )
    boxed_by = "" if options.boxes is None else shown(options.boxes)
    boxes = _boxes(arguments, options, listing.files)
    files = [
        replace(file, boxes=some, boxed_by=boxed_by)
        for file, some in zip(listing.files, boxes, strict=True)
    ]
    several = len(files) > 1 and options.side_by_side
    with _opened(arguments, finder, throughput=several) as detector:
        heading = Heading(
            model=digest_of(parse_source(arguments.model)),
            engine=f"{detector.backend.name} on {detector.device}",
            given=_inputs(arguments),
            options={
                "formats": ", ".join(wanted.formats),
                "draw": f"{wanted.drawn}, {wanted.contours}, {wanted.ellipses}",
                **options.heading(),
                **({"raw_csv": "yes"} if arguments.raw_csv else {}),
                **({} if arguments.bbox is None else {"bbox": arguments.bbox}),
                **EngineOptions.of(arguments).of_weights,
            },
        )
        summary = run_folder(
            detector,
            replace(listing, files=files),
            heading,
            wanted,
            resume=arguments.resume,
            readers=options.readers,
            batch=options.batch,
            max_pixels=options.max_pixels,
        )
        summary.log_left_out()
        if arguments.bbox is None:
            options.hint(summary.unsure)
        return _report(arguments, detector, summary)


def _video(
    arguments: argparse.Namespace, wanted: Wanted, options: FaceOptions, finder: FaceFinder | None
) -> int:
    given, output = Path(arguments.input[0]), wanted.output
    _refuse(
        "--resume",
        arguments.resume,
        "pictures: a video's faces are followed from its first frame on",
        _inputs(arguments),
        "Leave it out: a video is run anew, and what is there is replaced at the end",
    )
    _refuse(
        "--batch",
        arguments.batch is not None,
        "pictures: the faces of a frame go together, and wait for no other frame",
        _inputs(arguments),
        "Leave it out",
    )
    if is_video(output):
        _check_no_box(arguments)
        if output.suffix.lower() not in DRAWN_SUFFIXES:
            expected = f"a name that ends in {', '.join(DRAWN_SUFFIXES)}, which hold H.264"
            raise no_place(output, expected, repr(output.suffix))
        expected = "a folder as --output, where results go"
        action = "Name a folder, and add --draw for the video"
        _refuse("--format", bool(arguments.format), expected, output, action)
        check_target(output, "--output", [given])
    else:
        _check_folder(arguments, output, BOXED)
        check_no_pictures_run(output)
        drawn = drawn_video(output, given)
        if drawn.exists():
            check_target(drawn, "--output", [given])
    _refuse(
        "--boxes",
        arguments.boxes is not None,
        "pictures: a video's faces are found",
        _inputs(arguments),
        "Use --faces with YuNet's ONNX file",
    )
    find_every = FIND_EVERY if arguments.find_every is None else arguments.find_every
    with _opened(arguments, finder) as detector:
        summary = run_video(detector, given, wanted, find_every=find_every, smooth=arguments.smooth)
        options.hint(summary.unsure)
        return _report(arguments, detector, summary)


def _check_folder(arguments: argparse.Namespace, output: Path, boxed: Sequence[str]) -> None:
    """Refuse what results of many pictures, or of a video in a folder, cannot have."""
    if output.suffix.lower() in SUFFIXES:
        raise ConfigError(
            f"--output {shown(output)}",
            expected="a folder, where results of many pictures go",
            got="a picture's name",
            action="Name a folder, or leave --format, --draw and --resume out for one picture",
        )
    _check_no_box(arguments, boxed)
    for given in arguments.input:
        check_apart(given, arguments.output)


def _check_no_box(arguments: argparse.Namespace, boxed: Sequence[str] = BOXED) -> None:
    for name in boxed:
        _refuse(
            f"--{name}",
            bool(getattr(arguments, name)),
            "one picture, and a picture as --output",
            f"results of many in {shown(arguments.output)}",
            "Use --faces, or for pictures --boxes",
        )


def _report(
    arguments: argparse.Namespace, detector: Detector, summary: Summary | VideoSummary
) -> int:
    if arguments.json:
        print(summary.json(device=detector.device, engine=detector.backend.name))
    else:
        print("\n".join(summary.lines(LanguageOption.of(arguments))))
    return EXIT_FOUND_WANTING if summary.failed else EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
