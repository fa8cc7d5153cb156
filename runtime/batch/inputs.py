"""The partitions of a batch: pictures, or Parquet files of pictures or of their addresses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import msgspec

from runtime.batch.stored import Partition, is_local, open_table, place_of
from runtime.errors import ConfigError, InputError, one_line
from runtime.files import shown
from runtime.files.listing import HIDDEN, OTHER_SUFFIX, Skip, count_skip
from runtime.image.picture import SUFFIXES
from runtime.many.inputs import ADDRESS, PARQUET, boxes_of, find_pictures
from runtime.many.tables import import_pyarrow

# Looked for in this order: the pictures themselves, then where they are.
IMAGE_COLUMNS = ("image", "bytes")
ADDRESS_COLUMNS = ("uri", "url", "path", "file")
# By their names: those of views came with pyarrow 16.
TEXT_OR_BYTES = {f"{size}{kind}" for size in ("", "large_") for kind in ("string", "binary")}
TEXT_OR_BYTES |= {"string_view", "binary_view"}
NOTES = "tables named with _ first"
# Names and paths.
Listed = list[tuple[str, str]]
Place = TypeVar("Place", str, Path)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All partitions, in order.

    Attributes:
        partitions: the same each time that the same inputs are listed.
        count: of inputs.
        sha256: over their names and partitions.
        skipped: files that were passed over, by reason.
    """

    partitions: tuple[Partition, ...]
    count: int
    sha256: str
    skipped: dict[str, Skip]


def find_inputs(
    given: str,
    per_partition: int,
    column: str | None = None,
    *,
    boxes: Path | None = None,
    box_column: str = "",
    forbid_remote: bool = False,
) -> Inputs:
    """List what is to be read.

    Args:
        given: a picture, a folder or glob of pictures, or a Parquet file or a folder of such; on
            this machine or by an address.
        per_partition: inputs in each at most.
        column: of the Parquet's pictures or addresses; None looks for a known name.
        boxes: file of the pictures' boxes, see `runtime.many.boxes`.
        box_column: of the Parquet's boxes, in place of a finder.
        forbid_remote: whether a row with the address of another machine is an error.

    Raises:
        ConfigError: a column is named for pictures, boxes for tables, or a folder holds both kinds.
        InputError: nothing is there, or a Parquet without such a column.
    """
    skipped: dict[str, Skip] = {}
    root, listed = _listed(given, skipped)
    if not listed:
        raise _nothing(given, "none")
    tables = [(name, path) for name, path in listed if _is_table(name)]
    locked = [name for name, _ in listed if name.endswith("/")]
    if tables and locked:  # of pictures it would be a row with an error
        raise InputError(
            f"{shown(given)}: {locked[0]}",
            expected="a folder that can be read",
            got="one that this user may not list",
            action="Change its permissions (chmod u+rx), or move it away",
        )
    if 0 < len(tables) < len(listed):
        raise ConfigError(
            shown(given),
            expected="either pictures or Parquet files",
            got="both",
            action="Name the Parquet file, or a folder of one kind",
        )
    if (column or box_column) and not tables:
        option = "--column" if column else "--boxes-column"
        raise ConfigError(
            option, expected="a Parquet as input", got=shown(given), action="Leave it out"
        )
    if boxes is not None and tables:
        raise ConfigError(
            "--boxes",
            expected="pictures as input, whose names are known",
            got=shown(given),
            action="Use --boxes-column for a column of the table",
        )
    if tables:
        listed_rows = _of_tables(root, tables, per_partition, column, box_column)
        found = tuple(
            msgspec.structs.replace(one, forbid_remote=forbid_remote) for one in listed_rows
        )
    else:
        found = tuple(_of_pictures(root, listed, per_partition, boxes))
    digest = hashlib.sha256()
    for one in found:
        # not where they are: a folder may be mounted elsewhere when a job goes on
        named = msgspec.structs.replace(one, places=(), file="", root="")
        digest.update(msgspec.json.encode(named))
    count = sum(one.count for one in found)
    return Inputs(partitions=found, count=count, sha256=digest.hexdigest(), skipped=skipped)


def _listed(given: str, skipped: dict[str, Skip]) -> tuple[str, Listed]:
    """The root of the file system that the paths are of, and Parquet files and pictures, sorted."""
    if ADDRESS in given:
        file_system, place = place_of(given)
        if not is_local(file_system):
            return given, _at_address(given, skipped)
        given = place
    listing = find_pictures(given, tables=True)
    skipped.update(listing.skipped)
    if Path(given).is_dir():
        named = [(file.name, file.path) for file in listing.files]
        return "", [(name, str(path.absolute())) for name, path in _wanted(named, skipped)]
    alone = Path(given).exists() and _is_table(given)
    return "", [
        (shown(one.path.name) if alone else one.name, str(one.path.absolute()))
        for one in listing.files
    ]


