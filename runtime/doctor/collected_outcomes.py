"""What self-tests left behind: their recordings and reports, without the pictures' names.

A recording is taken from inside the bundle, and from the current folder or beside the bundle where
its header or its name shows that it is this bundle's. Of others nothing is opened but the header.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.doctor.box import LONGEST_TEXT_BYTES, Box, as_json
from runtime.doctor.plain_files import open_plain
from runtime.doctor.redaction import counted

# The crops a bundle is held to; its outcome on a machine is another file.
REFERENCE = "selftest.npz"
OUTCOMES = ("*selftest*.npz", "*selftest*.json", "*selftest*.txt", "*selftest*.log")
LARGEST_JSON_BYTES = 4 << 20
NPY_MAGIC = b"\x93NUMPY"
LARGEST_HEADER_BYTES = 16 << 20


def outcomes(box: Box, bundle: Path, manifest: Any) -> None:
    """The outcomes of a bundle's self-test that lie where people leave them.

    Args:
        box: where to.
        bundle: its folder.
        manifest: as its file holds it; None where that cannot be read.
    """
    digest = manifest.get("digest") if isinstance(manifest, dict) else None
    for file in _candidates(bundle):
        if file.name == REFERENCE and file.parent == bundle.resolve():
            with box.attempt(str(file)):
                # its pictures are those of every outcome
                counted(recording_header(file), box.pictures)
        elif file.parent == bundle.resolve() or _is_named_after(file, bundle):
            with box.attempt(str(file)):
                outcome(box, f"selftest/{file.parent.name}-{file.name}", file)
        elif file.suffix == ".npz" and digest:
            _of_same_manifest(box, file, digest)


def outcome(box: Box, name: str, file: Path) -> None:
    """One recording, report or log.

    Args:
        box: where to.
        name: in it.
        file: of it, by whose suffix it is read.

    Raises:
        OSError, ValueError, zipfile.BadZipFile, KeyError: it cannot be read.
    """
    if file.suffix.lower() == ".npz":
        box.parts[f"{name}.json"] = counted(recording_header(file), box.pictures)
        return
    found = _report(file) if file.suffix.lower() == ".json" else None
    if found is None:
        box.text_file(name, file)
        return
    found = counted(found, box.pictures)
    text = as_json(found)
    is_long = len(text) > LONGEST_TEXT_BYTES
    box.parts[name] = text[-LONGEST_TEXT_BYTES:].decode("utf-8", "replace") if is_long else found


def recording_header(path: Path) -> dict[str, Any]:
    """The header of a recording.

    Read without numpy: the member is a one-dimensional array of bytes behind a short head.

    Raises:
        OSError, ValueError, zipfile.BadZipFile, KeyError: not a recording.
    """
    with (
        open_plain(path) as opened,
        zipfile.ZipFile(opened) as archive,
        archive.open("header.npy") as file,
    ):
        head = file.read(10)
        if head[:6] != NPY_MAGIC or head[6] != 1:
            raise ValueError(f"{path}: its header is no array that this version reads")
        file.read(int.from_bytes(head[8:10], "little"))
        header = json.loads(file.read(LARGEST_HEADER_BYTES))
    if not isinstance(header, dict):
        raise ValueError(f"{path}: its header is no record")
    return header


def _report(file: Path) -> dict[str, Any] | list[Any] | None:
    """What a report holds; None where it is no JSON: cut, or behind the lines of a log."""
    with open_plain(file) as opened:
        data = opened.read(LARGEST_JSON_BYTES)
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, (dict, list)) else None


def _candidates(bundle: Path) -> Iterator[Path]:
    places = dict.fromkeys(one.resolve() for one in (bundle, bundle.parent, Path.cwd()))
    for place in places:
        for pattern in OUTCOMES:
            yield from (one for one in sorted(place.glob(pattern)) if one.is_file())


def _is_named_after(file: Path, bundle: Path) -> bool:
    name = bundle.resolve().name
    word = rf"(?<![^\W_]){re.escape(name)}(?![^\W_])"
    return bool(name) and re.search(word, file.stem) is not None


def _of_same_manifest(box: Box, file: Path, digest: str) -> None:
    """A recording under any name, if it was made with this very bundle."""
    try:
        header = recording_header(file)
    except (OSError, ValueError, zipfile.BadZipFile, KeyError):
        return  # whatever it is, it is not this bundle's
    made_with = header.get("manifest")
    if isinstance(made_with, dict) and made_with.get("digest") == digest:
        name = f"selftest/{file.parent.name}-{file.name}.json"
        box.parts[name] = counted(header, box.pictures)
