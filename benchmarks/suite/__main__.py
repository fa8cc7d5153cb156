"""The suite's command line: plan, measure one model after the other, stream, write."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.suite.many import ManyWorker, against
from benchmarks.suite.measure import FEWEST_ROUNDS, TIMED_RUNS, measure_model
from benchmarks.suite.plan import ROWS, ModelPlan, parse_models, plan_model
from benchmarks.suite.plot import check_drawing, write_plot
from benchmarks.suite.processes import PATIENCE_S, ProcessProxy
from benchmarks.suite.report import ManyRun, ModelRows, StreamRun, SuiteReport
from benchmarks.suite.streaming import StreamWorker
from benchmarks.suite.text import as_text
from parity.machine import machine, threads, versions
from parity.options import PictureOptions, check_range, files_read
from parity.samples import Sample
from runtime.backends import Settings
from runtime.cli import command_line
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK, ConfigError, StarmarkError
from runtime.files import check_target, json_text, shown, write_text_whole
from runtime.model.manifest import MANIFEST_NAME
from runtime.model.source import parse_source

Run = TypeVar("Run")
STARTER_MODEL = "starter68=assets/starter68.safetensors"
FULL_SIZE = "star68"
NO_FULL_SIZE = (
    f"the full-size model: no weights named; add --models {STARTER_MODEL} {FULL_SIZE}=FILE"
)
DEFAULT_OUTPUT = Path("build/benchmark")
NAMES = ("suite.json", "suite.txt", "suite.png")
DEFAULT_ROUNDS = 30
MOST_ROUNDS = 10_000
STREAM_PICTURES = 10_000
MANY_PICTURES = 2_000
MOST_STREAM_PICTURES = 10_000_000


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(
        "benchmarks.suite",
        "Every engine and form of a model side by side, each in a process of its own, in one run:\n"
        "latency, throughput, memory, cold start, end to end, pixels. A row that cannot run has\n"
        "the command that would make it possible. Exit code 1: no row of a model ran.",
        "python -m benchmarks.suite --models starter68=assets/starter68.safetensors"
        " star68=weights.pkl",
    )
    add = parser.add_argument
    add(
        "--models",
        nargs="+",
        metavar="NAME=CHECKPOINT",
        help=f"their bundles are NAME, NAME_plain and NAME_int8 in --builds (default"
        f" {STARTER_MODEL})",
    )
    add("--builds", type=Path, default=Path("build"), metavar="DIR", help="(default build)")
    add("--rows", nargs="+", choices=tuple(ROWS), metavar="ROW", help=", ".join(ROWS))
    add("--runs", type=int, default=DEFAULT_ROUNDS, metavar="N", help="rounds (default 30)")
    add("--seed", type=int, default=0, metavar="N", help="of the order within rounds (default 0)")
    add("--stream-pictures", type=int, default=STREAM_PICTURES, metavar="N", help="0: no stream")
    add("--many-pictures", type=int, default=MANY_PICTURES, metavar="N", help="0: no folder, batch")
    add("--threads", type=int, metavar="N", help="of every row (default: the engine's own)")
    add("--output", type=Path, default=DEFAULT_OUTPUT, metavar="DIR", help=f"for {NAMES}")
    PictureOptions.add(parser)
    add("--json", action="store_true", help="print the report as JSON")
    arguments = parser.parse_args(list(argv))
    arguments.command = f"python -m benchmarks.suite {shlex.join(argv)}"
    return arguments


def run(arguments: argparse.Namespace) -> int:
    """Measure, write three files and print one.

    Raises:
        StarmarkError: nothing was begun, because an option, a picture or the folder is wrong.
    """
    command_line.log_to_stderr()
    plans = _plans(arguments)
    samples = PictureOptions.of(arguments).samples()
    for sample in command_line.progress(samples, "Reading pictures", len(samples)):
        sample.read()  # an unreadable one is an error now, not after minutes of work
    folder = _checked_output(arguments.output, plans, samples, arguments.boxes)
    with tempfile.TemporaryDirectory(prefix="starmark-suite-") as scratch:
        models = [
            measure_model(
                plan,
                samples,
                rounds=arguments.runs,
                seed=arguments.seed,
                scratch=Path(scratch),
            )
            for plan in plans
        ]
    stream, failure = _stream(samples, arguments.stream_pictures)
    many, many_failure = _many(arguments.builds / plans[0].name, samples, arguments.many_pictures)
    full_size = any(plan.name == FULL_SIZE for plan in plans)
    report = SuiteReport(
        invalid=invalid(models, arguments.runs),
        left_out=() if full_size or arguments.models else (NO_FULL_SIZE,),
        rounds=arguments.runs,
        timed_runs=TIMED_RUNS,
        seed=arguments.seed,
        pictures=len(samples),
        models=tuple(models),
        stream=stream,
        stream_failure=failure,
        many=many,
        many_failure=many_failure,
        threads=threads(),
        machine=machine(),
        versions=versions(),
        command=arguments.command,
        created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    text = as_text(report)
    folder.mkdir(parents=True, exist_ok=True)
    write_plot(folder / NAMES[2], report)
    write_text_whole(folder / NAMES[1], text)
    write_text_whole(folder / NAMES[0], json_text(report))
    print(json_text(report) if arguments.json else text, end="")
    ran = all(any(row.figures for row in model.rows) for model in models)
    return EXIT_OK if ran else EXIT_FOUND_WANTING


def invalid(models: Sequence[ModelRows], rounds: int) -> tuple[str, ...]:
    """Why latencies must not be quoted; empty where they may."""
    reasons: list[str] = []
    if rounds < FEWEST_ROUNDS:
        reasons.append(f"{rounds} rounds, expected at least {FEWEST_ROUNDS}")
    reasons += [
        f"{model.name}: {model.gemm.fault};"
        " do not quote milliseconds; ratios are as good as their P10-P90 agree"
        for model in models
        if model.gemm.fault
    ]
    return tuple(reasons)


def _plans(arguments: argparse.Namespace) -> list[ModelPlan]:
    check_range("--runs", arguments.runs, 1, MOST_ROUNDS)
    check_range("--stream-pictures", arguments.stream_pictures, 0, MOST_STREAM_PICTURES)
    check_range("--many-pictures", arguments.many_pictures, 0, MOST_STREAM_PICTURES)
    check_range("--seed", arguments.seed, 0, 2**32 - 1)
    Settings(threads=arguments.threads)  # refuses a number that is none
    models = parse_models(arguments.models or [STARTER_MODEL])
    wanted = arguments.rows or tuple(ROWS)
    return [
        plan_model(name, path, arguments.builds, wanted, arguments.threads)
        for name, path in models.items()
    ]


def _checked_output(
    folder: Path, plans: Sequence[ModelPlan], samples: Sequence[Sample], boxes: str | None
) -> Path:
    """Check the folder; it is made at the end, so that an interrupted run leaves none.

    Raises:
        ConfigError: it cannot be made or written to, or a file that is read stands in it.
        BackendUnavailable: nothing to draw with.
    """
    check_drawing("benchmarks.suite")
    there = folder if folder.exists() else next(p for p in folder.absolute().parents if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(
            f"--output {shown(folder)}",
            expected="a folder that can be made and written to",
            got=f"{shown(there)}, which is {'read-only' if there.is_dir() else 'no folder'}",
            action="Name another one",
        )
    if folder.is_dir():
        sources = [parse_source(row.opening.source) for plan in plans for row in plan.rows]
        read = files_read(sources, samples, boxes)
        for name in NAMES:
            check_target(folder / name, "--output", read)
    return folder


def _stream(samples: Sequence[Sample], pictures: int) -> tuple[tuple[StreamRun, ...], str]:
    """Both runs, in one process; a failure is told in the report, as a row's is."""
    if not pictures:
        return (), "left out by --stream-pictures 0"

    def runs() -> Iterator[StreamRun]:
        with _in_process("stream", StreamWorker, samples) as worker:
            for given in command_line.progress(("files", "decoded"), "Streaming", 2):
                yield worker.call(given, pictures, timeout_s=PATIENCE_S + pictures)

    return _until_failure(runs())


