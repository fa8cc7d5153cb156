"""python -m runtime.infer: pictures and videos to their landmarks, drawn and as tables."""

from __future__ import annotations

import argparse
import glob
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.cli import command_line
from runtime.cli.options import EngineOptions
from runtime.detector import Detector
from runtime.errors import EXIT_OK, ConfigError
from runtime.faces import Face, YuNetFaces, add_finder_options, chosen_finder
from runtime.files import check_target, json_text, shown
from runtime.image.draw import draw_faces
from runtime.image.geometry import read_box
from runtime.image.picture import check_encoder, read_picture, size_text, write_picture
from runtime.infer.many_pictures import (
    add_options,
    check_no_video_options,
    film,
    many,
    open_detector,
)
from runtime.infer.video import is_video
from runtime.refine import MOST_PASSES

DEFAULT_MODEL = "build/starter68"
FIRST_POINTS = 5
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
        type=_named,
        metavar="IMG",
        help="picture, folder of pictures, glob, or video",
    )
    add(
        "--output",
        required=True,
        type=_named,
        metavar="PNG",
        help="drawn picture or video, or a folder",
    )
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
    add_finder_options(parser)
    add(
        "--refine",
        type=int,
        default=0,
        metavar="N",
        help=f"cut again by the points found, 0 to {MOST_PASSES} times (default 0)",
    )
    EngineOptions.add(parser)
    add_options(parser)
    add("--json", action="store_true", help="print the result as JSON")
    add("--verbose", action="store_true", help="log more")
    return parser.parse_args(_joined(sys.argv[1:] if argv is None else argv))


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
    finder = chosen_finder(arguments)
    if is_video(Path(arguments.input)) and not _is_glob(arguments.input):
        return film(arguments, box, finder)
    check_no_video_options(arguments)
    run = many if _means_many(arguments) else _one
    return run(arguments, box, finder)


def _means_many(arguments: argparse.Namespace) -> bool:
    """A folder, a glob, or what only results in a folder can have."""
    several = Path(arguments.input).is_dir() or _is_glob(arguments.input)
    return bool(several or arguments.format or arguments.draw or arguments.resume)


def _is_glob(given: str) -> bool:
    return glob.has_magic(given) and not Path(given).exists()


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
    with open_detector(arguments, finder) as detector:
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
