"""The command line of an export, over its configuration.

An option that stands for a key of the configuration has that key as its destination, for example
`atc.timeout_s`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from export.atc.options import FILE_OPTIONS
from export.atc.plan import Policy
from export.config import REWRITES, ExportConfig, Rewrite, check_config, in_order, read_config
from export.job import fitting_config
from parity.judging.expected import USUAL_P99_PX
from parity.plan.precision_plan import parse_budget
from runtime.cli import command_line
from runtime.cli.options import add_weights_options
from runtime.errors import ConfigError

DEFAULT_CONFIG = Path("configs/starter68.toml")
TABLES = ("model", "onnx", "int8", "parity", "atc")
# ATC's own options of the [atc] table.
ATC_OPTIONS = (
    *("soc_version", "dynamic_batch_size", "precision_mode", "precision_mode_v2"),
    *(*FILE_OPTIONS, "op_select_implmode", "optypelist_for_implmode", "output_type"),
)


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """One command line.

    Attributes:
        config: with what the command line replaces in it, checked.
        again: the command line itself, but for --om and --soc_version.
        passed_on: what follows the "--", but for options that stand in the [atc] table, too.
    """

    config: ExportConfig
    output: Path | None
    om: Policy
    taps: bool
    parity: bool
    print_atc: bool
    dry_run: bool
    again: tuple[str, ...]
    passed_on: tuple[str, ...]


def parse(given: Sequence[str]) -> ExportOptions:
    """Read a command line and the configuration it names; begin to log.

    Raises:
        ConfigError: as `read_config` and `check_config`; or options that exclude each other.
    """
    cut = given.index("--") if "--" in given else len(given)
    ours, passed_on = _apart(given[cut + 1 :])
    given = (*given[:cut], *ours)
    arguments = _parser().parse_args(given)
    command_line.log_to_stderr(verbose=arguments.verbose)
    path = arguments.config or DEFAULT_CONFIG
    if arguments.config is None and arguments.weights:
        path = fitting_config(Path(arguments.weights), arguments.weights_key)
    changed = check_config(_override(read_config(path), arguments, passed_on), path)
    return ExportOptions(
        config=changed,
        output=arguments.output,
        om=arguments.om,
        taps=arguments.taps,
        parity=not arguments.no_parity,
        print_atc=arguments.print_atc,
        dry_run=arguments.dry_run,
        again=_without(given, ("--om", "--soc_version")),
        passed_on=passed_on,
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        "export",
        "Export a checkpoint to ONNX, simplify it, judge it in pixels against the checkpoint,\n"
        "convert it to .om where CANN's atc is, and put the bundle into place. Steps whose inputs\n"
        "have not changed are skipped. What follows -- goes to atc.",
        "python -m export --config configs/star68.toml --om require --soc_version Ascend910B3",
    )
    add = parser.add_argument
    help_config = f"(default: the one under configs/ that fits --weights, or {DEFAULT_CONFIG})"
    add("--config", type=Path, metavar="TOML", help=help_config)
    add("--weights", metavar="FILE", help="checkpoint, instead of the configuration's")
    add_weights_options(add, size="model.input_size")
    add("--output", type=Path, metavar="DIR", help="bundle's folder (default build/NAME)")
    exporters, inputs = ("auto", "torchscript", "dynamo"), ("float32", "uint8")
    add("--exporter", dest="onnx.exporter", choices=exporters, help="instead of [onnx] exporter")
    add("--opset", dest="onnx.opset", type=int, metavar="N", help="instead of [onnx] opset")
    help_batch = "a graph for this one batch, instead of any; for tools that need static shapes"
    add("--batch", dest="onnx.batch", type=int, metavar="N", help=help_batch)
    add("--input", dest="onnx.input", choices=inputs, help="instead of [onnx] input")
    _add_int8_options(parser)
    add(
        "--rewrites",
        dest="onnx.rewrites",
        type=_rewrites,
        metavar="NAMES",
        help="instead of [onnx] rewrites: none, all or NAME,NAME",
    )
    for name, key in (("mean", "max_mean_px"), ("error", "max_error_px")):
        dest = f"parity.{key}"
        add(f"--max-{name}", dest=dest, type=float, metavar="PX", help=f"instead of [parity] {key}")
    add("--taps", action="store_true", help="a debug bundle: also give the tensors inside (slow)")
    add("--no-parity", action="store_true", help="do not judge; the manifest will record that")
    _add_atc_options(parser)
    add("--dry-run", action="store_true", help="print what would be done, write nothing")
    add("--verbose", action="store_true", help="log more")
    return parser


def _add_int8_options(parser: argparse.ArgumentParser) -> None:
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
        add(f"--{which}", dest=f"int8.{which}", nargs="+", metavar="PATH", help=what)


def _add_atc_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("conversion to .om (ATC's own names, instead of [atc])")

    def add(name: str, **how: Any) -> None:
        group.add_argument(f"--{name}", **({"dest": f"atc.{name}"} | how))

    group.add_argument(
        "--om",
        choices=("auto", "require", "never"),
        default="auto",
        help="convert where atc is and a chip is named (default), always, or not at all",
    )
    add("soc_version", metavar="NAME", help="exact chip, for example Ascend910B3; or auto")
    add("batch_sizes", type=_numbers, metavar="N,N", help="a static .om for each (default 1)")
    add("dynamic_batch_size", metavar="N,N", help="one .om with these gears")
    add("precision_mode", metavar="MODE")
    add("precision_mode_v2", metavar="MODE", help="for example origin, for true fp32")
    for name in FILE_OPTIONS:
        add(name, metavar="FILE")
    add("op_select_implmode", metavar="MODE")
    add("optypelist_for_implmode", metavar="TYPES")
    add("output_type", metavar="TYPE", help="FP32 or FP16")
    add("aipp", action="store_true", default=None, help="the chip normalises uint8 crops")
    timeout = {"dest": "atc.timeout_s", "type": float, "metavar": "S"}
    add("atc_timeout", **timeout, help="seconds one conversion may take")
    add(
        "ignore-preflight",
        dest="atc.ignore_preflight",
        action="append",
        metavar="RULE",
        help="convert although preflight finds this; may be repeated",
    )
    group.add_argument(
        "--print-atc", action="store_true", help="print atc's command line and do nothing"
    )


def _override(
    config: ExportConfig, arguments: argparse.Namespace, passed_on: tuple[str, ...]
) -> ExportConfig:
    """The command line over the configuration; files are taken from the current folder."""
    given: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    for name, value in vars(arguments).items():
        table, dot, key = name.partition(".")
        if dot and value is not None:
            given[table][key] = tuple(value) if isinstance(value, list) else value
    onnx, int8, atc = given["onnx"], given["int8"], given["atc"]
    if "exporter" in onnx:
        # an opset of the configuration belongs to the exporter named there
        onnx.setdefault("opset", None)
    precision = arguments.precision or config.precision
    about_int8 = [*(["budget"] if arguments.budget else []), *int8]
    if about_int8 and precision != "int8":
        raise ConfigError(
            f"--{about_int8[0]}",
            expected="an int8 export, which it is about",
            got=f"precision {precision}",
            action="Add --precision int8, or leave it out",
        )
    if "calibration" in int8:
        int8.setdefault("validation", ())  # pictures named here replace all of the file's
    if arguments.budget is not None:
        int8 |= config.int8.limits_of(parse_budget(arguments.budget, "crop"))
    # one kind of batch on the command line replaces the other of the file, and likewise the modes
    for one, other in (
        ("batch_sizes", "dynamic_batch_size"),
        ("precision_mode", "precision_mode_v2"),
    ):
        for named, hidden in ((one, other), (other, one)):
            if named in atc:
                atc.setdefault(hidden, () if hidden == "batch_sizes" else "")
    atc["passed_on"] = (*config.atc.passed_on, *passed_on)
    weights = Path.cwd() / arguments.weights if arguments.weights else config.weights
    replace = msgspec.structs.replace
    tables = {name: replace(getattr(config, name), **keys) for name, keys in given.items()}
    key = arguments.weights_key or ("" if arguments.weights else config.weights_key)
    license_name = "" if arguments.weights else config.weights_license
    return replace(
        config,
        precision=precision,
        weights=str(weights),
        weights_key=key,
        weights_license=license_name,
        **tables,
    )


def _apart(behind: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """ATC's options that the manifest records, wherever they stand, and those that just pass."""
    ours: list[str] = []
    passed: list[str] = []
    left = iter(behind)
    for token in left:
        name, equals, value = token.partition("=")
        name = name.lstrip("-").replace("-", "_")
        if name in ATC_OPTIONS:
            ours += [f"--{name}", value if equals else next(left, "")]
        else:
            passed.append(token)
    return ours, tuple(passed)


def _rewrites(text: str) -> tuple[Rewrite, ...]:
    if text in ("none", "all"):
        return REWRITES if text == "all" else ()
    return in_order([name.strip() for name in text.split(",")], "--rewrites")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(token) for token in text.split(","))
    except ValueError as error:
        raise ConfigError(
            "--batch_sizes",
            expected="whole numbers with commas between, for example 1,4",
            got=repr(text),
            action="Correct it",
        ) from error


def _without(tokens: Sequence[str], options: Sequence[str]) -> tuple[str, ...]:
    kept: list[str] = []
    left = iter(tokens)
    for token in left:
        if token in options:
            next(left, None)  # its value
        elif token.partition("=")[0] not in options:
            kept.append(token)
    return tuple(kept)
