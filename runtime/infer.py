"""python -m runtime.infer: pictures to their landmarks, drawn and as tables."""

from __future__ import annotations

import argparse
import glob
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import command_line
from runtime.backends import settings_of
from runtime.bulk.folder import Wanted, check_apart, run_folder
from runtime.bulk.formats import FORMATS
from runtime.bulk.inputs import find_pictures
from runtime.bulk.journal import Heading, heading_of
from runtime.detector import MOST_PASSES, Detector
from runtime.draw import draw_faces
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK, ConfigError
from runtime.faces import LEAST_SCORE, Face, YuNetFaces
from runtime.files import check_target, json_text, sha256_file, shown
from runtime.geometry import read_box
from runtime.picture import SUFFIXES, check_encoder, read_picture, size_text, write_picture

DEFAULT_MODEL = "build/starter68"
FIRST_POINTS = 5
EXAMPLE = """\
python -m runtime.infer --input assets/test.jpg --output out.png --contour
  python -m runtime.infer --input photos/ --output out/ --faces yunet.onnx --format csv --resume"""

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
        "Find the landmarks of the faces in a picture, or in the pictures of a folder or glob.",
        EXAMPLE,
    )
    add = parser.add_argument
    add(
        "--input",
        required=True,
        type=_named,
        metavar="IMG",
        help="picture, folder of pictures, or glob",
    )
    add("--output", required=True, type=_named, metavar="PNG", help="drawn picture, or a folder")
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
    add("--faces", metavar="YUNET", help="YuNet's ONNX file: finds every face of a picture")
    add(
        "--least-score",
        type=float,
        default=LEAST_SCORE,
        metavar="S",
        help=f"with --faces, boxes below it are no faces (default {LEAST_SCORE})",
    )
    add(
        "--refine",
        type=int,
        default=0,
        metavar="N",
        help=f"cut again by the points found, 0 to {MOST_PASSES} times (default 0)",
    )
    command_line.add_engine_options(parser)
    _add_many(parser)
    add("--json", action="store_true", help="print the result as JSON")
    add("--verbose", action="store_true", help="log more")
    return parser.parse_args(_joined(sys.argv[1:] if argv is None else argv))


