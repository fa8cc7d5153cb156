"""One batch: what it was asked for, which partitions it has finished, and how it is continued."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from runtime.backends import Settings
from runtime.batch.inputs import Inputs
from runtime.batch.reading import Partition
from runtime.batch.store import import_pyarrow, place_of
from runtime.errors import ConfigError, InputError, one_line
from runtime.files import sha256_file, shown
from runtime.many.journal import differences
from runtime.model.device import Device
from runtime.model.manifest import MANIFEST_NAME, read_manifest
from runtime.model.source import Source, find_artifact

# Names with a leading underscore are left out by everything that reads a folder of Parquet files.
JOB_NAME = "_job.json"
PART = re.compile(r"part-(\d{6,})\.parquet")
TEMPORARY = re.compile(r"\.(part-\d{6,}|_job)\.[0-9a-f]{8}")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every worker needs to know; it travels to other processes and machines.

    Attributes:
        model: source of the Detector, by an absolute path and with the device of a worker.
        settings: of its engine.
        bundle_sha256: what the model must be there: see `bundle_sha256_of`.
        yunet: the finder's file; empty for whole pictures.
        least_score, faces_side_px: of its boxes, and of what it searches.
        refine: as for `Detector`.
        readers, batch: as for `search`.
        output: folder or address of the results.
    """

    model: Source
    settings: Settings
    bundle_sha256: str
    yunet: str
    least_score: float
    faces_side_px: int
    refine: int
    readers: int
    batch: int | None
    output: str


class Heading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the rows of a batch depend on, beside their engine's rounding."""

    bundle_sha256: str
    inputs_sha256: str
    inputs: int
    partitions: int
    options: dict[str, str]


def bundle_sha256_of(source: Source) -> str:
    """The digest of a bundle, or SHA-256 of the file of a model without one.

    Raises:
        ArtifactError: there is no model.
    """
    if (source.path / MANIFEST_NAME).is_file():
        return read_manifest(source.path).digest
    return sha256_file(find_artifact(source).path)


def heading_of(job: Job, inputs: Inputs) -> Heading:
    """Say what a batch is."""
    finder = "none"
    if job.yunet:
        finder = (
            f"{sha256_file(Path(job.yunet))} from {job.least_score:g} at {job.faces_side_px} px"
        )
    return Heading(
        bundle_sha256=job.bundle_sha256,
        inputs_sha256=inputs.sha256,
        inputs=inputs.count,
        partitions=len(inputs.partitions),
        options={
            "faces": finder,
            "refine": str(job.refine),
            "engine": job.model.engine or "by the file",
            "device": Device.of(job.model.device).kind,
            "precision": f"{job.settings.precision}, hf32 {job.settings.allow_hf32}",
        },
    )


class Results:
    """A folder of partitions, each written whole or not at all.

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
        """Make the folder, and note what the batch is; one that goes on must be the same.

        Raises:
            ConfigError: another batch's results are there.
            OSError: it cannot be written to.
        """
        self._file_system.create_dir(self._path, recursive=True)
        encoded = msgspec.json.encode(heading)
        noted = f"{self._path}/{JOB_NAME}"
        parts = self._parts()
        if parts and self._is_file(noted):
            with self._file_system.open_input_stream(noted) as file:
                self._check(file.read(), heading)
        elif parts:
            raise ConfigError(
                self._output,
                expected="a folder without results, or of a batch to go on with",
                got=f"{PART.pattern} without {JOB_NAME}",
                action="Write to another folder",
            )
        else:
            self._place(noted, encoded)
        self.sweep()

    def sweep(self) -> None:
        """Remove what workers or drivers that were killed have left half-written."""
        with suppress(OSError):
            for name in self._names():
                if TEMPORARY.fullmatch(name):
                    self._file_system.delete_file(f"{self._path}/{name}")

    def finished(self, partitions: tuple[Partition, ...]) -> dict[int, int]:
        """Which partitions are there, whole, and how many rows each has.

        Raises:
            OSError: the folder cannot be read.
        """
        there: dict[int, int] = {}
        parts = self._parts()
        for partition in partitions:
            if partition.index not in parts:
                continue
            path = f"{self._path}/{name_of(partition.index)}"
            try:
                with self._file_system.open_input_file(path) as file:
                    rows = self._pa.parquet.read_metadata(file).num_rows
            except (OSError, self._pa.ArrowException):  # cut off by whatever copied it
                continue
            if rows == partition.count:
                there[partition.index] = rows
        return there

    def columns(self, index: int, names: list[str]) -> dict[str, list[Any]]:
        """Some columns of a partition that is there.

        Raises:
            InputError: it is damaged.
        """
        path = f"{self._path}/{name_of(index)}"
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

    def write(self, index: int, table: Any) -> None:
        """Put a partition's rows into place.

        Raises:
            OSError: they cannot be written; what there was stays.
        """
        sink = self._pa.BufferOutputStream()
        self._pa.parquet.write_table(table, sink, compression="zstd")
        self._place(f"{self._path}/{name_of(index)}", sink.getvalue())

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

    def _parts(self) -> set[int]:
        matches = (PART.fullmatch(name) for name in self._names())
        return {int(match[1]) for match in matches if match}

    def _names(self) -> list[str]:
        infos = self._file_system.get_file_info(self._pa.fs.FileSelector(self._path))
        return [info.base_name for info in infos]

    def _is_file(self, path: str) -> bool:
        return bool(self._file_system.get_file_info(path).type == self._pa.fs.FileType.File)

    def _check(self, encoded: bytes, heading: Heading) -> None:
        where = f"{self._output}/{JOB_NAME}"
        try:
            found = msgspec.json.decode(encoded, type=Heading)
        except msgspec.MsgspecError as error:
            raise InputError(
                where,
                expected="what a batch noted",
                got=one_line(error),
                action="Write to another folder",
            ) from error
        differing = differences(found, heading)
        if differing:
            raise ConfigError(
                where,
                expected="the model, inputs, partitions and options of the batch to go on with",
                got=differing,
                action="Go on with it as it was begun, or write to another folder",
            )


def name_of(index: int) -> str:
    """A partition's file."""
    return f"part-{index:06d}.parquet"
