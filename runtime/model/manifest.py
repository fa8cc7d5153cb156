"""A bundle's manifest: what identifies it, and the checks made on every load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from runtime.errors import ArtifactError, one_line
from runtime.files import json_text, sha256_file, sha256_json, shown, write_text_whole
from runtime.files.reading import DamageError, decode_json, read_bytes
from runtime.model.spec import Architecture, InputSpec, ModelSpec
from runtime.model.topology import check_topology

MANIFEST_NAME = "manifest.json"
ONNX_NAME = "model.onnx"
SELFTEST_NAME = "selftest.npz"
SCHEMA = 3


class FileFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of the bundle."""

    sha256: str
    bytes: int


class CheckpointFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The weights a bundle was made from."""

    file: str
    sha256: str
    parameters: int
    architecture: Architecture


class GraphCost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cost of running a graph, counted from its operators and shapes.

    Attributes:
        nodes: the most kernels that an engine starts; engines fuse some.
        parameters: numbers in it: weights and constant maps.
        gflop: 2 x multiply-adds of convolutions and matrix products, a picture.
        activation_bytes: of the maps that all nodes read and write for a picture, in float32,
            constant maps among them and the weights of convolutions, products and norms apart.
            It is what a chip moves whose bandwidth is the limit, if it fuses nothing.
    """

    nodes: int
    parameters: int
    gflop: float
    activation_bytes: int


class OnnxFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the graph was made, and what is in it.

    Attributes:
        exporter: torchscript or dynamo.
        rewrites: of the network before it was exported; none where it is the published form.
        cost: of this graph; where it is quantised, of the float graph it was made from.
        plain: of the float graph that the same checkpoint gives without rewrites, in manifests of
            before: an export counts it with --verbose alone, for the log.
        static_batch: the only batch the graph takes; left out where it takes any.
    """

    exporter: str
    opset: int
    simplifier: str
    nodes: int
    operators: dict[str, int]
    rewrites: tuple[str, ...]
    cost: GraphCost
    plain: GraphCost | UnsetType = UNSET
    static_batch: int | UnsetType = UNSET


class KeptFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Operators of an int8 graph that compute in fp32, and why."""

    why: str
    operators: tuple[str, ...]


class QuantisationFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an int8 graph was made.

    Attributes:
        float_sha256: of the float graph it was made from, as `export --precision fp32` makes it.
        budget_px: the limits, by statistic, crop px over |dx| and |dy|.
        found_px: mean, p95, p99 and max against the float graph on the validation pictures, in
            onnxruntime.
        pictures_sha256: one hash of both sets: files, boxes and which is in which.
        embedded: both were cuts of the project's own portrait.
        equalised: maps whose channels were scaled to like ranges first.
        evaluations: how many candidates were run.
    """

    tool: str
    float_sha256: str
    budget_px: dict[str, float]
    found_px: dict[str, float]
    calibration_pictures: int
    validation_pictures: int
    pictures_sha256: str
    embedded: bool
    equalised: int
    evaluations: int
    convolutions: int
    int8_convolutions: int
    kept: tuple[KeptFact, ...]


class ErrorFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A comparison in short. Unit px, over |dx| and |dy|."""

    pictures: int
    mean_px: float
    max_px: float


class OmFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A graph converted for one chip.

    Attributes:
        batches: the batch it was converted for, or its gears, ascending.
        gears: whether one file serves several batches.
        input: what its first tensor holds; uint8 NHWC where AIPP normalises on the chip.
        precision: the mode as ATC was given it, for example "precision_mode_v2=origin".
        options: what else ATC was given, under its own names, without paths of any machine.
        atc_version: as the file holds it, empty where it holds none.
        aipp: what AIPP's fp16 normalisation moves, in crop px; None without AIPP.
    """

    file: str
    soc_version: str
    batches: tuple[int, ...]
    gears: bool
    input: InputSpec
    precision: str
    options: dict[str, str]
    atc_version: str
    aipp: ErrorFact | None = None


class ParityFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The verdict; `passed` is None where parity was skipped by request."""

    passed: bool | None
    reference: str = ""
    candidate: str = ""
    photo: ErrorFact | None = None
    crop: ErrorFact | None = None
    max_mean_px: float | None = None
    max_error_px: float | None = None


