"""Boxes and points that people marked: one box a picture, and the points beside it."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from runtime.errors import one_line
from runtime.files import shown
from runtime.files.reading import read_text
from runtime.image import geometry
from runtime.many.boxes import Box, checked_box, is_published, match_names, refused, tsv_rows
from runtime.many.boxes import read_boxes as all_boxes
from runtime.many.inputs import PictureFile

F64 = NDArray[np.float64]
Entry = TypeVar("Entry")

FORMS: tuple[Literal["NFC"], Literal["NFD"]] = ("NFC", "NFD")


def read_boxes(path: Path, pictures: Sequence[PictureFile]) -> dict[Path, Box]:
    """Read a file of boxes, one for each picture, see `runtime.many.boxes`.

    Raises:
        InputError: unreadable, a box that is none, a picture without one or with several, or boxes
            for pictures that are not among those given.
    """
    found = _matched(path, all_boxes(path), pictures)
    for picture, boxes in found.items():
        if len(boxes) != 1:
            raise refused(path, f"one box for {shown(picture)}", str(len(boxes) or "none"))
    return {picture: box for picture, (box,) in found.items()}


def read_pts(path: Path) -> F64:
    """Read a 300W .pts file: (P, 2) image px, pixel centres at integers; the file counts from one.

    Points that nobody marked are NaN, see `_unmarked`.

    Raises:
        InputError: missing, or not such a file.
    """
    try:
        text = read_text(path)
        inside, is_closed, _ = text.partition("{")[2].rpartition("}")
        if not is_closed:
            raise ValueError("no braces" if text.strip() else "an empty file")
        rows = [row for line in inside.splitlines() if (row := line.split())]
        for row in rows:
            if len(row) != 2:
                raise ValueError(f"{len(row)} in the line {' '.join(row)!r}")
        points = np.array(rows, np.float64).reshape(-1, 2)
    except (OSError, ValueError) as error:
        expected = "a .pts file of points in braces, two numbers a line"
        raise refused(path, expected, one_line(error, 200)) from error
    if not _are_places(points):
        expected = "two finite numbers a line, in image px, of which one is above 0"
        inside_px = np.abs(points) <= geometry.LARGEST_COORDINATE_PX
        far = [rows[at] for at in np.flatnonzero(~inside_px.all(axis=1))]
        got = one_line(f"the line {' '.join(far[0])!r}", 100) if far else f"{len(points)} points"
        raise refused(path, expected, got)
    head = dict(line.lower().split(":", 1) for line in text.splitlines() if ":" in line)
    counted = {key.strip(): value.strip() for key, value in head.items()}.get("n_points")
    if counted not in (None, str(len(points))):
        raise refused(path, f"n_points: {counted}", f"{len(points)} points")
    return _unmarked(points) - 1


def points_file(picture: Path) -> Path:
    """The .pts beside a picture, also in capitals or another Unicode form; it may not be there."""
    plain = picture.with_suffix(".pts")
    named = (
        picture.with_name(f"{stem}{suffix}")
        for stem in (picture.stem, *(unicodedata.normalize(f, picture.stem) for f in FORMS))
        for suffix in (".pts", ".PTS", ".Pts")
    )
    # not Path.is_file, which raises for a name that another form makes too long
    return next((path for path in named if os.path.isfile(path)), plain)  # noqa: PTH113


def read_tsv_points(path: Path, pictures: Sequence[PictureFile]) -> dict[Path, F64 | str]:
    """Read the N points of published annotations, which `read_boxes` has accepted.

    Returns:
        For each picture (P, 2) image px, or the fault of its points, whose box may be good; nothing
        where the file has boxes by its columns' names.
    """
    text = read_text(path)
    if not is_published(text):
        return {}
    named = {cells[0]: _points_of(cells[2]) for cells in tsv_rows(text)}
    return _matched(path, named, pictures)


def box_of_points(points_px: F64, where: str) -> Box:
    """The points' own minimum and maximum; an InputError for points on a line or in one place."""
    marked_px = points_px[~np.isnan(points_px[:, 0])]
    return checked_box(Path(where), "its points", geometry.box_around(marked_px).tolist())


def _points_of(cell: str) -> F64 | str:
    try:
        numbers = np.array([float(number) for number in cell.split(",")])
    except ValueError as error:
        return one_line(error, 100)
    if numbers.size % 2:
        return f"{numbers.size} numbers, which is not two a point"
    points = numbers.reshape(-1, 2)
    return _unmarked(points) if _are_places(points) else "a point that is no place in a picture"


def _are_places(points: F64) -> bool:
    # NaN compares as not smaller
    inside = (np.abs(points) <= geometry.LARGEST_COORDINATE_PX).all()
    return bool(inside and (points > 0).any())


def _unmarked(points: F64) -> F64:
    """NaN for each point that nobody marked: (0, 0), or two negative numbers, as its file has it.

    With one negative number it may well lie left of the picture, or above.
    """
    return np.where((points <= 0).all(axis=1, keepdims=True), np.nan, points)


def _matched(
    path: Path, named: Mapping[str, Entry], pictures: Sequence[PictureFile]
) -> dict[Path, Entry]:
    """Entries by picture; none missing, none left."""
    found = match_names(path, named, [(file.name, str(file.path)) for file in pictures])
    entries: dict[Path, Entry] = {}
    for file, entry in zip(pictures, found.entries, strict=True):
        if entry is None:
            raise refused(path, f"one box for {shown(file.path)}", "none")
        entries[file.path] = entry
    if found.others:
        others = found.others
        got = f"{len(others)} others: {', '.join(map(shown, others[:3]))}"
        expected = f"boxes for the {len(pictures)} pictures given"
        raise refused(path, expected, got + (", …" if len(others) > 3 else ""))
    return entries
