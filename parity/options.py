"""What the command lines of this room share: which pictures, and what must not be written over."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from parity.samples import BOX_CHOICES, Sample, default_samples, find_samples
from runtime.errors import ConfigError
from runtime.files import check_target
from runtime.source import Source

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


def files_read(
    sources: Iterable[Source], samples: Iterable[Sample], boxes: str | None = None
) -> list[Path]:
    """Every file that a comparison reads, and must not write over."""
    read = [Path(boxes)] if boxes else []
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
