"""The results of a batch: a folder of Parquet partitions, each written whole or not at all."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from typing import Any

import msgspec

from runtime.batch.stored import Partition, place_of
from runtime.errors import ConfigError, InputError, one_line
from runtime.files import shown
from runtime.many.heading import Heading
from runtime.many.rows import Row
from runtime.many.tables import face_columns, import_pyarrow, picture_columns

# Names with a leading underscore are left out by everything that reads a folder of Parquet files.
JOB_NAME = "_job.json"
PART = re.compile(r"part-(\d{6,})\.parquet")
TEMPORARY = re.compile(r"\.(part-\d{6,}|_job)\.[0-9a-f]{8}")


class Results:
    """A folder of partitions.

    Args:
        output: folder, or address of one.

    Raises:
        InputError: an address that nothing opens.
    """

    def __init__(self, output: str) -> None:
        self._output = output
        self._file_system, self._path = place_of(output)
        self._pa = import_pyarrow()

    def begin(self, heading: Heading) -> None:
        """Make the folder and note the heading; a batch that goes on must have the same.

        Raises:
            ConfigError: another batch's results are there.
        """
        self._file_system.create_dir(self._path, recursive=True)
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

    def finished(self, partitions: tuple[Partition, ...]) -> set[int]:
        """Which partitions are there, whole."""
        there: set[int] = set()
        parts = self._parts()
        for partition in partitions:
            if partition.index in parts:
                # one may be cut off by whatever copied it
                with suppress(OSError, self._pa.ArrowException):
                    with self._file_system.open_input_file(self._part(partition.index)) as file:
                        rows = self._pa.parquet.read_metadata(file).num_rows
                    if rows == partition.count:
                        there.add(partition.index)
        return there

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
        self, partition: Partition, pictures: list[list[Row]], beside: dict[str, str]
    ) -> None:
        """Put a partition's rows into place.

        Args:
            partition: which.
            pictures: the rows of each picture, which become one: each of a face's columns is a
                list over its faces.
            beside: columns with the same text in every row.
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
        table = pa.Table.from_pylist(records, pa.schema(list(columns.items())))
        pa.parquet.write_table(table, sink, compression="zstd")
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
