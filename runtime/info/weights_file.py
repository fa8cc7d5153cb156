"""What a checkpoint file holds, read off its headers: without torch, and nothing in it is run.

Source: the safetensors format (its README); zip as torch.save writes it.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from runtime.errors import ArtifactError, one_line
from runtime.files import shown
from runtime.files.kind import HEAD_BYTES, no_file, seems_to_be

LENGTH_BYTES = 8
# The format's own limit is 100 MB; a header of this family has 0.2 MB.
LONGEST_HEADER = 1 << 24
METADATA_KEY = "__metadata__"
# torch stores tensors as they are; no zip of any kind can hold more than this.
LARGEST_DEFLATE_RATIO = 1032
ITEM_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dtype: str
    shape: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0)], ...], msgspec.Meta(max_length=16)]
    data_offsets: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class SafetensorsFile:
    """A safetensors file's header.

    Attributes:
        path: where it lies.
        bytes: size of the file.
        tensors: number of them.
        values: numbers in them, parameters and buffers alike.
        dtypes: tensors by dtype.
        metadata: what its maker wrote beside them.
    """

    path: Path
    bytes: int
    tensors: int
    values: int
    dtypes: dict[str, int]
    metadata: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class PickleFile:
    """A pickled checkpoint, seen from outside: what is in it, only unpickling would tell.

    Attributes:
        path: where it lies.
        bytes: size of the file.
        container: "zip" as torch writes it, or "pickle" as torch before 1.6 did.
        tensors: files of tensor storage in the zip; None without one.
        tensor_bytes: bytes of them; None without a zip.
    """

    path: Path
    bytes: int
    container: str
    tensors: int | None
    tensor_bytes: int | None


def read_safetensors(path: Path) -> SafetensorsFile:
    """Read the header of a safetensors file, and check that it describes the whole file.

    Raises:
        ArtifactError: not there, not safetensors, truncated or damaged.
    """
    size, head = _head(path, "a safetensors file")
    try:
        length = int.from_bytes(head[:LENGTH_BYTES], "little")
        if len(head) < LENGTH_BYTES or length > min(LONGEST_HEADER, size - LENGTH_BYTES):
            raise _refused(path, "a safetensors file", seems_to_be(head))
        with path.open("rb") as file:
            file.seek(LENGTH_BYTES)
            header = msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw])
        metadata = msgspec.json.decode(header.pop(METADATA_KEY, b"{}"), type=dict[str, str])
        entries = {key: msgspec.json.decode(raw, type=_Entry) for key, raw in header.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        got = f"a header that is none: {one_line(error, 200)}"
        raise _refused(path, "a safetensors file", got) from error
    _check_entries(path, entries, size - LENGTH_BYTES - length)
    dtypes: dict[str, int] = {}
    for entry in entries.values():
        dtypes[entry.dtype] = dtypes.get(entry.dtype, 0) + 1
    return SafetensorsFile(
        path=path,
        bytes=size,
        tensors=len(entries),
        values=sum(math.prod(entry.shape) for entry in entries.values()),
        dtypes=dict(sorted(dtypes.items())),
        metadata=metadata,
    )


def read_pickle_container(path: Path) -> PickleFile:
    """List a pickled checkpoint without unpickling it.

    Raises:
        ArtifactError: not there, or no pickle and no zip that can be listed.
    """
    expected = "a checkpoint that torch.save wrote"
    size, head = _head(path, expected)
    if not head.startswith(b"PK"):
        # torch before 1.6 begins with a pickle of protocol 2
        if not head.startswith(b"\x80"):
            raise _refused(path, expected, seems_to_be(head))
        return PickleFile(
            path=path, bytes=size, container="pickle", tensors=None, tensor_bytes=None
        )
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    # a damaged zip can fail anywhere inside the reader, with whatever that place raises
    except Exception as error:
        got = f"a truncated or damaged zip: {one_line(f'{type(error).__name__}: {error}', 200)}"
        raise _refused(path, expected, got) from error
    if not any(entry.filename.rpartition("/")[2] == "data.pkl" for entry in entries):
        raise _refused(path, expected, "a zip archive without data.pkl")
    storages = [entry for entry in entries if entry.filename.split("/")[-2:-1] == ["data"]]
    tensor_bytes = sum(entry.file_size for entry in storages)
    if tensor_bytes > size * LARGEST_DEFLATE_RATIO:
        got = f"a zip of {size} bytes that claims {tensor_bytes} of tensors"
        raise _refused(path, expected, got)
    return PickleFile(
        path=path,
        bytes=size,
        container="zip",
        tensors=len(storages),
        tensor_bytes=tensor_bytes,
    )


def _check_entries(path: Path, entries: dict[str, _Entry], available: int) -> None:
    """Every tensor has its own bytes, and together they are all of the file."""
    following = 0
    for key, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        start, end = entry.data_offsets
        item = ITEM_BYTES.get(entry.dtype)
        if start != following or item is None or end - start != math.prod(entry.shape) * item:
            got = f"{entry.dtype} {list(entry.shape)} in bytes {start} to {end} for {key[:80]!r}"
            raise _refused(path, "tensors one after another, each of its own size", got)
        following = end
    if following != available:
        raise _refused(
            path,
            f"{following} bytes of tensors, as its header says",
            f"{available}: it is truncated, or something was appended",
        )


def _head(path: Path, expected: str) -> tuple[int, bytes]:
    try:
        absent = no_file(path)
        if absent:
            raise _refused(path, expected, absent)
        with path.open("rb") as file:
            return path.stat().st_size, file.read(HEAD_BYTES)
    except OSError as error:
        raise _refused(path, expected, error.strerror or str(error)) from error


def _refused(path: Path, expected: str, got: str) -> ArtifactError:
    return ArtifactError(
        shown(path),
        expected=expected,
        got=got,
        action="Copy the file again and compare its size with the original's",
    )
