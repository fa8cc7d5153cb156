"""python -m export.preflight: what ATC would refuse or silently change, without CANN."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from export.atc.precision import DEFAULT_MODE, DEFAULT_OPTION, MODES
from export.preflight import as_text, fatal, preflight
from runtime.cli import command_line
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK
from runtime.files import json_text, shown
from runtime.machine.npu_smi import chosen_soc

logger = logging.getLogger("starmark")


def main(argv: list[str] | None = None) -> int:
    """Check one graph.

    Returns:
        0 where nothing was found but risks, 1 where ATC would refuse or change the graph, or as
        `runtime.errors` lists.
    """
    return command_line.run(lambda: _check(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "export.preflight",
        "List every reason ATC would refuse or silently change an ONNX graph, without CANN.",
        "python -m export.preflight model.onnx --soc_version Ascend910B3",
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help=".onnx file, or a bundle's folder")
    add("--soc_version", metavar="NAME", help="exact chip, or auto; without, it is not checked")
    batches = parser.add_mutually_exclusive_group()
    batches.add_argument(
        "--batch_sizes",
        type=_numbers,
        metavar="N,N",
        help="one converted model for each (default 1)",
    )
    batches.add_argument(
        "--dynamic_batch_size", type=_numbers, metavar="N,N", help="one converted model for all"
    )
    precision = parser.add_mutually_exclusive_group()
    for option, modes in MODES.items():
        precision.add_argument(f"--{option}", choices=tuple(modes), help="as atc is given it")
    add("--json", action="store_true", help="print the findings as JSON")
    return parser.parse_args(argv)


def _numbers(text: str) -> tuple[int, ...]:
    if not all(part.isascii() and part.isdecimal() and int(part) for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"expected 1,2,4 or the like, got {text!r}")
    return tuple(int(part) for part in text.split(","))


def _check(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr()
    soc_version = arguments.soc_version
    if soc_version is None:
        logger.warning("NOTE: no --soc_version: what depends on the chip is not checked")
    named = [
        f"{option}={getattr(arguments, option)}" for option in MODES if getattr(arguments, option)
    ]
    plan: dict[str, Any] = {
        "soc_version": soc_version and chosen_soc(soc_version).as_option,
        "batches": arguments.dynamic_batch_size or arguments.batch_sizes or (1,),
        "gears": arguments.dynamic_batch_size is not None,
        "precision": named[0] if named else f"{DEFAULT_OPTION}={DEFAULT_MODE}",
    }
    model = shown(arguments.model)
    with command_line.step(f"check {model}"):
        findings = preflight(arguments.model, **plan)
    if arguments.json:
        passed = not fatal(findings)
        listing = {"model": model, **plan, "passed": passed, "findings": findings}
        sys.stdout.write(json_text(listing))
    else:
        print(as_text(model, findings))
    return EXIT_FOUND_WANTING if fatal(findings) else EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
