"""The archive: parts gathered or told why not, names that any system can hold, and its bytes."""

from __future__ import annotations

import gzip
import os
import sys
import tarfile
from functools import partial
from pathlib import Path

import pytest

from runtime.doctor import box as box_module
from runtime.doctor.box import FOLDER, LONGEST_TEXT_BYTES, Box, read_tail, write_box
from runtime.doctor.names import Identity
from runtime.doctor.redaction import Redactor
from runtime.errors import BackendUnavailable

NOBODY = Redactor(Identity())


def test_a_part_that_fails_is_a_line_with_its_reason() -> None:
    """Errors of this project without their place, others by their kind; an interrupt goes on."""
    made = Box()

    def fail(error: BaseException) -> None:
        raise error

    with made.attempt("tool"):
        fail(BackendUnavailable("npu-smi", expected="it", got="none", action="Install it"))
    with made.attempt("bug"):
        fail(ZeroDivisionError("of\nall things"))
    with pytest.raises(KeyboardInterrupt), made.attempt("stopped"):
        fail(KeyboardInterrupt())

    assert made.failed == [
        ("tool", "expected it, got none. Install it"),
        ("bug", "ZeroDivisionError: of all things"),
    ]


def test_the_end_of_a_long_log_is_kept(tmp_path: Path) -> None:
    """With a word on what is missing; exactly the limit is whole."""
    log = tmp_path / "x.log"
    log.write_bytes(b"first" + b"." * LONGEST_TEXT_BYTES + b"last")
    long = read_tail(log)
    log.write_bytes(b"a" * LONGEST_TEXT_BYTES)

    assert long.startswith("[the first 9 bytes were left out]\n...")
    assert long.endswith("last")
    assert read_tail(log) == "a" * LONGEST_TEXT_BYTES


def test_what_is_no_plain_text_is_refused(tmp_path: Path) -> None:
    """A pipe is not waited for, a picture not taken for a text."""
    os.mkfifo(tmp_path / "pipe.log")
    (tmp_path / "picture.log").write_bytes(b"\xff\xd8\xff\x00\x10JFIF")

    for name, error in (("pipe.log", OSError), ("picture.log", ValueError)):
        with pytest.raises(error):
            read_tail(tmp_path / name)


def test_a_part_too_deep_for_its_names_to_be_replaced_is_left_out(
    request: pytest.FixtureRequest,
) -> None:
    """Deeper than Python's own limit allows: a line of its own, and the rest is there."""
    # A library may have raised the limit in this process: set Python's own for this test.
    request.addfinalizer(partial(sys.setrecursionlimit, sys.getrecursionlimit()))
    sys.setrecursionlimit(1000)
    deep: list[object] = []
    for _ in range(2000):
        deep = [deep]
    made = Box(parts={"deep.json": deep, "x.txt": "text"})

    assert list(made.files(NOBODY)) == ["x.txt"]
    assert {what for what, _ in made.failed} == {"deep.json"}


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("models/1-a b/om.json", "models/1-a_b/om.json"),
        ("models/../../etc/passwd", "models/_/_/etc/passwd"),
        ("/abs//x", "_/abs/_/x"),
        (".hidden/.x", "_hidden/_x"),
        ("模型/x\n.log", "__/x_.log"),
        ("a/" + "n" * 300 + ".log", "a/" + "n" * (box_module.LONGEST_NAME - 4) + ".log"),
        ("<user>~", "_user__"),
    ],
)
def test_names_cannot_leave_the_folder_or_trouble_a_system(name: str, plain: str) -> None:
    """Letters, digits and few signs; no part is hidden or leads upwards."""
    made = Box(parts={name: "text"})

    assert list(made.files(NOBODY)) == [plain]


def test_two_parts_never_share_a_name() -> None:
    """Also where they only differ in signs that were replaced."""
    made = Box(parts={"a b.log": "1", "a?b.log": "2", "a_b.log": "3"})

    assert sorted(made.files(NOBODY).values()) == [b"1", b"2", b"3"]


def test_a_serial_number_that_one_part_labels_is_replaced_in_all() -> None:
    """The list of cards has the label; a log may have the number alone."""
    made = Box(
        parts={
            "a.log": "card 2199Q10D77K0 lost",
            "b.json": {"x": ["2199Q10D77K0"]},
            "head.bin": b"IMOD2199Q10D77K0",
            "z.txt": "Serial Number : 2199Q10D77K0",
        }
    )
    data = b"".join(made.files(Redactor(Identity())).values())

    assert b"2199Q10D77K0" not in data
    assert data.count(b"<serial>") == 3


def test_the_archive_names_neither_its_writer_nor_its_place(tmp_path: Path) -> None:
    """One folder, 0644, everybody's, at the time of collection; the same parts, the same bytes."""
    files = {"a/b.txt": b"hello", "c.bin": bytes(range(256))}
    file = tmp_path / "secret-name.part.gz"
    write_box(file, files, created_s=1_700_000_123)
    first = file.read_bytes()
    write_box(tmp_path / "other.gz", files, created_s=1_700_000_123)

    assert first == (tmp_path / "other.gz").read_bytes()
    assert b"secret-name" not in first + gzip.decompress(first)
    with tarfile.open(file) as archive:
        assert archive.getnames() == [f"{FOLDER}/{name}" for name in files]
        for entry in archive.getmembers():
            assert entry.isreg()
            assert (entry.mode, entry.mtime, entry.uid, entry.gid) == (0o644, 1_700_000_123, 0, 0)
            assert entry.uname == entry.gname == ""
            content = archive.extractfile(entry)
            assert content is not None
            assert content.read() == files[entry.name.removeprefix(f"{FOLDER}/")]
