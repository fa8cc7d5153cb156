"""Collects from bundles, models and self-tests: no pictures or their names, and no weights.

Of a self-test, recordings and reports are collected. They are taken from inside the bundle, and
from the current folder or beside the bundle where header or name shows that they are this bundle's.
Of other recordings nothing is read but the header.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runtime.doctor.box import LONGEST_TEXT_BYTES, Box, as_json
from runtime.doctor.collected_machine import tool_output
from runtime.doctor.plain_files import open_plain
from runtime.doctor.redaction import counted
from runtime.errors import BackendUnavailable, InputError
from runtime.model.om_file import HEADER_BYTES, MAGIC, MODEL_DEF, read_om

# runtime.model.manifest's MANIFEST_NAME, without msgspec, which a bare Python lacks
MANIFEST = "manifest.json"
# The crops a bundle is held to; its outcome on a machine is another file.
REFERENCE = "selftest.npz"
OUTCOMES = (".npz", ".json", ".txt", ".log")
LARGEST_JSON_BYTES = 4 << 20
LARGEST_HEADER_BYTES = 16 << 20
NPY_MAGIC = b"\x93NUMPY"
# Header, table of partitions and the beginning of the graph.
HEAD_BYTES = 4096
# What is shown of one value or list of an .om.
LONGEST_LIST = 1000
LONGEST_VALUE = 4000
MODE_6_TIMEOUT_S = 120.0
SELFTEST_TIMEOUT_S = 1800.0


def source(box: Box, index: int, path: Path, *, selftest: bool) -> None:
    """One bundle, .om, recording or log that was named; its index keeps names apart."""
    folder = f"models/{index}-{path.resolve().name}"
    # an export that failed leaves its log, and no bundle
    log = path.with_name(f"{path.name}.atc.log")
    if log.is_file():
        box.add_text(f"{folder}/{log.name}", log)
    if path.is_dir():
        _bundle(box, folder, path)
        if selftest:
            _run_selftest(box, folder, path)
        return
    if selftest:
        box.failed.append((f"self-test of {path}", "only a bundle's folder has one"))
    with box.attempt(str(path)):
        if path.suffix.lower() == ".om":
            _om(box, folder, path)
        elif path.suffix.lower() in OUTCOMES and path.exists():
            _outcome(box, folder, path)
        else:
            raise InputError(
                str(path),
                expected="a bundle's folder, an .om, a recording (.npz), a .json, .txt or .log",
                got="a file of another kind" if path.exists() else "no such file or folder",
                action="Name one of these",
            )


def _bundle(box: Box, folder: str, path: Path) -> None:
    manifest: Any = None
    with box.attempt(str(path / MANIFEST)), open_plain(path / MANIFEST) as file:
        manifest = json.loads(file.read(LARGEST_JSON_BYTES))
        box.parts[f"{folder}/{MANIFEST}"] = manifest
    for log in sorted(path.glob("*.log")):
        box.add_text(f"{folder}/{log.name}", log)
    for om in sorted(path.glob("*.om")):
        with box.attempt(str(om)):
            _om(box, f"{folder}/{om.stem}", om)
    digest = manifest.get("digest") if isinstance(manifest, dict) else None
    for outcome in _selftests(path.resolve(), digest):
        with box.attempt(str(outcome)):
            if outcome == path.resolve() / REFERENCE:
                # its pictures are those of every outcome
                counted(recording_header(outcome), box.pictures)
            else:
                _outcome(box, f"selftest/{outcome.parent.name}-{outcome.name}", outcome)


def _om(box: Box, folder: str, path: Path) -> None:
    if not path.is_file():
        raise InputError(
            str(path), expected="an .om file", got="none of that name", action="Name the file"
        )
    # what cannot be read may be weights from there on
    end = HEADER_BYTES
    with box.attempt(f"{path}: what it holds"):
        found = read_om(path)
        box.parts[f"{folder}/om.json"] = _plain(asdict(found))
        parts = [one for model in found.models for one in model.partitions]
        if parts:
            # weights may follow the last partition, too: of a model whose table is damaged
            ends = [one.offset for one in parts if one.type != MODEL_DEF]
            end = min(HEAD_BYTES, parts[-1].offset + parts[-1].size, *ends)
    with open_plain(path) as file:
        head = file.read(end)
    if head.startswith(MAGIC):
        box.parts[f"{folder}/head.bin"] = head
    else:
        # whatever it is, it may be somebody's picture
        box.failed.append((f"the head of {path}", "it is no .om"))
    with box.attempt(f"atc --mode=6 of {path}"):
        _mode_6(box, folder, path)


def _mode_6(box: Box, folder: str, path: Path) -> None:
    """Atc's description of the file; in a folder of its own, because atc writes into it."""
    atc = shutil.which("atc")
    if atc is None:
        raise BackendUnavailable(
            "atc", expected="it on PATH", got="none", action="Source CANN's set_env.sh"
        )
    with tempfile.TemporaryDirectory() as scratch:
        # atc accepts few characters in a path, and looks at what a link leads to
        # [V: hicann/ge, base/common/util.cc:260, CheckInputPathValid]
        copy = Path(scratch) / "model.om"
        shutil.copyfile(path, copy)
        text, _ = tool_output([atc, "--mode=6", f"--om={copy}"], MODE_6_TIMEOUT_S)
    box.parts[f"{folder}/atc_mode6.txt"] = text


