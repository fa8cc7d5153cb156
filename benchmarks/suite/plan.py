"""Which rows a model has, what each opens, and what is missing for those that cannot run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.suite.first_landmarks import Opening
from runtime.errors import ArtifactError, ConfigError
from runtime.files import shown
from runtime.model.manifest import MANIFEST_NAME, read_manifest

CONFIGS = Path("configs")
PEER = "peer"

# key -> (label, kind of artifact, what follows the @, form of torch or a peer's name)
ROWS: dict[str, tuple[str, str, str, str]] = {
    "torch": ("torch eager", "checkpoint", "cpu", ""),
    "torch-channels-last": ("torch channels-last", "checkpoint", "cpu", "channels-last"),
    "torch-compiled": ("torch.compile", "checkpoint", "cpu", "compiled"),
    "onnxruntime-plain": ("onnxruntime, plain export", "plain", "onnxruntime/cpu", ""),
    "onnxruntime": ("onnxruntime, inference form", "", "onnxruntime/cpu", ""),
    "onnxruntime-int8": ("onnxruntime int8", "int8", "onnxruntime/cpu", ""),
    "openvino": ("OpenVINO fp32", "", "openvino/cpu", ""),
    "openvino-bf16": ("OpenVINO bf16", "", "openvino/cpu:bf16", ""),
    "openvino-int8": ("OpenVINO int8", "int8", "openvino/cpu", ""),
    "openvino-int8-bf16": ("OpenVINO int8, rest bf16", "int8", "openvino/cpu:bf16", ""),
    # other programs on the file of "onnxruntime"
    "peer-onnxruntime": ("onnxruntime alone", "", PEER, "onnxruntime"),
    "peer-openvino": ("OpenVINO alone, fp32", "", PEER, "openvino"),
    "peer-opencv": ("OpenCV dnn", "", PEER, "opencv"),
    "peer-mnn": ("MNN", "", PEER, "mnn"),
}
# What differences and ratios are taken over.
PLAIN, EAGER = "onnxruntime-plain", "torch"
# How each bundle is exported, beside configuration, weights and folder.
EXPORTS = {
    "": "",
    "plain": "--rewrites none",
    "int8": "--precision int8 --budget p99=0.5",
}


@dataclass(frozen=True, kw_only=True)
class RowPlan:
    """One row.

    Attributes:
        key: as `--rows` names it.
        label: as reports name it.
        opening: how it is opened.
        bundles: whose manifests count what the row computes, the first that is there.
        checkpoint: whether it runs the checkpoint itself.
        command: runs its source alone, or a peer's row.
        missing: why it cannot run, known before anything is started; else empty.
        remedy: the command that makes what is missing.
    """

    key: str
    label: str
    opening: Opening
    bundles: tuple[Path, ...]
    command: str
    checkpoint: bool = False
    missing: str = ""
    remedy: str = ""

    def alone(self) -> str:
        """What to do about a row that failed."""
        return f"Run it alone: {self.command}"


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """One model: its checkpoint, and the rows of it."""

    name: str
    checkpoint: Path
    rows: tuple[RowPlan, ...]


def parse_models(given: Sequence[str]) -> dict[str, Path]:
    """Read `NAME=CHECKPOINT` pairs.

    Raises:
        ConfigError: no pair, a name that no bundle has, a name twice, or no such checkpoint.
    """
    found: dict[str, Path] = {}
    for text in given:
        name, mark, path = text.partition("=")
        # it becomes a folder's name behind --builds
        if not (mark and path) or Path(name).name != name or not name:
            raise _refused(text, "NAME=CHECKPOINT", repr(text), "Name both")
        if name in found:
            raise _refused(text, "each model once", f"{name} twice", "Name it once")
        if not Path(path).is_file():
            raise _refused(text, "a checkpoint", f"no file {shown(path)}", "Check the path")
        found[name] = Path(path)
    return found


def plan_model(
    name: str, checkpoint: Path, builds: Path, wanted: Sequence[str], threads: int | None
) -> ModelPlan:
    """List a model's rows, those that cannot run with the command that would make them possible.

    The bundles are `builds/NAME`, `NAME_plain` and `NAME_int8`; rows that are not `wanted` are
    planned as left out by request.
    """
    rows: list[RowPlan] = []
    for key, (label, kind, device, form) in ROWS.items():
        bundle = builds / (f"{name}_{kind}" if kind in ("plain", "int8") else name)
        of_checkpoint = kind == "checkpoint"
        missing = "" if of_checkpoint else _fault(bundle, kind)
        remedy = _export(name, checkpoint, bundle, EXPORTS[kind]) if missing else ""
        if key not in wanted:
            missing, remedy = "left out by --rows", f"add {key} to --rows"
        path = checkpoint if of_checkpoint else bundle
        opening = (
            Opening(source=os.fspath(path), peer=form, threads=threads)
            if device == PEER
            else Opening(source=f"{path}@{device}", form=form, threads=threads)
        )
        rows.append(
            RowPlan(
                key=key,
                label=label,
                opening=opening,
                command=(
                    f"python -m benchmarks.suite --rows {key} --builds {shlex.quote(shown(builds))}"
                    f" --models {shlex.quote(f'{name}={shown(checkpoint)}')}"
                    if opening.peer
                    else f"python -m parity.benchmark --sources {shlex.quote(opening.source)}"
                ),
                bundles=(builds / f"{name}_plain", builds / name) if of_checkpoint else (bundle,),
                checkpoint=of_checkpoint,
                missing=missing,
                remedy=remedy,
            )
        )
    return ModelPlan(name=name, checkpoint=checkpoint, rows=tuple(rows))


def _fault(bundle: Path, kind: str) -> str:
    """Why a folder is not the bundle that a row is about; empty where none is found."""
    if not (bundle / MANIFEST_NAME).is_file():
        return f"no bundle in {shown(bundle)}"
    try:
        manifest = read_manifest(bundle)
    except ArtifactError as error:
        return f"{error.where}: {error.problem}"
    rewrites, quantised = manifest.onnx.rewrites, manifest.quantisation is not None
    if quantised != (kind == "int8"):
        return f"{shown(bundle)} holds {'an int8' if quantised else 'a float'} graph"
    if kind == "plain" and rewrites:
        return f"{shown(bundle)} holds no plain graph: {', '.join(rewrites)}"
    if kind == "" and not rewrites:
        return f"{shown(bundle)} holds a plain graph, not the inference form"
    return ""


def _export(name: str, checkpoint: Path, bundle: Path, options: str) -> str:
    """The command that exports a bundle; the default configuration is the starter's."""
    config = CONFIGS / f"{name}.toml"
    parts = ["python -m export"]
    parts += [f"--config {shlex.quote(os.fspath(config))}"] if config.is_file() else []
    parts += [f"--weights {shlex.quote(shown(checkpoint))}"]
    parts += [options] if options else []
    return " ".join([*parts, f"--output {shlex.quote(shown(bundle))}"])


def _refused(text: str, expected: str, got: str, action: str) -> ConfigError:
    return ConfigError(f"--models {shown(text)}", expected=expected, got=got, action=action)
