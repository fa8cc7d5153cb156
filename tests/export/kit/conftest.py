"""One wheel of ours for every kit here: pip takes seconds to build it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from export.kit import __main__ as kit
from export.kit import wheelhouse


@pytest.fixture(scope="session", autouse=True)
def own_wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    wheel = wheelhouse.own_wheel(tmp_path_factory.mktemp("own"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kit, "own_wheel", lambda _folder: wheel)
        yield wheel