class ErrorScale(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How wide the error of a point is beside its covariance, learnt from annotated pictures.

    Attributes:
        regions: by region of the mark-up: variance of the error along any one axis, over the root
            of the covariance's determinant.
        pictures: how many it was learnt from.
        within: share of the points within one and two standard deviations of their annotation, on
            pictures that had no part in the scale: 0.393 and 0.865 if errors were Gaussian.
    """

    regions: dict[str, float]
    pictures: int
    within: tuple[float, float]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bundle's own description. `digest` covers everything else in it but the timestamp."""

    schema: int = SCHEMA
    name: str
    spec: ModelSpec
    checkpoint: CheckpointFact
    onnx: OnnxFact
    quantisation: QuantisationFact | None = None
    verification: dict[str, ErrorFact]
    preflight: tuple[str, ...] = ()
    parity: ParityFact
    om: tuple[OmFact, ...] = ()
    # left out where nobody measured one: manifests of before keep their digest
    error_scale: ErrorScale | UnsetType = UNSET
    files: dict[str, FileFact]
    config: dict[str, Any]
    versions: dict[str, str]
    steps: dict[str, str]
    created_utc: str
    digest: str = ""

    @property
    def error_scale_by_point(self) -> list[float] | None:
        """The scale of each point; None without one: its covariance is raw."""
        if self.error_scale is UNSET:
            return None
        regions = self.spec.topology.regions.items()
        by_point = {p: self.error_scale.regions[name] for name, points in regions for p in points}
        return [by_point[point] for point in range(self.spec.points)]


def cost_changes(onnx: OnnxFact) -> dict[str, str]:
    """The cost before and after the rewrites, for people; one figure where nothing changed."""

    def change(form: str, before: float, after: float) -> str:
        return " -> ".join(dict.fromkeys(format(number, form) for number in (before, after)))

    after = onnx.cost
    before = after if onnx.plain is UNSET else onnx.plain
    return {
        "nodes": change(",", before.nodes, after.nodes),
        "parameters": change(",", before.parameters, after.parameters),
        "GFLOP a picture": change(".2f", before.gflop, after.gflop),
        "MB of maps a picture": change(
            ",.0f", before.activation_bytes / 1e6, after.activation_bytes / 1e6
        ),
    }


def seal(manifest: Manifest) -> Manifest:
    """Give the manifest the digest of its own content."""
    # without the timestamp: two exports of the same inputs must differ in nothing else
    bare = msgspec.structs.replace(manifest, digest="", created_utc="")
    return msgspec.structs.replace(manifest, digest=sha256_json(bare))


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the sealed manifest into a bundle's folder."""
    write_text_whole(folder / MANIFEST_NAME, json_text(seal(manifest)))


def file_fact(path: Path) -> FileFact:
    """Hash and measure a file."""
    return FileFact(sha256=sha256_file(path), bytes=path.stat().st_size)


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest and check that it was not edited.

    Raises:
        ArtifactError: absent, not JSON, another schema, unknown or missing fields, or edited.
    """
    path = folder / MANIFEST_NAME
    try:
        raw = read_bytes(path)
    except (OSError, DamageError) as error:
        raise ArtifactError(
            str(path),
            expected="the manifest of a bundle",
            got=getattr(error, "strerror", None) or str(error),
            action="Make the bundle again with python -m export",
        ) from error
    try:
        # first, or an older manifest would be refused for a field that it cannot have
        schema = decode_json(raw, _SchemaOnly).schema
        if schema != SCHEMA:
            raise ArtifactError(
                str(path),
                expected=f"schema {SCHEMA}",
                got=f"schema {schema}",
                action="Use the version of Starmark that wrote it, or make the bundle again",
            )
        manifest = decode_json(raw, Manifest)
        check_topology(manifest.spec.topology)
    except ValueError as error:
        raise ArtifactError(
            str(path),
            expected=f"a manifest of schema {SCHEMA}",
            got=one_line(error),
            action="Make the bundle again with python -m export",
        ) from error
    if seal(manifest).digest != manifest.digest:
        raise ArtifactError(
            str(path),
            expected=f"content with digest {seal(manifest).digest[:12]}",
            got=f"digest {manifest.digest[:12] or 'none'}: it was edited",
            action="Restore the file, or make the bundle again with python -m export",
        )
    scale, regions = manifest.error_scale, set(manifest.spec.topology.regions)
    if scale is not UNSET and set(scale.regions) != regions:
        raise ArtifactError(
            str(path),
            expected=f"an error scale of {', '.join(sorted(regions))}",
            got=f"one of {', '.join(sorted(scale.regions)) or 'nothing'}",
            action="Make it again with python -m parity.record --error-scale",
        )
    return manifest


class _SchemaOnly(msgspec.Struct):
    schema: int = SCHEMA


def check_files(folder: Path, manifest: Manifest) -> None:
    """Check every file of a bundle, and that it holds a model."""
    for name in sorted({ONNX_NAME, *manifest.files, *(om.file for om in manifest.om)}):
        check_file(folder, manifest, name)


def check_file(folder: Path, manifest: Manifest, name: str) -> Path:
    """Check one file of a bundle against its manifest, and return its path.

    Raises:
        ArtifactError: not listed, absent, or other bytes than the manifest lists.
    """
    path = folder / name
    fact = manifest.files.get(name)
    if Path(name).name != name:
        raise ArtifactError(
            str(folder / MANIFEST_NAME),
            expected="names of files in its own folder",
            got=repr(name),
            action="Do not use this bundle: it names files that are not its own",
        )
    if fact is None:
        raise ArtifactError(
            str(folder / MANIFEST_NAME),
            expected=f"an entry for {name}",
            got=f"entries for {', '.join(sorted(manifest.files)) or 'no file'}",
            action="Make the bundle again with python -m export",
        )
    try:
        found = file_fact(path)
    except (OSError, ValueError) as error:  # a NUL in its name
        raise ArtifactError(
            shown(path),
            expected=f"a file of {fact.bytes} bytes",
            got=getattr(error, "strerror", None) or str(error),
            action="Copy the whole bundle again",
        ) from error
    if found != fact:
        raise ArtifactError(
            str(path),
            expected=f"SHA-256 {fact.sha256[:12]} ({fact.bytes} bytes), as {MANIFEST_NAME} says",
            got=f"{found.sha256[:12]} ({found.bytes} bytes)",
            action="The file is of another model or damaged: copy the whole bundle again",
        )
    return path
