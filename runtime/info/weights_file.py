"""Facts of a checkpoint file, read off its headers: without torch, and nothing in it is run.

Source: the safetensors format (its README); zip as torch.save writes it.
"""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from runtime.errors import ArtifactError, one_line
from runtime.files import shown
from runtime.files.kind import HEAD_BYTES, no_file, seems_to_be

Facts = dict[str, Any]

LENGTH_BYTES = 8
# The format's own limit is 100 MB; a header of this family has 0.2 MB.
LONGEST_HEADER = 1 << 24
METADATA_KEY = "__metadata__"


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read_safetensors(path: Path) -> Facts:
    """Read the header of a safetensors file, and check that it describes the whole file.

    Returns:
        `values` are the numbers in all tensors, parameters and buffers alike; `dtypes` the tensors
        by dtype.

    Raises:
        ArtifactError: not there, not safetensors, truncated or damaged.
    """
    size, head = _head(path, "a safetensors file")
    length = int.from_bytes(head[:LENGTH_BYTES], "little")
    if len(head) < LENGTH_BYTES or length > min(LONGEST_HEADER, size - LENGTH_BYTES):
        raise _refused(path, "a safetensors file", seems_to_be(head))
    try:
        with path.open("rb") as file:
            file.seek(LENGTH_BYTES)
            header = msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw])
        metadata = msgspec.json.decode(header.pop(METADATA_KEY, b"{}"), type=dict[str, str])
        entries = [msgspec.json.decode(raw, type=_Entry) for raw in header.values()]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        got = f"a header that is none: {one_line(error, 200)}"
        raise _refused(path, "a safetensors file", got) from error
    # the package of that name checks each tensor's place when it loads them
    described = max((entry.data_offsets[1] for entry in entries), default=0)
    available = size - LENGTH_BYTES - length
    if described != available:
        raise _refused(
            path,
            f"{described} bytes of tensors, by its header",
            f"{available}: it is truncated, or something was appended",
        )
    return {
        "bytes": size,
        "container": "safetensors",
        "tensors": len(entries),
        "values": sum(math.prod(entry.shape) for entry in entries),
        "dtypes": dict(sorted(Counter(entry.dtype for entry in entries).items())),
        "metadata": metadata,
    }


def read_pickle_container(path: Path) -> Facts:
    """List a pickled checkpoint without unpickling it.

    Returns:
        The container, "zip" as torch writes it or "pickle" as torch before 1.6 did, and of a zip
        the number of tensor storages and their bytes.

    Raises:
        ArtifactError: not there, or no pickle and no zip that can be listed.
    """
    expected = "a checkpoint that torch.save wrote"
    size, head = _head(path, expected)
    facts: Facts = {"bytes": size}
    if head.startswith(b"\x80"):  # a pickle of protocol 2
        return facts | {"container": "pickle", "tensors": None, "tensor_bytes": None}
    if not head.startswith(b"PK"):
        raise _refused(path, expected, seems_to_be(head))
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    # a damaged zip can fail anywhere inside the reader, with whatever that place raises
    except Exception as error:
        got = f"a truncated or damaged zip: {one_line(error, 200, kind=True)}"
        raise _refused(path, expected, got) from error
    if not any(entry.filename.rpartition("/")[2] == "data.pkl" for entry in entries):
        raise _refused(path, expected, "a zip archive without data.pkl")
    storages = [entry for entry in entries if entry.filename.split("/")[-2:-1] == ["data"]]
    tensor_bytes = sum(entry.file_size for entry in storages)
    return facts | {"container": "zip", "tensors": len(storages), "tensor_bytes": tensor_bytes}


def _head(path: Path, expected: str) -> tuple[int, bytes]:
    try:
        if absent := no_file(path):
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
