"""One export, read and resolved, before anything slow starts and anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from export.atc.options import among
from export.atc.plan import OmPlan, Policy, plan_om
from export.config import ExportConfig
from export.int8.pictures import Int8Pictures, choose_pictures
from export.int8.table import quantiser
from parity.html.options import check_packages
from parity.samples import Sample, default_samples
from runtime.errors import ArtifactError, ConfigError
from runtime.files import sha256_file, shown
from runtime.model.source import Source, find_artifact

DEBUG_SUFFIX = "-taps"
INT8_SUFFIX = "_int8"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One export.

    Attributes:
        weights: the checkpoint file itself.
        parity: False skips the judgement, which the manifest then records.
        om: whether and how to convert.
        taps: a debug bundle, whose model also gives the tensors inside it.
        int8: the pictures of a quantised bundle; None for a float one.
    """

    config: ExportConfig
    weights: Path
    weights_sha256: str
    output: Path
    samples: tuple[Sample, ...]
    parity: bool
    om: OmPlan
    taps: bool = False
    int8: Int8Pictures | None = None


def prepare(
    config: ExportConfig,
    output: Path | None,
    *,
    parity: bool = True,
    om: Policy = "never",
    taps: bool = False,
) -> Job:
    """Find the weights and check the output folder, before anything slow starts.

    Raises:
        ArtifactError: the weights are not there; with where they come from.
        ConfigError: the output folder cannot be used, or the [atc] table; see `plan_om`.
        BackendUnavailable: an .om is required and cannot be made here, or what draws the report is
            missing, or what quantises.
        InputError: the sample pictures are not there, or those that int8 is to be calibrated on.
    """
    if parity:
        check_packages("the bundle's parity.html")
    quantised = config.precision == "int8"
    if quantised and (taps or not parity):
        raise ConfigError(
            "--precision int8",
            expected="a bundle that is judged by its budget, without taps",
            got="--taps" if taps else "--no-parity",
            action="Leave that out, or export with --precision fp32",
        )
    if quantised:
        quantiser()
    _check_ignored(config.atc.ignore_preflight)
    weights = _find_weights(config)
    # beside the bundle that is deployed, never in its place
    name = f"{config.name}{DEBUG_SUFFIX if taps else INT8_SUFFIX if quantised else ''}"
    return Job(
        config=config,
        weights=weights,
        weights_sha256=sha256_file(weights),
        # where a link to a bundle points is where the new one goes
        output=_resolved(output or Path("build") / name),
        samples=tuple(default_samples()),
        parity=parity,
        om=plan_om(config.atc, om, takes="int8" if quantised else config.onnx.input),
        taps=taps,
        int8=choose_pictures(config.int8) if quantised else None,
    )


def _check_ignored(names: tuple[str, ...]) -> None:
    if names:
        from export.preflight import RULES  # onnx: only where it is needed

        for name in names:
            among("--ignore-preflight", name, [rule.name for rule in RULES])


def _resolved(output: Path) -> Path:
    try:
        return output.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL
        raise ConfigError(
            f"--output {shown(output)}",
            expected="a folder's path",
            got=str(error),
            action="Choose another --output",
        ) from error


def _find_weights(config: ExportConfig) -> Path:
    path = Path(config.weights)
    try:
        artifact = find_artifact(Source(text=str(path), path=path))
    except ArtifactError as error:
        if path.exists() or not config.weights_origin:
            raise
        raise ArtifactError(
            str(path),
            expected=f"the weights of {config.name}",
            got="no such file",
            action=f"They come from {config.weights_origin}. Put the file at {path}, or name it"
            " with --weights",
        ) from error
    if artifact.kind != "checkpoint":
        raise ArtifactError(
            str(path),
            expected="a checkpoint to export",
            got=f"a file of kind {artifact.kind}",
            action="Name a .pkl, .pth or .safetensors file with --weights",
        )
    return artifact.path
