"""python -m parity.compare: two sources on the same pictures, in pixels, with a verdict."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from parity.errors import ErrorTable, error_row, stack_rows
from parity.report import Report, as_json, as_text, make_report
from parity.samples import Sample, default_samples, find_samples
from parity.verdict import Limits
from runtime import command_line
from runtime.detector import Detector
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK
from runtime.files import check_folder_of, write_text_whole
from runtime.geometry import F64
from runtime.picture import read_picture
from runtime.source import Source, parse_source

STARTER_CHECKPOINT = "assets/starter68.safetensors@cpu"
STARTER_BUNDLE = "build/starter68"


def main(argv: list[str] | None = None) -> int:
    """Compare, report on stdout, and judge by the exit code.

    Returns:
        0 within the limits, 1 beyond them, or as `runtime.errors` lists.
    """
    arguments = _parse(argv)
    command_line.log_to_stderr()
    return command_line.run(lambda: _compare(arguments))


def compare_sources(
    reference: Detector, candidate: Detector, samples: Sequence[Sample]
) -> ErrorTable:
    """Run both sources on every picture.

    Raises:
        InputError: an unreadable picture, or sources that mark other points.
        InferenceError: an engine failed, or said something that is not a number.
    """
    rows: list[tuple[F64, F64]] = []
    points_px: list[F64] = []
    for sample in command_line.progress(samples, "Comparing", len(samples)):
        image = read_picture(sample.path)
        here = reference.trace(image, cropped=sample.cropped)
        there = candidate.trace(image, cropped=sample.cropped)
        rows.append(error_row(here, there, reference.spec.input.size))
        points_px.append(here.landmarks.points_px.astype(float))
    return stack_rows([sample.name for sample in samples], rows, points_px)


def judged_report(
    reference: Source, candidate: Source, samples: Sequence[Sample], limits: Limits
) -> Report:
    """Open two sources, compare and judge them.

    Raises:
        StarmarkError: as `Detector` and `compare_sources`.
    """
    with Detector(reference) as here, Detector(candidate) as there:
        table = compare_sources(here, there, samples)
        return make_report((reference.text, here), (candidate.text, there), samples, table, limits)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "parity.compare",
        "Compare two sources in pixels. Without arguments: the starter checkpoint on the CPU\n"
        f"against {STARTER_BUNDLE}, on the sample pictures. Exit code 1: a limit is exceeded.",
        "python -m parity.compare weights.pkl@cpu build/star68 --images photos/",
    )
    add = parser.add_argument
    add("sources", nargs="*", metavar="REFERENCE CANDIDATE", help="PATH[@[ENGINE/]DEVICE] each")
    add(
        "--images",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="pictures or folders, as wholes (default: the samples)",
    )
    add("--cropped", action="store_true", help="the --images already are the network's crops")
    add("--max-mean", type=float, default=Limits().max_mean_px, metavar="PX", help="photo px")
    add("--max-error", type=float, default=Limits().max_error_px, metavar="PX", help="photo px")
    add("--json", action="store_true", help="print the report as JSON")
    add("--output", type=Path, metavar="FILE", help="write the report as JSON, too")
    arguments = parser.parse_args(argv)
    if arguments.cropped and not arguments.images:
        parser.error("--cropped says how to read --images: name some")
    if len(arguments.sources) not in (0, 2):
        parser.error(f"name two sources or none, not {len(arguments.sources)}")
    return arguments


def _compare(arguments: argparse.Namespace) -> int:
    limits = Limits(max_mean_px=arguments.max_mean, max_error_px=arguments.max_error).check()
    if arguments.output is not None:
        check_folder_of(arguments.output, "--output")
    samples = (
        find_samples(arguments.images, cropped=arguments.cropped)
        if arguments.images
        else default_samples()
    )
    reference, candidate = arguments.sources or (STARTER_CHECKPOINT, STARTER_BUNDLE)
    report = judged_report(parse_source(reference), parse_source(candidate), samples, limits)
    if arguments.output is not None:
        write_text_whole(arguments.output, as_json(report))
    print(as_json(report) if arguments.json else as_text(report), end="")
    return EXIT_OK if report.verdict.passed else EXIT_FOUND_WANTING


if __name__ == "__main__":
    sys.exit(main())
