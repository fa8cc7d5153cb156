"""Pictures wherever pyarrow or fsspec reach: by path or address, or as bytes in a Parquet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError, one_line
from runtime.files import shown
from runtime.files.kind import no_file
from runtime.files.owned import ReadFile
from runtime.image.picture import MAX_PIXELS, decode_picture, read_picture, unreadable
from runtime.many.boxes import Box
from runtime.many.inputs import ADDRESS, StoredPicture, unboxed
from runtime.many.tables import import_pyarrow

# Rows of a Parquet held at once: a row group may hold a million pictures.
ROWS_HELD = 64


def place_of(given: str) -> tuple[Any, str]:
    """Return a file system, and the path in it that a path or address means.

    Raises:
        BackendUnavailable: pyarrow is missing.
        InputError: an address that neither pyarrow nor fsspec understands.
    """
    if ADDRESS not in given:
        return import_pyarrow("runtime.batch").fs.LocalFileSystem(), str(Path(given).absolute())
    return _at_address(given)


# a client for each picture would ask for its region, and open its connections, anew
@lru_cache(maxsize=64)
def _at_address(given: str) -> tuple[Any, str]:
    pa = import_pyarrow("runtime.batch")
    with suppress(pa.ArrowException, ValueError):  # a scheme of fsspec's, which has many more
        file_system, path = pa.fs.FileSystem.from_uri(given)
        return file_system, path
    _check_no_pipe(given)
    try:
        import fsspec

        file_system, path = fsspec.core.url_to_fs(given)
    # each of its file systems raises what its own library raises
    except Exception as error:
        scheme = given.split(ADDRESS, 1)[0]
        raise InputError(
            given,
            expected=f"an address that pyarrow or fsspec opens ({scheme}{ADDRESS})",
            got=one_line(error, 200, kind=True),
            action="Check it, and install fsspec with the package for that scheme",
        ) from error
    return pa.fs.PyFileSystem(pa.fs.FSSpecHandler(file_system)), path


def _check_no_pipe(given: str) -> None:
    """Refuse a pipe or device in a chain of file systems: they would wait for it, or read on."""
    for part in given.split("::"):
        scheme, _, path = part.rpartition(ADDRESS)
        if scheme in ("", "file", "local"):
            for local in (Path(path), Path(unquote(path))):
                if local.exists() and not (local.is_file() or local.is_dir()):
                    raise unreadable(given, no_file(local))


def is_local(file_system: Any) -> bool:
    """Whether a file system is this machine's own, whose files are read by their paths."""
    handler = getattr(file_system, "handler", None)
    kind = file_system if handler is None else handler.fs
    return type(kind).__name__ == "LocalFileSystem"


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the inputs, whose rows become one file.

    Attributes:
        index: which of the partitions.
        first: the place of its first input among all.
        count: how many inputs.
        root: address whose file system the paths are of; empty for this machine's.
        names: of pictures by path in results; `places` are their paths.
        boxes, boxed_by: of each picture, as for `PictureFile`; none where they are to be found.
        table: of a Parquet file in results, for its rows from `skip` on in `row_group`; `file` is
            its path, `column` that of the pictures or of their paths, `box_column` of their boxes.
        forbid_remote: a row's address is opened only if it is of a file on this machine.
        stamps: see `stamped`.
    """

    index: int
    first: int
    count: int
    root: str = ""
    names: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    boxes: tuple[tuple[Box, ...] | None, ...] = ()
    boxed_by: str = ""
    table: str = ""
    file: str = ""
    row_group: int = 0
    skip: int = 0
    column: str = ""
    box_column: str = ""
    forbid_remote: bool = False
    stamps: str = ""

    @property
    def text(self) -> str:
        """The partition as people find it again."""
        if self.file:
            where = f"rows from {self.skip} on in row group {self.row_group} of {self.table}"
        else:
            where = f"pictures, {self.names[0]} to {self.names[-1]}"
        return f"partition {self.index}, {self.count} {where}"

    @property
    def is_of_files(self) -> bool:
        """Whether its pictures are files on this machine, by their paths."""
        return not (self.root or self.file)

    def files(self) -> tuple[str, ...]:
        """The paths of what it reads; what a table's rows name is not among them."""
        return (self.file,) if self.file else self.places

    def digest_of_contents(self) -> str:
        """SHA-256 of its pictures' files on this machine; empty for others and for tables."""
        if not self.is_of_files:
            return ""
        return digest_of_notes(ReadFile.of(place, Path(place)) for place in self.places)

    def pictures(self) -> Iterator[StoredPicture]:
        """Its pictures, to be decoded when their turn comes.

        Raises:
            InputError: its Parquet file cannot be read any more.
        """
        if self.file:
            yield from _rows_of(self)
        else:
            boxes = self.boxes or (None,) * self.count
            for name, place, some in zip(self.names, self.places, boxes, strict=True):
                if self.boxed_by and some is None:
                    yield _Refused(name=name, error=unboxed(name, self.boxed_by))
                else:
                    yield _AtPlace(name=name, root=self.root, place=place, boxes=some)


def digest_of_notes(notes: Iterable[ReadFile]) -> str:
    """SHA-256 of the digests of files, in their order."""
    return hashlib.sha256("".join(f"{note.sha256}\n" for note in notes).encode()).hexdigest()


def stamped(partitions: Iterable[Partition]) -> Iterator[Partition]:
    """Note the size and the time of every file, by which a change is told without reading it."""
    seen: dict[str, dict[str, str]] = {}
    for partition in partitions:
        root, digest = partition.root, hashlib.sha256()
        if root and root not in seen:
            seen[root] = _stamps_at(root)
        for path in partition.files():
            found = seen[root].get(path, "") if root else _stamp(path)
            digest.update(f"{found}\n".encode())
        yield msgspec.structs.replace(partition, stamps=digest.hexdigest())


