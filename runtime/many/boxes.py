"""Face boxes from files, by the names of their pictures: CSV, TSV, JSON, COCO, and our own rows."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from runtime.errors import InputError, one_line
from runtime.files import shown
from runtime.files.cells import as_written
from runtime.files.reading import read_text
from runtime.image import geometry

Box = tuple[float, float, float, float]
Entry = TypeVar("Entry")

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv")
# COCO's instances of a hundred thousand pictures are 450 MB.
MOST_BYTES = 1 << 30
NAME_COLUMNS = ("image", "picture", "file", "filename", "file_name", "name", "path", "image_path")
CORNERS = (
    ("box_x1", "box_y1", "box_x2", "box_y2"),  # first: in our own rows x1 and y1 are a point's
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("left", "top", "right", "bottom"),
)
SIZES = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"))
# The published annotation's columns after the points: scale, center_w, center_h.
TSV_TAIL = ("scale", "center_w", "center_h")


class _Ours(msgspec.Struct):
    """A row of results.jsonl, as far as it matters here."""

    picture: str
    status: str
    box_xyxy: Box | None = None


def read_boxes(path: Path) -> dict[str, list[Box]]:
    """Read a file of boxes.

    - CSV, with commas, semicolons or tabs: a row for each box, a picture's name (image, picture,
      file, ...) and x1, y1, x2, y2 or x, y, w, h in the first line; also a run's own results.csv.
    - JSON: {"a.jpg": [x1, y1, x2, y2], ...}, with a list of boxes for several; or COCO's.
    - JSON lines: a run's own results.jsonl.
    - TSV: the published annotations, whose scale and centre become the box that gives their crop.

    Returns:
        By name the boxes in image px; none where a picture is listed without any.

    Raises:
        InputError: unreadable, without the columns that are needed, or a box that is none.
    """
    readers = (_from_json, _from_lines, _from_table, _from_table)
    reader = dict(zip(SUFFIXES, readers, strict=True)).get(path.suffix.lower())
    if reader is None:
        raise refused(path, f"a {', '.join(SUFFIXES[:-1])} or .tsv file", f"suffix {path.suffix!r}")
    try:
        found = reader(path, read_text(path, MOST_BYTES))
    except OSError as error:
        got = error.strerror or one_line(error, 200)
        raise refused(path, "a file of boxes", got, "Check --boxes") from error
    except (ValueError, csv.Error, RecursionError) as error:
        expected = f"boxes as {path.suffix[1:].upper()}"
        raise refused(path, expected, one_line(error, 200)) from error
    return {name: [checked_box(path, name, box) for box in some] for name, some in found.items()}


def checked_box(path: Path, name: str, box: Any) -> Box:
    """A box, or an InputError for what is none."""
    try:
        found: Box = msgspec.convert(box, Box)
        geometry.check_box(found)
    except (msgspec.ValidationError, OverflowError, InputError) as error:
        expected = f"a box for {shown(name)}: {geometry.BOX_CONTRACT}"
        raise refused(path, expected, repr(box)) from error
    return found


def is_published(text: str) -> bool:
    """Whether a .tsv has the published annotations, which go by the places of their columns."""
    columns = {cell.strip().lower() for cell in text.partition("\n")[0].split("\t")}
    return not any(set(one) <= columns for one in (*CORNERS, *SIZES))


def tsv_rows(text: str) -> Iterator[list[str]]:
    """Columns: picture, 5 points, N points, scale, center_w, center_h[, tags]; a header first."""
    # not splitlines, which would cut a name at its line separators
    for line in text.split("\n")[1:]:
        cells = line.split("\t")
        if not line.strip():
            continue
        if len(cells) < 3 + len(TSV_TAIL):
            wanted = f"a picture, 5 points, all points, {', '.join(TSV_TAIL)}"
            raise ValueError(f"{len(cells)} columns instead of {wanted} in {line[:60]!r}")
        yield cells


def _from_json(_: Path, text: str) -> Mapping[str, list[Any]]:
    found = json.loads(text, object_pairs_hook=_once)
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__} instead of an object")
    if isinstance(found.get("images"), list) and isinstance(found.get("annotations"), list):
        return _from_coco(found["images"], found["annotations"])
    return {name: _several(boxes) for name, boxes in found.items()}


def _several(boxes: Any) -> list[Any]:
    if boxes is None:
        return []
    several = isinstance(boxes, list) and all(isinstance(one, list) for one in boxes)
    return boxes if several else [boxes]


def _from_coco(images: list[Any], annotations: list[Any]) -> Mapping[str, list[Any]]:
    try:
        names = {image["id"]: image["file_name"] for image in images}
        found: dict[str, list[Any]] = {str(name): [] for name in names.values()}
        for one in annotations:
            if not one.get("iscrowd"):  # around many
                x, y, width, height = one["bbox"]
                found[names[one["image_id"]]].append([x, y, x + width, y + height])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        wanted = "images with id and file_name, annotations with their image_id and a bbox of four"
        raise ValueError(f"no COCO, which has {wanted}: {error!r}") from error
    if len(found) < len(images):
        raise ValueError("an id or file_name twice among the images")
    return found


def _from_lines(_: Path, text: str) -> Mapping[str, list[Any]]:
    rows = msgspec.json.Decoder(_Ours).decode_lines(text)
    return _grouped(
        (row.picture, _of_our_row(row.picture, row.status, row.box_xyxy))
        for row in rows
        if row.status != "error"
    )


def _of_our_row(name: str, status: str, box: Any) -> Any:
    """A face's box; a ValueError where its run had none, and nobody meant that there is no face."""
    if status == "ok" and box is None:
        raise ValueError(f"a face without a box in {name!r}: that run took whole pictures")
    return box


