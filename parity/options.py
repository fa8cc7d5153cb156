"""What the command lines of this room share: which pictures, and what must not be written over."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from parity.judging.verdict import Limits
from parity.rehearsal.keep_list import KeepList, read_keep_list
from parity.samples import BOX_CHOICES, Sample, default_samples, find_samples
from parity.sources import NOTHING_KEPT, REHEARSAL
from runtime.errors import ConfigError
from runtime.files import check_target
from runtime.model.source import Source

RECORDING_SUFFIX = ".npz"
MOST_JOBS = 64


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which pictures, shared with the comparison."""
    add = parser.add_argument
    add("--images", nargs="+", metavar="PATH", help="pictures, folders or globs")
    add(
        "--boxes",
        metavar="WHERE",
        help=f"{', '.join(BOX_CHOICES)}, or a .json, .csv or .tsv file (default: the .pts beside a"
        " picture where there is one, else the whole picture)",
    )
    add("--jobs", type=int, default=1, metavar="N", help="threads that decode pictures (default 1)")
    add("--strict", action="store_true", help="an unreadable picture is an error")


def chosen_samples(arguments: argparse.Namespace) -> list[Sample]:
    """The pictures that the options name; the embedded samples without --images.

    Raises:
        InputError, ConfigError: see `find_samples`; or --jobs out of range.
    """
    if not 1 <= arguments.jobs <= MOST_JOBS:
        raise ConfigError(
            "--jobs",
            expected=f"1 to {MOST_JOBS} threads",
            got=str(arguments.jobs),
            action="Choose about as many as the machine has cores",
        )
    if arguments.boxes and not arguments.images:
        raise ConfigError(
            "--boxes",
            expected="to say how --images are shown",
            got="no --images",
            action="Name the pictures",
        )
    if not arguments.images:
        return default_samples()
    return find_samples(arguments.images, arguments.boxes)


def add_keep_option(parser: argparse.ArgumentParser) -> None:
    """The list of what a rehearsal does not round."""
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FILE",
        help="operators that a rehearsal leaves in fp32: the file that atc's --keep_dtype takes",
    )


def keep_list(path: Path | None, sources: Iterable[Source]) -> KeepList:
    """Read --keep.

    Raises:
        ConfigError: nothing is rehearsed, or no list.
    """
    if path is None:
        return NOTHING_KEPT
    listed = list(sources)
    if not any(source.engine == REHEARSAL for source in listed):
        raise ConfigError(
            "--keep",
            expected=f"a rehearsal among the sources, for example MODEL@{REHEARSAL}/fp16",
            got=" ".join(source.text for source in listed),
            action="Name one, or leave --keep out",
        )
    return read_keep_list(path, "keep")


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    """The limits of the verdict."""
    add, promise = parser.add_argument, Limits()
    for name, default in (("mean", promise.max_mean_px), ("error", promise.max_error_px)):
        add(
            f"--max-{name}",
            type=_limit_or_none,
            default=default,
            metavar="PX",
            help=f"default {default}; none does not judge it",
        )
    add("--max-p95", type=float, metavar="PX")
    add("--max-p99", type=float, metavar="PX")
    add("--unit", choices=("photo", "crop"), default="photo", help="px of the limits")


def _limit_or_none(text: str) -> float | None:
    try:
        return None if text == "none" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected px or none, got {text!r}") from None


def chosen_limits(arguments: argparse.Namespace) -> Limits:
    """The limits that the options give.

    Raises:
        ConfigError: limits that cannot be meant.
    """
    return Limits(
        max_mean_px=arguments.max_mean,
        max_error_px=arguments.max_error,
        max_p95_px=arguments.max_p95,
        max_p99_px=arguments.max_p99,
        unit=arguments.unit,
    ).check()


def files_read(
    sources: Iterable[Source],
    samples: Iterable[Sample],
    boxes: str | None = None,
    keep: Path | None = None,
) -> list[Path]:
    """Every file that a comparison reads, and must not write over."""
    read = [Path(boxes)] if boxes else []
    read += [keep] if keep else []
    for source in sources:
        read += [source.path, *(source.path.iterdir() if source.path.is_dir() else ())]
    for sample in samples:
        read += [sample.path, sample.path.with_suffix(".pts")]
    return read


def check_recording_name(path: Path, option: str, inputs: Sequence[Path]) -> None:
    """Find out early that a recording cannot be written.

    Raises:
        ConfigError: another suffix, no such folder, or a file that is read.
    """
    check_target(path, option, inputs)
    if path.suffix != RECORDING_SUFFIX:
        raise ConfigError(
            f"{option} {path}",
            expected=f"a name that ends in {RECORDING_SUFFIX}",
            got=repr(path.suffix),
            action="Change the suffix",
        )