def _stamp(path: str) -> str:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def _stamps_at(root: str) -> dict[str, str]:
    pa = import_pyarrow("runtime.batch")
    file_system, top = place_of(root)
    found = file_system.get_file_info(top)
    infos = [found]
    if found.type == pa.fs.FileType.Directory:
        infos = file_system.get_file_info(pa.fs.FileSelector(top, recursive=True))
    return {info.path: f"{info.size} {info.mtime_ns}" for info in infos}


def open_table(root: str, path: str) -> Any:
    """Open a Parquet file.

    Raises:
        InputError: it is none.
    """
    pa = import_pyarrow("runtime.batch")
    file_system = place_of(root)[0]
    try:
        absent = no_file(Path(path)) if is_local(file_system) else ""
        if absent:
            raise ValueError(absent)
        return pa.parquet.ParquetFile(file_system.open_input_file(path))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _no_table(path, error) from error


def _rows_of(partition: Partition) -> Iterator[StoredPicture]:
    file = open_table(partition.root, partition.file)
    first = sum(file.metadata.row_group(i).num_rows for i in range(partition.row_group))
    place, end = 0, partition.skip + partition.count
    columns = [name for name in (partition.column, partition.box_column) if name]
    some_rows = file.iter_batches(
        batch_size=ROWS_HELD, row_groups=[partition.row_group], columns=columns
    )
    try:
        for some in some_rows:
            for values in zip(*map(some.column, columns), strict=True):
                if partition.skip <= place < end:
                    name = f"{partition.table}#{first + place}"
                    value, *boxes = (one.as_py() for one in values)
                    picture = _of_value(value, name, partition)
                    yield _boxed(picture, boxes[0], partition) if boxes else picture
                place += 1
            if place >= end:
                return
    except (OSError, import_pyarrow().ArrowException) as error:
        raise _no_table(partition.file, error) from error


def _boxed(picture: Stored, boxes: Any, partition: Partition) -> Stored:
    """A picture with the boxes of its row: one, or a list of them."""
    where = f"the column {partition.box_column}"
    if boxes is None:
        return _Refused(name=picture.name, error=unboxed(picture.name, where))
    several = not boxes or isinstance(boxes[0], list)
    try:
        checked = msgspec.convert(boxes if several else [boxes], tuple[Box, ...])
    except msgspec.ValidationError:
        expected = f"boxes of four numbers, x1, y1, x2, y2, in {where}"
        fault = InputError(picture.name, expected=expected, got=repr(boxes), action="Correct them")
        return _Refused(name=picture.name, error=fault)
    return replace(picture, boxes=checked)


def _of_value(value: Any, name: str, partition: Partition) -> Stored:
    if isinstance(value, dict):
        path = value.get("path")
        if value.get("bytes") is None and path:
            return _of_value(path, name, partition)
        return _InRow(name=path or name, encoded=value.get("bytes"))
    if not isinstance(value, str):
        return _InRow(name=name, encoded=value)
    if not value:  # which would be the table's folder
        return _InRow(name=name, encoded=None)
    if ADDRESS in value:
        # "::" chains file systems, as in file://x::http://y
        if partition.forbid_remote and (not value.startswith(f"file{ADDRESS}") or "::" in value):
            got = "a remote address, which --forbid-remote excludes"
            return _Refused(name=value, error=unreadable(value, got))
        return _AtPlace(name=value, root=value, place="")
    if value.startswith("/"):
        return _AtPlace(name=value, root="", place=value)
    folder, slash, _ = partition.file.rpartition("/")
    return _AtPlace(name=value, root=partition.root, place=f"{folder}{slash}{value}")


@dataclass(frozen=True, kw_only=True)
class _AtPlace:
    """A picture by its path in a file system; where `place` is empty, by the address itself."""

    name: str
    root: str
    place: str
    boxes: tuple[Box, ...] | None = None

    def read(self, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
        try:
            if not self.root:
                return read_picture(Path(self.place), max_pixels)
            file_system, path = place_of(self.root)
            if is_local(file_system):
                return read_picture(Path(self.place or path), max_pixels)
            with file_system.open_input_stream(self.place or path) as file:
                encoded: bytes = file.read()
        except InputError:
            raise
        # file systems raise what their own libraries raise: one picture's fault is one row
        except Exception as error:
            got = one_line(error, 200, kind=True)
            raise unreadable(self.name, got) from error
        return decode_picture(encoded, self.name, max_pixels)


@dataclass(frozen=True, kw_only=True)
class _Refused:
    name: str
    error: InputError
    boxes: tuple[Box, ...] | None = None

    def read(self, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:  # noqa: ARG002
        raise self.error


@dataclass(frozen=True, kw_only=True)
class _InRow:
    name: str
    encoded: Any
    boxes: tuple[Box, ...] | None = None

    def read(self, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
        if not isinstance(self.encoded, bytes):
            got = "nothing (null)" if self.encoded is None else type(self.encoded).__name__
            raise unreadable(self.name, got)
        return decode_picture(self.encoded, self.name, max_pixels)


Stored: TypeAlias = _AtPlace | _Refused | _InRow


def _no_table(path: str, error: Exception) -> InputError:
    return InputError(
        shown(path),
        expected="a Parquet file",
        got=one_line(error, 200),
        action="Check the path, or copy the file again",
    )
