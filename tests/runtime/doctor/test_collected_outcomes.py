"""Of self-tests what belongs to the named bundle is collected, and of it no picture's name.

Reports are in the form of parity/report/record.py and recordings in that of
parity/recording/recording.py, with names of our own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import run_module

from runtime.doctor.box import LONGEST_TEXT_BYTES, Box
from runtime.doctor.collected_models import source
from runtime.doctor.names import Identity
from runtime.doctor.redaction import Redactor

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


def recording(path: Path, digest: str | None, *pictures: dict[str, Any]) -> None:
    header = {"schema": 2, "pictures": list(pictures), "unreadable": [], "manifest": None}
    header |= {"manifest": {"digest": digest}} if digest else {}
    np.savez(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8))


def collected(*sources: Path) -> dict[str, str]:
    """The parts by their names, as they leave the machine."""
    box = Box()
    for index, one in enumerate(sources, start=1):
        source(box, index, one, selftest=False)
    found = {one.name: one.data.decode() for one in box.members(Redactor(Identity()))}
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
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(bundle: Path, name: str) -> None:
    """In the bundle, or as a source."""
    (bundle / name).unlink(missing_ok=True)
    os.mkfifo(bundle / name)
    box = Box()
    source(box, 1, bundle, selftest=False)
    source(box, 2, bundle / name, selftest=False)

    reasons = [reason for what, reason in box.failed if what == str(bundle / name)]
    assert reasons
    assert all("not a plain file" in reason for reason in reasons)


def test_names_in_a_deep_report_do_not_stop_the_box(bundle: Path) -> None:
    """Deeper than Python's own limit allows: a line of its own, and the rest is there."""
    (bundle / "selftest_star68.json").write_text("[" * 700 + "]" * 700)
    box = Box()
    source(box, 1, bundle, selftest=False)
    names = [one.name for one in box.members(Redactor(Identity()))]

    assert "models/1-star68/manifest.json" in names
    assert [what for what, _ in box.failed if "selftest_star68.json" in what]


def test_a_real_self_test_is_recognised_by_its_manifest(
    starter_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the name that it has by default, in the current folder."""
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "selftest_cpu.npz"
    done = run_module(
        *("parity.selftest", starter_bundle, "--device", "cpu", "--runs", "1"),
        *("--output", output),
    )
    assert done.returncode == 0, done.stderr

    found = collected(starter_bundle)
    header = json.loads(found[f"selftest/{tmp_path.name}-selftest_cpu.npz.json"])
    assert header["device"] == "cpu"
    assert header["pictures"] == 4
