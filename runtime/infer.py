"""python -m runtime.infer: one picture to its landmarks, drawn."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import command_line
from runtime.backends import settings_of
from runtime.detector import Detector
from runtime.draw import draw_landmarks_with_contours
from runtime.errors import EXIT_OK, ConfigError, InputError
from runtime.files import check_target, json_text, shown
from runtime.geometry import BOX_CONTRACT
from runtime.picture import check_encoder, read_picture, size_text, write_picture
from runtime.tracing import Trace

DEFAULT_MODEL = "build/starter68"
FIRST_POINTS = 5

logger = logging.getLogger("starmark")


def main(argv: list[str] | None = None) -> int:
    """Read a picture, find its landmarks, write the picture with them drawn.

    Returns:
        Exit code: 0, or as `runtime.errors` lists them.
    """
    return command_line.run(lambda: _infer(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "runtime.infer",
        "Find the landmarks of the face in a picture and draw them.",
        "python -m runtime.infer --input assets/test.jpg --output out.png --contour",
    )
    add = parser.add_argument
    add("--input", required=True, type=Path, metavar="IMG", help="picture to read")
    add("--output", required=True, type=Path, metavar="PNG", help="drawn picture to write")
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
    command_line.add_engine_options(parser)
    add("--json", action="store_true", help="print the result as JSON")
    add("--verbose", action="store_true", help="log more")
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
    box = None if arguments.bbox is None else _read_box(arguments.bbox)
    if box is not None and arguments.cropped:
        raise ConfigError(
            "--bbox",
            expected="either --cropped or --bbox",
            got="both",
            action="A crop needs no box: leave one of them out",
        )
    image = read_picture(arguments.input)
    check_target(arguments.output, "--output", [arguments.input])
    check_encoder(arguments.output)
    settings = settings_of(arguments)
    with Detector(arguments.model, arguments.device, settings=settings) as detector:
        trace = detector.trace(image, box, cropped=arguments.cropped)
        drawn = draw_landmarks_with_contours(
            image, trace.landmarks, contours=arguments.contour, ellipses=arguments.ellipses
        )
        write_picture(arguments.output, drawn)
        for warning in trace.warnings:
            logger.warning("warning: %s", warning)
        if arguments.json:
            print(_as_json(detector, trace, arguments, image), end="")
        else:
            print(_as_text(detector, trace, arguments, image))
    return EXIT_OK


def _read_box(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            "--bbox", expected=BOX_CONTRACT, got=repr(text), action="Write --bbox x1,y1,x2,y2"
        ) from error


def _as_text(
    detector: Detector, trace: Trace, arguments: argparse.Namespace, image: NDArray[np.uint8]
) -> str:
    """The reference's log, in its order."""
    parameters = f"{detector.parameters:,}" if detector.parameters is not None else "unknown"
    points = ", ".join(f"({x:.1f}, {y:.1f})" for x, y in trace.landmarks[:FIRST_POINTS])
    return "\n".join(
        (
            f"Device: {detector.device} ({detector.backend.name})",
            f"Parameters: {parameters}",
            f"Image: {shown(arguments.input)} ({size_text(image)})",
            f"Landmarks: {len(trace.landmarks)} points",
            f"First {FIRST_POINTS} points: {points}",
            f"Saved: {shown(arguments.output)}",
        )
    )


def _as_json(
    detector: Detector, trace: Trace, arguments: argparse.Namespace, image: NDArray[np.uint8]
) -> str:
    result: dict[str, Any] = {
        "device": detector.device,
        "engine": detector.backend.name,
        "parameters": detector.parameters,
        "image": shown(arguments.input),
        "size_wh": [image.shape[1], image.shape[0]],
        "points_px": trace.landmarks.points_px.astype(float).round(3).tolist(),
        "spread_px": trace.landmarks.spread_px.astype(float).round(3).tolist(),
        "warnings": list(trace.warnings),
        "timings_ms": {stage: round(1e3 * s, 3) for stage, s in trace.timings.items()},
        "saved": shown(arguments.output),
    }
    return json_text(result)


if __name__ == "__main__":
    sys.exit(main())
