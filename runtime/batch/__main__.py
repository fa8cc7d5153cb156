"""python -m runtime.batch: any number of pictures into Parquet, on one machine or on a cluster."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path

from runtime.batch.dispatch import Outcome
from runtime.batch.inputs import Inputs, find_inputs
from runtime.batch.results import Results
from runtime.batch.stored import Partition, stamped
from runtime.batch.workers import Job, run_locally
from runtime.cli import command_line
from runtime.cli.language import ENGLISH, Words
from runtime.cli.options import DEFAULT_MODEL, EngineOptions, FaceOptions, check_range
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK, ConfigError
from runtime.files import sha256_json
from runtime.machine import processor
from runtime.many.heading import Heading, digest_of
from runtime.many.inputs import ADDRESS, check_apart
from runtime.many.summary import Summary
from runtime.model.device import Device
from runtime.model.source import parse_source

PER_PARTITION = 500
MOST_WORKERS = 256
EXAMPLE = """\
python -m runtime.batch photos/ --output results/ --model build/star68 --device npu:0,npu:1
  python -m runtime.batch s3://b/faces.parquet --output s3://b/points --engine ray --device npu"""

logger = logging.getLogger("starmark")


@dataclass(kw_only=True)
class BatchSummary(Summary):
    """Counts over all results, those of earlier runs included; "now" is this run.

    Attributes:
        partitions: all there are.
        first_to_last_s: from its first partition's end to its last one's, start excluded.
        pictures_after_first: of the partitions after the first.
        set_aside: partitions that ended their worker twice; their rows are missing.
    """

    partitions: int
    first_to_last_s: float = 0.0
    pictures_after_first: int = 0
    set_aside: list[str] = field(default_factory=list)

    def lines(self, say: Words = ENGLISH) -> list[str]:
        """A few lines for people."""
        pictures, *others = super().lines(say)
        aside = [say("Set aside: {name}", name=one) for one in self.set_aside]
        return [pictures, say("Partitions: {count}", count=self.partitions), *aside, *others]


