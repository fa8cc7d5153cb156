"""Of models the head up to the weights is collected, of self-tests what belongs to the bundle.

Models are laid out by GE's own structs (tests/cann/ge_format.py), not by the simulator; reports are
in the form of parity/report/record.py and recordings in that of parity/recording/recording.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cann.ge_format import MESSAGES, Header, HeaderOf2021, table
from cann.plugin import Cann
from doctor_machines import recording

from runtime.doctor.box import LONGEST_TEXT_BYTES, Box
from runtime.doctor.collected_sources import HEAD_BYTES, source
from runtime.doctor.names import Identity
from runtime.doctor.redaction import Redactor

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
    whole = {"magic": MAGIC, "headsize": HEADER_BYTES, "length": size, **length, "model_num": 1}
    return bytes(kind(**{**whole, **fields}, platform_version=b"1.8.z.0"))


def head_of(folder: Path, content: bytes) -> bytes:
    """The bytes of a file that reach the archive."""
    path = folder / "x.om"
    path.write_bytes(content)
    box = Box()
    source(box, 1, path, selftest=False)
    found = box.parts["models/1-x.om/head.bin"]
    assert isinstance(found, bytes)
    assert content.startswith(found)
    assert b"WEIGHT" not in found
    return found


@pytest.mark.parametrize("kind", [Header, HeaderOf2021])
def test_of_a_sound_file_the_graph_is_sent_up_to_what_follows_it(
    tmp_path: Path, kind: type
) -> None:
    body = table(PARTS, tiny=kind is HeaderOf2021)
    sent = head_of(tmp_path, header(len(body), kind) + body)

    assert len(sent) == HEADER_BYTES + len(body) - sum(len(part) for _, part in PARTS[1:])
    assert sent.endswith(GRAPH)


@pytest.mark.parametrize(
    ("parts", "size"),
    [
        # a long graph is cut
        ([(MODEL_DEF, graph("g" * 9000)), *PARTS[1:]], HEAD_BYTES),
        # partitions may come in any order, and other kinds than weights may hold constants
        ([(TASKS, SECRET[:90]), *PARTS], HEADER_BYTES + 8 + 4 * 24),
    ],
)
def test_nothing_but_table_and_graph_is_sent(
    tmp_path: Path, parts: list[tuple[int, bytes]], size: int
) -> None:
    body = table(parts)

    assert len(head_of(tmp_path, header(len(body)) + body)) == size


def test_what_follows_the_last_table_that_was_read_is_not_sent(tmp_path: Path) -> None:
    """Of a file of two models whose second table is damaged."""
    first = table([(MODEL_DEF, GRAPH)])
    body = first + (0).to_bytes(4, "little") + SECRET
    sent = head_of(tmp_path, header(len(body), model_num=2) + body)

    assert len(sent) == HEADER_BYTES + len(first)


@pytest.mark.parametrize("missing", [0, 1])
def test_of_a_file_that_cannot_be_read_the_header_is_sent(tmp_path: Path, missing: int) -> None:
    """What follows may be weights, also where the file is as long as its header promises."""
    body = (3).to_bytes(4, "little") + SECRET

    assert len(head_of(tmp_path, header(len(body) + missing) + body)) == HEADER_BYTES


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


DIGEST = "0f7c" * 16
PICTURES: list[dict[str, Any]] = [
    {"name": "奶奶 1.jpg", "photo_px": 0.1},
    {"name": "holiday/anna smith.png"},
]
REPORT = {"report": {"pictures": PICTURES, "unreadable": [], "verdict": {"passed": False}}}
LINE = "worst: 奶奶 1.jpg 0.7 px, mirrored 奶奶 1.jpg, then holiday/anna smith.png\n"
NAMES = ("奶奶", "anna", "holiday")


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One in a folder of bundles, while another folder is the current one."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    folder = tmp_path / "bundles/star68"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"name": "star", "digest": DIGEST}))
    recording(folder / "selftest.npz", DIGEST, *PICTURES, {"name": "mirrored 奶奶 1.jpg"})
    return folder


def collected(*sources: Path) -> dict[str, str]:
    """The parts by their names, as they leave the machine."""
    box = Box()
    for index, one in enumerate(sources, start=1):
        source(box, index, one, selftest=False)
    found = {name: data.decode() for name, data in box.files(Redactor(Identity())).items()}
    assert not [what for what, _ in box.failed if "selftest" in what], box.failed
    return found


def test_what_is_anothers_is_left_where_it_is(bundle: Path, tmp_path: Path) -> None:
    """In the current folder and beside the bundle lie other people's self-tests, too."""
    for place in (tmp_path / "here", bundle.parent):
        for name in ("selftest.json", "selftest_npu0.txt", "selftest.log", "selftest_star680.json"):
            (place / name).write_text(LINE)
        recording(place / "selftest_npu0.npz", "another", *PICTURES)
        recording(place / "selftest_cpu.npz", None, *PICTURES)
        (place / "selftest_npu1.npz").write_bytes(b"no recording")

    assert not [name for name in collected(bundle) if "selftest" in name]


