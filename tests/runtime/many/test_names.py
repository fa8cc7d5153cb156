"""Names of the files beside a picture's rows: one of its own for each, and the same every time."""

from __future__ import annotations

import os
import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.many.names import FileNames

CAFE = "café.jpg"


def folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).lower()


@pytest.mark.parametrize(
    ("pictures", "drawn", "pts"),
    [
        (["a.jpg", "in/b.png"], ["a.jpg", "in/b.png"], ["a", "in/b"]),
        (["img_1.jpg", "img_2.jpg"], ["img_1.jpg", "img_2.jpg"], ["img_1", "img_2"]),
        # two faces of the first would be family_0 and family_1
        (["family.png", "family_0.png"], ["family.png", "family_0.png"], None),
        (["a.jpg", "a.png", "b.png"], ["a.jpg", "a.png", "b.png"], ["a.jpg", "a.png", "b"]),
        (["/x/a.jpg", "../x/b.jpg"], ["x/a.jpg", "x/b.jpg"], ["x/a", "x/b"]),
    ],
)
def test_names_are_those_of_the_pictures(
    pictures: list[str], drawn: list[str], pts: list[str] | None
) -> None:
    """The whole name where the stem alone would be another picture's, too."""
    names = FileNames(pictures)
    assert [names.drawn(one) for one in pictures] == [f"drawn/{one}" for one in drawn]
    assert [names.pts(one) for one in pictures] == [f"pts/{one}.pts" for one in pts or pictures]
    assert names.pts(pictures[0], 1) == f"pts/{(pts or pictures)[0]}_1.pts"


@pytest.mark.parametrize(
    "pictures",
    [
        ["A.jpg", "a.jpg"],
        ["x/a.jpg", "X/a.jpg"],
        [CAFE, unicodedata.normalize("NFD", CAFE)],
        ["a.jpg", "a.pts/b.jpg", "a.png"],  # a file and a folder
        ["wide.webp", "wide.webp.png"],  # what WebP cannot hold is drawn as PNG
        ["a/../b.jpg", "a/b.jpg"],
        ["a.png", "a_0.png", "a_0_1.png", "A_0.JPG", "a.png_0.jpg"],
        [f"{'x' * 251}.jpg", f"{'x' * 250}y.jpg", "x.jpg"],
        ["\\xe5" * 62 + "a.jpg", "\\xe5" * 62 + "b.jpg", "\\xe5" * 64 + "/c.jpg"],
        ["人" * 83 + ".jpg", "人" * 83 + ".png", "人" * 82 + ".png"],
    ],
)
def test_no_file_is_two_pictures(pictures: list[str]) -> None:
    """Whatever the file system takes for the same, and in any order of the pictures."""
    check(pictures)


PARTS = st.lists(st.sampled_from(["a", "A", "_0", "_1", ".png", ".pts", "é", "é"]), min_size=1)
PATHS = st.lists(PARTS.map("".join), min_size=1, max_size=2).map("/".join)


@given(pictures=st.lists(PATHS, min_size=1, max_size=8, unique=True))
def test_nor_of_any_other_names(pictures: list[str]) -> None:
    check(pictures)


def check(pictures: list[str]) -> None:
    names = FileNames(pictures)
    files = [
        *(f"{names.drawn(one)}{end}" for one in pictures for end in ("", ".png")),
        *(names.pts(one, face) for one in pictures for face in (None, 0, 1, 2)),
    ]
    folders = {folded(str(up)) for file in files for up in PurePosixPath(file).parents}
    assert len({folded(file) for file in files}) == len(files)
    assert not {folded(file) for file in files} & folders
    assert all(len(os.fsencode(part)) <= 255 for file in files for part in file.split("/"))

    again = FileNames(sorted(pictures, reverse=True))
    assert [again.pts(one, 0) for one in pictures] == [names.pts(one, 0) for one in pictures]
    assert [again.drawn(one) for one in pictures] == [names.drawn(one) for one in pictures]