def main(argv: list[str] | None = None) -> int:
    """Run every input, or what is left of them.

    Returns:
        Exit code: 0; 1 where pictures failed; or as `runtime.errors` lists them.
    """
    return command_line.run(lambda: _batch(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "runtime.batch",
        "Find the landmarks in any number of pictures, into a folder of Parquet files with a row\n"
        "for each picture. The same command goes on where it was stopped.",
        EXAMPLE,
    )
    add = parser.add_argument
    named = command_line.named
    help_of = "folder or glob of pictures, or Parquet of bytes or paths"
    add("input", type=named, metavar="INPUT", help=help_of)
    help_of = "folder of the results, or its address"
    add("--output", required=True, type=named, metavar="DIR", help=help_of)
    add("--engine", choices=("local", "ray"), default="local", help="(default local)")
    add("--model", default=DEFAULT_MODEL, metavar="SOURCE", help=f"(default {DEFAULT_MODEL})")
    add("--device", default="auto", help="one, or with the local engine one for each worker: A,B")
    add("--workers", type=int, metavar="N", help="processes or actors (default: one a device)")
    add(
        "--partition",
        type=int,
        default=PER_PARTITION,
        metavar="N",
        help=f"pictures in each file (default {PER_PARTITION}); what a killed worker does again",
    )
    add("--column", metavar="NAME", help="of a Parquet's pictures or paths (default: found)")
    help_of = "of a Parquet's boxes: x1, y1, x2, y2 in px, one list a row or several"
    add("--boxes-column", default="", metavar="NAME", help=help_of)
    help_of = "open no address of another machine that a Parquet's row names: that row is an error"
    add("--forbid-remote", action="store_true", help=help_of)
    FaceOptions.add(parser)
    EngineOptions.add(parser)
    add("--json", action="store_true", help="print the summary as JSON")
    add("--verbose", action="store_true", help="log more")
    return parser.parse_args(argv)


def _batch(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr(verbose=arguments.verbose)
    check_range("--workers", arguments.workers, 1, MOST_WORKERS)
    check_range("--partition", arguments.partition, 1)
    faces = FaceOptions.of(arguments)
    if arguments.boxes_column and faces.found_by is not None:
        raise ConfigError(
            "--boxes-column",
            expected="either --faces or --boxes-column",
            got="both",
            action="A face is cut in one way: leave one of them out",
        )
    check_apart(arguments.input, arguments.output)
    inputs = find_inputs(
        arguments.input,
        arguments.partition,
        arguments.column,
        boxes=faces.boxes,
        box_column=arguments.boxes_column,
        forbid_remote=arguments.forbid_remote,
    )
    # the device in the model's own name counts where none stands beside it
    devices = [parse_source(arguments.model, one).device for one in _devices(arguments)]
    job = _job(arguments, faces, devices)
    heading = _heading(job, inputs)
    job = replace(job, heading_sha256=sha256_json(heading))
    results = Results(arguments.output, job.heading_sha256)
    with results.locked():
        results.begin(heading)
        summary = _all(arguments, job, inputs, results, devices)
    summary.log_left_out()
    faces.hint(summary.unsure)
    for one in summary.set_aside:
        logger.warning("set aside: %s. The same command tries it again", one)
    text = summary.json(engine=arguments.engine) if arguments.json else "\n".join(summary.lines())
    print(text)
    return EXIT_FOUND_WANTING if summary.failed or summary.set_aside else EXIT_OK


def _all(
    arguments: argparse.Namespace,
    job: Job,
    inputs: Inputs,
    results: Results,
    devices: Sequence[str],
) -> BatchSummary:
    """Run what is left of the partitions, and count what is there."""
    partitions = tuple(stamped(inputs.partitions))
    before = results.finished(partitions)
    left = [one for one in partitions if one.index not in before]
    if before:
        logger.info("resumed: %d of %d partitions are done", len(before), len(partitions))
    summary = BatchSummary(
        partitions=len(partitions), saved=[arguments.output], skipped=inputs.skipped
    )
    missing: set[int] = set()
    try:
        missing = _run(arguments, job, left, devices, summary)
    except BaseException:
        done = inputs.count - sum(one.count for one in left) + summary.pictures_now
        message = "stopped after %d of %d pictures: the same command goes on"
        logger.warning(message, done, inputs.count)
        raise
    finally:
        results.sweep()
    for partition in partitions:
        if partition.index not in missing:
            names = ["picture", "status", "faces", "error", "warning"]
            found = results.columns(partition.index, names)
            for row in zip(*found.values(), strict=True):
                summary.count(*row)
    return summary


def _run(
    arguments: argparse.Namespace,
    job: Job,
    left: Sequence[Partition],
    devices: Sequence[str],
    summary: BatchSummary,
) -> set[int]:
    """Run partitions; gives those that were set aside."""
    start, total = time.perf_counter(), sum(one.count for one in left)
    first_s: float | None = None
    missing: set[int] = set()

    def pictures() -> Iterator[None]:
        nonlocal first_s
        with closing(_outcomes(arguments, job, left, devices)) as running:
            for outcome in running:
                now_s, count = time.perf_counter() - start, outcome.partition.count
                if not outcome.is_done:
                    missing.add(outcome.partition.index)
                    summary.set_aside.append(outcome.partition.text)
                    continue
                summary.pictures_now += count
                if first_s is None:
                    first_s = now_s
                else:
                    summary.pictures_after_first += count
                    summary.first_to_last_s = now_s - first_s
                yield from repeat(None, count)

    for _ in command_line.progress(pictures(), "pictures", total):
        pass
    summary.seconds_now = time.perf_counter() - start
    return missing


def _outcomes(
    arguments: argparse.Namespace, job: Job, left: Sequence[Partition], devices: Sequence[str]
) -> Generator[Outcome, None, None]:
    if arguments.engine == "local":
        yield from run_locally(job, left, devices)
    elif left:
        from runtime.batch.on_ray import run_on_ray

        yield from run_on_ray(job, left, arguments.workers)


def _devices(arguments: argparse.Namespace) -> list[str]:
    """One for each local worker; of Ray's, the kind."""
    named = [name.strip() for name in arguments.device.split(",")]
    several = len(named) > 1
    if not all(named) or (several and arguments.engine == "ray"):
        raise ConfigError(
            "--device",
            expected="a device, or with --engine local several with commas between them",
            got=repr(arguments.device),
            action="Name npu for a cluster: Ray gives each worker its own",
        )
    if several and arguments.workers not in (None, len(named)):
        raise ConfigError(
            "--workers",
            expected=f"{len(named)}, one for each of {arguments.device}",
            got=str(arguments.workers),
            action="Leave it out",
        )
    return named if several else named * (arguments.workers or 1)


def _job(arguments: argparse.Namespace, faces: FaceOptions, devices: Sequence[str]) -> Job:
    settings = EngineOptions.of(arguments)
    if settings.threads is None and (len(devices) > 1 or arguments.engine == "ray"):
        # many workers, each with a thread for every core, are slower than few; Ray counts cores
        share = 1 if arguments.engine == "ray" else processor.cores() // len(devices)
        settings = replace(settings, threads=max(1, share))
    faces.finder()  # what is wrong with it is an error here, before any worker starts
    named = parse_source(arguments.model, devices[0])
    model = replace(named, path=named.path.resolve())
    output = arguments.output
    return Job(
        model=model,
        settings=settings,
        bundle_sha256=digest_of(model),
        faces=faces,
        # actors have a working folder of their own
        output=output if ADDRESS in output else str(Path(output).resolve()),
    )


def _heading(job: Job, inputs: Inputs) -> Heading:
    engine = job.model.engine or "engine by the file"
    return Heading(
        model=job.bundle_sha256,
        engine=f"{engine} on {Device.of(job.model.device).kind}",
        given=f"{inputs.count} inputs in {len(inputs.partitions)} partitions, {inputs.sha256}",
        options={
            **job.faces.heading(),
            "precision": f"{job.settings.precision}, hf32 {job.settings.allow_hf32}",
            **job.settings.of_weights,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
