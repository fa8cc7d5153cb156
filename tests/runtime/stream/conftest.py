"""No stream leaves anything behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from grey_backend import threads_left


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    assert threads_left() == []
    yield
    assert threads_left() == []