def _run_selftest(box: Box, folder: str, path: Path) -> None:
    with box.attempt(f"self-test of {path}"), tempfile.TemporaryDirectory() as scratch:
        recording = Path(scratch) / "selftest.npz"
        command = [sys.executable, "-m", "parity.selftest", str(path), "--json"]
        text, _ = tool_output([*command, "--output", recording], SELFTEST_TIMEOUT_S)
        box.parts[f"{folder}/selftest.txt"] = text


def _plain(value: Any) -> Any:
    """A record's fields as JSON has them, long lists and texts cut."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value[:LONGEST_LIST]]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)[:LONGEST_VALUE]


def _selftests(bundle: Path, digest: str | None) -> Iterator[Path]:
    """The outcomes of a bundle's self-test that lie where people leave them."""
    named = re.compile(rf"(?<![^\W_]){re.escape(bundle.name)}(?![^\W_])")
    for place in dict.fromkeys((bundle, bundle.parent, Path.cwd())):
        for suffix in OUTCOMES:
            for file in sorted(place.glob(f"*selftest*{suffix}")):
                if file.is_file() and (
                    place == bundle or named.search(file.stem) or _is_made_with(file, digest)
                ):
                    yield file


def _is_made_with(file: Path, digest: str | None) -> bool:
    """Whether it is a recording, under any name, that was made with this very bundle."""
    if file.suffix != ".npz" or not digest:
        return False
    try:
        manifest = recording_header(file).get("manifest")
    except (OSError, ValueError, zipfile.BadZipFile, KeyError):
        return False
    return isinstance(manifest, dict) and manifest.get("digest") == digest


def _outcome(box: Box, name: str, file: Path) -> None:
    """One recording, report or log."""
    if file.suffix.lower() == ".npz":
        box.parts[f"{name}.json"] = counted(recording_header(file), box.pictures)
        return
    report: Any = None
    if file.suffix.lower() == ".json":
        with open_plain(file) as opened:
            data = opened.read(LARGEST_JSON_BYTES)
        # cut, or behind the lines of a log, it is a text like any other
        with suppress(ValueError):
            report = counted(json.loads(data), box.pictures)
    if not isinstance(report, (dict, list)):
        box.add_text(name, file)
        return
    text = as_json(report)
    is_long = len(text) > LONGEST_TEXT_BYTES
    box.parts[name] = text[-LONGEST_TEXT_BYTES:].decode("utf-8", "replace") if is_long else report


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