def _add_many(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("many pictures, into a folder").add_argument
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


def _named(text: str) -> str:
    """Not empty: that would be the folder the command is started in."""
    if not text:
        raise argparse.ArgumentTypeError("expected a name, got an empty one")
    return text


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
    arguments.output = Path(arguments.output)
    box = None if arguments.bbox is None else read_box(arguments.bbox)
    _check(arguments)
    finder = None
    if arguments.faces is not None:
        finder = YuNetFaces(arguments.faces, least_score=arguments.least_score)
    run = _many if _means_many(arguments) else _one
    return run(arguments, box, finder)


def _means_many(arguments: argparse.Namespace) -> bool:
    """A folder, a glob, or what only results in a folder can have."""
    given = Path(arguments.input)
    matched = glob.has_magic(arguments.input) and not given.exists()
    return bool(given.is_dir() or matched or arguments.format or arguments.draw or arguments.resume)


def _check(arguments: argparse.Namespace) -> None:
    boxed = [name for name in ("cropped", "bbox", "faces") if getattr(arguments, name)]
    if len(boxed) > 1:
        raise ConfigError(
            f"--{boxed[1]}",
            expected=f"either --{boxed[0]} or --{boxed[1]}",
            got="both",
            action="A face is cut in one way: leave one of them out",
        )


def _one(arguments: argparse.Namespace, box: Any, finder: YuNetFaces | None) -> int:
    given = Path(arguments.input)
    image = read_picture(given)
    check_target(arguments.output, "--output", [given])
    check_encoder(arguments.output)
    with _opened(arguments, finder) as detector:
        if finder is not None:
            faces = detector.detect_faces(image)
        else:
            trace = detector.trace(image, box, cropped=arguments.cropped)
            faces = [Face(box_xyxy=None, score=None, trace=trace)]
        drawn = draw_faces(
            image,
            (face.landmarks for face in faces),
            contours=arguments.contour,
            ellipses=arguments.ellipses,
        )
        write_picture(arguments.output, drawn)
        for index, face in enumerate(faces):
            for warning in face.trace.warnings:
                logger.warning("warning: %s%s", f"face {index}: " if finder else "", warning)
        if arguments.json:
            print(_as_json(detector, faces, arguments, image), end="")
        else:
            print(_as_text(detector, faces, arguments, image))
    return EXIT_OK


def _opened(arguments: argparse.Namespace, finder: YuNetFaces | None) -> Detector:
    return Detector(
        arguments.model,
        arguments.device,
        settings=settings_of(arguments),
        faces=finder,
        refine=arguments.refine,
    )


def _many(arguments: argparse.Namespace, box: Any, finder: YuNetFaces | None) -> int:
    if arguments.output.suffix.lower() in SUFFIXES:
        raise ConfigError(
            f"--output {shown(arguments.output)}",
            expected="a folder, where results of many pictures go",
            got="a picture's name",
            action="Name a folder, or leave --format, --draw and --resume out for one picture",
        )
    for name, value in (("--bbox", box), ("--cropped", arguments.cropped or None)):
        if value is not None:
            raise ConfigError(
                name,
                expected="one picture, and a picture as --output",
                got=f"results of many in {shown(arguments.output)}",
                action="Use --faces with YuNet's ONNX file for the boxes of many pictures",
            )
    check_apart(arguments.input, arguments.output)
    files = find_pictures(arguments.input)
    drawn = arguments.draw or arguments.contour or arguments.ellipses
    wanted = Wanted(
        folder=arguments.output,
        formats=tuple(dict.fromkeys(arguments.format or ("jsonl",))),
        drawn=drawn,
        contours=arguments.contour,
        ellipses=arguments.ellipses,
        resume=arguments.resume,
        readers=arguments.readers,
        batch=arguments.batch,
    )
    with _opened(arguments, finder) as detector:
        heading = _heading(arguments, detector, wanted)
        summary = run_folder(detector, files, heading, wanted)
        for name, error in summary.first_failed:
            logger.warning("failed: %s: %s", name, error)
        if summary.failed > len(summary.first_failed):
            logger.warning("failed: %d more", summary.failed - len(summary.first_failed))
        machine = summary.json(detector.device, detector.backend.name).rstrip("\n")
        print(machine if arguments.json else summary.text())
    return EXIT_FOUND_WANTING if summary.failed else EXIT_OK


def _heading(arguments: argparse.Namespace, detector: Detector, wanted: Wanted) -> Heading:
    finder = "none"
    if arguments.faces is not None:
        finder = f"{sha256_file(Path(arguments.faces))[:12]} from {arguments.least_score:g}"
    options = {
        "formats": ", ".join(wanted.formats),
        "draw": f"{wanted.drawn}, {wanted.contours}, {wanted.ellipses}",
        "refine": str(arguments.refine),
        "faces": finder,
    }
    return heading_of(arguments.model, detector, arguments.input, options)


def _as_text(
    detector: Detector, faces: list[Face], arguments: argparse.Namespace, image: NDArray[np.uint8]
) -> str:
    """The reference's log, in its order."""
    parameters = f"{detector.parameters:,}" if detector.parameters is not None else "unknown"
    lines = [
        f"Device: {detector.device} ({detector.backend.name})",
        f"Parameters: {parameters}",
        f"Image: {shown(arguments.input)} ({size_text(image)})",
    ]
    if arguments.faces is not None:
        lines.append(f"Faces: {len(faces)}")
    for face in faces:
        if face.box_xyxy is not None:
            corners = ", ".join(f"{value:.1f}" for value in face.box_xyxy)
            lines.append(f"Box: {corners} (score {face.score:.2f})")
        points = ", ".join(f"({x:.1f}, {y:.1f})" for x, y in face.landmarks[:FIRST_POINTS])
        lines.append(f"Landmarks: {len(face.landmarks)} points")
        lines.append(f"First {FIRST_POINTS} points: {points}")
    return "\n".join((*lines, f"Saved: {shown(arguments.output)}"))


def _as_json(
    detector: Detector, faces: list[Face], arguments: argparse.Namespace, image: NDArray[np.uint8]
) -> str:
    result: dict[str, Any] = {
        "device": detector.device,
        "engine": detector.backend.name,
        "parameters": detector.parameters,
        "image": shown(arguments.input),
        "size_wh": [image.shape[1], image.shape[0]],
    }
    if arguments.faces is None:
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


if __name__ == "__main__":
    sys.exit(main())
