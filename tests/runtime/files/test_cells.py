"""Cells of CSV files: none is a formula, and each can be read back."""

from __future__ import annotations

import pytest

from runtime.files.cells import as_written, neutral


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        *((cell, f"'{cell}") for cell in ("=1+1", "+1", "@SUM(A1)", "-cmd", "-1+2", "\tx", "\rx")),
        *((cell, f"'{cell}") for cell in ("\n=1", "＝1", "-", "'=1", "''=1")),  # noqa: RUF001
        *((cell, cell) for cell in ("a=1", "-5", "-5.25", "'a'", "", "ok", "'", "人.jpg")),
    ],
)
def test_what_a_spreadsheet_would_run_is_marked_and_comes_back(cell: str, expected: str) -> None:
    """As are cells that look marked already."""
    assert neutral(cell) == expected
    assert as_written(expected) == cell
