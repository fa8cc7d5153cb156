"""Files from outside, damaged at random: read as what they were, or refused in one line.

    PYTHONPATH=. python tests/mutated_files.py 10000 [SEED]

Every file is damaged blindly (flipped, cut, repeated, spliced bytes) or with its checksums made
right again, so that what lies inside is reached. A file that is accepted must give what the whole
one gives, as far as its format can tell: bytes of tensors in safetensors and in torch's old
format, digits in TOML, rows and boxes have no checksum.
"""

from __future__ import annotations

import io
import json
import random
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from builders import tiny_network
from kits import empty_bundle
from recordings import recording_of
from safetensors.torch import save_file

from export.config import read_config
from parity.boxes import read_boxes, read_pts
from parity.recording.recording import load_recording, save_recording
from runtime.errors import EXIT_BAD_INPUT, StarmarkError
from runtime.files.owned import FILES_NAME, OwnedFiles, ReadFile, WrittenFile
from runtime.files.reading import DamageError, decode_json, read_bytes
from runtime.many.folder import RUN_NAME, FinishedRun
from runtime.many.heading import Heading
from runtime.many.inputs import PictureFile
from runtime.many.journal import Entry, Journal
from runtime.many.rows import Row
from runtime.many.summary import Summary
from runtime.model.manifest import MANIFEST_NAME, check_files, read_manifest
from runtime.network.checkpoint import build_network, load_checkpoint

LONGEST_S = 10.0
MOST_GROWTH_BYTES = 1 << 30
BLIND, INSIDE = "blind", "inside"
HEADING = Heading(model="m", engine="e", given="g", options={"a": "b"})
ODD = (
    b"\x00",
    b"\xff",
    b"\x80\x02",
    b"]" * 40,
    b"h\x00",
    b"9" * 60,
    b"-1",
    b'"',
    b"{" * 60,
    b"null",
)
ODD_JSON: tuple[Any, ...] = (None, -1, 10**40, 1e308, "a\x00b", [], {}, True, "../../x", "x" * 9000)


class Format(NamedTuple):
    """A kind of file.

    Attributes:
        content: of a whole one.
        read: gives what is in it, to be compared.
        told: how it may be damaged so that any change of what it holds can be told.
    """

    name: str
    content: bytes
    read: Callable[[Path], Any]
    told: tuple[str, ...] = ()


def _state(path: Path) -> dict[str, bytes]:
    state = build_network(load_checkpoint(path)).state_dict()
    return {key: tensor.numpy().tobytes() for key, tensor in state.items()}


def _manifest(path: Path) -> Any:
    manifest = read_manifest(path.parent)
    check_files(path.parent, manifest)
    return manifest.digest  # the time of writing is in no digest


def _recording(path: Path) -> Any:
    recording = load_recording(path)
    return recording.header, recording.landmarks.tobytes(), recording.annotations_px.tobytes()


def _journal(path: Path) -> Any:
    with Journal(path.parent, HEADING, resume=True) as journal:
        return journal.done


def _owned(path: Path) -> Any:
    owned = OwnedFiles(path.parent)
    owned.check(["a.pts"], again=True)
    return owned.is_intact("a.pts"), owned.read


def _finished(path: Path) -> Any:
    try:
        return decode_json(read_bytes(path), FinishedRun)
    except DamageError:  # such a run is run again
        return None


