"""Rows as files: JSON lines, CSV, Parquet, and a .pts file for each face."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec

from runtime.errors import BackendUnavailable
from runtime.files import written_whole
from runtime.many.rows import Row

# Rows held at once where a format is written in pieces.
GROUP = 4096
TABLES = ("jsonl", "csv", "parquet")
FORMATS = (*TABLES, "pts")


def check_format(name: str) -> None:
    """Find out that a format cannot be written before there is anything to write.

    Raises:
        BackendUnavailable: its package is missing.
    """
    if name == "parquet":
        _pyarrow()


def write_table(
    name: str,
    path: Path,
    rows: Callable[[], Iterable[Row]],
    points: int,
    kind: type[Row] = Row,
) -> None:
    """Write all rows, whole or not at all.

    Args:
        name: of `TABLES`.
        path: of the file.
        rows: gives them, each time from the first on.
        points: how many a face has.
        kind: of all the rows; says which columns there are.

    Raises:
        BackendUnavailable: Parquet, and pyarrow is missing.
        OSError: the file cannot be written.
    """
    write = {"jsonl": _write_jsonl, "csv": _write_csv, "parquet": _write_parquet}[name]
    with written_whole(path) as temporary:
        write(temporary, rows(), points, kind)


def write_pts(path: Path, row: Row) -> None:
    """Write a face's points as 300-W does: pixels counted from 1.

    Raises:
        OSError: the file cannot be written.
    """
    points = row.points_px or []
    lines = [f"{x + 1:.3f} {y + 1:.3f}" for x, y in points]
    text = "\n".join(("version: 1", f"n_points: {len(points)}", "{", *lines, "}", ""))
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _write_jsonl(path: Path, rows: Iterable[Row], points: int, kind: type[Row]) -> None:
    del points, kind
    with path.open("wb") as file:
        for row in rows:
            file.write(msgspec.json.encode(row) + b"\n")


def _write_csv(path: Path, rows: Iterable[Row], points: int, kind: type[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        plain = ("picture", *_of_video(kind), "status", "width", "height", "faces", "face")
        places = [f"{axis}{point}" for point in range(points) for axis in "xy"]
        spreads = [f"spread{point}" for point in range(points)]
        box = ("box_x1", "box_y1", "box_x2", "box_y2", "score")
        table.writerow((*plain, *box, *places, *spreads, "warning", "error"))
        for row in rows:
            nothing = (None,) * points
            table.writerow(
                (
                    *(getattr(row, name) for name in plain),
                    *(row.box_xyxy or (None,) * 4),
                    row.score,
                    *(chain(*row.points_px) if row.points_px else nothing * 2),
                    *(row.spread_px or nothing),
                    row.warning,
                    row.error,
                )
            )


def _write_parquet(path: Path, rows: Iterable[Row], points: int, kind: type[Row]) -> None:
    del points
    pa, pq = _pyarrow()
    schema = parquet_schema(pa, kind)
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for group in _groups(rows):
            file.write_table(pa.Table.from_pylist([msgspec.to_builtins(r) for r in group], schema))


def _of_video(kind: type[Row]) -> tuple[str, ...]:
    """The columns that rows of frames have besides."""
    return tuple(n for n in kind.__struct_fields__ if n not in Row.__struct_fields__)


def parquet_schema(pa: Any, kind: type[Row] = Row) -> Any:
    """The columns of a kind of row as Arrow types."""
    of_video = {"frame": pa.int64(), "time_s": pa.float64(), "track": pa.int64()}
    return pa.schema(
        [
            ("picture", pa.string()),
            *((name, of_video[name]) for name in _of_video(kind)),
            ("status", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("faces", pa.int32()),
            ("face", pa.int32()),
            ("box_xyxy", pa.list_(pa.float64())),
            ("score", pa.float64()),
            ("points_px", pa.list_(pa.list_(pa.float64()))),
            ("spread_px", pa.list_(pa.float64())),
            ("warning", pa.string()),
            ("error", pa.string()),
        ]
    )


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    coming = iter(rows)
    while group := list(islice(coming, GROUP)):
        yield group


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise BackendUnavailable(
            "--format parquet",
            expected="the package pyarrow",
            got=str(error),
            action="Install it with pip install '.[parquet]', or choose jsonl or csv",
        ) from error
    return pa, pq
