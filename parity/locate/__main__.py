"""python -m parity.locate: the stage, and the operator in it, where a difference starts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing

from parity.comparison import check_pair
from parity.locate.inputs import open_source, pictures_for
from parity.locate.operators import Operator, find_operator
from parity.locate.report import LocateReport, SideReport, StageReport, as_text
from parity.locate.stage_comparison import StageComparison
from parity.locate.stages import RecordedStages, TappedSource
from parity.options import KeepOption, PictureOptions
from parity.recording.recording import Unreadable
from parity.rehearsal.keep_list import KeepList
from parity.samples import Sample
from parity.sources import NOTHING_KEPT
from runtime.backends import Settings
from runtime.cli import command_line
from runtime.cli.options import EngineOptions
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK, InputError
from runtime.files import json_text
from runtime.model.source import Source, parse_source


def main(argv: list[str] | None = None) -> int:
    """Compare stage by stage, and report on stdout.

    Returns:
        0 no stage differs by more than its share, 1 one does, or as `runtime.errors` lists.
    """
    return command_line.run(lambda: _locate(_parse(argv)))


def located(
    sources: tuple[Source, Source],
    samples: Sequence[Sample],
    *,
    jobs: int = 1,
    strict: bool = True,
    settings: Settings,
    keep_fp32: KeepList = NOTHING_KEPT,
) -> LocateReport:
    """Find the stage, and the operator inside it, where a candidate begins to differ.

    Args:
        sources: reference and candidate.
        samples: for the sources that are run.
        jobs: threads that decode.
        strict: an unreadable picture is an error.
        settings: for the sources that are run.
        keep_fp32: what a rehearsal among them leaves in fp32.

    Raises:
        StarmarkError: as `open_source` and `pictures_for`; or another architecture.
    """
    with ExitStack() as stack:
        opened = (open_source(source, settings, keep_fp32) for source in sources)
        reference, candidate = (stack.enter_context(closing(side)) for side in opened)
        if reference.size_px != candidate.size_px:
            raise InputError(
                "comparison",
                expected=f"crops of {reference.size_px} px, as {reference.name} takes",
                got=f"{candidate.size_px} px in {candidate.name}",
                action="Name two sources of one model",
            )
        comparison = StageComparison(reference, candidate)
        pictures = pictures_for((reference, candidate), samples, jobs=jobs, strict=strict)
        recordings = [s.recording for s in (reference, candidate) if isinstance(s, RecordedStages)]
        total = len(recordings[0].header.pictures if recordings else samples)
        names: list[str] = []
        unreadable: list[Unreadable] = []
        for item in command_line.progress(pictures, "Comparing stages", total):
            if isinstance(item, Unreadable):
                unreadable.append(item)
            else:
                comparison.add(item)
                names.append(item.name)
        if not names:
            raise InputError(
                "pictures",
                expected="at least one that can be read",
                got=f"{len(unreadable)} unreadable, the first: {unreadable[0].error}",
                action="Check --images",
            )
        stages = comparison.judged()
        first = next((stage for stage in stages if stage.over_share), None)
        return LocateReport(
            located=first.name if first else None,
            reading="accumulated" if comparison.fed_by is None else "isolated",
            fed_by=comparison.fed_by,
            share=comparison.share(),
            operator=_operator(comparison, first) if first else None,
            landmarks_px=comparison.moved.figures(),
            not_finite=tuple(comparison.not_finite.values()),
            stages=tuple(stages),
            pictures=tuple(names),
            unreadable=tuple(unreadable),
            reference=_side(reference),
            candidate=_side(candidate),
        )


def _operator(comparison: StageComparison, found: StageReport) -> Operator | None:
    """Look into the first stage over its share, on the picture that it is worst on."""
    sums = comparison.stages[found.name]
    if len(comparison.staged) < 2 or sums.worst is None:  # both sides
        return None
    tensors, _ = comparison.tensors(sums.worst)
    inputs = {name: tensors[name] for name in sums.stage.inputs}
    one, other = comparison.staged["reference"], comparison.staged["candidate"]
    # a graph can be cut at a checkpoint's modules, and not the other way round
    if other.by_module and not one.by_module:
        one, other = other, one
    rounding = comparison.rounding()
    return find_operator(one, other, sums.stage, sums.worst.name, inputs, rounding)


def _side(source: TappedSource) -> SideReport:
    return SideReport(
        source=source.name, engine=source.engine, checkpoint_sha256=source.checkpoint_sha256
    )


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "parity.locate",
        "Find the stage of the network, and the operator inside it, where a candidate begins to\n"
        "differ from a reference: checkpoints, bundles, .onnx files, rehearsals, and recordings\n"
        "with taps. Exit code 1: a stage differs by more than its share.",
        "python -m parity.locate weights.pkl@cpu build/star68@rehearse/fp16",
    )
    parser.add_argument("reference", metavar="REFERENCE", help="PATH[@[ENGINE/]DEVICE]")
    parser.add_argument("candidate", metavar="CANDIDATE", help="likewise")
    PictureOptions.add(parser)
    EngineOptions.add(parser)
    KeepOption.add(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser.parse_args(argv)


def _locate(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr()
    sources = (parse_source(arguments.reference), parse_source(arguments.candidate))
    check_pair(sources)
    pictures = PictureOptions.of(arguments)
    keep = KeepOption.of(arguments, sources)
    report = located(
        sources,
        pictures.samples(),
        jobs=pictures.jobs,
        strict=pictures.strict,
        settings=EngineOptions.of(arguments),
        keep_fp32=keep,
    )
    print(json_text(report) if arguments.json else as_text(report), end="")
    return EXIT_OK if report.located is None else EXIT_FOUND_WANTING


if __name__ == "__main__":
    sys.exit(main())
