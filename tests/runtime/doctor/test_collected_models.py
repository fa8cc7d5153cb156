"""What of an .om is sent back: header, table and the graph's beginning, and never its weights.

The files are laid out by GE's own structs (tests/cann/ge_format.py), not by the simulator.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cann.ge_format import MESSAGES, Header, HeaderOf2020, HeaderOf2021, table
from cann.plugin import Cann

from runtime.doctor.box import Box
from runtime.doctor.collected_models import HEAD_BYTES, source

MODEL_DEF, WEIGHTS, TASKS, KERNELS = range(4)
MAGIC, HEADER_BYTES = 0x444F4D49, 256
SECRET = b"\x3f\x80WEIGHT" * 700


def graph(name: str) -> bytes:
    made: bytes = MESSAGES["ModelDef"](name=name).SerializeToString()
    return made


GRAPH = graph("net")
PARTS = [(MODEL_DEF, GRAPH), (WEIGHTS, SECRET), (KERNELS, b"kernel" * 9)]


def header(size: int, kind: type = Header, **fields: int) -> bytes:
    """Of a file with this much behind it."""
    length = {"model_length": size} if kind is Header else {}
    counted = {} if kind is HeaderOf2020 else {"model_num": 1}
    whole = {"magic": MAGIC, "headsize": HEADER_BYTES, "length": size, **length, **counted}
    # of 2020: text where later headers count the models
    return bytes(kind(**{**whole, **fields}, platform_version=b"1.8.z.0"))


class Head:
    """The bytes of a file that reach the archive."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, content: bytes) -> bytes:
        path = self.folder / "x.om"
        path.write_bytes(content)
        box = Box()
        source(box, 1, path, selftest=False)
        found = box.parts["models/1-x.om/head.bin"]
        assert isinstance(found, bytes)
        assert content.startswith(found)
        assert b"WEIGHT" not in found
        return found


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Head:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return Head(tmp_path)


@pytest.mark.parametrize(
    ("kind", "entry_bytes", "count_bytes"),
    [(Header, 24, 8), (HeaderOf2021, 12, 4), (HeaderOf2020, 12, 4)],
)
def test_of_a_truncated_file_header_and_table_are_sent(
    head: Head, kind: type, entry_bytes: int, count_bytes: int
) -> None:
    """Entries have 12 bytes where the header holds no model_length: what follows may be weights."""
    body = table([(WEIGHTS, SECRET), *PARTS[2:]], tiny=kind is not Header)
    sent = head.of((header(len(body), kind) + body)[:-1])

    assert len(sent) == HEADER_BYTES + count_bytes + 2 * entry_bytes


def test_a_flow_models_entries_are_wide_without_a_model_length(head: Head) -> None:
    """[V: hicann/ge, om_file_helper.cc:174] Modeltype 3."""
    body = table(PARTS)
    sent = head.of((header(len(body), HeaderOf2021, modeltype=3) + body)[:-1])

    assert len(sent) == HEADER_BYTES + 8 + 3 * 24


@pytest.mark.parametrize("count", [0, 32, 0xFFFF_FFFF])
@pytest.mark.parametrize("kind", [Header, HeaderOf2021])
def test_a_count_that_no_table_has_is_not_followed(head: Head, kind: type, count: int) -> None:
    """Header alone."""
    body = count.to_bytes(4, "little") + SECRET

    assert len(head.of(header(len(body) + 1, kind) + body)) == HEADER_BYTES


@pytest.mark.parametrize("kind", [Header, HeaderOf2021])
@pytest.mark.parametrize("missing", [0, 1])
def test_weights_where_the_table_should_be_are_not_taken_for_one(
    head: Head, kind: type, missing: int
) -> None:
    """Also in a file that is as long as its header promises, which is never refused."""
    body = (3).to_bytes(4, "little") + SECRET

    assert len(head.of(header(len(body) + missing, kind) + body)) == HEADER_BYTES


def test_a_table_at_the_limit_is_sent_whole(head: Head) -> None:
    """31 entries, the last of which reaches the file's end."""
    body = table([(WEIGHTS, SECRET)] * 31)
    sent = head.of((header(len(body)) + body)[:-1])

    assert len(sent) == HEADER_BYTES + 8 + 31 * 24


def test_a_file_that_ends_inside_its_table(head: Head) -> None:
    body = table(PARTS)

    assert len(head.of((header(len(body)) + body)[: HEADER_BYTES + 60])) == HEADER_BYTES


@pytest.mark.parametrize("kind", [Header, HeaderOf2021])
def test_of_a_sound_file_the_graph_is_sent_up_to_what_follows_it(head: Head, kind: type) -> None:
    body = table(PARTS, tiny=kind is HeaderOf2021)
    sent = head.of(header(len(body), kind) + body)

    assert len(sent) == HEADER_BYTES + len(body) - sum(len(part) for _, part in PARTS[1:])
    assert sent.endswith(GRAPH)


def test_a_long_graph_is_cut(head: Head) -> None:
    body = table([(MODEL_DEF, graph("g" * 9000)), *PARTS[1:]])

    assert len(head.of(header(len(body)) + body)) == HEAD_BYTES


def test_what_precedes_the_graph_is_not_sent(head: Head) -> None:
    """Partitions may come in any order, and other kinds than weights may hold constants."""
    body = table([(TASKS, SECRET[:90]), *PARTS])

    assert len(head.of(header(len(body)) + body)) == HEADER_BYTES + 8 + 4 * 24


def test_what_follows_the_last_table_that_was_read_is_not_sent(head: Head) -> None:
    """Of a file of two models whose second table is damaged."""
    first = table([(MODEL_DEF, GRAPH)])
    body = first + (0).to_bytes(4, "little") + SECRET
    sent = head.of(header(len(body), model_num=2) + body)

    assert len(sent) == HEADER_BYTES + len(first)


def test_atc_describes_a_file_under_any_path(cann: Cann, tmp_path: Path) -> None:
    """It refuses a blank in the real path, so that a link does not help."""
    body = table(PARTS)
    folder = tmp_path / "my model, (new)"
    folder.mkdir()
    (folder / "x y.om").write_bytes(header(len(body)) + body)
    cann.set("PATH", f"{cann.atc.parent}{os.pathsep}{os.environ['PATH']}")
    box = Box()
    source(box, 1, folder / "x y.om", selftest=False)
    text = str(box.parts["models/1-x y.om/atc_mode6.txt"])

    assert "[exit status 0]" in text
    assert "Display Model Info start" in text
    assert "E10001" not in text
