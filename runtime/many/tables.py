"""Rows as files: JSON lines, CSV, Parquet, and a .pts file for each face."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec

from runtime.files import Writing, written_whole
from runtime.files.cells import neutral
from runtime.machine.packages import importing
from runtime.many.rows import FrameRow, Row

# Rows held at once where a format is written in pieces.
GROUP = 4096
TABLES = ("jsonl", "csv", "parquet")
FORMATS = (*TABLES, "pts")
FRAME_COLUMNS = ("frame", "time_s", "track")


def import_pyarrow(where: str = "--format parquet") -> Any:
    """Return pyarrow with its file systems and its Parquet.

    Raises:
        BackendUnavailable: it is missing or broken.
    """
    with importing(where):
        import pyarrow as pa
        import pyarrow.fs
        import pyarrow.parquet  # both become attributes of pa
    return pa


def write_table(
    name: str,
    path: Path,
    lines: Iterable[bytes],
    points: int,
    kind: type[Row] = Row,
    *,
    raw_csv: bool = False,
    writing: Writing = written_whole,
) -> None:
    """Write all rows, whole or not at all.

    Args:
        name: of `TABLES`.
        path: of the file.
        lines: a row in JSON each.
        points: how many a face has.
        kind: of all the rows; it decides the columns.
        raw_csv: leave text in CSV as it is, also where a spreadsheet would run it.
        writing: as `written_whole`.

    Raises:
        BackendUnavailable: Parquet, and pyarrow is missing.
    """
    with writing(path) as temporary:
        if name == "jsonl":
            with temporary.open("wb") as file:
                file.writelines(lines)
            return
        rows = map(msgspec.json.Decoder(kind).decode, lines)
        if name == "csv":
            _write_csv(temporary, rows, points, kind, str if raw_csv else neutral)
        else:
            _write_parquet(temporary, rows, kind)


def write_pts(
    path: Path, points_px: Sequence[tuple[float, float]], *, writing: Writing = written_whole
) -> None:
    """Write a face's points as 300-W does: pixels counted from 1."""
    lines = [f"{x + 1:.3f} {y + 1:.3f}" for x, y in points_px]
    text = "\n".join(("version: 1", f"n_points: {len(lines)}", "{", *lines, "}", ""))
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def picture_columns(pa: Any) -> dict[str, Any]:
    """Columns that every face of a picture shares, with their Arrow types."""
    return {
        "picture": pa.string(),
        "status": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "faces": pa.int32(),
    }


def face_columns(pa: Any, number: Any) -> dict[str, Any]:
    """Columns of a face, with their Arrow types; `number` is that of points."""
    return {
        "box_xyxy": pa.list_(pa.float64()),
        "score": pa.float64(),
        "points_px": pa.list_(pa.list_(number)),
        "spread_px": pa.list_(number),
        "warning": pa.string(),
    }


def _write_csv(
    path: Path, rows: Iterable[Row], points: int, kind: type[Row], text: Callable[[str], str]
) -> None:
    frame = FRAME_COLUMNS if kind is FrameRow else ()
    plain = ("picture", *frame, "status", "width", "height", "faces", "face")
    box = [f"box_{corner}" for corner in ("x1", "y1", "x2", "y2")]
    places = [f"{axis}{point}" for point in range(points) for axis in "xy"]
    spreads = [f"spread{point}" for point in range(points)]
    nothing = (None,) * points
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow((*plain, *box, "score", *places, *spreads, "warning", "error"))
        for row in rows:
            cells = (
                text(row.picture),
                *(getattr(row, name) for name in plain[1:]),
                *(row.box_xyxy or (None,) * 4),
                row.score,
                *(chain(*row.points_px) if row.points_px else nothing * 2),
                *(row.spread_px or nothing),
                text(row.warning),
                text(row.error),
            )
            table.writerow(cells)


def _write_parquet(path: Path, rows: Iterable[Row], kind: type[Row]) -> None:
    pa = import_pyarrow()
    shared = picture_columns(pa)
    columns = {"picture": shared.pop("picture")}
    if kind is FrameRow:
        columns |= zip(FRAME_COLUMNS, (pa.int64(), pa.float64(), pa.int64()), strict=True)
    columns |= shared | {"face": pa.int32()} | face_columns(pa, pa.float64())
    schema = pa.schema([*columns.items(), ("error", pa.string())])
    with pa.parquet.ParquetWriter(path, schema, compression="zstd") as file:
        coming = map(msgspec.to_builtins, rows)
        while group := list(islice(coming, GROUP)):
            file.write_table(pa.Table.from_pylist(group, schema))
