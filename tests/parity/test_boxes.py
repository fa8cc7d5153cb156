"""Boxes from every kind of file, and every way in which they do not fit the pictures."""

from __future__ import annotations

import json
import logging
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from builders import ROOT
from builders import read_pts as oracle_pts
from PIL import Image

from parity.boxes import read_boxes, read_tsv_points
from parity.boxes import read_pts as product_pts
from parity.samples import find_samples, sample_facts
from runtime.errors import ConfigError, InputError
from runtime.image import geometry

BOX = (10.0, 20.0, 110.5, 140.0)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "photos/a.jpg", tmp_path / "photos/aa.jpg"]
    paths[0].parent.mkdir()
    for path in paths:
        shutil.copy(ROOT / "assets/sample.jpg", path)
    return paths


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_json_and_csv_name_pictures_by_the_end_of_their_path(
    tmp_path: Path, pictures: list[Path]
) -> None:
    """File name alone, or with folders before it, however they are written; a BOM is none of it."""
    one = json.dumps({"a.jpg": BOX, "photos\\aa.jpg": [0, 0, 9, 9]})
    other = "image,x1,y1,x2,y2\na.jpg,10,20,110.5,140\n./photos/aa.jpg,0,0,9,9\n"
    for name, text in (("b.JSON", one), ("b.csv", other)):
        path = write(tmp_path, name, "\ufeff" + text)
        assert read_boxes(path, pictures) == {pictures[0]: BOX, pictures[1]: (0, 0, 9, 9)}


def test_published_tsv_gives_the_crop_of_its_scale_and_centre(
    tmp_path: Path, pictures: list[Path]
) -> None:
    """Scale 0.5 about (60, 70): a crop of 100 px, by the published matrix."""
    heads = "image\tpoints5\tpoints\tscale\tcenter_w\tcenter_h\ttags"
    row = "a.jpg\t1,2,3,9\t4,5,6,8\t0.5\t60\t70\tblur"
    path = write(tmp_path, "b.tsv", f"{heads}\n{row}\n")
    box = read_boxes(path, pictures[:1])[pictures[0]]
    matrix = geometry.image_from_crop_of_box(np.array(box), 256)

    assert matrix[0, 0] * 256 == pytest.approx(100)
    np.testing.assert_allclose(geometry.apply(matrix, np.array([127.5, 127.5])), [60, 70])
    np.testing.assert_array_equal(
        read_tsv_points(path, pictures[:1])[pictures[0]], [[4, 5], [6, 8]]
    )


