"""Cells of CSV files, neutral where a spreadsheet would run them as a formula."""

from __future__ import annotations

import re

# What spreadsheets begin a formula with, in full width, too; a negative number is none.
FORMULA = re.compile(r"[=+@\t\r\n＝＋－＠]|-(?!\d+(\.\d*)?$)")  # noqa: RUF001
MARK = "'"


def neutral(cell: str) -> str:
    """Put an apostrophe before a cell that a spreadsheet would run; `as_written` takes it away."""
    return f"{MARK}{cell}" if FORMULA.match(cell.lstrip(MARK)) else cell


def as_written(cell: str) -> str:
    """Undo `neutral`."""
    marked = cell.startswith(MARK) and FORMULA.match(cell.lstrip(MARK))
    return cell[len(MARK) :] if marked else cell
