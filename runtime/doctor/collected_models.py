"""What of models and bundles belongs in the box: how they were made, never what they hold."""

from __future__ import annotations

import json
import shutil
import struct
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runtime.doctor.box import Box
from runtime.doctor.collected_machine import tool_output
from runtime.doctor.collected_outcomes import outcome, outcomes
from runtime.doctor.plain_files import open_plain
from runtime.errors import BackendUnavailable, InputError
from runtime.model.om_file import ENTRY, HEADER_BYTES, MAGIC, MODEL_DEF, OLD_ENTRY, OmFile, read_om

# runtime.model.manifest's MANIFEST_NAME, without msgspec, which a bare Python lacks
MANIFEST = "manifest.json"
OUTCOMES = (".npz", ".json", ".txt", ".log")
# Header, table of partitions and the beginning of the graph.
HEAD_BYTES = 4096
# length, modeltype and model_length of a header. [V: hicann/ge,
# inc/framework/common/framework_types_internal.h:672; LoadModelPartitionTable for their meaning]
HEADER = struct.Struct("<76xI2xB101xQ")
FLOW_MODEL = 3
MOST_ENTRIES_UNREAD = 31
LARGEST_MANIFEST_BYTES = 4 << 20
# What is shown of one value or list of an .om.
LONGEST_LIST = 1000
LONGEST_VALUE = 4000
MODE_6_TIMEOUT_S = 120.0
SELFTEST_TIMEOUT_S = 1800.0


def source(box: Box, index: int, path: Path, *, selftest: bool) -> None:
    """One bundle, .om, recording or log that was named.

    Args:
        box: where to.
        index: of it among the sources, which keeps names apart.
        path: of it.
        selftest: whether a bundle is to run its self-test now.
    """
    folder = f"models/{index}-{path.resolve().name}"
    if path.is_dir():
        _bundle(box, folder, path)
        if selftest:
            _run_selftest(box, folder, path)
        return
    if selftest:
        box.failed.append((f"self-test of {path}", "only a bundle's folder has one"))
    # an export that failed leaves its log, and no bundle
    log = path.with_name(f"{path.name}.atc.log")
    if log.is_file():
        with box.attempt(str(log)):
            box.text_file(f"{folder}/{log.name}", log)
    suffix = path.suffix.lower()
    with box.attempt(str(path)):
        if suffix == ".om":
            _om(box, folder, path)
        elif suffix in OUTCOMES and path.exists():
            outcome(box, folder, path)
        else:
            got = "a file of another kind" if path.exists() else "no such file or folder"
            raise InputError(
                str(path),
                expected="a bundle's folder, an .om, a recording (.npz), a .json, .txt or .log",
                got=got,
                action="Name one of these",
            )


def _bundle(box: Box, folder: str, path: Path) -> None:
    manifest: Any = None
    with box.attempt(str(path / MANIFEST)), open_plain(path / MANIFEST) as file:
        manifest = json.loads(file.read(LARGEST_MANIFEST_BYTES))
        box.parts[f"{folder}/{MANIFEST}"] = manifest
    for log in (*sorted(path.glob("*.log")), path.with_name(f"{path.name}.atc.log")):
        if log.exists():
            with box.attempt(str(log)):
                box.text_file(f"{folder}/{log.name}", log)
    for om in sorted(path.glob("*.om")):
        with box.attempt(str(om)):
            _om(box, f"{folder}/{om.stem}", om)
    outcomes(box, path, manifest)


def _om(box: Box, folder: str, path: Path) -> None:
    if not path.is_file():
        raise InputError(
            str(path), expected="an .om file", got="none of that name", action="Name the file"
        )
    end = 0
    with box.attempt(f"{path}: what it holds"):
        found = read_om(path)
        end = _graph_end(found)
        box.parts[f"{folder}/om.json"] = _plain(asdict(found))
    with open_plain(path) as file:
        head = file.read(HEAD_BYTES)
    head = head[: end or _table_end(head)]
    if head.startswith(MAGIC):
        box.parts[f"{folder}/head.bin"] = head
    else:
        # whatever it is, it may be somebody's picture
        box.failed.append((f"the head of {path}", "it is no .om"))
    with box.attempt(f"atc --mode=6 of {path}"):
        _mode_6(box, folder, path)


def _graph_end(found: OmFile) -> int:
    """Where the first thing begins that is neither table nor graph; 0 where no table was read."""
    parts = [one for model in found.models for one in model.partitions]
    if not parts:
        return 0
    # behind the last one, too, weights may lie: of a model whose table could not be read
    end = parts[-1].offset + parts[-1].size
    return min(HEAD_BYTES, end, *(one.offset for one in parts if one.type != MODEL_DEF))


def _table_end(head: bytes) -> int:
    """Where the table of an unreadable file ends; the header's end where there is none to see.

    What else cannot be read may be weights from the first byte on.
    """
    if len(head) <= HEADER_BYTES:
        return HEADER_BYTES
    length, model_type, model_length = HEADER.unpack_from(head)
    wide = bool(model_length) or model_type == FLOW_MODEL
    entry, begin = (ENTRY, HEADER_BYTES + 8) if wide else (OLD_ENTRY, HEADER_BYTES + 4)
    count = int.from_bytes(head[HEADER_BYTES : HEADER_BYTES + 4], "little")
    end = begin + count * entry.size
    if not 1 <= count <= MOST_ENTRIES_UNREAD or len(head) < end:
        return HEADER_BYTES
    sizes = sum(size for _, _, size in entry.iter_unpack(head[begin:end]))
    # a table's partitions fit into the file that the header promises; chance numbers do not
    return end if end + sizes <= HEADER_BYTES + (model_length or length) else HEADER_BYTES


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
