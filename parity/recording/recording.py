"""A source's answers on many pictures, in one file that crosses the air gap.

An .npz of plain arrays, no pickles: a JSON header (as bytes), landmarks, covariance, the crops'
places, timings, and the crops and taps themselves where they were asked for. Nothing is trusted on
reading: the header gives the number of pictures, and every array must be exactly as large as that
makes it.
"""

from __future__ import annotations

import hashlib
import io
import math
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
    open_archive,
    open_array,
    open_member,
    refused,
    write_streamed,
)
from runtime.backends.base import LARGEST_OUTPUT
from runtime.errors import InputError, one_line
from runtime.files import written_whole
from runtime.files.archive import check_inflated
from runtime.files.reading import decode_json
from runtime.image import geometry
from runtime.model.manifest import Manifest
from runtime.model.spec import ModelSpec
from runtime.model.stages import are_taps
from runtime.model.topology import check_topology

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

RECORDING_SUFFIX = ".npz"
SCHEMA = 2
STAGES = ("decode", "crop", "pack", "h2d", "compute", "d2h", "home")
LARGEST_HEADER_BYTES = 64 << 20
LARGEST_CROP_SIDE_PX = 1024
MOST_POINTS = 10_000
CROPS, TAPS = "crops", "taps"
# image px per crop px, and where a crop may begin: far beyond what `geometry.check_box` lets pass
POSSIBLE_SCALES = (1e-4, 1e5)
LARGEST_SHIFT_PX = 1e7


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
    """What was recorded, by what, on what. `checkpoint_sha256` is empty where it is unknown.

    `spec` names taps only where the recording carries them, in the order in which they lie there.
    `arithmetic` is the backend's; empty where it is unknown, and in recordings made before it was
    kept. `limits` are those a self-test holds other sources to; other recordings have none.
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
    arithmetic: str = ""


def columns_of(points: int) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    """The arrays with a row a picture: name -> shape of a row, and dtype."""
    return {
        "landmarks": ((points, 2), np.float32),
        "covariance": ((points, 3), np.float32),
        "image_from_crop": ((3, 3), np.float64),
        "timings": ((len(STAGES),), np.float64),
        "annotations_px": ((points, 2), np.float64),
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """A source's answers.

    Attributes:
        landmarks: float32 (N, P, 2) in [-1, 1].
        covariance: float32 (N, P, 3) xx, xy, yy in the same unit squared.
        image_from_crop: float64 (N, 3, 3).
        timings: float64 (N, len(STAGES)) seconds; NaN for stages that an engine does not time.
        annotations_px: float64 (N, P, 2) points that people marked, image px; NaN where nobody did.
        path: the file it was read from, where crops and taps stay.
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
        path, pictures = self.path, self.header.pictures
        if path is None or not self.header.with_crops:
            raise self._lacks(CROPS, "Record it again with --with-crops")
        size = self.header.spec.input.size
        shape = (size, size, 3)
        with (
            open_archive(path) as archive,
            open_array(path, archive, CROPS, (len(pictures), *shape), np.uint8) as read,
        ):
            for picture in pictures:
                crop = read(shape)
                if sha256_pixels(crop) != picture.sha256_crop:
                    raise refused(path, f"another crop of {picture.name} than was recorded")
                yield crop

    def taps(self) -> Generator[dict[str, F32]]:
        """The tensors inside the network, picture by picture: float32 (C, H, W) each, by name.

        One picture's are in memory at a time. What overflowed on the device is in them as it was.

        Raises:
            InputError: recorded without taps, or the file is damaged.
        """
        path, spec = self.path, self.header.spec
        if path is None or not spec.taps:
            remedy = "Record a debug bundle (python -m export --taps) again with --taps"
            raise self._lacks(TAPS, remedy)
        shape = (len(self.header.pictures), tap_numbers(spec))
        with (
            open_archive(path) as archive,
            open_array(path, archive, TAPS, shape, np.float32) as read,
        ):
            for _ in self.header.pictures:
                # one by one: a zip file's reader needs several times the room of what it reads
                yield {name: read(tap) for name, tap in spec.taps.items()}

    def _lacks(self, what: str, action: str) -> InputError:
        expected = f"a recording with {what}"
        return InputError(self.header.source, expected=expected, got="one without", action=action)


