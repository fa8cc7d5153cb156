"""python -m parity.compare: two sources on the same pictures, in pixels, with a verdict."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from parity.comparison import check_pair, is_recording, judged_comparison
from parity.html.options import PageOptions
from parity.judging.accuracy import not_annotated
from parity.judging.expected import Given, wants_nme
from parity.options import (
    KeepOption,
    LimitOptions,
    PictureOptions,
    check_recording_name,
    files_read,
)
from parity.report import as_text
from parity.samples import Sample
from runtime.cli import command_line
from runtime.cli.options import DEFAULT_MODEL, EngineOptions
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK, ConfigError, InputError
from runtime.files import check_target, json_text, write_text_whole
from runtime.files.shipped import shipped
from runtime.model.source import Source, parse_source

STARTER = "assets/starter68.safetensors@cpu"


def main(argv: list[str] | None = None) -> int:
    """Compare, report on stdout, and judge by the exit code.

    Returns:
        0 within the limits, 1 beyond them, or as `runtime.errors` lists.
    """
    return command_line.run(lambda: _compare(_parse(argv), argv))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "parity.compare",
        "Compare two sources in pixels: bundles, checkpoints, .onnx files, or recordings (.npz)\n"
        "made elsewhere. Without arguments: the starter checkpoint on the CPU against\n"
        f"{DEFAULT_MODEL}, on the sample pictures. Exit code 1: a limit is exceeded.",
        "python -m parity.compare weights.pkl@cpu npu.npz --images photos/ --max-p99 0.3",
    )
    add = parser.add_argument
    add("sources", nargs="*", metavar="REFERENCE CANDIDATE", help="PATH[@[ENGINE/]DEVICE] each")
    PictureOptions.add(parser)
    EngineOptions.add(parser)
    LimitOptions.add(parser)
    add(
        "--max-nme-increase",
        dest="max_nme_increase_points",
        default=argparse.SUPPRESS,
        type=float,
        metavar="POINTS",
        help="percentage points by which the mean NME may rise; for pictures with annotations",
    )
    KeepOption.add(parser)
    add("--json", action="store_true", help="print the report as JSON")
    add("--output", type=Path, metavar="FILE", help="write the report as JSON, too")
    PageOptions.add(parser)
    add(
        "--record",
        nargs="+",
        type=Path,
        default=[],
        metavar="NPZ",
        help="write the recordings of the sources that are run, one file each",
    )
    add("--with-crops", action="store_true", help="keep the crops in the recordings (large)")
    arguments = parser.parse_args(argv)
    if len(arguments.sources) not in (0, 2):
        parser.error(f"name two sources or none, not {len(arguments.sources)}")
    if arguments.with_crops and not arguments.record:
        parser.error("--with-crops is about --record: name a file")
    if arguments.lang and arguments.html is None:
        parser.error("--lang is about --html: name a file")
    return arguments


def _compare(arguments: argparse.Namespace, argv: list[str] | None) -> int:
    command_line.log_to_stderr()
    limits = LimitOptions.of(arguments)
    pictures = PictureOptions.of(arguments)
    reference, candidate = map(parse_source, arguments.sources or (STARTER, DEFAULT_MODEL))
    if not arguments.sources:
        reference = replace(reference, path=shipped(str(reference.path)))
    sources = (reference, candidate)
    live = _check_sources(sources, pictures, arguments.record)
    keep = KeepOption.of(arguments, sources)
    samples = pictures.samples() if live else []
    _check_annotated(samples, limits, live)
    inputs = files_read(sources, samples, pictures.boxes, arguments.keep)
    for path in arguments.record:
        check_recording_name(path, "--record", inputs)
    others = [*inputs, *arguments.record]
    if arguments.output is not None:
        check_target(arguments.output, "--output", others)
        others.append(arguments.output)
    page = PageOptions.of(arguments, others)
    found = judged_comparison(
        sources,
        samples,
        limits,
        jobs=pictures.jobs,
        strict=pictures.strict,
        record_to=arguments.record,
        with_crops=arguments.with_crops,
        settings=EngineOptions.of(arguments),
        keep_fp32=keep,
    )
    report = found.report
    as_json = json_text(msgspec.to_builtins(report) | {"skipped": pictures.skipped})
    if arguments.output is not None:
        write_text_whole(arguments.output, as_json)
    page.write(found, "parity.compare", argv)
    print(as_json if arguments.json else as_text(report), end="")
    return EXIT_OK if report.verdict.passed else EXIT_FOUND_WANTING


def _check_annotated(samples: Sequence[Sample], limits: Given, live: int) -> None:
    """Find out that nothing is annotated before the engines are opened; a recording may carry it.

    Damaged annotations have their own error.
    """
    if live < 2 or not wants_nme(limits):
        return
    if not any(s.annotation_px is not None or s.annotation_fault for s in samples):
        raise not_annotated(f"none among {len(samples)} pictures")


def _check_sources(
    sources: tuple[Source, Source], pictures: PictureOptions, record_to: Sequence[Path]
) -> int:
    """Refuse what makes no sense; return the number of sources that are run."""
    check_pair(sources)
    live = sum(not is_recording(source) for source in sources)
    if not live and pictures.images:
        raise InputError(
            "--images",
            expected="pictures for a source that is run",
            got="two recordings, which have theirs",
            action="Leave --images out",
        )
    if record_to and len({path.resolve() for path in record_to}) != live:
        raise ConfigError(
            "--record",
            expected=f"{live} different files, one for each source that is run",
            got=" ".join(map(str, record_to)),
            action="Name as many files",
        )
    return live


if __name__ == "__main__":
    sys.exit(main())
