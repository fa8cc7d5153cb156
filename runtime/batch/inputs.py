"""What a batch reads, in partitions: pictures, or a Parquet of pictures or of addresses."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from runtime.batch.reading import Partition, open_table
from runtime.batch.store import ADDRESS, import_pyarrow, place_of
from runtime.errors import ConfigError, InputError, one_line
from runtime.files import shown
from runtime.image.picture import SUFFIXES
from runtime.many.inputs import find_pictures

PARQUET = ".parquet"
# Looked for in this order: the pictures themselves, then where they are.
IMAGE_COLUMNS = ("image", "bytes")
ADDRESS_COLUMNS = ("uri", "url", "path", "file")


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
    root = given if ADDRESS in given else ""
    tables, pictures = _at_address(given) if root else _on_this_machine(given)
    if tables:
        found = [*_of_tables(root, tables, per_partition, column)]
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
                root=root,
                names=tuple(name for name, _ in some),
                places=tuple(place for _, place in some),
            )
            for index, first in enumerate(range(0, len(pictures), per_partition))
            for some in [pictures[first : first + per_partition]]
        ]
    digest = hashlib.sha256()
    for one in found:
        # not where they are: a folder may be mounted elsewhere when a job goes on
        digest.update(
            msgspec.json.encode(msgspec.structs.replace(one, places=(), file="", root=""))
        )
    count = sum(one.count for one in found)
    return Inputs(partitions=tuple(found), count=count, sha256=digest.hexdigest())


Listed = list[tuple[str, str]]


def _on_this_machine(given: str) -> tuple[Listed, Listed]:
    """Names and paths of Parquet files, or of pictures."""
    path = Path(given)
    tables = _tables_at(path, given)
    if tables and path.is_dir():
        _check_one_kind(given, any(p.suffix.lower() in SUFFIXES for p in path.rglob("*")))
    if tables:
        return tables, []
    found = find_pictures(given)
    return [], [(one.name, str(one.path.absolute())) for one in found]


def _tables_at(path: Path, given: str) -> Listed:
    """The one that is named, those of a glob, or of a folder."""
    if path.is_dir():
        found = [one for one in sorted(path.rglob(f"*{PARQUET}")) if one.is_file()]
        below = [(one.relative_to(path).as_posix(), one) for one in found]
        return [(shown(name), str(one.absolute())) for name, one in below if _seen(name)]
    if path.suffix != PARQUET:
        return []
    if path.exists() or not glob.has_magic(given):
        return [(shown(path.name), str(path.absolute()))]
    matches = glob.glob(given, recursive=True)  # noqa: PTH207  # the pattern may be absolute
    if not matches:
        raise _nothing(given, "no match")
    return [(shown(match), str(Path(match).absolute())) for match in sorted(matches)]


def _seen(name: str) -> bool:
    """Whether no part of a path is one that readers of Parquet folders leave out."""
    return not any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)


def _at_address(given: str) -> tuple[Listed, Listed]:
    """Names and paths, in the address's file system, of Parquet files, or of pictures."""
    pa = import_pyarrow()
    file_system, top = place_of(given)
    try:
        infos = [file_system.get_file_info(top)]
        if infos[0].type == pa.fs.FileType.Directory:
            infos = file_system.get_file_info(pa.fs.FileSelector(top, recursive=True))
    # as with its addresses: what a library of fsspec's raises is its own
    except Exception as error:
        raise _nothing(given, one_line(f"{type(error).__name__}: {error}", 200)) from error
    paths = sorted(one.path for one in infos if one.type == pa.fs.FileType.File)
    named = [(one.removeprefix(top).lstrip("/") or PurePosixPath(one).name, one) for one in paths]
    named = [(name, one) for name, one in named if _seen(name)]
    tables = [(name, one) for name, one in named if one.endswith(PARQUET)]
    pictures = [(name, one) for name, one in named if PurePosixPath(one).suffix.lower() in SUFFIXES]
    _check_one_kind(given, bool(tables and pictures))
    if not tables and not pictures:
        raise _nothing(given, "none")
    return tables, pictures


def _of_tables(
    root: str, tables: Listed, per_partition: int, column: str | None
) -> Iterator[Partition]:
    index = first = 0
    for name, path in tables:
        file = open_table(root, path)
        chosen = _column(path, file.schema_arrow, column)
        for row_group in range(file.num_row_groups):
            rows = file.metadata.row_group(row_group).num_rows
            for skip in range(0, rows, per_partition):
                count = min(per_partition, rows - skip)
                yield Partition(
                    index=index,
                    first=first,
                    count=count,
                    root=root,
                    table=name,
                    file=path,
                    row_group=row_group,
                    skip=skip,
                    column=chosen,
                )
                index, first = index + 1, first + count
    if not first:
        raise _nothing(tables[0][1], "a Parquet without rows")


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
        return "struct" if _kind(pa, found.field("bytes").type) == "bytes" else ""
    return ""


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
