"""One export, read and resolved, before anything slow starts and anything is written."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from export.atc.options import among
from export.atc.plan import OmPlan, Policy, plan_om
from export.config import CONFIGS, ExportConfig, ModelTable, known_configs, read_config
from export.int8.pictures import Int8Pictures, choose_pictures
from export.int8.table import quantiser
from parity.samples import Sample, default_samples
from runtime.backends.base import Settings
from runtime.errors import ArtifactError, ConfigError
from runtime.files import sha256_file, shown
from runtime.files.shipped import own_or_shipped
from runtime.model.checkpoint.contents import open_contents
from runtime.model.source import Source, find_artifact

DEBUG_SUFFIX = "-taps"
INT8_SUFFIX = "_int8"

logger = logging.getLogger("starmark")


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

    @property
    def settings(self) -> Settings:
        """Which of the checkpoint's weights, and their input's side."""
        config = self.config
        return Settings(weights_key=config.weights_key, input_size=config.model.input_size)


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
        ArtifactError: the weights are not there, with where they come from, or cannot be read.
        ConfigError: the weights are another model's than the configuration's; the output folder
            cannot be used, or the [atc] table; see `plan_om`.
        BackendUnavailable: an .om is required and cannot be made here, or no quantiser is there.
        InputError: the sample pictures are not there, or those that int8 is to be calibrated on.
    """
    weights = _find_weights(config)
    _check_model(config, weights)
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
    # beside the bundle that is deployed, never in its place
    name = f"{config.name}{DEBUG_SUFFIX if taps else INT8_SUFFIX if quantised else ''}"
    if config.onnx.batch is not None:
        name += f"_bs{config.onnx.batch}"
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
            action="Name a checkpoint with --weights",
        )
    return artifact.path


def fitting_config(weights: Path, key: str) -> Path:
    """The configuration under configs/ of a checkpoint, told by its points and parameters.

    One of the current folder goes before one that comes with the code.

    Raises:
        ArtifactError: the weights cannot be read.
        ConfigError: none fits, with the nearest, or several do.
    """
    path = find_artifact(Source(text=str(weights), path=weights)).path
    with open_contents(path, key) as contents:
        points, parameters = contents.architecture.points, contents.parameters
    known = {path: read_config(path).model for path in known_configs()}
    fitting = [p for p, model in known.items() if _is_of(model, points, parameters)]
    fitting = [path for path in fitting if path.exists()] or fitting
    if len(fitting) == 1:
        logger.info("configuration: %s (%s)", fitting[0], _counts(points, parameters))
        return fitting[0]

    def distance(path: Path) -> tuple[int, int]:
        return abs(known[path].points - points), abs(known[path].parameters - parameters)

    nearest = shown(own_or_shipped(min(known, key=distance)))
    named = "; ".join(f"{p}: {_counts(m.points, m.parameters)}" for p, m in known.items())
    action = f"The nearest is {nearest}: copy it, correct its [model], and name it with --config"
    if fitting:
        action = f"Name one with --config: {' or '.join(map(str, fitting))}"
    raise ConfigError(
        shown(weights),
        expected=f"one configuration for it under {CONFIGS}/ ({named})",
        got=f"{_counts(points, parameters)}{', which several have' if fitting else ''}",
        action=action,
    )


def check_numbers(job: Job) -> None:
    """Read all of the weights without torch, as an export will.

    Raises:
        ArtifactError: they are damaged.
    """
    settings = job.settings
    with open_contents(job.weights, settings.weights_key, settings.input_size) as contents:
        for key in dict.fromkeys(tensor.storage for tensor in contents.stored.values()):
            contents.container.read(key)


def _check_model(config: ExportConfig, weights: Path) -> None:
    """Before torch is imported: the wrong file under the right name is found at once."""
    model = config.model
    with open_contents(weights, config.weights_key, model.input_size) as contents:
        points, parameters = contents.architecture.points, contents.parameters
    if not _is_of(model, points, parameters):
        raise ConfigError(
            shown(weights),
            expected=f"{_counts(model.points, model.parameters)},"
            f" as the configuration of {config.name} says",
            got=_counts(points, parameters),
            action="Leave --config out to take the one that fits, or correct its [model] table",
        )


def _is_of(model: ModelTable, points: int, parameters: int) -> bool:
    return (model.points, model.parameters) == (points, parameters)


def _counts(points: int, parameters: int) -> str:
    return f"{points} points and {parameters:,} parameters"
