"""Face boxes from files: JSON, CSV, the published TSV, and the points beside a picture."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError, one_line
from runtime.files import shown
from runtime.files.reading import read_text
from runtime.image import geometry

Box = tuple[float, float, float, float]
F64 = NDArray[np.float64]
Entry = TypeVar("Entry")

CSV_COLUMNS = ("image", "x1", "y1", "x2", "y2")
FORMS: tuple[Literal["NFC"], Literal["NFD"]] = ("NFC", "NFD")
# The published annotation's columns after the points: scale, center_w, center_h.
TSV_TAIL = ("scale", "center_w", "center_h")


def read_boxes(path: Path, pictures: Sequence[Path]) -> dict[Path, Box]:
    """Read a file of boxes, one for each picture.

    JSON: {"a.jpg": [x1, y1, x2, y2], ...}. CSV: columns image, x1, y1, x2, y2. TSV: the published
    annotations, whose scale and centre become the box that gives the same crop. Pictures are named
    by the end of their path: "a.jpg" or "photos/a.jpg"; in either Unicode form, where no name is
    the same character by character.

    Raises:
        InputError: unreadable, a box that is none, a picture without one, or boxes for pictures
            that are not among those given.
    """
    readers = {".json": _from_json, ".csv": _from_csv, ".tsv": _from_tsv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise _refused(path, "a .json, .csv or .tsv file", f"suffix {path.suffix!r}")
    try:
        named = reader(path)
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        detail = one_line(f"{type(error).__name__}: {error}", 200)
        raise _refused(path, f"boxes as {path.suffix[1:].upper()}", detail) from error
    boxes = {name: _checked(path, name, box) for name, box in named.items()}
    return _matched(path, boxes, pictures)


def read_pts(path: Path) -> F64:
    """Read a 300W .pts file: (P, 2) image px, pixel centres at integers; the file counts from one.

    Points that nobody marked are NaN, see `_unmarked`.

    Raises:
        InputError: missing, or not such a file.
    """
    try:
        text = read_text(path)
        inside = text[text.index("{") + 1 : text.rindex("}")]
        rows = [row for line in inside.splitlines() if (row := line.split())]
        for row in rows:
            if len(row) != 2:
                raise ValueError(f"{len(row)} in the line {' '.join(row)!r}")
        points = np.array(rows, np.float64).reshape(-1, 2)
    except (OSError, ValueError) as error:
        expected = "a .pts file of points in braces, two numbers a line"
        raise _refused(path, expected, one_line(error, 200)) from error
    if not _are_places(points):
        expected = "two finite numbers a line, in image px, of which one is above 0"
        raise _refused(path, expected, f"{len(points)} points")
    head = dict(line.lower().split(":", 1) for line in text.splitlines() if ":" in line)
    counted = {key.strip(): value.strip() for key, value in head.items()}.get("n_points")
    if counted not in (None, str(len(points))):
        raise _refused(path, f"n_points: {counted}", f"{len(points)} points")
    return _unmarked(points) - 1


def points_file(picture: Path) -> Path:
    """The .pts beside a picture, also in capitals or another Unicode form; it may not be there."""
    plain = picture.with_suffix(".pts")
    named = (
        picture.with_name(f"{stem}{suffix}")
        for stem in (picture.stem, *(unicodedata.normalize(f, picture.stem) for f in FORMS))
        for suffix in (".pts", ".PTS", ".Pts")
    )
    return next((path for path in named if path.is_file()), plain)


def read_tsv_points(path: Path, pictures: Sequence[Path]) -> dict[Path, F64 | str]:
    """Read the N points of published annotations, which `read_boxes` has accepted.

    Returns:
        For each picture (P, 2) image px, or the fault of its points, whose box may be good.
    """
    named = {cells[0]: _points_of(cells[2]) for cells in _tsv_rows(path)}
    return _matched(path, named, pictures)


def box_of_points(points_px: F64, where: str) -> Box:
    """The points' own minimum and maximum; an InputError for points on a line or in one place."""
    marked_px = points_px[~np.isnan(points_px[:, 0])]
    return _checked(Path(where), "its points", geometry.box_around(marked_px).tolist())


def _from_json(path: Path) -> Mapping[str, Any]:
    found = json.loads(read_text(path), object_pairs_hook=_once)
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__} instead of an object")
    return found


