"""The pictures that sources are compared on, and how each is shown to the network."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parity.boxes import (
    box_of_points,
    points_file,
    read_boxes,
    read_pts,
    read_tsv_points,
)
from runtime.errors import ConfigError, InputError
from runtime.files import sha256_file, shown
from runtime.files.ahead import ahead
from runtime.files.kind import no_file
from runtime.files.listing import Skip, log_skipped
from runtime.files.shipped import HOME
from runtime.image.picture import MAX_PIXELS, is_turned, read_picture
from runtime.many.boxes import SUFFIXES, Box
from runtime.many.inputs import PictureFile, find_pictures

logger = logging.getLogger("starmark")

ASSETS = HOME / "assets"
EMBEDDED_CROP, EMBEDDED_CROP_PX = ASSETS / "sample.jpg", 256
BOX_CHOICES = ("pts", "whole", "crop")
Decoded = tuple["Sample", NDArray[np.uint8] | InputError, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """A picture file and how it is shown: in a box, as a whole, or as the crop it is.

    Attributes:
        name: in reports and recordings; unique among the samples.
        box_xyxy: face box in image px; None for the whole picture or a crop.
        annotation_px: (P, 2) points that people marked, image px; NaN where one is not marked;
            None where nobody marked any.
        annotation_fault: why points that people marked cannot be used; empty where they can.
        max_pixels: as for `read_picture`.
    """

    name: str
    path: Path
    box_xyxy: Box | None = None
    cropped: bool = False
    annotation_px: NDArray[np.float64] | None = None
    annotation_fault: str = ""
    max_pixels: int = MAX_PIXELS

    def read(self) -> NDArray[np.uint8]:
        """Decode the picture; raises as `read_picture`."""
        return read_picture(self.path, self.max_pixels)

    @property
    def mode(self) -> str:
        """box, whole or crop."""
        return "crop" if self.cropped else "whole" if self.box_xyxy is None else "box"

    def is_crop_of(self, size_px: int) -> bool:
        """Whether a network of this input takes it as it is.

        The embedded crop is a picture as good as any other for a network of another size.
        """
        return self.cropped and (self.path != EMBEDDED_CROP or size_px == EMBEDDED_CROP_PX)

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return sha256_file(self.path)

    @property
    def boxed_by_annotation(self) -> bool:
        """Whether the box is the annotation's own minimum and maximum."""
        marked = self.annotation_px
        return marked is not None and self.box_xyxy == (
            *np.nanmin(marked, axis=0),
            *np.nanmax(marked, axis=0),
        )


def sample_facts(samples: Iterable[Sample]) -> list[tuple[str, str, bool, tuple[float, ...]]]:
    """What distinguishes sets of samples: names, hashes, and how each picture is shown."""
    return [(s.name, s.sha256, s.cropped, tuple(map(float, s.box_xyxy or ()))) for s in samples]


def default_samples() -> list[Sample]:
    """The reference's two cases: a photo in whole-picture mode, and a face crop.

    Raises:
        InputError: the pictures are not there.
    """
    samples = [
        Sample(name="test.jpg", path=ASSETS / "test.jpg"),
        Sample(name=EMBEDDED_CROP.name, path=EMBEDDED_CROP, cropped=True),
    ]
    for sample in samples:
        if not sample.path.is_file():
            raise InputError(
                str(sample.path),
                expected="the embedded sample picture",
                got="no such file",
                action="Install Starmark anew, or name pictures with --images",
            )
    return samples


