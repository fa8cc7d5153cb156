"""What a batch reads, in partitions: pictures, or a Parquet of pictures or of addresses."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.batch.store import ADDRESS, import_pyarrow, place_of
from runtime.bulk.inputs import StoredPicture, find_pictures
from runtime.errors import ConfigError, InputError, one_line
from runtime.files import shown
from runtime.picture import SUFFIXES, decode_picture, unreadable

PARQUET = ".parquet"
# Looked for in this order: the pictures themselves, then where they are.
IMAGE_COLUMNS = ("image", "bytes")
ADDRESS_COLUMNS = ("uri", "url", "path", "file")


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the inputs, whose rows become one file.

    Attributes:
        index: which of the partitions.
        first: the place of its first input among all.
        count: how many inputs.
        names: what rows call the pictures, and `places` where they are; for pictures by path.
        places: see above.
        file: a Parquet file, and its rows from `skip` on in `row_group`; for the others.
        row_group, skip, column: see above.
    """

    index: int
    first: int
    count: int
    names: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    file: str = ""
    row_group: int = 0
    skip: int = 0
    column: str = ""

    def pictures(self) -> Iterator[StoredPicture]:
        """Its pictures, to be decoded when their turn comes.

        Raises:
            InputError: its Parquet file cannot be read any more.
        """
        if self.file:
            yield from _rows_of(self)
        else:
            for name, place in zip(self.names, self.places, strict=True):
                yield _AtPlace(name=name, place=place)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All of them.

    Attributes:
        partitions: in order.
        count: of inputs.
        sha256: over what and in which partitions.
    """

    partitions: tuple[Partition, ...]
    count: int
    sha256: str


def find_inputs(given: str, per_partition: int, column: str | None = None) -> Inputs:
    """List what is to be read, in the same partitions each time.

    Args:
        given: a picture, a folder or glob of pictures, or a Parquet file or a folder of such; on
            this machine or by an address.
        per_partition: inputs in each at most.
        column: of the Parquet's pictures or addresses; None looks for a known name.

    Raises:
        ConfigError: `per_partition` cannot be, a column is named for pictures, or a folder holds
            both kinds.
        InputError: nothing is there, or a Parquet without such a column.
    """
    if per_partition < 1:
        raise ConfigError(
            "--partition", expected="1 or more", got=str(per_partition), action="Correct it"
        )
    tables, pictures = _listed(given)
    if tables:
        found = [*_of_tables(tables, per_partition, column)]
    elif column is not None:
        raise ConfigError(
            "--column", expected="a Parquet as input", got=shown(given), action="Leave it out"
        )
    else:
        found = [
            Partition(
                index=index,
                first=first,
                count=len(some),
                names=tuple(name for name, _ in some),
                places=tuple(place for _, place in some),
            )
            for index, first in enumerate(range(0, len(pictures), per_partition))
            for some in [pictures[first : first + per_partition]]
        ]
    digest = hashlib.sha256()
    for one in found:
        # not where the pictures are: a folder may be mounted elsewhere when a job goes on
        digest.update(msgspec.json.encode(msgspec.structs.replace(one, places=())))
    count = sum(one.count for one in found)
    return Inputs(partitions=tuple(found), count=count, sha256=digest.hexdigest())


def _listed(given: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Parquet files, or names and places of pictures."""
    if ADDRESS not in given:
        path = Path(given)
        tables = _tables_at(path, given)
        if tables and path.is_dir():
            _check_one_kind(given, any(p.suffix.lower() in SUFFIXES for p in path.rglob("*")))
        if tables:
            return [str(table) for table in tables], []
        found = find_pictures(given)
        return [], [(one.name, str(one.path.resolve())) for one in found]
    pa = import_pyarrow()
    file_system, root = place_of(given)
    try:
        info = file_system.get_file_info(root)
        infos = [info]
        if info.type == pa.fs.FileType.Directory:
            infos = file_system.get_file_info(pa.fs.FileSelector(root, recursive=True))
    except OSError as error:
        raise _nothing(given, one_line(error, 200)) from error
    paths = sorted(one.path for one in infos if one.type == pa.fs.FileType.File)
    paths = [one for one in paths if not PurePosixPath(one).name.startswith((".", "_"))]
    tables_at = [one for one in paths if one.endswith(PARQUET)]
    pictures = [one for one in paths if PurePosixPath(one).suffix.lower() in SUFFIXES]
    _check_one_kind(given, bool(tables_at and pictures))
    if not tables_at and not pictures:
        raise _nothing(given, "none")
    head = given.split(ADDRESS, 1)[0] + ADDRESS
    names = [one.removeprefix(root).lstrip("/") or PurePosixPath(one).name for one in pictures]
    return [head + one for one in tables_at], [
        (name, head + one) for name, one in zip(names, pictures, strict=True)
    ]


