"""docs/architecture.md: what it names is there, and no module stands in a circle of imports."""

from __future__ import annotations

import graphlib
import re

import grimp
import pytest
from builders import ROOT

PACKAGES = ("runtime", "parity", "export", "starmark", "benchmarks")
PAGE = (ROOT / "docs/architecture.md").read_text()


def test_every_place_that_is_named_exists() -> None:
    """Files and folders in backticks, and the twenty changes that a maintainer may look for."""
    named = re.findall(r"`((?:runtime|parity|export|starmark|benchmarks|tests)/[\w./]*)`", PAGE)
    changes = PAGE.partition("## Twenty changes")[2].count("\n| ") - 2

    assert len(named) > 40
    assert [place for place in named if not (ROOT / place).exists()] == []
    assert changes == 20


@pytest.mark.parametrize("package", ["runtime", "parity", "export"])
def test_a_landing_is_small(package: str) -> None:
    """At most ten modules on top of a package."""
    assert len(list((ROOT / package).glob("*.py"))) <= 10


def test_no_imports_go_in_a_circle() -> None:
    """Neither between modules, nor, counted by folder, between rooms."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    modules = {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}
    rooms: dict[str, set[str]] = {}
    for module, imported in modules.items():
        rooms.setdefault(room_of(module), set()).update(map(room_of, imported))

    assert circle_in(modules) == []
    assert circle_in({room: imported - {room} for room, imported in rooms.items()}) == []
    assert circle_in({"a": {"b"}, "b": {"a"}}) != []  # the control


def room_of(module: str) -> str:
    """A package's folder, or its module where it has none: runtime.image of runtime.image.crop."""
    return ".".join(module.split(".")[:2])


def circle_in(imports: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []
