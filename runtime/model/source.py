"""What `PATH[@[ENGINE/]DEVICE]` names: the file to open, and where it should run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.errors import ArtifactError, BackendUnavailable, ConfigError
from runtime.files import shown
from runtime.files.kind import AN_OM, CHECKPOINTS, HEAD_BYTES, seems_to_be
from runtime.model.device import Device
from runtime.model.manifest import (
    MANIFEST_NAME,
    ONNX_NAME,
    Manifest,
    OmFact,
    check_files,
    read_manifest,
)

# Of files that are checkpoints whatever they hold; others are by their content.
CHECKPOINT_SUFFIXES = (".pkl", ".pth", ".pt", ".ckpt", ".safetensors")
# ModelScope's folder: its configuration beside its weights.
MODELSCOPE_CONFIGURATION = "configuration.json"
MODELSCOPE_WEIGHTS = "pytorch_model.pkl"

GRAMMAR = "PATH[@[ENGINE/]DEVICE], for example build/starter68, m.onnx@cpu or weights.pkl@npu:0"

Kind = Literal["checkpoint", "onnx", "om"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source as it was named: nothing has been opened yet."""

    text: str
    path: Path
    engine: str | None = None
    device: str = "auto"

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """The one file an engine will open, with the manifest of its bundle where it has one.

    Attributes:
        oms: of kind om, every converted file that may be used; `path` is the first.
        graph: of kind onnx, the bytes to open in the file's place: a copy changed in memory.
    """

    path: Path
    kind: Kind
    manifest: Manifest | None = None
    oms: tuple[OmFact, ...] = ()
    graph: bytes | None = None


def parse_source(text: str | os.PathLike[str], device: str = "auto") -> Source:
    """Split a source at its last `@`, unless that whole path exists.

    Args:
        text: see `GRAMMAR`.
        device: the device asked for beside the source; "auto" leaves the source's own.

    Raises:
        ConfigError: empty, or two devices that differ.
    """
    if not isinstance(text, (str, os.PathLike)) or not isinstance(device, str):
        raise ConfigError(
            "source", expected=GRAMMAR, got=f"{text!r} on {device!r}", action="Pass text or a path"
        )
    whole = str(os.fspath(text))
    path, mark, where = whole, "", ""
    if "@" in whole and not _exists(Path(whole)):
        path, mark, where = whole.rpartition("@")
    if not path or (mark and not where):
        raise ConfigError("source", expected=GRAMMAR, got=repr(whole), action="Name a path")
    engine, _, named = where.rpartition("/")
    if mark and not named:
        raise ConfigError("source", expected=GRAMMAR, got=repr(whole), action="Name a device")
    if named and device not in ("auto", named):
        raise ConfigError(
            f"source {whole!r}",
            expected="one device",
            got=f"{named!r} in the source and {device!r} beside it",
            action="Name the device once",
        )
    chosen = device if named in ("", "auto") else named
    return Source(text=whole, path=Path(path), engine=engine or None, device=chosen)


def find_artifact(source: Source) -> Artifact:
    """Find the file a source names, and check a bundle's hashes before any engine opens.

    Raises:
        ArtifactError: nothing there, not a model, or a bundle that does not match its manifest.
        BackendUnavailable: an NPU is named, and the bundle holds nothing converted for one.
    """
    path = source.path
    if _exists(path) and path.is_dir():
        return _find_in_folder(source)
    if not _exists(path) or not path.is_file():
        absent = not _exists(path)
        raise ArtifactError(
            shown(source.text if absent and "@" in source.text else path),
            expected="a bundle, checkpoint or .onnx file",
            got="no such file or folder" if absent else "a pipe or device",
            action="Check the path, or make a bundle with python -m export"
            if absent
            else "Copy it into a file first",
        )
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        # one that lies in its bundle is held to the bundle's manifest
        bundled = path.name == ONNX_NAME and (path.parent / MANIFEST_NAME).exists()
        return Artifact(path=path, kind="onnx", manifest=_checked(path.parent) if bundled else None)
    if suffix == ".om":
        return _converted(path)
    kind = _kind(path)
    if suffix in CHECKPOINT_SUFFIXES or kind in CHECKPOINTS:
        return Artifact(path=path, kind="checkpoint")
    raise ArtifactError(
        shown(path),
        expected="a bundle, .onnx, .om or a checkpoint",
        got=f"suffix {suffix!r} and {kind}",
        action="Name the model's file or its bundle's folder",
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False


def _checked(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    return manifest


def _find_in_folder(source: Source) -> Artifact:
    folder = source.path
    if (folder / MANIFEST_NAME).exists():
        manifest = _checked(folder)
        if not wants_om(source):
            return Artifact(path=folder / ONNX_NAME, kind="onnx", manifest=manifest)
        if not manifest.om:
            raise BackendUnavailable(
                shown(folder),
                expected="a bundle with a converted model (.om), to run on an NPU",
                got=f"one with {', '.join(sorted(manifest.files))}",
                action="Convert it where atc is: python -m export --om require --soc_version NAME;"
                " or name another device",
            )
        first = folder / manifest.om[0].file
        return Artifact(path=first, kind="om", manifest=manifest, oms=manifest.om)
    weights = folder / MODELSCOPE_WEIGHTS
    if weights.is_file():
        return Artifact(path=weights, kind="checkpoint")
    if weights.exists() or (folder / MODELSCOPE_CONFIGURATION).exists():
        raise ArtifactError(
            str(folder),
            expected=f"{MODELSCOPE_WEIGHTS} beside {MODELSCOPE_CONFIGURATION}",
            got="no such file",
            action="Download the model again with the modelscope client",
        )
    raise ArtifactError(
        str(folder),
        expected=f"a bundle ({MANIFEST_NAME}) or a ModelScope folder ({MODELSCOPE_WEIGHTS})",
        got="a folder with neither",
        action="Make a bundle with python -m export, or name the model's file",
    )


def wants_om(source: Source) -> bool:
    """Whether a bundle runs its converted model; CANN's own provider runs its ONNX."""
    on_npu = Device.of(source.device).kind == "npu"
    return source.engine == "om" or (on_npu and source.engine is None)


def _converted(path: Path) -> Artifact:
    """A bare .om; its manifest describes its tensors, so it must lie beside it."""
    if not (path.parent / MANIFEST_NAME).exists():
        kind = _kind(path)
        if kind != AN_OM:
            raise ArtifactError(
                shown(path),
                expected="an .om file as atc writes it",
                got=kind,
                action="Name the .om file itself, in its bundle",
            )
        raise ArtifactError(
            shown(path),
            expected=f"its bundle's {MANIFEST_NAME} beside it, which describes its tensors",
            got="no such file",
            action="Carry the whole bundle; python -m runtime.info reads a bare .om",
        )
    manifest = _checked(path.parent)
    own = tuple(om for om in manifest.om if om.file == path.name)
    if not own:
        listed = ", ".join(om.file for om in manifest.om)
        raise ArtifactError(
            shown(path),
            expected=f"one of the .om files that {MANIFEST_NAME} lists: {listed or 'none'}",
            got=path.name,
            action="Convert it with python -m export --om require",
        )
    return Artifact(path=path, kind="om", manifest=manifest, oms=own)


def _kind(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return seems_to_be(file.read(HEAD_BYTES))
    except OSError as error:
        return f"a file that cannot be read ({error.strerror})"
