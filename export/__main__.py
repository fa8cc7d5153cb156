"""python -m export: a checkpoint to a judged bundle."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from pathlib import Path

import msgspec

from export import pipeline
from export.atc.options import FILE_OPTIONS, AtcTable
from export.atc.plan import OmPlan, plan_om
from export.atc.to_om import conversions, setting_files
from export.bundle import bundle_in_place, check_output
from export.config import (
    REWRITES,
    ExportConfig,
    OnnxTable,
    Rewrite,
    check_config,
    in_order,
    read_config,
)
from export.int8.options import add_int8_options, override_int8
from export.job import Job, prepare
from export.steps.om import commands
from runtime.cli import command_line
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK, ConfigError
from runtime.files import shown
from runtime.model.manifest import Manifest
from runtime.model.spec import InputSpec

DEFAULT_CONFIG = Path("configs/starter68.toml")

logger = logging.getLogger("starmark")


def main(argv: list[str] | None = None) -> int:
    """Export one model.

    Returns:
        0 with a bundle in place, 1 where parity found it wanting, or as `runtime.errors` lists.
    """
    return command_line.run(lambda: _export(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "export",
        "Export a checkpoint to ONNX, simplify it, judge it in pixels against the checkpoint,\n"
        "convert it to .om where CANN's atc is, and put the bundle into place. Steps whose inputs\n"
        "have not changed are skipped. What follows -- goes to atc.",
        "python -m export --config configs/star68.toml --om require --soc_version Ascend910B3",
    )
    add = parser.add_argument
    add(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="TOML",
        help=f"(default {DEFAULT_CONFIG})",
    )
    add("--weights", metavar="FILE", help="checkpoint, instead of the configuration's")
    add("--output", type=Path, metavar="DIR", help="bundle's folder (default build/NAME)")
    add("--exporter", choices=("auto", "torchscript", "dynamo"), help="instead of [onnx] exporter")
    add("--opset", type=int, metavar="N", help="instead of [onnx] opset")
    add("--input", choices=("float32", "uint8"), help="instead of [onnx] input")
    add_int8_options(parser)
    add("--rewrites", metavar="NAMES", help="instead of [onnx] rewrites: none, all or NAME,NAME")
    add("--max-mean", type=float, metavar="PX", help="instead of [parity] max_mean_px")
    add("--max-error", type=float, metavar="PX", help="instead of [parity] max_error_px")
    add("--taps", action="store_true", help="a debug bundle: also give the tensors inside (slow)")
    add("--no-parity", action="store_true", help="do not judge; the manifest will say so")
    _add_atc_options(parser)
    add("--dry-run", action="store_true", help="say what would be done, write nothing")
    add("--verbose", action="store_true", help="log more")
    given = list(sys.argv[1:] if argv is None else argv)
    cut = given.index("--") if "--" in given else len(given)
    arguments = parser.parse_args(given[:cut])
    arguments.passed_on = tuple(given[cut + 1 :])
    return arguments


def _add_atc_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group(
        "conversion to .om (ATC's own names, instead of [atc])"
    ).add_argument
    add(
        "--om",
        choices=("auto", "require", "never"),
        default="auto",
        help="convert where atc is and a chip is named (default), always, or not at all",
    )
    add("--soc_version", metavar="NAME", help="exact chip, for example Ascend910B3; or auto")
    add("--batch_sizes", metavar="N,N", help="a static .om for each (default 1)")
    add("--dynamic_batch_size", metavar="N,N", help="one .om with these gears")
    add("--precision_mode", metavar="MODE")
    add("--precision_mode_v2", metavar="MODE", help="for example origin, for true fp32")
    for name in FILE_OPTIONS:
        add(f"--{name}", metavar="FILE")
    add("--op_select_implmode", metavar="MODE")
    add("--optypelist_for_implmode", metavar="TYPES")
    add("--output_type", metavar="TYPE", help="FP32 or FP16")
    add("--aipp", action="store_true", default=None, help="the chip normalises uint8 crops")
    add("--atc_timeout", type=float, metavar="S", help="seconds one conversion may take")
    add(
        "--ignore-preflight",
        action="append",
        metavar="RULE",
        help="convert although preflight finds this; may be repeated",
    )
    add("--print-atc", action="store_true", help="print atc's command line and do nothing")


def _export(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr(verbose=arguments.verbose)
    config = _override(read_config(arguments.config), arguments)
    if arguments.print_atc:
        return _print_atc(config)
    job = prepare(
        config,
        arguments.output,
        parity=not arguments.no_parity,
        om=arguments.om,
        taps=arguments.taps,
    )
    for warning in job.om.warnings:
        logger.warning("WARNING: %s", warning)
    if arguments.dry_run:
        return _dry_run(job)
    outcome = pipeline.run(job)
    if outcome.text:
        print(outcome.text)
    else:
        print(_summary(outcome.manifest))
    if outcome.manifest.parity.passed is False:
        logger.warning("NOTE: parity was not passed, so nothing was converted")
        print(f"rejected: {_short(outcome.folder)}; nothing went into {_short(job.output)}")
        return EXIT_FOUND_WANTING
    if not outcome.manifest.om:
        _say_no_om(outcome.folder, job.om, outcome.manifest, arguments)
    print(f"bundle: {_short(outcome.folder)}")
    return EXIT_OK


def _override(config: ExportConfig, arguments: argparse.Namespace) -> ExportConfig:
    replace = msgspec.structs.replace
    onnx: OnnxTable = config.onnx
    if arguments.exporter is not None:
        # an opset of the configuration belongs to the exporter named there
        onnx = replace(onnx, exporter=arguments.exporter, opset=arguments.opset)
    elif arguments.opset is not None:
        onnx = replace(onnx, opset=arguments.opset)
    if arguments.input is not None:
        onnx = replace(onnx, input=arguments.input)
    if arguments.rewrites is not None:
        onnx = replace(onnx, rewrites=_rewrites(arguments.rewrites))
    limits = config.parity
    if arguments.max_mean is not None:
        limits = replace(limits, max_mean_px=arguments.max_mean)
    if arguments.max_error is not None:
        limits = replace(limits, max_error_px=arguments.max_error)
    precision = arguments.precision or config.precision
    int8 = override_int8(config.int8, precision, arguments)
    weights = config.weights
    if arguments.weights is not None:
        weights = str(Path.cwd() / arguments.weights)
    atc = _override_atc(config.atc, arguments)
    changed = replace(
        config,
        onnx=onnx,
        parity=limits,
        weights=weights,
        precision=precision,
        int8=int8,
        atc=atc,
    )
    return check_config(changed, arguments.config)


def _rewrites(text: str) -> tuple[Rewrite, ...]:
    if text in ("none", "all"):
        return REWRITES if text == "all" else ()
    return in_order([name.strip() for name in text.split(",")], "--rewrites")


def _dry_run(job: Job) -> int:
    check_output(job.output, make_parent=False)
    print(f"weights: {_short(job.weights)} (SHA-256 {job.weights_sha256[:12]})")
    old = bundle_in_place(job.output)
    for name, fresh in pipeline.up_to_date(job, old).items():
        says = "up to date" if fresh else "would run"
        if name == "om" and not fresh and not job.om.converts:
            files = ", ".join(om.file for om in old.om) if old else ""
            says = f"would drop {files}: {job.om.why_not}" if files else job.om.why_not
        print(f"{name}: {says}")
    print(f"bundle: {_short(job.output)} (nothing was written)")
    return EXIT_OK


def _summary(manifest: Manifest) -> str:
    """What a bundle that was made earlier was found to be."""
    parity = manifest.parity
    if parity.photo is None:
        return "parity: skipped by request"
    return (
        f"{'PASSED' if parity.passed else 'FAILED'}: mean {parity.photo.mean_px:.4g} px,"
        f" max {parity.photo.max_px:.4g} px (photo), judged {manifest.created_utc}"
    )


def _override_atc(table: AtcTable, arguments: argparse.Namespace) -> AtcTable:
    """The command line over the [atc] table; files are taken from the current folder."""
    named = {
        field: getattr(arguments, field)
        for field in AtcTable.__struct_fields__
        if getattr(arguments, field, None) is not None
    }
    named["passed_on"] = (*table.passed_on, *arguments.passed_on)
    if arguments.atc_timeout is not None:
        named["timeout_s"] = arguments.atc_timeout
    if arguments.ignore_preflight is not None:
        named["ignore_preflight"] = tuple(arguments.ignore_preflight)
    if arguments.batch_sizes is not None:
        named["batch_sizes"] = _numbers(arguments.batch_sizes)
    # one kind of batch on the command line replaces the other of the file, and likewise the modes
    for one, other in (
        ("batch_sizes", "dynamic_batch_size"),
        ("precision_mode", "precision_mode_v2"),
    ):
        for given, hidden in ((one, other), (other, one)):
            if given in named and hidden not in named:
                named[hidden] = () if hidden == "batch_sizes" else ""
    return msgspec.structs.replace(table, **named)


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


def _print_atc(config: ExportConfig) -> int:
    """The command alone, for a folder with model.onnx; the files it names go to stderr."""
    takes = "int8" if config.precision == "int8" else config.onnx.input
    plan = plan_om(config.atc, "auto", takes=takes)
    if plan.soc is None:
        raise ConfigError(
            "--print-atc",
            expected="--soc_version, the exact chip",
            got="none",
            action="Take its name from npu-smi info on the box",
        )
    for one in conversions(plan.table, plan.soc, InputSpec()):
        for name, text in setting_files(one).items():
            logger.info("# %s:\n%s", name, text.rstrip())
    print("\n".join(commands(plan, InputSpec())))
    return EXIT_OK


def _say_no_om(
    folder: Path, plan: OmPlan, manifest: Manifest, arguments: argparse.Namespace
) -> None:
    """That an NPU cannot run it yet, why, and the exact command that changes it."""
    logger.warning(
        "NOTE: %s holds no .om: %s. An NPU cannot run it yet.", _short(folder), plan.why_not
    )
    not_for_atc = manifest.spec.input.dtype == "uint8" or manifest.quantisation is not None
    if arguments.om == "never" or not_for_atc:
        return
    chip = plan.soc.as_option if plan.soc else "NAME"
    asked = shlex.join(_asked(arguments, chip))
    logger.warning("  where atc is (a CANN container needs no NPU): python -m export %s", asked)
    for command in commands(plan, manifest.spec.input):
        logger.warning("  which runs: %s", command)


def _asked(arguments: argparse.Namespace, chip: str) -> list[str]:
    """This command line again, with an .om required."""
    again: list[str] = []
    for name, value in vars(arguments).items():
        option = f"--{name if name in AtcTable.__struct_fields__ else name.replace('_', '-')}"
        if name in ("om", "soc_version", "passed_on") or value in (None, False):
            continue
        if name == "atc_timeout":
            option = "--atc_timeout"
        if name == "ignore_preflight":
            again += [f"--ignore-preflight={rule}" for rule in value]
            continue
        again += [option] if value is True else [option, str(value)]
    again += ["--om", "require", "--soc_version", chip]
    return [*again, "--", *arguments.passed_on] if arguments.passed_on else again


def _short(path: Path) -> str:
    here = Path.cwd()
    return shown(path.relative_to(here) if path.is_relative_to(here) else path)


if __name__ == "__main__":
    sys.exit(main())