def tap_numbers(spec: ModelSpec) -> int:
    """How many numbers the taps of one picture are."""
    return sum(math.prod(shape) for shape in spec.taps.values())


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
    header, spec = recording.header, recording.header.spec
    arrays: dict[str, NDArray[Any]] = {
        "header": np.frombuffer(msgspec.json.encode(header), np.uint8),
        **{name: getattr(recording, name) for name in columns_of(spec.points)},
    }
    with (
        written_whole(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                npy.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
        count, size = len(header.pictures), spec.input.size
        if crops is not None:
            write_streamed(archive, CROPS, "|u1", (count, size, size, 3), crops)
        if taps is not None:
            write_streamed(archive, TAPS, "<f4", (count, tap_numbers(spec)), taps)


def load_recording(path: Path) -> Recording:
    """Read a recording, believing nothing in it before it is checked.

    Raises:
        InputError: missing, truncated, not a recording, of another schema, with pickles, with
            arrays of another size than the header makes them, or with impossible numbers.
    """
    if path.exists() and not path.is_file():
        raise refused(path, "a folder, pipe or device")
    arrays: dict[str, Any] = {}
    with open_archive(path) as archive:
        with open_member(path, archive, "header") as file:
            raw = file.read(LARGEST_HEADER_BYTES + 1)
        header = _read_header(path, raw)
        columns = columns_of(header.spec.points)
        held = {f"{name}.npy" for name in columns} & {*archive.namelist()}
        check_inflated(archive, path, sorted(held))
        for name, (row, dtype) in columns.items():
            shape = (len(header.pictures), *row)
            with open_array(path, archive, name, shape, dtype) as read:
                arrays[name] = read(shape)
    _check_values(path, header, arrays)
    return Recording(header=header, path=path, **arrays)


def _read_header(path: Path, raw: bytes) -> Header:
    if len(raw) > LARGEST_HEADER_BYTES:
        raise refused(path, f"a header of more than {LARGEST_HEADER_BYTES >> 20} MiB")
    file = io.BytesIO(raw)
    try:
        if npy.read_magic(file) != (1, 0):
            raise ValueError("another version of the array format")
        shape, _, dtype = npy.read_array_header_1_0(file, max_header_size=LONGEST_NPY_HEADER)
        if dtype != np.uint8 or len(shape) != 1:
            raise ValueError(f"a header of {dtype} {shape}")
        content = file.read()
        schema = decode_json(content, _SchemaOnly).schema
        if schema != SCHEMA:
            raise ValueError(f"schema {schema}, which this version cannot read")
        header = decode_json(content, Header)
        check_topology(header.spec.topology)
    except HEADER_ERRORS as error:
        raise refused(path, f"a header that cannot be read: {one_line(error, 200)}") from error
    spec, size = header.spec, header.spec.input.size
    if not header.pictures:
        raise refused(path, "no pictures")
    if spec.points > MOST_POINTS:
        raise refused(path, f"{spec.points} points")
    if not 1 <= size <= LARGEST_CROP_SIDE_PX:
        raise refused(path, f"crops of {size} px")
    if spec.taps and not are_taps(spec.taps, points=spec.points, size=size):
        raise refused(path, "taps that are not those of one network")
    return header


class _SchemaOnly(msgspec.Struct):
    schema: int


def _check_values(path: Path, header: Header, arrays: dict[str, Any]) -> None:
    """Refuse NaN, overflow, annotations that are no points, and places that are no crop's."""
    for name in ("landmarks", "covariance"):
        # NaN compares as not smaller
        bad = np.argwhere(~(np.abs(arrays[name]) <= LARGEST_OUTPUT).all(axis=2))
        if len(bad):
            picture, point = (int(v) for v in bad[0])
            raise InputError(
                f"{path}: {name}",
                expected=f"finite numbers within {LARGEST_OUTPUT:g}",
                got=f"{arrays[name][picture, point].tolist()} at picture"
                f" {header.pictures[picture].name}, point {point}"
                f" (of {len(bad)} such points), from {header.source}",
                action="Check that source's precision mode: a tensor has overflowed",
            )
    marked = arrays["annotations_px"]
    inside = np.abs(marked) <= LARGEST_SHIFT_PX
    if not (inside.all(axis=2) | np.isnan(marked).all(axis=2)).all():
        raise refused(path, "annotations that are no points")
    places = arrays["image_from_crop"]
    scales, shifts = places[:, [0, 1], [0, 1]], places[:, :2, 2]
    straight = places[:, [0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] == (0, 0, 0, 0, 1)
    smallest, largest = POSSIBLE_SCALES
    good = ((scales >= smallest) & (scales <= largest)).all() and straight.all()
    if not (good and (np.abs(shifts) <= LARGEST_SHIFT_PX).all()):
        raise refused(path, "a crop's place that no box gives")