def formats(folder: Path) -> list[Format]:
    """Whole files of every kind, small."""
    state = tiny_network().state_dict()
    made: list[Format] = []
    for name, how in (("w.pkl", {}), ("old.pth", {"_use_new_zipfile_serialization": False})):
        torch.save({"net": state, "epoch": 3}, folder / name, **how)
        made.append(Format(name, (folder / name).read_bytes(), _state, () if how else (BLIND,)))
    save_file(state, folder / "w.safetensors")
    made.append(Format("w.safetensors", (folder / "w.safetensors").read_bytes(), _state))
    manifest = empty_bundle(folder / "bundle") / MANIFEST_NAME
    made.append(
        Format(f"bundle/{MANIFEST_NAME}", manifest.read_bytes(), _manifest, (BLIND, INSIDE))
    )
    save_recording(folder / "r.npz", recording_of(np.random.default_rng(0)))
    made.append(Format("r.npz", (folder / "r.npz").read_bytes(), _recording, (BLIND,)))
    read = [ReadFile(name=f"{n}.jpg", bytes=n, wrote=("a.pts",)) for n in range(9)]
    row = msgspec.Raw(msgspec.json.encode(Row(picture="a.jpg", status="no face")))
    entries = [Entry(read=one, rows=[row]) for one in read]
    lines = [msgspec.json.encode(one) + b"\n" for one in (HEADING, *entries)]
    made.append(Format("journal/unfinished.jsonl", b"".join(lines), _journal))
    written = WrittenFile(path="a.pts", bytes=0, sha256="0")
    lines = [msgspec.json.encode(one) + b"\n" for one in (written, *read)]
    made.append(Format(f"owned/{FILES_NAME}", b"".join(lines), _owned))
    run = FinishedRun(heading=HEADING, pictures_sha256="0", summary=Summary(pictures=3))
    made.append(
        Format(
            f"run/{RUN_NAME}",
            msgspec.json.encode(run),
            _finished,
        )
    )
    toml = Path("configs/star68.toml").read_bytes()
    made.append(Format("c.toml", toml, read_config))
    picture = [PictureFile(name="a.jpg", path=Path("/nowhere/a.jpg"))]
    for name, content in (
        ("b.json", b'{"a.jpg": [10, 20.5, 110, 120]}'),
        ("b.csv", b"image,x1,y1,x2,y2\na.jpg,10,20.5,110,120\n"),
        ("b.tsv", b"path\t5\tn\tscale\tx\ty\na.jpg\t1,2\t3,4\t1.5\t60\t70\n"),
    ):
        made.append(Format(name, content, lambda path: read_boxes(path, picture)))
    pts = Path("assets/test.pts").read_bytes()
    made.append(Format("a.pts", pts, lambda path: read_pts(path).tobytes()))
    return made


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut, repeated, replaced by zeros or by something odd."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at, way = rng.randrange(len(changed) + 1), rng.randrange(6)
        end = min(len(changed), at + rng.choice((1, 2, 8, 64, 4096)))
        if way == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            del changed[at:]
        elif way == 2:
            changed[at:at] = changed[at:end] * rng.choice((1, 2, 100))
        elif way == 3:
            changed[at:end] = bytes(end - at)
        elif way == 4:
            changed[at:end] = rng.choice(ODD)
        else:
            changed[at:at] = rng.choice(ODD)
    return bytes(changed)


def damaged_inside(content: bytes, rng: random.Random) -> bytes:
    """One member of an archive or one value of a record, with every checksum right."""
    if content.startswith(b"PK"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
            names = old.namelist()
            first = [n for n in names if n.endswith(("data.pkl", "header.npy"))]
            chosen = rng.choice(first if rng.random() < 0.7 else names)
            for name in names:
                member = old.read(name)
                new.writestr(name, damaged(member, rng) if name == chosen else member)
        return buffer.getvalue()
    if content.startswith(b"{"):
        try:
            record = json.loads(content)
        except ValueError:  # lines of records
            return damaged(content, rng)
        place: Any = record
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = rng.choice(list(keys))
            if isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.8:
                place = place[key]
                continue
            place[key] = rng.choice(ODD_JSON)
            return json.dumps(record).encode()
    return damaged(content, rng)


def peak_bytes() -> int:
    """The most memory this process has held since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def forget_peak() -> int:
    """Start a new peak, and give what is held now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def run(folder: Path, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Read so many damaged files; give counts, and what went wrong."""
    rng = random.Random(seed)  # noqa: S311  # reproducible, not secret
    kinds = formats(folder)
    whole = {}
    for kind in kinds:
        (folder / kind.name).parent.mkdir(exist_ok=True)
        (folder / kind.name).write_bytes(kind.content)
        whole[kind.name] = kind.read(folder / kind.name)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        way = rng.choice((BLIND, INSIDE))
        content = (damaged if way == BLIND else damaged_inside)(kind.content, rng)
        path = folder / kind.name
        path.write_bytes(content)
        before, start = forget_peak(), time.perf_counter()
        where = f"{kind.name}, number {number}"
        try:
            found = kind.read(path)
        except StarmarkError as error:
            counts[f"{kind.name} refused"] += 1
            if error.exit_code != EXIT_BAD_INPUT or "\n" in str(error):
                wrong.append(f"{where}: exit {error.exit_code}: {error}")
        except Exception as error:  # noqa: BLE001  # what is looked for
            wrong.append(f"{where}: {type(error).__name__}: {error}")
        else:
            same = found == whole[kind.name]
            counts[f"{kind.name} {'read' if same else 'read otherwise'}"] += 1
            if way in kind.told and not same:
                wrong.append(f"{where}: accepted wrongly")
        if time.perf_counter() - start > LONGEST_S:
            wrong.append(f"{where}: {time.perf_counter() - start:.0f} s")
        if peak_bytes() - before > MOST_GROWTH_BYTES + len(content):
            wrong.append(f"{where}: {(peak_bytes() - before) >> 20} MiB")
    return counts, wrong


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    found, faults = run(Path(tempfile.mkdtemp()), given[0], given[1] if len(given) > 1 else 1)
    for name, times in sorted(found.items()):
        print(f"{times:6d} {name}")  # noqa: T201  # a command
    for fault in faults:
        print(fault)  # noqa: T201  # likewise
    sys.exit(bool(faults))