def _from_csv(path: Path) -> Mapping[str, Any]:
    found: list[tuple[str, Any]] = []
    with io.StringIO(read_text(path), newline="") as file:
        rows = csv.DictReader(file)
        columns = list(rows.fieldnames or ())
        if not set(CSV_COLUMNS) <= set(columns):
            wanted = f"the columns {', '.join(CSV_COLUMNS)} in the first line, with commas"
            raise _refused(path, wanted, ", ".join(map(repr, columns)) or "an empty file")
        for row in rows:
            if None in row or None in row.values():
                than = "more" if None in row else "fewer"
                raise ValueError(f"line {rows.line_num} has {than} cells than the header")
            found.append((row["image"], [float(row[column]) for column in CSV_COLUMNS[1:]]))
    return _once(found)


def _from_tsv(path: Path) -> Mapping[str, Any]:
    found: list[tuple[str, Any]] = []
    for cells in _tsv_rows(path):
        scale, x, y = (float(cell) for cell in cells[3 : 3 + len(TSV_TAIL)])
        half = scale * geometry.BOX_UNITS / 2
        found.append((cells[0], [x - half, y - half, x + half, y + half]))
    return _once(found)


def _tsv_rows(path: Path) -> Iterator[list[str]]:
    """Columns: picture, 5 points, N points, scale, center_w, center_h[, tags]; a header first."""
    # not splitlines, which would cut a name at its line separators
    for line in read_text(path).split("\n")[1:]:
        cells = line.split("\t")
        if not line.strip():
            continue
        if len(cells) < 3 + len(TSV_TAIL):
            wanted = f"a picture, 5 points, all points, {', '.join(TSV_TAIL)}"
            raise ValueError(f"{len(cells)} columns instead of {wanted} in {line[:60]!r}")
        yield cells


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


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dictionary; a picture may not be in the file twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{twice!r} twice")
    return found


def _checked(path: Path, name: str, box: Any) -> Box:
    try:
        found: Box = msgspec.convert(box, Box)
        geometry.check_box(found)
    except (msgspec.ValidationError, OverflowError, InputError) as error:
        expected = f"a box for {shown(name)}: {geometry.BOX_CONTRACT}"
        raise _refused(path, expected, repr(box)) from error
    return found


def _matched(path: Path, boxes: Mapping[str, Entry], pictures: Sequence[Path]) -> dict[Path, Entry]:
    """Entries by picture, in time that grows with the number of names, not with its square."""
    exact: dict[str, list[str]] = defaultdict(list)
    alike: dict[str, list[str]] = defaultdict(list)
    for name in boxes:
        exact[_tail(name)].append(name)
        alike[unicodedata.normalize("NFC", _tail(name))].append(name)
    found: dict[Path, Entry] = {}
    used: set[str] = set()
    for picture in pictures:
        # by its own name, or by that of what it links to
        ends = dict.fromkeys((*_ends(picture.absolute()), *_ends(picture.resolve())))
        names = [name for end in ends for name in exact.get(end, ())] or [
            name for end in ends for name in alike.get(unicodedata.normalize("NFC", end), ())
        ]
        if len(names) != 1:
            got = "none" if not names else f"{len(names)}: {', '.join(map(shown, names[:3]))}"
            raise _refused(path, f"one box for {shown(picture)}", got)
        found[picture] = boxes[names[0]]
        used.add(names[0])
    others = [name for name in boxes if name not in used]
    if others:
        named = ", ".join(map(shown, others[:3])) + (", …" if len(others) > 3 else "")
        raise _refused(
            path, f"boxes for the {len(pictures)} pictures given", f"{len(others)} others: {named}"
        )
    return found


def _ends(path: Path) -> Iterator[str]:
    """A file's name, then with one folder before it, with two, ..."""
    parts = path.as_posix().lstrip("/").split("/")
    return ("/".join(parts[at:]) for at in range(len(parts) - 1, -1, -1))


def _tail(name: str) -> str:
    """A name as the end of a path, whichever way its slashes lean."""
    return name.replace("\\", "/").removeprefix("./").lstrip("/")


def _refused(path: Path, expected: str, got: str) -> InputError:
    return InputError(shown(path), expected=expected, got=got, action="Correct the file of boxes")
