"""What a source said about many pictures, in one file that crosses the air gap.

An .npz of plain arrays, no pickles: a JSON header (as bytes), landmarks, covariance, the crops'
places, timings, and the crops themselves where they were asked for. Reading trusts nothing: the
header says how many pictures there are, and every array must be exactly as large as that makes it.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from parity.recording.archive import (
    HEADER_ERRORS,
    LONGEST_NPY_HEADER,
    check_array,
    open_archive,
    open_member,
    read_exactly,
    refused,
    write_streamed,
)
from parity.recording.recorded_values import check_values
from parity.recording.taps import TAPS, read_taps, tap_numbers
from runtime.errors import InputError, one_line
from runtime.files import written_whole
from runtime.image import geometry
from runtime.model.manifest import Manifest
from runtime.model.spec import ModelSpec
from runtime.model.stages import are_taps
from runtime.model.topology import check_topology

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

SCHEMA = 2
STAGES = ("decode", "crop", "pack", "h2d", "compute", "d2h", "home")
LARGEST_HEADER_BYTES = 256 << 20
LARGEST_CROP_SIDE_PX = 1024
MOST_POINTS = 10_000
CROPS = "crops"


class PictureRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One picture as it was shown. Hashes are over the decoded pixels, not over the file."""

    name: str
    mode: str
    box_xyxy: tuple[float, float, float, float] | None
    size_wh: tuple[int, int]
    sha256_picture: str
    sha256_crop: str


class Unreadable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A picture that was left out, and why."""

    name: str
    error: str


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was recorded, by what, on what. `checkpoint_sha256` is empty where nothing says.

    `spec` names taps only where the recording carries them, in the order in which they lie there.
    `limits` are those a self-test holds other sources to; other recordings have none.
    """

    schema: int = SCHEMA
    source: str
    engine: str
    device: str
    parameters: int | None
    checkpoint_sha256: str
    spec: ModelSpec
    manifest: Manifest | None
    versions: dict[str, str]
    machine: str
    pictures: tuple[PictureRecord, ...]
    unreadable: tuple[Unreadable, ...]
    with_crops: bool
    created_utc: str
    limits: dict[str, float | str | None] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """A source's answers.

    Attributes:
        header: see `Header`.
        landmarks: float32 (N, P, 2) in [-1, 1].
        covariance: float32 (N, P, 3) xx, xy, yy in the same unit squared.
        image_from_crop: float64 (N, 3, 3).
        timings: float64 (N, len(STAGES)) seconds; NaN where an engine does not tell a stage.
        annotations_px: float64 (N, P, 2) points that people marked, image px; NaN in every point of
            a picture that nobody marked.
        path: the file, where it was read from one: crops and taps stay in it.
    """

    header: Header
    landmarks: F32
    covariance: F32
    image_from_crop: F64
    timings: F64
    annotations_px: F64
    path: Path | None = None

    @property
    def points_px(self) -> F64:
        """(N, P, 2) points in image px, not rounded to float32."""
        crop_px = geometry.crop_px_from_normalised(self.landmarks, self.header.spec.input.size)
        linear, shift = self.image_from_crop[:, :2, :2], self.image_from_crop[:, None, :2, 2]
        points_px: F64 = np.einsum("nij,npj->npi", linear, crop_px) + shift
        return points_px

    def crops(self) -> Iterator[U8]:
        """The crops, one at a time, each uint8 (S, S, 3) BGR.

        Raises:
            InputError: recorded without crops, or the file is damaged.
        """
        if self.path is None or not self.header.with_crops:
            raise InputError(
                self.header.source,
                expected="a recording with crops",
                got="one without",
                action="Record it again with --with-crops",
            )
        size = self.header.spec.input.size
        shape = (len(self.header.pictures), size, size, 3)
        with open_archive(self.path) as archive, open_member(self.path, archive, CROPS) as file:
            check_array(self.path, CROPS, file, shape, np.dtype(np.uint8))
            for picture in self.header.pictures:
                raw = read_exactly(self.path, CROPS, file, size * size * 3)
                crop = np.frombuffer(raw, np.uint8).reshape(size, size, 3)
                if sha256_pixels(crop) != picture.sha256_crop:
                    raise refused(self.path, f"another crop of {picture.name} than was recorded")
                yield crop
            if file.read(1):
                raise refused(self.path, f"{CROPS} longer than their shape")

    def taps(self) -> Generator[dict[str, F32]]:
        """The tensors inside the network, picture by picture: float32 (C, H, W) each, by name.

        One picture's are in memory at a time. What overflowed on the device is in them as it was.

        Raises:
            InputError: recorded without taps, or the file is damaged.
        """
        if self.path is None or not self.header.spec.taps:
            raise InputError(
                self.header.source,
                expected="a recording with taps",
                got="one without",
                action="Record a debug bundle (python -m export --taps) again with --taps",
            )
        yield from read_taps(self.path, self.header.spec, len(self.header.pictures))


