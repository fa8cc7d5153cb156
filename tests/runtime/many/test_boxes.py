"""Boxes from every kind of file, and whose they are."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from runtime.errors import InputError
from runtime.many.boxes import match_names, read_boxes
from runtime.many.inputs import boxes_of

BOX = (10.0, 20.0, 110.5, 140.0)
SMALL = (0.0, 0.0, 9.0, 9.0)
COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "in/b.jpg", "width": 9}],
    "annotations": [
        {"image_id": 7, "bbox": [10, 20, 100.5, 120], "category_id": 1},
        {"image_id": 7, "bbox": [0, 0, 9, 9]},
        {"image_id": 7, "bbox": [0, 0, 500, 500], "iscrowd": 1},
    ],
}
ROWS = (
    '{"picture":"a.jpg","status":"ok","faces":2,"face":0,"box_xyxy":[10,20,110.5,140]}\n'
    '{"picture":"a.jpg","status":"ok","faces":2,"face":1,"box_xyxy":[0,0,9,9]}\n'
    '{"picture":"in/b.jpg","status":"no face"}\n{"picture":"c.jpg","status":"error"}\n'
)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("b.csv", "image,x1,y1,x2,y2\na.jpg,10,20,110.5,140\n"),
        ("b.CSV", "\ufeffFile_Name,XMin,YMin,XMax,YMax\r\na.jpg,10,20,110.5,140\r\n\r\n"),
        ("b.csv", "image, x1, y1, x2, y2\na.jpg, 10, 20, 110.5, 140\n"),
        ("b.csv", "image;x1;y1;x2;y2\na.jpg;10;20;110,5;140\n"),
        ("b.csv", "image,x1,y1,x2,y2\n \na.jpg,10,20,110.5,140\n,,,,\n  \n"),
        ("b.csv", "id,picture,x,y,w,h\n1,a.jpg,10,20,100.5,120\n"),
        ("b.csv", "path\tleft\ttop\twidth\theight\na.jpg\t10\t20\t100.5\t120\n"),
        ("b.tsv", "name\tx1\ty1\tx2\ty2\tscale\na.jpg\t10\t20\t110.5\t140\t2\n"),
        ("b.json", '{"a.jpg": [10, 20, 110.5, 140]}'),
        ("b.JSON", '\ufeff{"a.jpg": [[10, 20, 110.5, 140]]}'),
    ],
)
def test_a_box_is_read_however_it_is_written(tmp_path: Path, name: str, text: str) -> None:
    """Separators, case, blanks, rows of nothing, a BOM; corners, or a corner and a size."""
    assert read_boxes(write(tmp_path, name, text)) == {"a.jpg": [BOX]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("coco.json", json.dumps(COCO)),
        ("results.jsonl", ROWS),
        ("b.csv", "image,x1,y1,x2,y2\na.jpg,10,20,110.5,140\nin/b.jpg,,,,\na.jpg,0,0,9,9\n"),
        ("b.json", json.dumps({"a.jpg": [BOX, SMALL], "in/b.jpg": None})),
    ],
)
def test_a_picture_may_have_several_boxes_or_none(tmp_path: Path, name: str, text: str) -> None:
    """A row that failed says nothing about its picture."""
    expected = {"a.jpg": [BOX, SMALL], "in/b.jpg": []}
    assert read_boxes(write(tmp_path, name, text)) == expected


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("b.json", '{"a.jpg": [1, 2, 30]}', "a box for a.jpg"),
        ("b.json", '{"a.jpg": [1, 2, NaN, 40]}', "a box for a.jpg"),
        ("b.json", '{"a.jpg": [30, 2, 1, 40]}', "a box for a.jpg"),
        ("b.json", '{"a.jpg": "1234"}', "a box for a.jpg"),
        ("b.json", '{"a.jpg": [true, false, 9, 9]}', "a box for a.jpg"),
        ("b.json", '{"a.jpg": {"1": 1, "2": 2}}', "a box for a.jpg"),
        ("b.json", f'{{"a.jpg": [1, 2, 9, 1{"0" * 400}]}}', "a box for a.jpg"),
        ("b.json", "[1, 2]", "a list instead of an object"),
        ("b.json", "{", "boxes as JSON"),
        ("b.json", "[" * 100_000, "boxes as JSON"),
        ("b.json", '{"a.jpg": [1, 2, 9, 9], "a.jpg": [1, 2, 9, 9]}', "'a.jpg' twice"),
        ("b.json", '{"images": [{"id": 1}], "annotations": []}', "no COCO, .* KeyError"),
        ("b.json", '{"images": [], "annotations": [{"bbox": [1, 2]}]}', "no COCO, which has"),
        ("b.jsonl", '{"picture": 1}', "boxes as JSONL"),
        ("b.jsonl", '{"picture": "a.jpg", "status": "ok"}', "'a.jpg': that run took whole"),
        ("b.csv", "picture,status,x,y,w,h\na.jpg,ok,,,,\n", "'a.jpg': that run took whole"),
        ("b.csv", "picture,x,y\na.jpg,1,2\n", "columns image, x1, y1, .* 'picture', 'x', 'y'"),
        ("b.csv", "a.jpg,1,2,9,9\n", "in the first line, got 'a.jpg', '1'"),
        ("b.csv", "", "columns image, .* got an empty file"),
        ("b.csv", "image,x1,y1,x2,y2\na.jpg,1,2,9\n", "line 2 has fewer cells"),
        ("b.csv", "image,x1,y1,x2,y2\na.jpg,1,2,9,9,9\n", "more cells than the header"),
        ("b.csv", f"image,x1,y1,x2,y2\na.jpg,1,2,9,1{'0' * 400}\n", "a box for a.jpg"),
        ("b.csv", "image,x1,y1,x2,y2\na.jpg,1,2,x,4\n", "boxes as CSV"),
        ("b.csv", "image,x1,y1,x2,y2\na.jpg,1,2,,4\n", "boxes as CSV"),
        ("b.tsv", "head\na.jpg\t1\t2\n", "3 columns instead of a picture, .* in 'a.jpg"),
        ("b.txt", "", "a .json, .jsonl, .csv or .tsv file"),
    ],
)
def test_files_without_boxes_are_refused(tmp_path: Path, name: str, text: str, says: str) -> None:
    """Boxes that are none, columns that are missing, or nothing that can be read."""
    with pytest.raises(InputError, match=says) as caught:
        read_boxes(write(tmp_path, name, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_another_encoding_are_named(tmp_path: Path) -> None:
    """In words, and not as Python calls its errors."""
    with pytest.raises(InputError, match=r"no\.csv: .* got No such file or directory\. Check"):
        read_boxes(tmp_path / "no.csv")
    path = tmp_path / "b.csv"
    path.write_bytes("image,x1,y1,x2,y2\né.jpg,1,2,9,9\n".encode("utf-16"))
    with pytest.raises(InputError, match="boxes as CSV, got no UTF-8 from byte 0 on"):
        read_boxes(path)


def test_pictures_go_by_the_end_of_their_path(tmp_path: Path) -> None:
    """However slashes lean; first by the name that the results have."""
    names = {"a.jpg": 1, "photos\\aa.jpg": 2, "./in/c.jpg": 3, "gone.jpg": 4}
    pictures = [
        (name, str(tmp_path / "photos" / name))
        for name in ("a.jpg", "in/a.jpg", "aa.jpg", "in/c.jpg")
    ]
    found = match_names(tmp_path, names, pictures)
    assert found.entries == [1, None, 2, 3]
    assert found.others == ["gone.jpg"]


def test_names_match_in_either_unicode_form_and_exactly_first(tmp_path: Path) -> None:
    """One system decomposes names; two pictures may differ in that alone. A link has two names."""
    composed, decomposed = ((name, str(tmp_path / name)) for name in ("é.jpg", "e\u0301.jpg"))
    assert match_names(tmp_path, {"e\u0301.jpg": 1}, [composed]).entries == [1]
    both = {"é.jpg": 1, "e\u0301.jpg": 2}
    assert match_names(tmp_path, both, [composed, decomposed]).entries == [1, 2]
    Path(decomposed[1]).touch()
    (tmp_path / "link.jpg").symlink_to(decomposed[1])
    for name in ("link.jpg", "é.jpg", "e\u0301.jpg"):
        link = ("link.jpg", str(tmp_path / "link.jpg"))
        assert match_names(tmp_path, {name: 1}, [link]).entries == [1]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["b.jpg"], "a name of one picture: b.jpg, got one that fits /x/one/b.jpg and /x/two/b.j"),
        (["one/b.jpg", "x/one/b.jpg"], "one name that fits 1, got 2: one/b.jpg, x/one/b.jpg"),
    ],
)
def test_names_that_may_mean_two_are_refused(tmp_path: Path, names: list[str], says: str) -> None:
    pictures = [("1", "/x/one/b.jpg"), ("2", "/x/two/b.jpg")]
    with pytest.raises(InputError, match=says):
        match_names(tmp_path, dict.fromkeys(names, BOX), pictures)


def test_four_times_the_boxes_take_four_times_the_work(tmp_path: Path) -> None:
    """And not sixteen times: counted in calls, Python's and C's."""
    calls = []
    for count in (100, 400):
        names = [f"{index}.jpg" for index in range(count)]
        file = write(tmp_path, "b.json", json.dumps(dict.fromkeys(names, BOX)))
        pictures = [(name, f"/photos/{name}") for name in names]
        events: list[str] = []
        sys.setprofile(lambda *seen, events=events: events.append(seen[1]))
        try:
            found = boxes_of(file, pictures)
        finally:
            sys.setprofile(None)
        calls.append(len(events))
        assert found == [[BOX]] * count
    assert calls[1] < 5 * calls[0]
