"""python -m parity.stability: where a source contradicts itself, and so cannot be trusted.

Two backends that differ where the model itself is unsure tell little about the backends. Three
questions to one source alone: does a mirrored crop give the mirrored points, does a crop one pixel
further give the same points, and how wide are the maps that the points come from?
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parity.options import KeepOption, PictureOptions, files_read
from parity.recording.recorder import for_each_picture
from parity.samples import Sample
from parity.sources import open_detector
from parity.stability.measure import Stability, stability_of
from parity.stability.report import as_text, make_stability_report
from runtime.cli import command_line
from runtime.cli.options import EngineOptions
from runtime.errors import EXIT_OK
from runtime.files import check_target, json_text, write_text_whole
from runtime.model.source import parse_source


def main(argv: list[str] | None = None) -> int:
    """Report where a source is unsure.

    Returns:
        0, or as `runtime.errors` lists: there is nothing to judge.
    """
    return command_line.run(lambda: _stability(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "parity.stability",
        "Where one source contradicts itself: on the mirrored crop, on a crop one pixel further,\n"
        "and where its maps are wide. Six runs a picture.",
        "python -m parity.stability build/star68@npu:0 --images photos/",
    )
    parser.add_argument("source", metavar="SOURCE", help="PATH[@[ENGINE/]DEVICE]")
    PictureOptions.add(parser)
    EngineOptions.add(parser)
    KeepOption.add(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it as JSON, too")
    return parser.parse_args(argv)


def _stability(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr()
    pictures = PictureOptions.of(arguments)
    samples = pictures.samples()
    source = parse_source(arguments.source)
    if arguments.output is not None:
        inputs = files_read([source], samples, pictures.boxes, arguments.keep)
        check_target(arguments.output, "--output", inputs)
    keep = KeepOption.of(arguments, [source])
    found: list[Stability] = []
    with open_detector(source, EngineOptions.of(arguments), keep) as detector:

        def measure(sample: Sample, picture: NDArray[np.uint8], _: float) -> None:
            found.append(stability_of(detector, sample, picture))

        jobs, strict = pictures.jobs, pictures.strict
        unreadable = for_each_picture(samples, measure, "Asking", jobs=jobs, strict=strict)
        report = make_stability_report(source.text, detector, found, unreadable)
    if arguments.output is not None:
        write_text_whole(arguments.output, json_text(report))
    print(json_text(report) if arguments.json else as_text(report), end="")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
