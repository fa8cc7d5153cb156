"""A small part of what `tests/mutated_files.py` runs by the ten thousand."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutated_files import run


@pytest.mark.slow
def test_damaged_files_are_read_as_they_were_or_refused_in_one_line(tmp_path: Path) -> None:
    """No traceback, none accepted wrongly, none over 10 s or 1 GB."""
    counts, wrong = run(tmp_path, 360, 7)

    assert wrong == []
    assert sum(count for name, count in counts.items() if name.endswith("refused")) > 200
