"""python -m runtime.info: the facts of a model file or bundle, and whether it is whole."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from runtime.cli import command_line
from runtime.errors import (
    EXIT_FOUND_WANTING,
    EXIT_OK,
    ArtifactError,
    one_line,
)
from runtime.files import json_text, printable, sha256_file, shown
from runtime.files.kind import CHECKPOINTS, HEAD_BYTES, no_file, seems_to_be
from runtime.info.onnx_file import read_onnx
from runtime.info.weights_file import read_weights
from runtime.model.manifest import (
    MANIFEST_NAME,
    FileFact,
    Manifest,
    cost_changes,
    file_fact,
    read_manifest,
)
from runtime.model.om_file import OmFile, read_om
from runtime.model.om_tensors import OmTensor
from runtime.model.source import CHECKPOINT_SUFFIXES

OK, MISMATCH, MISSING, OUTSIDE = "ok", "MISMATCH", "MISSING", "OUTSIDE THE BUNDLE"

# What a line of text shows of one value; --json shows all of it.
LONGEST_SHOWN = 2000

Facts = dict[str, Any]

logger = logging.getLogger("starmark")


def main(argv: list[str] | None = None) -> int:
    """Print a file's facts.

    Returns:
        0; 1 where a file differs from its manifest, one that belongs to it is missing, or a part of
        an .om could not be read; or as `runtime.errors` lists.
    """
    return command_line.run(lambda: _info(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "runtime.info",
        "Say what a model file or a bundle holds, and check its hashes. Neither an engine nor\n"
        "torch, a chip or CANN is needed. Exit code 1: a file differs from its manifest, one that\n"
        "belongs to it is missing, or a part of an .om could not be read.",
        "python -m runtime.info build/starter68/model.onnx",
    )
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="bundle's folder, .om, .onnx or checkpoint",
    )
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    return parser.parse_args(argv)


def _info(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr()
    with command_line.step(f"read {shown(arguments.file)}"):  # its hash, too: of 64 GB a minute
        facts, faults = describe(arguments.file)
    print(json_text(facts) if arguments.json else as_text(facts), end="")
    for fault in faults:
        logger.warning("%s", fault)
    return EXIT_FOUND_WANTING if faults else EXIT_OK


def describe(path: Path) -> tuple[Facts, list[str]]:
    """A file's or bundle's facts in JSON's types, and what differs from its manifest.

    Raises:
        ArtifactError: not there, damaged, or a file of no kind that is described here.
    """
    try:
        if path.is_dir():
            return _bundle(path)
        suffix = path.suffix.lower()
        if suffix == ".om":
            om = read_om(path)
            facts, faults = _with_file(path, "om", _om(om))
            return facts, faults + [f"{shown(path)}: not read: {one}" for one in om.unread]
        if suffix == ".onnx":
            return _with_file(path, "onnx", _onnx(path))
        got = _head_kind(path)
        if suffix in CHECKPOINT_SUFFIXES or (got in CHECKPOINTS and suffix != ".npz"):
            return _with_file(path, "checkpoint", read_weights(path))
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error
    if suffix == ".npz":
        raise _refused(path, "suffix .npz", "Recordings are read by python -m parity.compare")
    raise _refused(path, f"suffix {suffix!r} and {got}")


def _refused(path: Path, got: str, action: str = "") -> ArtifactError:
    return ArtifactError(
        shown(path),
        expected="a bundle's folder, an .om, an .onnx or a checkpoint",
        got=got,
        action=action or "Name the model's file or its bundle's folder",
    )


def _head_kind(path: Path) -> str:
    absent = no_file(path)
    if absent:
        raise _refused(path, absent)
    with path.open("rb") as file:
        return seems_to_be(file.read(HEAD_BYTES))


def _with_file(path: Path, kind: str, facts: Facts) -> tuple[Facts, list[str]]:
    """The facts of any file before those of its kind."""
    sha256 = sha256_file(path)
    beside, faults = _beside(path, sha256)
    external = facts.get("external", [])
    faults += [
        f"{shown(path)}: {x['file']!r}: {x['status']}" for x in external if x["status"] != OK
    ]
    head: Facts = {"kind": kind, "path": shown(path), "bytes": facts.pop("bytes")}
    return {**head, "sha256": sha256, "manifest": beside, **facts}, faults


def _beside(path: Path, sha256: str) -> tuple[str, list[str]]:
    """How the file stands in a manifest in the same folder, and the fault where it differs."""
    if not (path.parent / MANIFEST_NAME).exists():
        return "none beside it", []
    try:
        fact = read_manifest(path.parent).files.get(path.name)
    except ArtifactError as error:
        return f"one beside it that cannot be used: {error}", []
    if fact is None:
        return "one beside it, which does not list it", []
    if fact.sha256 == sha256:
        return "one beside it, which lists it with this hash", []
    said = f"lists it with SHA-256 {fact.sha256[:12]}"
    return f"one beside it, which {said}", [f"{shown(path)}: its manifest {said}: {MISMATCH}"]


def _om(om: OmFile) -> Facts:
    named = ("soc_version", "atc_version", "atc_cmdline", "framework_type")
    sizes = ("memory_size", "weight_size", "stream_num", "event_num")
    facts: Facts = {
        "bytes": om.bytes,
        "name": om.name,
        "model_type": om.kind,
        "models": om.model_num,
        "dynamic_shapes": om.is_dynamic,
        **{key: getattr(om, key) for key in (*named, *sizes)},
        "inputs": [_tensor(one) for one in om.tensors.inputs],
        "outputs": [_tensor(one) for one in om.tensors.outputs],
        **({"gears": list(om.tensors.gears)} if om.tensors.gears else {}),
        "ir_version": om.ir_version,
        "platform_version": om.platform_version,
        "layout": om.age,
        **({"encrypted": True} if om.is_encrypted else {}),
        "partitions": [asdict(one) for one in om.partitions],
        "attributes": {k: v for k, v in om.attributes.items() if k not in (*named, *sizes)},
        "other_attributes": list(om.models[0].other_attributes) if om.models else [],
    }
    if om.model_num > 1:
        facts["note"] = f"partitions and attributes are those of the first of {om.model_num} models"
        facts["further_models"] = [
            {"name": one.name, "partitions": [f"{p.type} {p.size}" for p in one.partitions]}
            for one in om.models[1:]
        ]
    for name in ("unread", "remarks"):
        if getattr(om, name):
            facts[name] = list(getattr(om, name))
    return facts


def _tensor(tensor: OmTensor) -> Facts:
    facts = asdict(tensor) | {"dims": list(tensor.dims)}
    return {key: value for key, value in facts.items() if value is not None}


def _onnx(path: Path) -> Facts:
    facts = read_onnx(path)
    facts["external"] = [
        {"file": name, "status": _inside(path.parent, name) or OK} for name in facts["external"]
    ]
    return facts


def _inside(folder: Path, name: str) -> str:
    """Why a file that a file names is not to be opened; empty where it may be."""
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return OUTSIDE
        return "" if path.is_file() else MISSING
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, or links in a circle
        return MISSING


def _bundle(folder: Path) -> tuple[Facts, list[str]]:
    if not (folder / MANIFEST_NAME).exists():
        raise _refused(folder, f"a folder without {MANIFEST_NAME}")
    manifest = read_manifest(folder)
    files = [
        {"file": name, "bytes": fact.bytes, "status": _status(folder, name, fact)}
        for name, fact in sorted(manifest.files.items())
    ]
    facts = {"kind": "bundle", "path": shown(folder), **_of_manifest(manifest), "files": files}
    wrong = [f"{one['file']}: {one['status']}" for one in files if one["status"] != OK]
    return facts, [f"{shown(folder)}: {fault}" for fault in wrong]


def _status(folder: Path, name: str, fact: FileFact) -> str:
    barred = _inside(folder, name)
    return barred or (OK if file_fact(folder / name) == fact else MISMATCH)


def _of_manifest(manifest: Manifest) -> Facts:
    plain = msgspec.to_builtins(manifest)
    verdict = {True: "passed", False: "FAILED", None: "skipped by request"}
    taps = list(manifest.spec.taps)
    return {
        "name": manifest.name,
        **({"debug_bundle": "slower, not for deployment", "taps": taps} if taps else {}),
        "created_utc": manifest.created_utc,
        "topology": manifest.spec.topology.name,
        "points": manifest.spec.points,
        "input": plain["spec"]["input"],
        "outputs": plain["spec"]["outputs"],
        "checkpoint": plain["checkpoint"],
        "onnx": plain["onnx"],
        # before the rewrites and after them
        "inference_form": cost_changes(manifest.onnx),
        **({"int8": plain["quantisation"]} if manifest.quantisation else {}),
        "om": plain["om"],
        "error_scale": plain.get("error_scale", "none: the covariance is raw"),
        "parity": {"verdict": verdict[manifest.parity.passed], **plain["parity"]},
        "versions": plain["versions"],
    }


def as_text(facts: Mapping[str, Any]) -> str:
    """Aligned lines of key and value; control characters of a file's own texts are escaped."""
    rows = list(_rows(facts))
    width = max(len(key) for key, _ in rows) + 2
    return "".join(f"{key + ':' if key else '':{width}}{value}\n" for key, value in rows)


def _rows(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        key = _printable(f"{prefix}{name}" if prefix else name.replace("_", " "))
        if isinstance(value, Mapping) and any(not isinstance(one, int) for one in value.values()):
            yield from _rows(value, f"{key}.")
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
            for index, one in enumerate(value):
                yield ("" if index else key), _printable(_shown(one))
        else:
            yield key, _printable(_shown(value))


def _shown(value: Any) -> str:
    if value is None or value in ("", [], {}, ()):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_inner(one)}" for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_shown(one) for one in value)
    return str(value)


def _inner(value: Any) -> str:
    return f"[{_shown(value)}]" if isinstance(value, (list, tuple, Mapping)) else _shown(value)


def _printable(text: str) -> str:
    return printable(one_line(text, LONGEST_SHOWN))


if __name__ == "__main__":
    sys.exit(main())
