"""python -m export: a checkpoint to a judged bundle."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from export import pipeline
from export.atc.plan import plan_om
from export.atc.to_om import conversions, setting_files
from export.bundle import bundle_in_place, check_output
from export.config import ExportConfig
from export.job import Job, check_numbers, prepare
from export.options import ExportOptions, parse
from export.steps.om import commands
from runtime.cli import command_line
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK, ConfigError
from runtime.files import printable, shown
from runtime.machine.packages import check_extra
from runtime.model.checkpoint.contents import USUAL_SIDE_PX
from runtime.model.manifest import Manifest
from runtime.model.spec import InputSpec

# What an export imports besides what `runtime` needs.
NEEDED = ("torch", "onnx", "onnxscript", "onnxsim", "filelock", "jinja2", "matplotlib")

logger = logging.getLogger("starmark")


def main(argv: Sequence[str] | None = None) -> int:
    """Export one model.

    Returns:
        0 with a bundle in place, 1 where parity found it wanting, or as `runtime.errors` lists.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    return command_line.run(lambda: _export(parse(given)))


def _export(options: ExportOptions) -> int:
    if options.print_atc:
        return _print_atc(options.config)
    check_extra("export", "export", NEEDED)
    job = prepare(
        options.config, options.output, parity=options.parity, om=options.om, taps=options.taps
    )
    for warning in job.om.warnings:
        logger.warning("WARNING: %s", warning)
    if options.dry_run:
        return _dry_run(job)
    outcome = pipeline.run(job)
    manifest = outcome.manifest
    print(outcome.text or _summary(manifest))
    if manifest.parity.passed is False:
        logger.warning("NOTE: parity was not passed, so nothing was converted")
        print(f"rejected: {_short(outcome.folder)}; nothing went into {_short(job.output)}")
        return EXIT_FOUND_WANTING
    if not manifest.om:
        _say_no_om(outcome.folder, job, manifest, options)
    print(f"bundle: {_short(outcome.folder)}")
    return EXIT_OK


def _dry_run(job: Job) -> int:
    check_output(job.output, make_parent=False)
    print(f"weights: {_short(job.weights)} (SHA-256 {job.weights_sha256[:12]})")
    check_numbers(job)
    old = bundle_in_place(job.output)
    steps = pipeline.up_to_date(job, old)
    pipeline.check_tools(job, steps)
    for name, fresh in steps.items():
        state = "up to date" if fresh else "would run"
        if name == "om" and not fresh and not job.om.converts:
            files = ", ".join(om.file for om in old.om) if old else ""
            state = f"would drop {files}: {job.om.why_not}" if files else job.om.why_not
        print(f"{name}: {state}")
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
    spec = InputSpec(size=config.model.input_size or USUAL_SIDE_PX)
    for one in conversions(plan.table, plan.soc, spec):
        for name, text in setting_files(one).items():
            for line in (f"# {name}:", *text.splitlines()):
                logger.info("%s", line)
    print("\n".join(commands(plan, spec)))
    return EXIT_OK


def _say_no_om(folder: Path, job: Job, manifest: Manifest, options: ExportOptions) -> None:
    """Warn that an NPU cannot run it yet, with the reason and the exact command that changes it."""
    plan = job.om
    logger.warning(
        "NOTE: %s holds no .om: %s. An NPU cannot run it yet.", _short(folder), plan.why_not
    )
    not_for_atc = manifest.spec.input.dtype == "uint8" or manifest.quantisation is not None
    if options.om == "never" or not_for_atc:
        return
    chip = plan.soc.as_option if plan.soc else "NAME"
    behind = ["--", *options.passed_on] if options.passed_on else []
    again = shlex.join([*options.again, "--om", "require", "--soc_version", chip, *behind])
    logger.warning("  where atc is (a CANN container needs no NPU): python -m export %s", again)
    for command in commands(plan, manifest.spec.input):
        logger.warning("  which runs: %s", command)


def _short(path: Path) -> str:
    here = Path.cwd()
    return printable(shown(path.relative_to(here) if path.is_relative_to(here) else path))


if __name__ == "__main__":
    sys.exit(main())
