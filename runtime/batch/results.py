"""The results of a batch: a folder of Parquet partitions, each written whole or not at all."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import msgspec

from runtime.batch.stored import Partition, is_local, place_of
from runtime.errors import ConfigError, InputError, one_line
from runtime.files import shown
from runtime.files.lock import folder_locked
from runtime.files.reading import DamageError, decode_json
from runtime.many.heading import Heading
from runtime.many.rows import Row
from runtime.many.tables import face_columns, import_pyarrow, picture_columns

# Names with a leading underscore are left out by everything that reads a folder of Parquet files.
JOB_NAME = "_job.json"
PART = re.compile(r"part-(\d{6,})\.parquet")
TEMPORARY = re.compile(r"\.(part-\d{6,}|_job)\.[0-9a-f]{8}")
MADE_FROM = b"starmark"
# What tells a part whose note is damaged from a table of somebody else's.
OURS = {"row", "picture", "status"}

logger = logging.getLogger("starmark")


class MadeFrom(msgspec.Struct, frozen=True, kw_only=True):
    """What a partition's rows were made from; it stands in the metadata of its file.

    Attributes:
        columns: names and types.
        heading_sha256: of the batch.
        stamps: of its inputs, `Partition.stamps`.
        contents_sha256: of its inputs, `Partition.digest_of_contents`.
    """

    columns: str
    heading_sha256: str
    stamps: str
    contents_sha256: str


class Results:
    """A folder of partitions.

    Args:
        output: folder, or address of one.
        heading_sha256: of the batch.

    Raises:
        InputError: an address that nothing opens.
    """

    def __init__(self, output: str, heading_sha256: str) -> None:
        self._output, self._heading_sha256 = output, heading_sha256
        self._file_system, self._path = place_of(output)
        self._pa = import_pyarrow()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and hold its lock where it is on this machine.

        Raises:
            ConfigError: another run holds it.
        """
        self._file_system.create_dir(self._path, recursive=True)
        with folder_locked(Path(self._path)) if is_local(self._file_system) else nullcontext():
            yield

    def begin(self, heading: Heading) -> None:
        """Note the heading; a batch that goes on must have the same.

        Raises:
            ConfigError: another batch's results are there.
        """
        noted = f"{self._path}/{JOB_NAME}"
        parts = self._parts()
        there = self._file_system.get_file_info(noted).type == self._pa.fs.FileType.File
        if parts and there:
            with self._file_system.open_input_stream(noted) as file:
                heading.check(file.read(), f"{self._output}/{JOB_NAME}")
        elif parts:
            raise ConfigError(
                self._output,
                expected="a folder without results, or of a batch to go on with",
                got=f"{PART.pattern} without {JOB_NAME}",
                action="Write to another folder",
            )
        else:
            self._place(noted, msgspec.json.encode(heading))
        self.sweep()

    def sweep(self) -> None:
        """Remove what workers or drivers that were killed have left half-written."""
        with suppress(OSError):
            for name in self._names():
                if TEMPORARY.fullmatch(name):
                    self._file_system.delete_file(f"{self._path}/{name}")

    def finished(self, partitions: Iterable[Partition]) -> set[int]:
        """Which partitions are there, whole, and made from what their inputs are now.

        Raises:
            ConfigError: one is not of a batch.
        """
        there, parts = set[int](), self._parts()
        for partition in partitions:
            if partition.index in parts:
                fault = self._fault(partition)
                if fault:
                    name = shown(self._part(partition.index))
                    logger.warning("%s: %s, made again", name, fault)
                else:
                    there.add(partition.index)
        return there

    def _fault(self, partition: Partition) -> str:
        """Why a partition is to be made again; empty where it is not."""
        path = self._part(partition.index)
        try:
            with self._file_system.open_input_file(path) as file:
                # every page of data has its checksum
                parquet = self._pa.parquet
                table = parquet.read_table(file, page_checksum_verification=True)
        except (OSError, ValueError, self._pa.ArrowException) as error:
            return f"damaged ({one_line(error, 100)})"
        noted = (table.schema.metadata or {}).get(MADE_FROM)
        if noted is None and not {*table.schema.names} >= OURS:
            raise ConfigError(
                shown(path),
                expected="no file here, or one that a batch wrote",
                got="a Parquet file of another origin",
                action="Move it away, or write to another folder",
            )
        try:
            made_from = decode_json(noted or b"", MadeFrom)
        except DamageError as error:
            return f"damaged ({error})"
        if _columns(table.schema) != made_from.columns:
            return "damaged (other columns)"
        first = partition.first
        if table.column("row").to_pylist() != list(range(first, first + partition.count)):
            return "not its rows"
        if made_from.heading_sha256 != self._heading_sha256:
            return "another batch's"
        is_same = made_from.stamps == partition.stamps or (
            made_from.contents_sha256
            and made_from.contents_sha256 == partition.digest_of_contents()
        )
        return "" if is_same else "its inputs have changed"

    def columns(self, index: int, names: list[str]) -> dict[str, list[Any]]:
        """Some columns of a partition that is there.

        Raises:
            InputError: it is damaged.
        """
        path = self._part(index)
        try:
            with self._file_system.open_input_file(path) as file:
                table = self._pa.parquet.read_table(file, columns=names)
        except (OSError, self._pa.ArrowException) as error:
            raise InputError(
                shown(path),
                expected="a partition of this batch",
                got=one_line(error, 200),
                action="Remove it, and run the same command again",
            ) from error
        found: dict[str, list[Any]] = table.to_pydict()
        return found

    def write(
        self,
        partition: Partition,
        pictures: list[list[Row]],
        beside: dict[str, str],
        contents_sha256: str,
    ) -> None:
        """Put a partition's rows into place.

        Args:
            partition: which.
            pictures: the rows of each picture, which become one: each of a face's columns is a
                list over its faces.
            beside: columns with the same text in every row.
            contents_sha256: of the inputs, before they were read.
        """
        pa = self._pa
        shared, of_face = picture_columns(pa), face_columns(pa, pa.float32())
        records = [
            {
                "row": row,
                **{name: getattr(rows[0], name) for name in (*shared, "error")},
                **{name: [getattr(r, name) for r in rows if r.status == "ok"] for name in of_face},
                **beside,
            }
            for row, rows in enumerate(pictures, partition.first)
        ]
        columns = {"row": pa.int64(), **shared}
        columns |= {name: pa.list_(kind) for name, kind in of_face.items()}
        columns |= dict.fromkeys(("error", *beside), pa.string())
        sink = pa.BufferOutputStream()
        made_from = MadeFrom(
            columns=_columns(pa.schema([*columns.items()])),
            heading_sha256=self._heading_sha256,
            stamps=partition.stamps,
            contents_sha256=contents_sha256,
        )
        schema = pa.schema([*columns.items()], metadata={MADE_FROM: msgspec.json.encode(made_from)})
        table = pa.Table.from_pylist(records, schema)
        pa.parquet.write_table(table, sink, compression="zstd", write_page_checksum=True)
        self._place(self._part(partition.index), sink.getvalue())

    def _place(self, target: str, encoded: Any) -> None:
        """Write under another name and rename: on an object store, where that is a copy, too."""
        folder, _, name = target.rpartition("/")
        temporary = f"{folder}/.{name.split('.')[0]}.{secrets.token_hex(4)}"
        try:
            with self._file_system.open_output_stream(temporary) as file:
                file.write(encoded)
            self._file_system.move(temporary, target)
        except BaseException:
            with suppress(OSError):
                self._file_system.delete_file(temporary)
            raise

    def _part(self, index: int) -> str:
        return f"{self._path}/part-{index:06d}.parquet"

    def _parts(self) -> set[int]:
        matches = (PART.fullmatch(name) for name in self._names())
        return {int(match[1]) for match in matches if match}

    def _names(self) -> list[str]:
        infos = self._file_system.get_file_info(self._pa.fs.FileSelector(self._path))
        return [info.base_name for info in infos]


def _columns(schema: Any) -> str:
    """Names and types as Parquet has them: what is an item of a list in Arrow is its element."""
    return str(schema.remove_metadata()).replace("item: ", "element: ")