def _at_address(given: str, skipped: dict[str, Skip]) -> Listed:
    """The same in the address's file system, by the same rules."""
    pa = import_pyarrow("runtime.batch")
    file_system, top = place_of(given)
    try:
        info = file_system.get_file_info(top)
        if info.type == pa.fs.FileType.File:
            return [(PurePosixPath(top).name, top)]
        infos = file_system.get_file_info(pa.fs.FileSelector(top, recursive=True))
    # as with its addresses: what a library of fsspec's raises is its own
    except Exception as error:
        raise _nothing(given, one_line(error, 200, kind=True)) from error
    found: Listed = []
    for path in sorted(one.path for one in infos if one.type != pa.fs.FileType.Directory):
        name = path.removeprefix(top).lstrip("/")
        if any(part.startswith(".") for part in name.split("/")):
            count_skip(skipped, HIDDEN, name)
        elif not name.lower().endswith((PARQUET, *SUFFIXES)):
            count_skip(skipped, OTHER_SUFFIX, name)
        else:
            found.append((shown(name), path))
    return _wanted(found, skipped)


def _wanted(
    listed: Iterable[tuple[str, Place]], skipped: dict[str, Skip]
) -> list[tuple[str, Place]]:
    """Leave out the tables of a folder that readers of Parquet folders pass over, too."""
    found = []
    for name, place in listed:
        if _is_table(name) and any(part.startswith("_") for part in name.split("/")):
            count_skip(skipped, NOTES, name)
        else:
            found.append((name, place))
    return found


def _is_table(name: str) -> bool:
    return name.lower().endswith(PARQUET)


def _of_pictures(
    root: str, pictures: Listed, per_partition: int, boxes: Path | None
) -> Iterator[Partition]:
    boxed = [] if boxes is None else boxes_of(boxes, pictures)
    for index, first in enumerate(range(0, len(pictures), per_partition)):
        some = pictures[first : first + per_partition]
        yield Partition(
            index=index,
            first=first,
            count=len(some),
            root=root,
            names=tuple(name for name, _ in some),
            places=tuple(place for _, place in some),
            boxes=tuple(
                None if one is None else tuple(one) for one in boxed[first : first + per_partition]
            ),
            boxed_by="" if boxes is None else shown(boxes),
        )


def _of_tables(
    root: str, tables: Listed, per_partition: int, column: str | None, box_column: str
) -> Iterator[Partition]:
    index = first = 0
    for name, path in tables:
        file = open_table(root, path)
        chosen = _column(path, file.schema_arrow, column)
        _check_box_column(path, file.schema_arrow, box_column)
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
                    box_column=box_column,
                )
                index, first = index + 1, first + count
    if not first:
        raise _nothing(tables[0][1], "a Parquet without rows")


def _column(table: str, schema: Any, named: str | None) -> str:
    """The column of the pictures, or of their addresses."""
    pa = import_pyarrow()
    types = dict(zip(schema.names, schema.types, strict=True))
    for name in (named,) if named else (*IMAGE_COLUMNS, *ADDRESS_COLUMNS):
        if name in types and _can_hold_pictures(pa, types[name]):
            return name
    wanted = f"the column {named!r}" if named else f"a column {', '.join(IMAGE_COLUMNS)}"
    raise InputError(
        shown(table),
        expected=f"{wanted} of bytes (or of a struct with bytes)"
        f"{'' if named else ', or ' + ', '.join(ADDRESS_COLUMNS)} of strings",
        got=one_line(", ".join(f"{name}: {kind}" for name, kind in types.items()), 300),
        action="Name the column with --column",
    )


def _check_box_column(table: str, schema: Any, named: str) -> None:
    types = dict(zip(schema.names, map(str, schema.types), strict=True))
    if named and "list<" not in types.get(named, ""):
        raise InputError(
            shown(table),
            expected=f"the column {named!r} of boxes: lists of four numbers, or of such lists",
            got=one_line(", ".join(f"{name}: {kind}" for name, kind in types.items()), 300),
            action="Correct --boxes-column",
        )


def _can_hold_pictures(pa: Any, kind: Any) -> bool:
    if pa.types.is_dictionary(kind):  # pandas' category, polars' Enum
        return str(kind.value_type) in TEXT_OR_BYTES
    # as Hugging Face's datasets keep pictures
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return "binary" in str(kind.field("bytes").type)
    return str(kind) in TEXT_OR_BYTES


def _nothing(where: str, got: str) -> InputError:
    return InputError(
        shown(where),
        expected=f"pictures ({', '.join(SUFFIXES)}) or Parquet files",
        got=got,
        action="Check the path or address",
    )