def test_what_is_the_bundles_is_taken(bundle: Path, tmp_path: Path) -> None:
    """Inside it, named after it, made with its very manifest, or named as a source."""
    here = tmp_path / "here"
    (bundle / "selftest_npu0.txt").write_text(LINE)
    (here / "selftest_star68.json").write_text(json.dumps(REPORT))
    (bundle.parent / "star68.selftest.log").write_text(LINE)
    recording(here / "selftest_npu0.npz", DIGEST, *PICTURES)
    (here / "selftest.json").write_text(json.dumps(REPORT))
    found = collected(bundle, here / "selftest.json")

    assert {name for name in found if "selftest" in name} == {
        "selftest/star68-selftest_npu0.txt",
        "selftest/here-selftest_star68.json",
        "selftest/bundles-star68.selftest.log",
        "selftest/here-selftest_npu0.npz.json",
        "models/2-selftest.json",
    }
    for text in found.values():
        assert not [name for name in NAMES if name in text]
    report = json.loads(found["selftest/here-selftest_star68.json"])["report"]
    assert report == {"pictures": 2, "unreadable": 0, "verdict": {"passed": False}}
    assert json.loads(found["selftest/here-selftest_npu0.npz.json"])["pictures"] == 2
    assert found["selftest/star68-selftest_npu0.txt"] == (
        "worst: <picture> 0.7 px, <picture>, then <picture>\n"
    )


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ('log line\n{"pictures": [{"name": "奶奶 1.jpg"}]}', '"name": "<picture>"'),
        ('{"pictures": [{"name": "holiday/anna smith.png"}', '"name": "<picture>"'),
        ("7", "7"),
    ],
)
def test_a_report_that_is_no_json_is_text(bundle: Path, content: str, kept: str) -> None:
    """Behind the lines of a log, or cut: names are replaced in it, too."""
    (bundle / "selftest_star68.json").write_text(content)
    found = collected(bundle)["selftest/star68-selftest_star68.json"]

    assert kept in found
    assert not [name for name in NAMES if name in found]


def test_of_a_long_report_the_end_is_taken(bundle: Path) -> None:
    """As of any text."""
    (bundle / "selftest_star68.json").write_text(json.dumps([["x" * 90] * 4000, PICTURES, "end"]))
    found = collected(bundle)["selftest/star68-selftest_star68.json"]

    assert LONGEST_TEXT_BYTES - 200 < len(found) <= LONGEST_TEXT_BYTES
    assert found.rstrip().endswith('"end"\n]')


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["selftest_star68.json", "selftest_star68.npz", "manifest.json"])
def test_a_pipe_as_a_source_is_not_waited_for(bundle: Path, name: str) -> None:
    """Nor as a bundle's manifest; in another file's place it is no outcome."""
    (bundle / name).unlink(missing_ok=True)
    os.mkfifo(bundle / name)
    box = Box()
    source(box, 1, bundle, selftest=False)
    source(box, 2, bundle / name, selftest=False)

    reasons = [reason for what, reason in box.failed if what == str(bundle / name)]
    assert len(reasons) == (2 if name == "manifest.json" else 1)
    assert all("not a plain file" in reason for reason in reasons)
