"""The three containers of tensors: torch's zip, torch's format before 1.6, and safetensors.

Source: torch/serialization.py (`_save`, `_legacy_load`) and the README of safetensors.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from runtime.errors import ArtifactError, one_line
from runtime.files import shown
from runtime.files.archive import check_inflated, open_zip
from runtime.files.kind import HEAD_BYTES, no_file, seems_to_be
from runtime.files.reading import DamageError, decode_json
from runtime.model.checkpoint.pickled import Made, Named, Stored, read_pickle

LARGEST_PICKLE_BYTES = 64 << 20
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LENGTH_BYTES = 8
# The format's own limit is 100 MB; a header of this family has 0.2 MB.
LONGEST_HEADER_BYTES = 1 << 24
METADATA_KEY = "__metadata__"
MOST_AXES = 8
# torch's storages and safetensors' names -> torch's dtype and bytes of an element
DTYPES = {
    "torch.DoubleStorage": ("float64", 8),
    "torch.FloatStorage": ("float32", 4),
    "torch.HalfStorage": ("float16", 2),
    "torch.BFloat16Storage": ("bfloat16", 2),
    "torch.LongStorage": ("int64", 8),
    "torch.IntStorage": ("int32", 4),
    "torch.ShortStorage": ("int16", 2),
    "torch.CharStorage": ("int8", 1),
    "torch.ByteStorage": ("uint8", 1),
    "torch.BoolStorage": ("bool", 1),
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
_REBUILT = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
# torch_npu's, of tensors that were saved from an Ascend device
_REBUILT_NPU = "._rebuild_npu_tensor"
_WRAPPED = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor in a file. Offset and strides count elements of its storage.

    Attributes:
        dtype: torch's name.
        storage: the key of its storage.
    """

    dtype: str
    itemsize: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage: str

    @property
    def values(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Container:
    """An open file of tensors.

    Attributes:
        kind: zip, pickle or safetensors.
        content: what was saved; see `read_pickle`. A dictionary of `StoredTensor` in safetensors.
        read: the bytes of a storage by its key, checked; new memory.
        swapped: numbers are stored with their high byte first.
    """

    kind: str
    bytes: int
    content: Any
    read: Callable[[str], bytearray]
    metadata: dict[str, str] = field(default_factory=dict)
    swapped: bool = False


@contextmanager
def open_container(path: Path) -> Iterator[Container]:
    """Open a checkpoint by its content; its name does not matter.

    Raises:
        ArtifactError: not there, none of the three, truncated or damaged; for the length of the
            block, too.
    """
    try:
        if absent := no_file(path):
            raise refused(path, absent)
        with path.open("rb") as file:
            size, head = path.stat().st_size, file.read(HEAD_BYTES)
            file.seek(0)
            if head.startswith(b"PK"):
                with _open_zip(path, size) as container:
                    yield container
            elif head.startswith(b"\x80"):
                yield _legacy(file, size)
            elif head[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{":
                yield _safetensors(file, size)
            else:
                raise refused(path, seems_to_be(head))
    except OSError as error:
        raise refused(path, error.strerror or str(error)) from error
    except DamageError as error:
        raise refused(path, str(error)) from error


def tensor_of(value: Any) -> StoredTensor | None:
    """The plain tensor that a value of a container stands for; None for anything else.

    Raises:
        ArtifactError: by way of `open_container`, for one whose numbers are not all in the file.
    """
    if isinstance(value, StoredTensor):
        return value
    for _ in range(3):  # a parameter of a tensor's subclass of a tensor
        if not isinstance(value, Made) or not isinstance(value.arguments, tuple):
            return None
        if value.name in _WRAPPED and value.arguments:
            value = value.arguments[0]
        elif value.name == "torch._tensor._rebuild_from_type_v2" and len(value.arguments) == 4:
            inner, _, arguments, _ = value.arguments
            value = Made(name=getattr(inner, "name", ""), arguments=arguments)
        else:
            break
    name, parts = value.name, value.arguments
    npu = name.startswith("torch_npu.") and name.endswith(_REBUILT_NPU)
    if not (name in _REBUILT or npu) or len(parts) < 4 or not isinstance(parts[0], Stored):
        return None
    stored, offset, shape, stride = parts[:4]
    if stored.kind not in DTYPES:
        return None
    dtype, itemsize = DTYPES[stored.kind]
    counts = (offset, *shape, *stride) if isinstance(shape, tuple) else (None,)
    if not all(type(n) is int and 0 <= n < 1 << 48 for n in counts) or not (
        len(shape) == len(stride) <= MOST_AXES
    ):
        raise DamageError("a tensor without a shape")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    # a stride of 0 lets a few bytes claim any size
    if math.prod(shape) > stored.length or (0 not in shape and last >= stored.length):
        raise DamageError(f"a tensor of shape {shape}, larger than its storage")
    return StoredTensor(
        dtype=dtype,
        itemsize=itemsize,
        shape=shape,
        stride=stride,
        offset=offset,
        storage=stored.key,
    )


def refused(path: Path, got: str) -> ArtifactError:
    """The error of a file that is no checkpoint, or a damaged one."""
    return ArtifactError(
        shown(path),
        expected="a checkpoint, whole: as torch.save or safetensors writes it",
        got=one_line(got, 300),
        action="Copy the file again and compare its size with the original's",
    )


@contextmanager
def _open_zip(path: Path, size: int) -> Iterator[Container]:
    with open_zip(path) as archive:
        names = set(archive.namelist())
        pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise DamageError(f"a zip archive with {len(pickles) or 'no'} data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        check_inflated(archive, path, archive.namelist())
        if archive.getinfo(pickles[0]).file_size > LARGEST_PICKLE_BYTES:
            raise DamageError(f"a data.pkl of more than {LARGEST_PICKLE_BYTES >> 20} MiB")
        storages: dict[str, Stored] = {}
        content = read_pickle(io.BytesIO(archive.read(pickles[0])), storages)

        def read(key: str) -> bytearray:
            stored, name = storages[key], f"{folder}data/{key}"
            if name not in names:
                raise DamageError(f"no {name} in it")
            found, count = archive.getinfo(name).file_size, _bytes_of(stored)
            if found != count:
                raise DamageError(f"{found} bytes in {name}, where {count} belong")
            return bytearray(archive.read(name))

        order = f"{folder}byteorder"
        swapped = order in names and archive.read(order) == b"big"
        yield Container(kind="zip", bytes=size, content=content, read=read, swapped=swapped)


def _legacy(file: BinaryIO, size: int) -> Container:
    """Five pickles in a row, then each storage behind the number of its elements."""
    pickles = io.BytesIO(file.read(LARGEST_PICKLE_BYTES))
    storages: dict[str, Stored] = {}
    if read_pickle(pickles, {}) != LEGACY_MAGIC:
        raise DamageError("a Python pickle that torch.save did not write")
    _, system, content = (read_pickle(pickles, storages) for _ in range(3))
    keys, start = read_pickle(pickles, {}), pickles.tell()
    places: dict[str, int] = {}
    for key in keys if isinstance(keys, list) else []:
        if not isinstance(key, str) or key not in storages:
            raise DamageError("a list of storages that are not in it")
        places[key] = start
        start += LENGTH_BYTES + _bytes_of(storages[key])
    if start != size:
        raise DamageError(f"{size} bytes where {start} belong")

    def read(key: str) -> bytearray:
        if key not in places:
            raise DamageError(f"no storage {key!r:.40} in it")
        file.seek(places[key])
        if int.from_bytes(file.read(LENGTH_BYTES), "little") != storages[key].length:
            raise DamageError(f"another length of storage {key!r:.40}")
        return bytearray(file.read(_bytes_of(storages[key])))

    swapped = isinstance(system, dict) and system.get("little_endian") is False
    return Container(kind="pickle", bytes=size, content=content, read=read, swapped=swapped)


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def _safetensors(file: BinaryIO, size: int) -> Container:
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if length > min(LONGEST_HEADER_BYTES, size - LENGTH_BYTES):
        raise DamageError("a safetensors file that is cut off in its header")
    try:
        header = decode_json(file.read(length), dict[str, msgspec.Raw])
        metadata = decode_json(header.pop(METADATA_KEY, msgspec.Raw(b"{}")), dict[str, str])
        entries = {key: decode_json(raw, _Entry) for key, raw in header.items()}
    except DamageError as error:
        raise DamageError(f"a safetensors header that is none: {error}") from error
    first, held = LENGTH_BYTES + length, size - LENGTH_BYTES - length
    described = sum(end - begin for begin, end in (e.data_offsets for e in entries.values()))
    if described != held:
        raise DamageError(f"{held} bytes of tensors where its header describes {described}")
    content: dict[str, Any] = {}
    for key, entry in entries.items():
        begin, end = entry.data_offsets
        dtype, itemsize = DTYPES.get(entry.dtype, ("", 0))
        if not dtype:  # a kind that no network of this family has
            content[key] = Named(f"safetensors.{entry.dtype[:40]}")
            continue
        shape = entry.shape
        stride = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        if (
            not all(n >= 0 for n in shape)
            or len(shape) > MOST_AXES
            or not 0 <= begin <= end <= held
            or end - begin != math.prod(shape) * itemsize
        ):
            raise DamageError(f"{key[:80]} of {entry.dtype} {shape} in bytes {begin} to {end}")
        content[key] = StoredTensor(
            dtype=dtype, itemsize=itemsize, shape=shape, stride=stride, offset=0, storage=key
        )

    def read(key: str) -> bytearray:
        begin, end = entries[key].data_offsets
        file.seek(first + begin)
        return bytearray(file.read(end - begin))

    return Container(kind="safetensors", bytes=size, content=content, read=read, metadata=metadata)


def _bytes_of(stored: Stored) -> int:
    if stored.kind not in DTYPES:
        raise DamageError(f"a storage of {stored.kind:.60}")
    return stored.length * DTYPES[stored.kind][1]