def test_points_beside_a_picture_are_its_box(shared: Path) -> None:
    """One-based, minimum and maximum; unless the whole picture is asked for."""
    path = next(iter(sorted((shared / "faces").glob("*.jpg"))))
    points = oracle_pts(path.with_suffix(".pts"))
    np.testing.assert_array_equal(product_pts(path.with_suffix(".pts")), points)
    expected = (*points.min(axis=0), *points.max(axis=0))

    shown = {mode: find_samples([str(path)], mode) for mode in (None, "pts", "whole", "crop")}
    for boxes in (None, "pts"):
        (sample,) = shown[boxes]
        assert (sample.mode, sample.box_xyxy, sample.boxed_by_annotation) == ("box", expected, True)
    for boxes in ("whole", "crop"):
        (sample,) = shown[boxes]
        assert (sample.mode, sample.box_xyxy, sample.boxed_by_annotation) == (boxes, None, False)
    assert sample_facts(shown[None]) == sample_facts(shown["pts"])
    assert len({str(sample_facts(samples)) for samples in shown.values()}) == 3


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("b.json", '{"a.jpg": [1, 2, 30, 40]}', "one box for .*aa.jpg, got none"),
        (
            "b.json",
            '{"a.jpg": [1, 2, 30, 40], "aa.jpg": [1, 2, 30, 40], "c.jpg": [1, 2, 3, 4]}',
            "1 others: c.jpg",
        ),
        ("b.json", '{"a.jpg": [1, 2, 30], "aa.jpg": [1, 2, 30, 40]}', "a box for a.jpg"),
        ("b.json", '{"a.jpg": [1, 2, NaN, 40], "aa.jpg": [1, 2, 30, 40]}', "a box for a.jpg"),
        ("b.json", '{"a.jpg": [30, 2, 1, 40], "aa.jpg": [1, 2, 30, 40]}', "a box for a.jpg"),
        ("b.json", "[1, 2]", "a list instead of an object"),
        ("b.json", "{", "boxes as JSON"),
        ("b.json", "[" * 100_000, "boxes as JSON"),
        ("b.csv", "picture,x,y\na.jpg,1,2\n", "columns image, x1, y1, .* 'picture', 'x', 'y'"),
        ("b.csv", "image;x1;y1;x2;y2\na.jpg;1;2;9;9\n", "commas, got 'image;x1;y1;x2;y2'"),
        ("b.csv", "Image,X1,Y1,X2,Y2\na.jpg,1,2,9,9\n", "got 'Image', 'X1', 'Y1'"),
        ("b.csv", "image, x1, y1, x2, y2\na.jpg, 1, 2, 9, 9\n", "got 'image', ' x1'"),
        ("b.csv", "image,x,y,w,h\na.jpg,1,2,9,9\n", "got 'image', 'x', 'y', 'w', 'h'"),
        ("b.csv", "", "columns image, .* got an empty file"),
        ("b.csv", "image,x1,y1,x2,y2\na.jpg,1,2,9\n", "line 2 has fewer cells"),
        ("b.csv", f"image,x1,y1,x2,y2\na.jpg,1,2,9,1{'0' * 400}\n", "a box for a.jpg"),
        ("b.json", f'{{"a.jpg": [1, 2, 9, 1{"0" * 400}]}}', "a box for a.jpg"),
        ("b.csv", "image,x1,y1,x2,y2\na.jpg,1,2,x,4\naa.jpg,1,2,3,4\n", "boxes as CSV"),
        ("b.csv", "image,x1,y1,x2,y2\na.jpg,1,2,9,9,9\n", "more cells than the header"),
        ("b.csv", "image,x1,y1,x2,y2\na.jpg,1,2,9,9\na.jpg,1,2,9,9\n", "'a.jpg' twice"),
        ("b.json", '{"a.jpg": [1, 2, 9, 9], "a.jpg": [1, 2, 9, 9]}', "'a.jpg' twice"),
        ("b.json", '{"a.jpg": "1234", "aa.jpg": [1, 2, 9, 9]}', "a box for a.jpg"),
        ("b.json", '{"a.jpg": [true, false, 9, 9], "aa.jpg": [1, 2, 9, 9]}', "a box for a.jpg"),
        ("b.json", '{"a.jpg": {"1": 1, "2": 2}, "aa.jpg": [1, 2, 9, 9]}', "a box for a.jpg"),
        ("b.tsv", "head\na.jpg\t1\t2\n", "3 columns instead of a picture, .* in 'a.jpg"),
        ("b.txt", "", "a .json, .csv or .tsv file"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    tmp_path: Path, pictures: list[Path], name: str, text: str, says: str
) -> None:
    """Boxes missing, for other pictures, that are none, or not readable."""
    with pytest.raises(InputError, match=says) as caught:
        read_boxes(write(tmp_path, name, text), pictures)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version: 1\nn_points: 3\n{\n1 1\n5 9\n}\n", "n_points: 3, got 2 points"),
        ("1 2\n3 4\n", "points in braces"),
        ("{\n1 2\n3\n}\n", "two numbers a line, got 1 in the line '3'"),
        ("{\n1 2\n3 4 5\n}\n", "two numbers a line, got 3 in the line '3 4 5'"),
        ("  N_Points : 3 \n{\n1 1\n5 9\n}\n", "n_points: 3, got 2 points"),
        (f"{{\n1 2\n3 1{'0' * 400}\n}}\n", "two finite numbers"),
        ("{\n1 nan\n3 4\n}\n", "two finite numbers"),
        ("{\n1 -3e6\n3 4\n}\n", "two finite numbers"),
        ("{\n1 2\n1 9\n}\n", "a box for its points"),
        ("{\n}\n", "two finite numbers|points in braces"),
    ],
)
def test_damaged_points_are_refused(pictures: list[Path], text: str, says: str) -> None:
    """Another count than the file says, no braces, half a line, NaN, a line instead of a face."""
    write(pictures[0].parent, "a.pts", text)
    with pytest.raises(InputError, match=says):
        find_samples([str(pictures[0])])


def test_points_that_nobody_marked_have_no_part_in_a_box(pictures: list[Path]) -> None:
    """(0, 0) and negative pairs are no places; one negative number is left of the picture.

    A line of blanks or a form feed between the points is no point.
    """
    points = pictures[0].with_suffix(".pts")
    points.write_text("n_points: 5\n{ \n11 21\n0 0\n \n-1 -1\f-3.5 40\n\f\n31 61\n  }\n")
    (sample,) = find_samples([str(pictures[0])])

    expected = [[10, 20], [np.nan] * 2, [np.nan] * 2, [-4.5, 39], [30, 60]]
    assert sample.annotation_px is not None
    np.testing.assert_array_equal(sample.annotation_px, expected)
    assert (sample.box_xyxy, sample.boxed_by_annotation) == ((-4.5, 20, 30, 60), True)


