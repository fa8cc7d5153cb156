"""python -m parity.locate: the stage, and the operator in it, where a difference starts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

from msgspec.structs import replace as replaced

from parity.comparison import check_pair
from parity.locate.operators import Operator, find_operator
from parity.locate.report import LocateReport, SideReport, StageReport, as_text
from parity.locate.stage_compare import StageComparison
from parity.locate.stage_runs import Shown
from parity.locate.stage_sources import Side, open_side, pictures_for
from parity.locate.worst_stage import growing, over_share, rounding_between, share
from parity.options import add_keep_option, add_picture_options, chosen_samples, keep_list
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
        StarmarkError: as `open_side` and `pictures_for`; or another architecture.
    """
    with ExitStack() as stack:
        sides: list[Side] = []
        for source in sources:
            sides.append(open_side(source, settings, keep_fp32))
            stack.enter_context(closing(sides[-1].tapped))
        reference, candidate = sides
        if reference.size_px != candidate.size_px:
            raise InputError(
                "comparison",
                expected=f"crops of {reference.size_px} px, as {reference.text} takes",
                got=f"{candidate.size_px} px in {candidate.text}",
                action="Name two sources of one model",
            )
        named = {"reference": reference.staged, "candidate": candidate.staged}
        staged = {name: side for name, side in named.items() if side is not None}
        comparison = StageComparison(reference.tapped, candidate.tapped, staged)
        pictures = pictures_for(reference, candidate, samples, jobs=jobs, strict=strict)
        total = len(reference.recording.landmarks if reference.recording else samples)
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
        again = pictures_for(reference, candidate, samples, jobs=1, strict=strict)
        return _report(sides, comparison, again, names, unreadable)


def _report(
    sides: Sequence[Side],
    comparison: StageComparison,
    again: Iterator[Shown | Unreadable],
    names: Sequence[str],
    unreadable: Sequence[Unreadable],
) -> LocateReport:
    stages = _judged(comparison)
    apart = list(_isolated(stages).values())
    rounding = rounding_between(apart)
    first = next((stage for stage in stages if stage.over_share), None)
    reference, candidate = (
        SideReport(source=side.text, engine=side.engine, checkpoint_sha256=side.checkpoint_sha256)
        for side in sides
    )
    return LocateReport(
        located=first.name if first else None,
        reading="accumulated" if comparison.fed_by is None else "isolated",
        fed_by=comparison.fed_by,
        share=share(apart, rounding) if comparison.fed_by is not None else None,
        operator=_operator(comparison, first, rounding, again) if first else None,
        landmarks_px=comparison.moved.figures(),
        not_finite=tuple(comparison.not_finite.values()),
        stages=tuple(stages),
        pictures=tuple(names),
        unreadable=tuple(unreadable),
        reference=reference,
        candidate=candidate,
    )


def _judged(comparison: StageComparison) -> list[StageReport]:
    """All stages with their judgement."""
    read = comparison.readings()
    if comparison.fed_by is None:
        own = [None if r.accumulated is None else r.accumulated.relative_l2 for r in read]
        over = growing(own, comparison.given(own))
        return [replaced(one, over_share=it) for one, it in zip(read, over, strict=True)]
    # a stage that was given no numbers has no isolated reading, and no share
    taken = _isolated(read)
    over_it = over_share(list(taken.values()), rounding_between(list(taken.values())))
    judged = dict(zip(taken, over_it, strict=True))
    return [replaced(one, over_share=judged.get(one.name, False)) for one in read]


def _isolated(stages: Sequence[StageReport]) -> dict[str, float | None]:
    return {one.name: one.isolated.relative_l2 for one in stages if one.isolated is not None}


def _operator(
    comparison: StageComparison,
    found: StageReport,
    rounding: float,
    again: Iterator[Shown | Unreadable],
) -> Operator | None:
    """Look into the first stage over its share, on the picture that it is worst on."""
    if len(comparison.staged) < 2 or found.isolated is None:  # both sides
        return None
    stage = next(sums.stage for sums in comparison.stages if sums.stage.name == found.name)
    for item in again:
        if isinstance(item, Shown) and item.name == found.isolated.worst_picture:
            tensors, _ = comparison.tensors(item)
            inputs = {name: tensors[name] for name in stage.inputs}
            reference, candidate = comparison.staged["reference"], comparison.staged["candidate"]
            # a graph can be cut at a checkpoint's modules, and not the other way round
            swap = candidate.by_module and not reference.by_module
            one, other = (candidate, reference) if swap else (reference, candidate)
            return find_operator(one, other, stage, item.name, inputs, rounding)
    return None


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
    add_picture_options(parser)
    EngineOptions.add(parser)
    add_keep_option(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser.parse_args(argv)


def _locate(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr()
    sources = (parse_source(arguments.reference), parse_source(arguments.candidate))
    check_pair(sources)
    keep = keep_list(arguments.keep, sources)
    report = located(
        sources,
        chosen_samples(arguments),
        jobs=arguments.jobs,
        strict=arguments.strict,
        settings=EngineOptions.of(arguments),
        keep_fp32=keep,
    )
    print(json_text(report) if arguments.json else as_text(report), end="")
    return EXIT_OK if report.located is None else EXIT_FOUND_WANTING


if __name__ == "__main__":
    sys.exit(main())