def _many(
    bundle: Path, samples: Sequence[Sample], pictures: int
) -> tuple[tuple[ManyRun, ...], str]:
    """As the stream: a failure is told, and the rest stands."""
    if not pictures:
        return (), "left out by --many-pictures 0"
    if not (bundle / MANIFEST_NAME).is_file():
        return (), f"no bundle in {shown(bundle)}"

    def runs() -> Iterator[ManyRun]:
        with _in_process("many", ManyWorker, bundle, samples, pictures) as worker:
            yield from worker.call("folder", timeout_s=PATIENCE_S + pictures)
        engines = ManyWorker(bundle, samples, pictures)
        local = engines.engine("local")
        yield local
        yield against(engines.engine("ray"), local)

    return _until_failure(command_line.progress(runs(), "Many pictures", 4))


@contextmanager
def _in_process(name: str, make: Callable[..., object], *arguments: Any) -> Iterator[ProcessProxy]:
    proxy = ProcessProxy(name, "Look at the error before this one", make, *arguments)
    try:
        yield proxy
    finally:
        proxy.kill()


def _until_failure(runs: Iterator[Run]) -> tuple[tuple[Run, ...], str]:
    """The runs up to the first that fails, and why it did."""
    found: list[Run] = []
    try:
        for run in runs:
            found.append(run)  # noqa: PERF402  # what was found before a failure is kept
    except StarmarkError as error:
        return tuple(found), str(error)
    return tuple(found), ""


def main(argv: Sequence[str] | None = None) -> int:
    """As `python -m benchmarks.suite`."""
    given = sys.argv[1:] if argv is None else argv
    return command_line.run(lambda: run(parse(given)))


if __name__ == "__main__":
    sys.exit(main())