@pytest.mark.parametrize("name", ["é.PTS", "e\u0301.pts", "e\u0301.PTS", "é.Pts"])
def test_points_beside_a_picture_are_found_however_their_name_is_written(
    tmp_path: Path, name: str
) -> None:
    """In capitals, and in the Unicode form of another system."""
    picture = tmp_path / "é.jpg"
    shutil.copy(ROOT / "assets/sample.jpg", picture)
    write(tmp_path, name, "{\n11 21\n31 61\n}\n")
    (sample,) = find_samples([str(picture)])
    assert sample.box_xyxy == (10, 20, 30, 60)


def test_names_match_in_either_unicode_form_and_exactly_first(tmp_path: Path) -> None:
    """One system decomposes names; two pictures may differ in that alone. A link has two names."""
    composed, decomposed = tmp_path / "é.jpg", tmp_path / "e\u0301.jpg"
    file = write(tmp_path, "b.json", json.dumps({"e\u0301.jpg": BOX}))
    assert read_boxes(file, [composed]) == {composed: BOX}
    file = write(tmp_path, "b.json", json.dumps({"é.jpg": (0, 0, 9, 9), "e\u0301.jpg": BOX}))
    assert read_boxes(file, [composed, decomposed]) == {composed: (0, 0, 9, 9), decomposed: BOX}
    decomposed.touch()
    composed.symlink_to(decomposed)
    for name in ("é.jpg", "e\u0301.jpg"):
        file = write(tmp_path, "b.json", json.dumps({name: BOX}))
        assert read_boxes(file, [composed]) == {composed: BOX}


def test_four_times_the_boxes_take_four_times_as_long(tmp_path: Path) -> None:
    """And not sixteen times."""
    took_s = []
    for count in (1000, 4000):
        names = [f"{index}.jpg" for index in range(count)]
        file = write(tmp_path, "b.json", json.dumps(dict.fromkeys(names, BOX)))
        start = time.process_time()
        assert len(read_boxes(file, [tmp_path / name for name in names])) == count
        took_s.append(time.process_time() - start)
    assert took_s[1] < 8 * took_s[0]


def test_annotated_pictures_that_exif_turns_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Their points may be those of the picture as it is stored."""
    exif = Image.Exif()
    exif[0x112] = 6
    with Image.open(ROOT / "assets/sample.jpg") as photo:
        photo.save(tmp_path / "turned.jpg", exif=exif)
        photo.save(tmp_path / "upright.jpg")
        photo.save(tmp_path / "unmarked.jpg", exif=exif)
    for name in ("turned.pts", "upright.pts"):
        write(tmp_path, name, "{\n11 21\n31 61\n}\n")
    with caplog.at_level(logging.WARNING, "starmark"):
        find_samples([str(tmp_path)])
    (record,) = caplog.records
    assert record.getMessage().startswith("EXIF turns 1 annotated pictures, the first turned.jpg:")


def test_missing_points_and_unknown_words_are_refused(pictures: list[Path]) -> None:
    """`pts` means every picture has them."""
    with pytest.raises(InputError, match=r"a.pts: expected a .pts file"):
        find_samples([str(pictures[0])], "pts")
    with pytest.raises(ConfigError, match="pts, whole, crop or a .json"):
        find_samples([str(pictures[0])], "ptz")


def test_same_name_in_two_folders_is_told_apart(tmp_path: Path, pictures: list[Path]) -> None:
    """Names stay unique, globs are expanded, hidden files and folders are passed over."""
    (tmp_path / "more").mkdir()
    shutil.copy(pictures[0], tmp_path / "more/a.jpg")
    (tmp_path / "more/._a.jpg").touch()
    (tmp_path / "more/folder.jpg").mkdir()
    samples = find_samples([str(tmp_path / "more"), str(tmp_path / "photos/*.jpg")])

    assert len({sample.name for sample in samples}) == len(samples) == 3


def test_a_link_that_leads_in_a_circle_is_no_picture(tmp_path: Path) -> None:
    loop = tmp_path / "loop.jpg"
    loop.symlink_to("loop.jpg")
    with pytest.raises(InputError, match="got a link that leads nowhere"):
        find_samples([str(loop)])