def find_samples(
    patterns: Sequence[str], boxes: str | None = None, skipped: dict[str, Skip] | None = None
) -> list[Sample]:
    """List pictures and how each is shown.

    Annotations are the points of the .tsv, else the .pts beside each picture. Where a picture's box
    does not come from it, a damaged one is logged, and the picture has no annotation.

    Args:
        patterns: files, folders and globs, as for `find_pictures`.
        boxes: "pts" (the points beside each picture), "whole", "crop", or a file of boxes, see
            `runtime.many.boxes`. None uses the .pts beside a picture where there is one, else the
            whole picture.
        skipped: gets what was passed over.

    Raises:
        InputError: nothing found, a picture named twice, or boxes that do not fit the pictures.
        ConfigError: `boxes` is neither a known word nor a file.
    """
    listing = find_pictures(*patterns)
    log_skipped(listing.skipped)
    if skipped is not None:
        skipped.update(listing.skipped)
    files = listing.files
    _check_files(files)
    names = _unique_names([file.path for file in files])
    if boxes in (*BOX_CHOICES, None):
        samples = [_sample(n, file.path, boxes) for n, file in zip(names, files, strict=True)]
    else:
        samples = _in_boxes_of(Path(str(boxes)), names, files)
    faults = [sample for sample in samples if sample.annotation_fault]
    if faults:  # one line for all of them: agreement can be judged without annotations
        logger.warning(
            "annotations that cannot be used: %d of %d pictures, the first %s: %s",
            len(faults),
            len(samples),
            faults[0].name,
            faults[0].annotation_fault,
        )
    turned = [sample for sample in samples if _is_turned(sample)]
    if turned:  # nothing in a .pts says which of the two it means
        logger.warning(
            "EXIF turns %d annotated pictures, the first %s: their points are taken for points of"
            " the upright picture. If people marked the picture as it is stored, turn the files"
            " themselves and remove the tag",
            len(turned),
            turned[0].name,
        )
    return samples


def _is_turned(sample: Sample) -> bool:
    try:
        return sample.annotation_px is not None and is_turned(sample.path)
    except InputError:  # reported where it is decoded
        return False


def decoded(samples: Sequence[Sample], jobs: int) -> Iterator[Decoded]:
    """Decode pictures in threads ahead of their use, in order.

    At most twice as many pictures as threads wait in memory.

    Yields:
        Each sample with its picture or the error of reading it, and the seconds of decoding.
    """

    def read(sample: Sample) -> Decoded:
        start = time.perf_counter()
        try:
            picture: NDArray[np.uint8] | InputError = sample.read()
        except InputError as error:
            picture = error
        return sample, picture, time.perf_counter() - start

    return ahead(read, samples, jobs)


def _in_boxes_of(file: Path, names: Sequence[str], pictures: Sequence[PictureFile]) -> list[Sample]:
    if not file.is_file():
        raise ConfigError(
            f"--boxes {file}",
            expected=f"{', '.join(BOX_CHOICES)} or a {', '.join(SUFFIXES)} file",
            got="no such file",
            action="Check the path",
        )
    found = read_boxes(file, pictures)
    published = read_tsv_points(file, pictures) if file.suffix.lower() == ".tsv" else {}
    return [
        _annotated(
            Sample(name=name, path=path, box_xyxy=box),
            published.get(path, _points_beside(path)),
        )
        for name, (path, box) in zip(names, found.items(), strict=True)
    ]


def _check_files(files: Sequence[PictureFile]) -> None:
    for path in (file.path for file in files):
        if not path.is_file():  # a pipe would block the hashing of samples
            got = "a folder that this user may not list" if path.is_dir() else no_file(path)
            action = "Remove it, or name other pictures"
            raise InputError(shown(path), expected="a file", got=got, action=action)


def _unique_names(paths: Sequence[Path]) -> list[str]:
    """A picture's file name, with as many folders before it as it takes to tell it apart."""
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise InputError(
                str(path), expected="each picture once", got="it twice", action="Name it once"
            )
        seen.add(path.resolve())
    names = [shown(path.name) for path in paths]
    if len(set(names)) == len(names):
        return names
    return [shown(path.resolve().as_posix()) for path in paths]


def _sample(name: str, path: Path, boxes: str | None) -> Sample:
    points = points_file(path)
    if boxes in ("whole", "crop") or (boxes is None and not points.is_file()):
        plain = Sample(name=name, path=path, cropped=boxes == "crop")
        return _annotated(plain, _points_beside(path))
    points_px = read_pts(points)
    box_xyxy = box_of_points(points_px, str(points))
    return Sample(name=name, path=path, box_xyxy=box_xyxy, annotation_px=points_px)


def _points_beside(path: Path) -> NDArray[np.float64] | str | None:
    """The points in the .pts beside a picture, its fault, or None without one."""
    points = points_file(path)
    try:
        return read_pts(points) if points.is_file() else None
    except InputError as error:
        return str(error)


def _annotated(sample: Sample, marked: NDArray[np.float64] | str | None) -> Sample:
    if isinstance(marked, str):
        return replace(sample, annotation_fault=marked)
    return replace(sample, annotation_px=marked)
