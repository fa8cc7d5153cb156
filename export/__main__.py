"""python -m export: a checkpoint to a judged bundle."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from pathlib import Path

import msgspec

from export import pipeline
from export.config import ExportConfig, OnnxTable, check_config, read_config
from export.folder import check_output
from export.freshness import old_manifest, up_to_date
from export.job import Job, prepare
from runtime import command_line
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK
from runtime.files import shown
from runtime.manifest import Manifest

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
        "Export a checkpoint to ONNX, simplify it, judge it in pixels against the checkpoint and\n"
        "put the bundle into place. Steps whose inputs have not changed are skipped.",
        "python -m export --config configs/star68.toml --weights pytorch_model.pkl",
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
    add("--max-mean", type=float, metavar="PX", help="instead of [parity] max_mean_px")
    add("--max-error", type=float, metavar="PX", help="instead of [parity] max_error_px")
    add("--no-parity", action="store_true", help="do not judge; the manifest will say so")
    add("--dry-run", action="store_true", help="say what would be done, write nothing")
    add("--verbose", action="store_true", help="log more")
    return parser.parse_args(argv)


def _export(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr(verbose=arguments.verbose)
    config = _override(read_config(arguments.config), arguments)
    job = prepare(config, arguments.output, parity=not arguments.no_parity)
    if arguments.dry_run:
        return _dry_run(job)
    outcome = pipeline.run(job)
    if outcome.text:
        print(outcome.text)
    else:
        print(_summary(outcome.manifest))
    _say_no_om(outcome.folder)
    if outcome.passed is False:
        print(f"rejected: {_short(outcome.folder)}; nothing went into {_short(job.output)}")
        return EXIT_FOUND_WANTING
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
    limits = config.parity
    if arguments.max_mean is not None:
        limits = replace(limits, max_mean_px=arguments.max_mean)
    if arguments.max_error is not None:
        limits = replace(limits, max_error_px=arguments.max_error)
    weights = config.weights
    if arguments.weights is not None:
        weights = str(Path.cwd() / arguments.weights)
    changed = replace(config, onnx=onnx, parity=limits, weights=weights)
    return check_config(changed, arguments.config)


def _dry_run(job: Job) -> int:
    check_output(job.output, make_parent=False)
    print(f"weights: {_short(job.weights)} (SHA-256 {job.weights_sha256[:12]})")
    for name, fresh in up_to_date(job, old_manifest(job)).items():
        print(f"{name}: {'up to date' if fresh else 'would run'}")
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


def _say_no_om(folder: Path) -> None:
    found = shutil.which("atc")
    reason = (
        f"{found} is there, but this version does not convert yet"
        if found
        else "atc, CANN's converter, is not on PATH"
    )
    logger.warning("NOTE: %s holds no .om: %s. An NPU cannot run it yet.", _short(folder), reason)


def _short(path: Path) -> str:
    here = Path.cwd()
    return shown(path.relative_to(here) if path.is_relative_to(here) else path)


if __name__ == "__main__":
    sys.exit(main())
