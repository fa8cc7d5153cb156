"""The command line's word on int8, over the configuration's [int8] table."""

from __future__ import annotations

import argparse

import msgspec

from export.int8.table import USUAL_P99_PX, Int8Table
from parity.plan.precision_plan import parse_budget
from runtime.errors import ConfigError


def add_int8_options(parser: argparse.ArgumentParser) -> None:
    """The options that say how an int8 bundle is made."""
    add = parser.add_argument_group("int8 (into build/NAME_int8; instead of [int8])").add_argument
    add("--precision", choices=("fp32", "int8"), help="instead of precision (default fp32)")
    add(
        "--budget",
        metavar="LIMITS",
        help="what int8 may move the points on --validation, crop px, for example p99=0.5,max=2"
        f" (default p99={USUAL_P99_PX:g})",
    )
    for which, what in (
        ("calibration", "pictures, folders or globs to take ranges from (default: embedded ones)"),
        ("validation", "others, to hold the budget on (default: every third for --calibration)"),
    ):
        add(f"--{which}", nargs="+", metavar="PATH", help=what)


def override_int8(table: Int8Table, precision: str, arguments: argparse.Namespace) -> Int8Table:
    """The command line over the [int8] table; pictures are taken from the current folder.

    Raises:
        ConfigError: options for int8 without int8, or no possible budget.
    """
    named = [o for o in ("budget", "calibration", "validation") if getattr(arguments, o)]
    if named and precision != "int8":
        raise ConfigError(
            f"--{named[0]}",
            expected="an int8 export, which it is about",
            got=f"precision {precision}",
            action="Add --precision int8, or leave it out",
        )
    if arguments.budget is not None:
        table = table.with_budget(parse_budget(arguments.budget, "crop"))
    if arguments.calibration is not None:
        # pictures named here replace all of the file's
        table = msgspec.structs.replace(
            table, calibration=tuple(arguments.calibration), validation=()
        )
    if arguments.validation is not None:
        table = msgspec.structs.replace(table, validation=tuple(arguments.validation))
    return table
