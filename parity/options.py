"""Option groups of the command lines that run sources, and what they must not write over."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from parity.boxes import points_file
from parity.judging.expected import Given
from parity.judging.verdict import JUDGED_BY, Limits
from parity.recording.recording import RECORDING_SUFFIX
from parity.rehearsal.keep_list import KeepList, read_keep_list
from parity.samples import BOX_CHOICES, Sample, default_samples, find_samples
from parity.sources import NOTHING_KEPT, REHEARSAL
from runtime.cli.options import add_max_pixels
from runtime.errors import ConfigError
from runtime.files import check_target
from runtime.files.listing import Skip
from runtime.model.source import Source

MOST_JOBS = 64


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """Which pictures sources are run on, how they are read, and what is passed over."""

    images: Sequence[str]
    boxes: str | None
    jobs: int
    strict: bool
    max_pixels: int
    skipped: dict[str, Skip] = field(default_factory=dict)

    @staticmethod
    def add(parser: argparse.ArgumentParser) -> None:
        """--images, --boxes, --jobs, --strict and --max-pixels."""
        add = parser.add_argument
        add("--images", nargs="+", metavar="PATH", help="pictures, folders or globs")
        add(
            "--boxes",
            metavar="WHERE",
            help=f"{', '.join(BOX_CHOICES)}, or a .json, .csv or .tsv file (default: the .pts"
            " beside a picture where there is one, else the whole picture)",
        )
        add(
            "--jobs",
            type=int,
            default=1,
            metavar="N",
            help="threads that decode pictures (default 1)",
        )
        add("--strict", action="store_true", help="an unreadable picture is an error")
        add_max_pixels(parser)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> PictureOptions:
        """The group's values.

        Raises:
            ConfigError: --jobs out of range, or --boxes without --images.
        """
        images, boxes = arguments.images or (), arguments.boxes
        check_range("--jobs", arguments.jobs, 1, MOST_JOBS)
        if boxes and not images:
            raise ConfigError(
                "--boxes",
                expected="--images beside it, whose boxes these are",
                got="no --images",
                action="Name the pictures",
            )
        return cls(
            images=images,
            boxes=boxes,
            jobs=arguments.jobs,
            strict=arguments.strict,
            max_pixels=arguments.max_pixels,
        )

    def samples(self) -> list[Sample]:
        """The pictures; the embedded samples without --images. Raises as `find_samples`."""
        found = default_samples()
        if self.images:
            found = find_samples(self.images, self.boxes, self.skipped)
        return [replace(sample, max_pixels=self.max_pixels) for sample in found]


class KeepOption:
    """The list of what a rehearsal does not round."""

    @staticmethod
    def add(parser: argparse.ArgumentParser) -> None:
        """--keep."""
        parser.add_argument(
            "--keep",
            type=Path,
            metavar="FILE",
            help="operators that a rehearsal leaves in fp32: the file that atc's --keep_dtype"
            " takes",
        )

    @staticmethod
    def of(arguments: argparse.Namespace, sources: Sequence[Source]) -> KeepList:
        """Read the list.

        Raises:
            ConfigError: nothing is rehearsed, or no list.
        """
        if arguments.keep is None:
            return NOTHING_KEPT
        if not any(source.engine == REHEARSAL for source in sources):
            raise ConfigError(
                "--keep",
                expected=f"a rehearsal among the sources, for example MODEL@{REHEARSAL}/fp16",
                got=" ".join(source.text for source in sources),
                action="Name one, or leave --keep out",
            )
        return read_keep_list(arguments.keep, "keep")


class LimitOptions:
    """The limits of the verdict that are given; the others depend on what is compared."""

    @staticmethod
    def add(parser: argparse.ArgumentParser) -> None:
        """--max-mean, --max-error, --max-p95, --max-p99, --unit, --max-spread and --max-axis."""
        usual = Limits()
        group = parser.add_argument_group(
            "limits (two fp32 engines are held to rounding, int8 to its budget, else the promise of"
            f" mean {usual.max_mean_px} and max {usual.max_error_px} px; one option for the"
            " landmarks replaces all of the rounding's or budget's)"
        )
        for name, dest, what in (
            ("mean", "max_mean_px", "of the landmarks; none does not judge it"),
            ("error", "max_error_px", "the maximum; likewise"),
            ("p95", "max_p95_px", None),
            ("p99", "max_p99_px", None),
            ("spread", "max_spread_px", "mean change of the covariance's spread, crop px"),
            ("axis", "max_axis_deg", "mean turn of the covariance's longer axis, degrees"),
        ):
            metavar = "DEGREES" if name == "axis" else "PX"
            group.add_argument(
                f"--max-{name}",
                dest=dest,
                type=_limit_or_none,
                default=argparse.SUPPRESS,
                metavar=metavar,
                help=what,
            )
        group.add_argument(
            "--unit", choices=("photo", "crop"), default=argparse.SUPPRESS, help="px of the limits"
        )

    @staticmethod
    def of(arguments: argparse.Namespace) -> Given:
        """The limits that are given; a ConfigError for those that cannot be meant."""
        known = {*JUDGED_BY, "unit"}
        given = {name: value for name, value in vars(arguments).items() if name in known}
        # a mean that is given stands alone
        given |= {"max_spread_p99_px": None} if "max_spread_px" in given else {}
        given |= {"max_axis_p99_deg": None} if "max_axis_deg" in given else {}
        Limits(**given).check()
        return given


def _limit_or_none(text: str) -> float | None:
    try:
        return None if text == "none" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected px or none, got {text!r}") from None


def check_range(option: str, given: int, least: int, most: int) -> None:
    """Raise a ConfigError for a number out of range."""
    if not least <= given <= most:
        raise ConfigError(
            option,
            expected=f"{least:,} to {most:,}",
            got=str(given),
            action="Choose a number in this range",
        )


def files_read(
    sources: Iterable[Source], samples: Iterable[Sample] = (), *others: Path | str | None
) -> list[Path]:
    """Every file that a command reads, and must not write over."""
    read = [Path(other) for other in others if other]
    for source in sources:
        read += [source.path, *(source.path.iterdir() if source.path.is_dir() else ())]
    for sample in samples:
        read += [sample.path, points_file(sample.path)]
    return read


def check_recording_name(path: Path, option: str, inputs: Sequence[Path]) -> None:
    """Raise a ConfigError for a recording that cannot be written, before it is made."""
    check_target(path, option, inputs)
    if path.suffix != RECORDING_SUFFIX:
        raise ConfigError(
            f"{option} {path}",
            expected=f"a name that ends in {RECORDING_SUFFIX}",
            got=repr(path.suffix),
            action="Change the suffix",
        )