def _tables_at(path: Path, given: str) -> list[Path]:
    """Parquet files on this machine: the one that is named, those of a glob, or of a folder."""
    if path.is_dir():
        found = path.glob(f"**/*{PARQUET}")
        return sorted(one for one in found if not one.name.startswith((".", "_")))
    if path.suffix != PARQUET:
        return []
    if path.exists() or not glob.has_magic(given):
        return [path]
    matches = glob.glob(given, recursive=True)  # noqa: PTH207  # the pattern may be absolute
    if not matches:
        raise _nothing(given, "no match")
    return sorted(map(Path, matches))


def _of_tables(tables: list[str], per_partition: int, column: str | None) -> Iterator[Partition]:
    index = first = 0
    for table in tables:
        file = _opened(table)
        chosen = _column(table, file.schema_arrow, column)
        for row_group in range(file.num_row_groups):
            rows = file.metadata.row_group(row_group).num_rows
            for skip in range(0, rows, per_partition):
                count = min(per_partition, rows - skip)
                yield Partition(
                    index=index,
                    first=first,
                    count=count,
                    file=table,
                    row_group=row_group,
                    skip=skip,
                    column=chosen,
                )
                index, first = index + 1, first + count
    if not first:
        raise _nothing(tables[0], "a Parquet without rows")


def _opened(table: str) -> Any:
    pa = import_pyarrow()
    file_system, path = place_of(table)
    try:
        return pa.parquet.ParquetFile(file_system.open_input_file(path))
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            shown(table),
            expected="a Parquet file",
            got=one_line(error, 200),
            action="Check the path, or copy the file again",
        ) from error


def _column(table: str, schema: Any, named: str | None) -> str:
    """Which column holds the pictures, or says where they are."""
    pa = import_pyarrow()
    types = dict(zip(schema.names, schema.types, strict=True))
    for name in (named,) if named else (*IMAGE_COLUMNS, *ADDRESS_COLUMNS):
        if name in types and _kind(pa, types[name]):
            return name
    wanted = f"the column {named!r}" if named else f"a column {', '.join(IMAGE_COLUMNS)}"
    raise InputError(
        shown(table),
        expected=f"{wanted} of bytes (or of a struct with bytes)"
        f"{'' if named else ', or ' + ', '.join(ADDRESS_COLUMNS)} of strings",
        got=one_line(", ".join(f"{name}: {kind}" for name, kind in types.items()), 300),
        action="Name the column with --column",
    )


def _kind(pa: Any, found: Any) -> str:
    if pa.types.is_binary(found) or pa.types.is_large_binary(found):
        return "bytes"
    if pa.types.is_string(found) or pa.types.is_large_string(found):
        return "address"
    # as Hugging Face's datasets keep pictures
    if pa.types.is_struct(found) and found.get_field_index("bytes") >= 0:
        return "struct"
    return ""


def _rows_of(partition: Partition) -> Iterator[StoredPicture]:
    pa = import_pyarrow()
    file = _opened(partition.file)
    stem = PurePosixPath(partition.file).name
    first = sum(file.metadata.row_group(i).num_rows for i in range(partition.row_group))
    place = 0
    try:
        # a little at a time: a row group may hold a million pictures
        for some in file.iter_batches(
            batch_size=64, row_groups=[partition.row_group], columns=[partition.column]
        ):
            for value in some.column(0):
                if partition.skip <= place < partition.skip + partition.count:
                    row = f"{stem}#{first + place}"
                    yield _of_value(value.as_py(), row, partition.file)
                place += 1
            if place >= partition.skip + partition.count:
                return
    except pa.ArrowException as error:
        raise unreadable(partition.file, one_line(error, 200)) from error


def _of_value(value: Any, row: str, table: str) -> StoredPicture:
    if isinstance(value, str):
        apart = ADDRESS in value or value.startswith("/")
        folder, slash, _ = table.rpartition("/")
        return _AtPlace(name=value, place=value if apart else f"{folder}{slash}{value}")
    if isinstance(value, dict):
        return _InRow(name=value.get("path") or row, encoded=value.get("bytes"))
    return _InRow(name=row, encoded=value)


@dataclass(frozen=True, kw_only=True)
class _AtPlace:
    name: str
    place: str

    def read(self) -> NDArray[np.uint8]:
        file_system, path = place_of(self.place)
        try:
            with file_system.open_input_stream(path) as file:
                encoded = file.read()
        except OSError as error:
            raise unreadable(self.name, one_line(error, 200)) from error
        return decode_picture(encoded, self.name)


@dataclass(frozen=True, kw_only=True)
class _InRow:
    name: str
    encoded: bytes | None

    def read(self) -> NDArray[np.uint8]:
        if self.encoded is None:
            raise unreadable(self.name, "nothing (null)")
        return decode_picture(self.encoded, self.name)


def _check_one_kind(given: str, both: bool) -> None:  # one caller's finding
    if both:
        raise ConfigError(
            shown(given),
            expected="either pictures or Parquet files",
            got="both",
            action="Name the Parquet file, or a folder of one kind",
        )


def _nothing(where: str, got: str) -> InputError:
    return InputError(
        shown(where),
        expected=f"pictures ({', '.join(SUFFIXES)}) or Parquet files",
        got=got,
        action="Check the path or address",
    )
