"""python -m parity.rehearse: the NPU's numbers before the NPU, and what must stay in fp32."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from parity.judging.verdict import JUDGED_BY
from parity.options import LimitOptions, PictureOptions, files_read
from parity.plan.precision_plan import (
    RECORD_SUFFIX,
    PrecisionPlan,
    parse_budget,
    plan_precision,
    record_of,
)
from parity.recording.recorder import Recorder, record
from parity.recording.recording import Recording
from parity.rehearsal.arithmetic import Arithmetic
from parity.rehearsal.keep_list import KeepList, read_keep_list
from parity.rehearse.report import RehearsalReport, as_text, rehearsal
from parity.samples import Sample
from parity.sources import NOTHING_KEPT, REHEARSAL, graph_of, open_detector
from runtime.cli import command_line
from runtime.detector import Detector
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK, ConfigError
from runtime.files import check_target, json_text, shown, write_text_whole
from runtime.model.source import Source, parse_source

USUAL = ("fp16", "hf32")
PLANNED = "fp16"


def main(argv: list[str] | None = None) -> int:
    """Rehearse or plan, and report on stdout.

    Returns:
        0 within the limits or the budget, 1 beyond them, or as `runtime.errors` lists.
    """
    return command_line.run(lambda: _rehearse(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "parity.rehearse",
        "Compare a model's plain fp32 run with runs in an NPU's arithmetic, on this CPU. With\n"
        "--budget and --plan: find the operators that must stay in fp32 when the rest goes to\n"
        "fp16, on some of the pictures, and write the file for atc's --keep_dtype if the budget\n"
        "holds on the others. Exit code 1: a limit or the budget is exceeded.",
        "python -m parity.rehearse build/starter68 --as fp16 --budget max=0.1 --plan keep.txt",
    )
    add = parser.add_argument
    add("source", metavar="SOURCE", help="a bundle or an .onnx file")
    add(
        "--as",
        action="append",
        dest="arithmetics",
        metavar="ARITHMETIC",
        help=f"one or several, with commas, of {', '.join(get_args(Arithmetic))}"
        f" (default {','.join(USUAL)}; fp16 for a plan)",
    )
    add(
        "--keep",
        type=Path,
        metavar="FILE",
        help="operators that stay in fp32: the file that atc's --keep_dtype takes",
    )
    add(
        "--budget",
        metavar="LIMITS",
        help="what a plan must hold, for example max=0.5,p99=0.3 in px of --unit",
    )
    add(
        "--plan",
        type=Path,
        metavar="FILE",
        help=f"write what must stay in fp32, and what it rests on to FILE{RECORD_SUFFIX}",
    )
    PictureOptions.add(parser)
    LimitOptions.add(parser)
    add("--json", action="store_true", help="print the report as JSON")
    arguments = parser.parse_args(argv)
    if (arguments.budget is None) != (arguments.plan is None):
        parser.error("--budget and --plan go together")
    if arguments.plan is not None and arguments.keep is not None:
        parser.error("--plan makes a list, --keep reads one: choose one")
    if arguments.plan is not None and any(field in arguments for field in JUDGED_BY):
        parser.error("a plan is held to its --budget: leave the --max options out")
    return arguments


def _rehearse(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr()
    limits, pictures = LimitOptions.of(arguments), PictureOptions.of(arguments)
    source = _plain(parse_source(arguments.source))
    arithmetics = _arithmetics(arguments.arithmetics, planned=arguments.plan is not None)
    keep = read_keep_list(arguments.keep, "keep") if arguments.keep else NOTHING_KEPT
    budget = parse_budget(arguments.budget, limits.get("unit", "photo")) if arguments.plan else None
    samples = pictures.samples()
    graph_of(source)
    recorded = partial(_recorded, source, jobs=pictures.jobs, strict=pictures.strict)
    plan: PrecisionPlan | None = None
    if budget is not None:
        for file in (arguments.plan, record_of(arguments.plan)):
            check_target(file, "--plan", files_read([source], samples, pictures.boxes))
        (plain,) = recorded((), NOTHING_KEPT, samples)
        readable = {picture.name for picture in plain.header.pictures}
        samples = [sample for sample in samples if sample.name in readable]
        plan = plan_precision(source, samples, plain, budget, shown(arguments.plan))
        keep = KeepList(lines=tuple(("the plan", name) for name in plan.kept))
    plain, *rehearsed = recorded(arithmetics, keep, samples)
    kept = plan.kept if plan else _kept(source, keep)
    report = RehearsalReport(
        source=shown(arguments.source),
        rehearsals=tuple(
            rehearsal(arithmetic, kept, plain, one, limits)
            for arithmetic, one in zip(arithmetics, rehearsed, strict=True)
        ),
        plan=plan,
    )
    if plan is not None and not plan.objections:
        # no comment in the list: until 2025, atc refused a line that names no node
        write_text_whole(arguments.plan, "".join(f"{name}\n" for name in plan.kept))
        write_text_whole(record_of(arguments.plan), json_text(plan))
    print(json_text(report) if arguments.json else as_text(report), end="")
    judged = [one.report.verdict.passed for one in report.rehearsals]
    passed = not plan.objections if plan is not None else all(judged)
    return EXIT_OK if passed else EXIT_FOUND_WANTING


def _plain(source: Source) -> Source:
    """The source's own fp32 run in onnxruntime on the CPU.

    Raises:
        ConfigError: another engine or device is named.
    """
    if source.engine not in (None, "onnxruntime") or source.device not in ("auto", "cpu"):
        raise ConfigError(
            f"source {source.text!r}",
            expected="a bundle or an .onnx file, which is rehearsed on the CPU",
            got=f"{source.engine or 'a'} device {source.device!r}",
            action="Leave the @ and what follows out; --as says what to rehearse",
        )
    return replace(source, engine="onnxruntime", device="cpu")


def _arithmetics(given: Sequence[str] | None, *, planned: bool) -> tuple[Arithmetic, ...]:
    usual = (PLANNED,) if planned else USUAL
    named = ",".join(given or usual).split(",")
    known = get_args(Arithmetic)
    wrong = [name for name in named if name not in known] or [
        name for name in named if named.count(name) > 1
    ]
    if wrong:
        raise ConfigError(
            "--as",
            expected=f"each once, of {', '.join(known)}",
            got=repr(wrong[0]),
            action="Write --as fp16,hf32, for example",
        )
    if planned and named != [PLANNED]:
        raise ConfigError(
            "--as",
            expected=f"{PLANNED} alone: atc's --keep_dtype is about it",
            got=",".join(named),
            action="Leave --as out",
        )
    return tuple(name for name in known if name in named)


def _recorded(
    source: Source,
    arithmetics: Sequence[Arithmetic],
    keep: KeepList,
    samples: Sequence[Sample],
    *,
    jobs: int,
    strict: bool,
) -> list[Recording]:
    """The plain run and each rehearsal, all on the same decoded pictures."""
    with ExitStack() as stack:
        recorders = [Recorder(source.text, stack.enter_context(Detector(source)))]
        for arithmetic in arithmetics:
            rehearsed = parse_source(f"{source.path}@{REHEARSAL}/{arithmetic}")
            detector = stack.enter_context(open_detector(rehearsed, keep_fp32=keep))
            recorders.append(Recorder(rehearsed.text, detector))
        return record(recorders, samples, jobs=jobs, strict=strict)


def _kept(source: Source, keep: KeepList) -> tuple[str, ...]:
    """The nodes that a list keeps, in the graph's order."""
    if not keep.lines:
        return ()
    from parity.rehearsal.graph import types_by_node  # onnx: only where there is a list

    types = types_by_node(graph_of(source).path.read_bytes())
    kept = keep.nodes_in(types)
    return tuple(name for name in types if name in kept)


if __name__ == "__main__":
    sys.exit(main())