def sha256_pixels(pixels: U8) -> str:
    """Hash of an array's shape and bytes."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data.cast("B"))
    return digest.hexdigest()


def save_recording(
    path: Path,
    recording: Recording,
    crops: IO[bytes] | None = None,
    taps: IO[bytes] | None = None,
) -> None:
    """Write a recording, whole or not at all.

    Args:
        path: of the .npz.
        recording: what to write.
        crops: an open file that holds the crops' bytes one after the other; it is streamed.
        taps: likewise of the taps, of each picture in the order of the header's spec.

    Raises:
        OSError: the disk is full or cannot be written to.
    """
    arrays: dict[str, NDArray[Any]] = {
        "header": np.frombuffer(msgspec.json.encode(recording.header), np.uint8),
        "landmarks": recording.landmarks,
        "covariance": recording.covariance,
        "image_from_crop": recording.image_from_crop,
        "timings": recording.timings,
        "annotations_px": recording.annotations_px,
    }
    with (
        written_whole(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                npy.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
        spec, pictures = recording.header.spec, len(recording.header.pictures)
        if crops is not None:
            write_streamed(
                archive, CROPS, "|u1", (pictures, spec.input.size, spec.input.size, 3), crops
            )
        if taps is not None:
            write_streamed(archive, TAPS, "<f4", (pictures, tap_numbers(spec)), taps)


def load_recording(path: Path) -> Recording:
    """Read a recording, believing nothing in it before it is checked.

    Raises:
        InputError: missing, truncated, not a recording, of another schema, with pickles, or with
            arrays of another size than the header makes them.
    """
    if path.exists() and not path.is_file():
        raise refused(path, "a folder, pipe or device")
    with open_archive(path) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise refused(path, "two arrays of one name")
        with open_member(path, archive, "header") as file:
            raw = file.read(LARGEST_HEADER_BYTES + 1)
        if len(raw) > LARGEST_HEADER_BYTES:
            raise refused(path, f"a header of more than {LARGEST_HEADER_BYTES >> 20} MiB")
        header = _read_header(path, raw)
        n, p = len(header.pictures), header.spec.points
        shapes: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
            "landmarks": ((n, p, 2), np.float32),
            "covariance": ((n, p, 3), np.float32),
            "image_from_crop": ((n, 3, 3), np.float64),
            "timings": ((n, len(STAGES)), np.float64),
            "annotations_px": ((n, p, 2), np.float64),
        }
        arrays: dict[str, Any] = {}
        for name, (shape, kind) in shapes.items():
            dtype = np.dtype(kind)
            with open_member(path, archive, name) as file:
                check_array(path, name, file, shape, dtype)
                content = read_exactly(path, name, file, int(np.prod(shape)) * dtype.itemsize)
                if file.read(1):
                    raise refused(path, f"{name} longer than its shape")
            arrays[name] = np.frombuffer(content, dtype).reshape(shape)
    check_values(path, header, arrays)
    return Recording(header=header, path=path, **arrays)


def _read_header(path: Path, raw: bytes) -> Header:
    file = io.BytesIO(raw)
    try:
        if npy.read_magic(file) != (1, 0):
            raise ValueError("another version of the array format")
        shape, _, dtype = npy.read_array_header_1_0(file, max_header_size=LONGEST_NPY_HEADER)
        if dtype != np.uint8 or len(shape) != 1:
            raise ValueError(f"a header of {dtype} {shape}")
        content = file.read()
        schema = msgspec.json.decode(content, type=_SchemaOnly).schema
        if schema != SCHEMA:
            raise ValueError(f"schema {schema}, which this version cannot read")
        header = msgspec.json.decode(content, type=Header)
        check_topology(header.spec.topology)
    except HEADER_ERRORS as error:
        raise refused(path, f"a header that cannot be read: {one_line(error, 200)}") from error
    if not header.pictures:
        raise refused(path, "no pictures")
    if header.spec.points > MOST_POINTS:
        raise refused(path, f"{header.spec.points} points")
    if not 1 <= header.spec.input.size <= LARGEST_CROP_SIDE_PX:
        raise refused(path, f"crops of {header.spec.input.size} px")
    spec = header.spec
    if spec.taps and not are_taps(spec.taps, points=spec.points, size=spec.input.size):
        raise refused(path, "taps that are not those of one network")
    return header


class _SchemaOnly(msgspec.Struct):
    schema: int
