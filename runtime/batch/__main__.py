"""python -m runtime.batch: any number of pictures into Parquet, on one machine or on a cluster."""

from __future__ import annotations

import argparse
import glob
import logging
import os
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path, PurePosixPath

from runtime.batch.inputs import find_inputs
from runtime.batch.job import Job, Results, bundle_sha256_of, heading_of
from runtime.batch.reading import Partition
from runtime.batch.store import ADDRESS, place_of
from runtime.batch.summary import BatchSummary
from runtime.batch.worker import Done
from runtime.cli import command_line
from runtime.cli.options import EngineOptions
from runtime.detector import LARGEST_BATCH
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK, ConfigError
from runtime.faces import add_finder_options, chosen_finder
from runtime.files import shown
from runtime.many.folder import check_apart
from runtime.many.summary import log_failed
from runtime.model.source import parse_source
from runtime.refine import MOST_PASSES
from runtime.stream.stream import MOST_READERS

DEFAULT_MODEL = "build/starter68"
PER_PARTITION = 500
MOST_WORKERS = 256
EXAMPLE = """\
python -m runtime.batch photos/ --output results/ --model build/star68 --device npu:0,npu:1
  python -m runtime.batch s3://b/faces.parquet --output s3://b/points --engine ray --device npu"""

logger = logging.getLogger("starmark")


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
    add("input", metavar="INPUT", help="folder or glob of pictures, or Parquet of bytes or paths")
    add("--output", required=True, metavar="DIR", help="folder of the results, or its address")
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
    add_finder_options(parser)
    add(
        "--refine",
        type=int,
        default=0,
        metavar="N",
        help=f"cut again by the points found, 0 to {MOST_PASSES} times (default 0)",
    )
    add("--readers", type=int, default=2, metavar="N", help="threads that decode, in each worker")
    add("--batch", type=int, metavar="N", help="faces in one call of the device at most")
    EngineOptions.add(parser)
    add("--json", action="store_true", help="print the summary as JSON")
    add("--verbose", action="store_true", help="log more")
    return parser.parse_args(argv)


def _batch(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr(verbose=arguments.verbose)
    _check(arguments)
    _check_apart(arguments)
    inputs = find_inputs(arguments.input, arguments.partition, arguments.column)
    # the device in the model's own name counts where none stands beside it
    devices = [parse_source(arguments.model, one).device for one in _devices(arguments)]
    job = _job(arguments, devices)
    results = Results(arguments.output)
    results.begin(heading_of(job, inputs))
    before = results.finished(inputs.partitions)
    left = [one for one in inputs.partitions if one.index not in before]
    if before:
        told = "resumed: %d of %d partitions are done"
        logger.info(told, len(before), len(inputs.partitions))
    summary = BatchSummary(
        engine=arguments.engine,
        inputs=inputs.count,
        partitions=len(inputs.partitions),
    )
    start = time.perf_counter()
    try:
        with closing(_run(arguments, job, left, devices)) as running:
            for done in command_line.progress(running, "partitions", len(left)):
                summary.add(done, time.perf_counter() - start)
    except BaseException:
        told = "stopped after %d of %d pictures: the same command goes on"
        logger.warning(told, sum(before.values()) + summary.pictures_now, inputs.count)
        raise
    finally:
        results.sweep()
    summary.seconds_now = time.perf_counter() - start
    summary.read(results)
    log_failed(summary.first_failed, summary.failed)
    print(summary.json() if arguments.json else summary.text(arguments.output))
    return EXIT_FOUND_WANTING if summary.failed else EXIT_OK


def _run(
    arguments: argparse.Namespace, job: Job, left: Sequence[Partition], devices: Sequence[str]
) -> Generator[Done, None, None]:
    if not left:
        return
    if arguments.engine == "local":
        from runtime.batch.local import run_locally

        yield from run_locally(job, left, devices)
    else:
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


def _job(arguments: argparse.Namespace, devices: Sequence[str]) -> Job:
    settings = EngineOptions.of(arguments)
    if settings.threads is None and (len(devices) > 1 or arguments.engine == "ray"):
        # many workers, each with a thread for every core, are slower than few; Ray counts cores
        share = 1 if arguments.engine == "ray" else (os.cpu_count() or 1) // len(devices)
        settings = replace(settings, threads=max(1, share))
    chosen_finder(arguments)  # what is wrong with it is found out here, at once
    named = parse_source(arguments.model, devices[0])
    model = replace(named, path=named.path.resolve())
    return Job(
        model=model,
        settings=settings,
        bundle_sha256=bundle_sha256_of(model),
        yunet=str(Path(arguments.faces).resolve()) if arguments.faces else "",
        least_score=arguments.least_score,
        faces_side_px=arguments.faces_side,
        refine=arguments.refine,
        readers=arguments.readers,
        batch=arguments.batch,
        output=_absolute(arguments.output),
    )


def _absolute(output: str) -> str:
    """Actors have a working folder of their own."""
    return output if ADDRESS in output else str(Path(output).resolve())


def _check_apart(arguments: argparse.Namespace) -> None:
    """Refuse results among the inputs: a job that goes on would take them for such."""
    if ADDRESS not in arguments.output:
        check_apart(arguments.input, Path(arguments.output))
    fixed = arguments.input
    while glob.has_magic(fixed) and ADDRESS not in fixed:
        fixed = os.path.dirname(fixed) or "."  # noqa: PTH120  # of a pattern, not of a path
    (kind, inside), (other, target) = place_of(fixed), place_of(arguments.output)
    # a plain pattern looks into one folder alone
    deep = fixed == arguments.input or "**" in arguments.input
    below = target == inside or (deep and PurePosixPath(target).is_relative_to(inside))
    if below and type(kind) is type(other):
        raise ConfigError(
            f"--output {shown(arguments.output)}",
            expected="a folder outside that of the inputs",
            got=f"one in {shown(fixed)}",
            action="Write somewhere else",
        )


def _check(arguments: argparse.Namespace) -> None:
    for name in ("input", "output"):
        if not getattr(arguments, name):
            raise ConfigError(name, expected="a name", got="an empty one", action="Name it")
    for option, value, least, most in (
        ("--workers", arguments.workers, 1, MOST_WORKERS),
        ("--refine", arguments.refine, 0, MOST_PASSES),
        ("--readers", arguments.readers, 1, MOST_READERS),
        ("--batch", arguments.batch, 1, LARGEST_BATCH),
    ):
        if value is not None and not least <= value <= most:
            raise ConfigError(
                option, expected=f"{least} to {most}", got=str(value), action="Correct it"
            )


if __name__ == "__main__":
    sys.exit(main())