def _from_table(path: Path, text: str) -> Mapping[str, list[Any]]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    with io.StringIO(text, newline="") as file:
        # blanks are a part of names, unless the first line has them, too
        blanks = f"{delimiter} " in first
        rows = csv.reader(file, delimiter=delimiter, skipinitialspace=blanks)
        header = [cell.strip() for cell in next(rows, [])]
        columns = [cell.lower() for cell in header]
        named = next((name for name in NAME_COLUMNS if name in columns), None)
        box = next((one for one in (*CORNERS, *SIZES) if set(one) <= set(columns)), None)
        if named is None or box is None:
            if path.suffix.lower() == ".tsv" and is_published(text):
                return _grouped(_published(text))
            wanted = f"the columns image, {', '.join(CORNERS[1])} or {', '.join(SIZES[0])}"
            got = ", ".join(map(repr, header)) or "an empty file"
            raise refused(path, f"{wanted} in the first line", got)
        places = [columns.index(name) for name in (named, *box)]
        status = columns.index("status") if "status" in columns else None
        found: list[tuple[str, Any]] = []
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(columns):
                than = "more" if len(row) > len(columns) else "fewer"
                raise ValueError(f"line {rows.line_num} has {than} cells than the header")
            kind = "" if status is None else row[status]
            if kind == "error":
                continue
            name, *cells = (row[place] for place in places)
            there = any(cell.strip() for cell in cells)
            numbers = [_number(cell, delimiter) for cell in cells] if there else None
            if numbers and box in SIZES:
                numbers[2:] = [numbers[0] + numbers[2], numbers[1] + numbers[3]]
            found.append((as_written(name), _of_our_row(name, kind, numbers)))
    return _grouped(found)


def _number(cell: str, delimiter: str) -> float:
    # where semicolons separate, commas are decimal points
    return float(cell if delimiter == "," else cell.replace(",", "."))


def _published(text: str) -> Iterator[tuple[str, list[float]]]:
    for cells in tsv_rows(text):
        scale, x, y = (float(cell) for cell in cells[3 : 3 + len(TSV_TAIL)])
        half = scale * geometry.BOX_UNITS / 2
        yield cells[0], [x - half, y - half, x + half, y + half]


def _grouped(named: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, box in named:
        found.setdefault(name, []).extend([] if box is None else [box])
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dictionary; a picture may not be in the file twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{twice!r} twice")
    return found


@dataclass(frozen=True, kw_only=True)
class Matched(Generic[Entry]):
    """What a file has for pictures.

    Attributes:
        entries: of each picture; None where the file does not name it.
        others: names in the file that are those of no picture.
    """

    entries: list[Entry | None]
    others: list[str]


def match_names(
    path: Path, named: Mapping[str, Entry], pictures: Sequence[tuple[str, str]]
) -> Matched[Entry]:
    """Find what a file has for pictures, in time that grows with their number.

    Pictures go by their name in results, else by the end of their path: "a.jpg", "photos/a.jpg".
    Names count character by character first, then in either Unicode form; a link also has the name
    of what it leads to.

    Args:
        path: of the file, for errors.
        named: its entries.
        pictures: names in results, and paths or addresses.

    Raises:
        InputError: a name that fits several pictures, or several that fit one.
    """
    entries: list[Entry | None] = [None] * len(pictures)
    open_names = dict.fromkeys(named)
    left: Sequence[int] = range(len(pictures))
    ways: list[Callable[[tuple[str, str]], Iterable[str]]] = [
        lambda picture: [_tail(picture[0])],
        lambda picture: _ends(picture[1]),
    ]
    for ends_of in ways:
        for form in (str, _composed):
            index: defaultdict[str, list[str]] = defaultdict(list)
            for name in open_names:
                index[form(_tail(name))].append(name)
            owner: dict[str, int] = {}
            still = []
            for at in left:
                hits = [name for end in ends_of(pictures[at]) for name in index.get(form(end), ())]
                if not hits:
                    still.append(at)
                    continue
                if len(hits) > 1:
                    got = f"{len(hits)}: {', '.join(map(shown, hits[:3]))}"
                    raise refused(path, f"one name that fits {shown(pictures[at][0])}", got)
                other = owner.setdefault(hits[0], at)
                if other != at:
                    both = " and ".join(shown(pictures[one][1]) for one in (other, at))
                    expected = f"a name of one picture: {shown(hits[0])}"
                    raise refused(path, expected, f"one that fits {both}", "Add their folders")
                entries[at] = named[hits[0]]
            left = still
            for name in owner:
                del open_names[name]
    return Matched(entries=entries, others=list(open_names))


def _ends(place: str) -> Iterable[str]:
    """A path's last name, then with one folder before it, with two, ...; a link's also resolved."""
    paths = [place]
    if "://" not in place:
        path = Path(place)
        paths = [path.absolute().as_posix(), path.resolve().as_posix()]
    found: dict[str, None] = {}
    for one in paths:
        parts = one.strip("/").split("/")
        found |= dict.fromkeys("/".join(parts[at:]) for at in range(len(parts) - 1, -1, -1))
    return found


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _tail(name: str) -> str:
    """A name as the end of a path, whichever way its slashes lean."""
    return name.replace("\\", "/").removeprefix("./").lstrip("/")


def refused(
    path: Path, expected: str, got: str, action: str = "Correct the file of boxes"
) -> InputError:
    """The error about a file of boxes."""
    return InputError(shown(path), expected=expected, got=got, action=action)
