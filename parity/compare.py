"""python -m parity.compare: two sources on the same pictures, in pixels, with a verdict."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from parity.accuracy import check_annotations, not_annotated
from parity.errors import check_comparable, crops_that_differ
from parity.keep_list import KeepList
from parity.options import (
    RECORDING_SUFFIX,
    add_keep_option,
    add_limit_options,
    add_picture_options,
    check_recording_name,
    chosen_limits,
    chosen_samples,
    files_read,
    keep_list,
)
from parity.recorder import Recorder, record, replay
from parity.recording import Recording, load_recording, save_recording
from parity.report import Report, as_text, make_report
from parity.report.html.options import add_page_options, check_page, write_page
from parity.samples import Sample
from parity.sources import NOTHING_KEPT, open_detector
from parity.verdict import Limits
from runtime import command_line
from runtime.backends import Settings, settings_of
from runtime.backends.base import FOR_PARITY
from runtime.detector import Detector
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK, ConfigError, InputError
from runtime.files import check_target, json_text, write_text_whole
from runtime.source import Source, parse_source

STARTER_CHECKPOINT = "assets/starter68.safetensors@cpu"
STARTER_BUNDLE = "build/starter68"


def main(argv: list[str] | None = None) -> int:
    """Compare, report on stdout, and judge by the exit code.

    Returns:
        0 within the limits, 1 beyond them, or as `runtime.errors` lists.
    """
    return command_line.run(lambda: _compare(_parse(argv), argv))


def is_recording(source: Source) -> bool:
    """Whether a source is answers made elsewhere and not something to run."""
    return source.path.suffix == RECORDING_SUFFIX


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """A report, and what it was made of.

    Attributes:
        reference: as it was judged: on the shared crops, where there are such.
        candidate: likewise.
        samples: the pictures that were shown; empty where both sides are recordings.
    """

    report: Report
    reference: Recording
    candidate: Recording
    samples: tuple[Sample, ...]


def judged_comparison(
    sources: tuple[Source, Source],
    samples: Sequence[Sample],
    limits: Limits,
    *,
    jobs: int = 1,
    strict: bool = True,
    record_to: Sequence[Path] = (),
    with_crops: bool = False,
    settings: Settings = FOR_PARITY,
    keep_fp32: KeepList = NOTHING_KEPT,
) -> Comparison:
    """Compare a reference with a candidate, and judge.

    Recordings are read, everything else is run: both on the same decoded pictures, in one pass
    that keeps no pixels. Where a recording's crops differ from a running source's and the recording
    carries them, that source is run on them, too, and the verdict is on those shared crops.

    Args:
        sources: reference and candidate.
        samples: for the sources that are run.
        limits: what passes.
        jobs: threads that decode.
        strict: an unreadable picture is an error.
        record_to: files for the recordings of the sources that are run, in their order.
        with_crops: keep the crops in those files.
        settings: for the sources that are run.
        keep_fp32: what a rehearsal among them leaves in fp32.

    Raises:
        StarmarkError: as `Detector`, `record`, `load_recording`, `check_annotations` and
            `make_report`.
    """
    with ExitStack() as stack:
        read = {i: load_recording(s.path) for i, s in enumerate(sources) if is_recording(s)}
        run = {
            i: stack.enter_context(open_detector(source, settings, keep_fp32))
            for i, source in enumerate(sources)
            if i not in read
        }
        if limits.max_nme_increase_points is not None:
            for detector in run.values():
                check_annotations(samples, detector.spec.points)
        crops: list[IO[bytes] | None] = [
            stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) if with_crops else None
            for path in record_to
        ] or [None] * len(run)
        recorders = [
            Recorder(sources[i].text, detector, file)
            for (i, detector), file in zip(run.items(), crops, strict=True)
        ]
        made = record(recorders, samples, jobs=jobs, strict=strict) if run else []
        for path, recording, file in zip(record_to, made, crops, strict=False):
            save_recording(path, recording, file)
        sides = {**read, **dict(zip(run, made, strict=True))}
        shared = _on_shared_crops(sides, read, run, sources)
    reference, candidate = shared or (sides[0], sides[1])
    return Comparison(
        report=make_report(sides[0], sides[1], limits, shared),
        reference=reference,
        candidate=candidate,
        samples=tuple(samples),
    )


def _on_shared_crops(
    sides: dict[int, Recording],
    read: dict[int, Recording],
    run: dict[int, Detector],
    sources: tuple[Source, Source],
) -> tuple[Recording, Recording] | None:
    check_comparable(sides[0], sides[1])
    if not crops_that_differ(sides[0], sides[1]):
        return None
    for i, carrier in read.items():
        other = 1 - i
        if carrier.header.with_crops and other in run:
            again = replay(run[other], sources[other].text, carrier)
            return (carrier, again) if i == 0 else (again, carrier)
    return None


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "parity.compare",
        "Compare two sources in pixels: bundles, checkpoints, .onnx files, or recordings (.npz)\n"
        "made elsewhere. Without arguments: the starter checkpoint on the CPU against\n"
        f"{STARTER_BUNDLE}, on the sample pictures. Exit code 1: a limit is exceeded.",
        "python -m parity.compare weights.pkl@cpu npu.npz --images photos/ --max-p99 0.3",
    )
    add = parser.add_argument
    add("sources", nargs="*", metavar="REFERENCE CANDIDATE", help="PATH[@[ENGINE/]DEVICE] each")
    add_picture_options(parser)
    command_line.add_engine_options(parser)
    add_limit_options(parser)
    add(
        "--max-nme-increase",
        type=float,
        metavar="POINTS",
        help="percentage points by which the mean NME may rise; for pictures with annotations",
    )
    add_keep_option(parser)
    add("--json", action="store_true", help="print the report as JSON")
    add("--output", type=Path, metavar="FILE", help="write the report as JSON, too")
    add_page_options(parser)
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
    limits = msgspec.structs.replace(
        chosen_limits(arguments), max_nme_increase_points=arguments.max_nme_increase
    ).check()
    reference, candidate = arguments.sources or (STARTER_CHECKPOINT, STARTER_BUNDLE)
    sources = (parse_source(reference), parse_source(candidate))
    live = _check_sources(sources, arguments)
    keep = keep_list(arguments.keep, sources)
    samples = chosen_samples(arguments) if live else []
    _check_annotated(samples, limits, live)
    inputs = files_read(sources, samples, arguments.boxes, arguments.keep)
    for path in arguments.record:
        check_recording_name(path, "--record", inputs)
    others = [*inputs, *arguments.record]
    if arguments.output is not None:
        check_target(arguments.output, "--output", others)
        others.append(arguments.output)
    check_page(arguments, others)
    found = judged_comparison(
        sources,
        samples,
        limits,
        jobs=arguments.jobs,
        strict=arguments.strict,
        record_to=arguments.record,
        with_crops=arguments.with_crops,
        settings=settings_of(arguments),
        keep_fp32=keep,
    )
    report = found.report
    if arguments.output is not None:
        write_text_whole(arguments.output, json_text(report))
    write_page(arguments, "parity.compare", argv, found)
    print(json_text(report) if arguments.json else as_text(report), end="")
    return EXIT_OK if report.verdict.passed else EXIT_FOUND_WANTING


def _check_annotated(samples: Sequence[Sample], limits: Limits, live: int) -> None:
    """Find out that nothing is annotated before the engines are opened; a recording may carry it.

    Damaged annotations have their own error.
    """
    if limits.max_nme_increase_points is None or live < 2:
        return
    if not any(s.annotation_px is not None or s.annotation_fault for s in samples):
        raise not_annotated(f"none among {len(samples)} pictures")


def check_pair(sources: tuple[Source, Source]) -> None:
    """Refuse a pair of sources that makes no sense.

    Raises:
        ConfigError: a recording with a device.
        InputError: the same source twice.
    """
    for source in sources:
        if is_recording(source) and (source.engine or source.device != "auto"):
            raise ConfigError(
                source.text,
                expected="a recording without a device: it is not run",
                got=f"device {source.device!r}",
                action="Leave the @ and what follows out",
            )
    one, other = ((s.path.resolve(), s.engine, s.device) for s in sources)
    if one == other:
        raise InputError(
            "comparison",
            expected="two different sources",
            got=f"{sources[0].text} twice",
            action="A source always agrees with itself: name another one",
        )


def _check_sources(sources: tuple[Source, Source], arguments: argparse.Namespace) -> int:
    """Refuse what makes no sense; give the number of sources that are run."""
    check_pair(sources)
    live = sum(not is_recording(source) for source in sources)
    if not live and arguments.images:
        raise InputError(
            "--images",
            expected="pictures for a source that is run",
            got="two recordings, which have theirs",
            action="Leave --images out",
        )
    if arguments.record and len({path.resolve() for path in arguments.record}) != live:
        raise ConfigError(
            "--record",
            expected=f"{live} different files, one for each source that is run",
            got=" ".join(str(path) for path in arguments.record),
            action="Name as many files",
        )
    return live


if __name__ == "__main__":
    sys.exit(main())
