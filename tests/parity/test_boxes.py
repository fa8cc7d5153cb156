"""Boxes from every kind of file, and every way in which they do not fit the pictures."""

from __future__ import annotations

import json
import logging
import shutil
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
from runtime.many.inputs import PictureFile

BOX = (10.0, 20.0, 110.5, 140.0)


def files(*paths: Path) -> list[PictureFile]:
    return [PictureFile(name=path.name, path=path) for path in paths]


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


def test_published_tsv_gives_the_crop_of_its_scale_and_centre(
    tmp_path: Path, pictures: list[Path]
) -> None:
    """Scale 0.5 about (60, 70): a crop of 100 px, by the published matrix."""
    heads = "image\tpoints5\tpoints\tscale\tcenter_w\tcenter_h\ttags"
    row = "a.jpg\t1,2,3,9\t4,5,6,8\t0.5\t60\t70\tblur"
    path = write(tmp_path, "b.tsv", f"{heads}\n{row}\n")
    box = read_boxes(path, files(pictures[0]))[pictures[0]]
    matrix = geometry.image_from_crop_of_box(np.array(box), 256)

    assert matrix[0, 0] * 256 == pytest.approx(100)
    np.testing.assert_allclose(geometry.apply(matrix, np.array([127.5, 127.5])), [60, 70])
    np.testing.assert_array_equal(
        read_tsv_points(path, files(pictures[0]))[pictures[0]], [[4, 5], [6, 8]]
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
    ("boxes", "says"),
    [
        ({"a.jpg": BOX}, "one box for .*aa.jpg, got none"),
        ({"a.jpg": BOX, "aa.jpg": BOX, "c.jpg": BOX}, "1 others: c.jpg"),
        ({"a.jpg": BOX, "aa.jpg": [BOX, BOX]}, "one box for .*aa.jpg, got 2"),
        ({"a.jpg": BOX, "aa.jpg": []}, "one box for .*aa.jpg, got none"),
    ],
)
def test_boxes_that_are_not_one_a_picture_are_refused(
    tmp_path: Path, pictures: list[Path], boxes: object, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        read_boxes(write(tmp_path, "b.json", json.dumps(boxes)), files(*pictures))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version: 1\nn_points: 3\n{\n1 1\n5 9\n}\n", "n_points: 3, got 2 points"),
        ("1 2\n3 4\n", "points in braces"),
        ("{\n1 2\n3\n}\n", "two numbers a line, got 1 in the line '3'"),
        ("{\n1 2\n3 4 5\n}\n", "two numbers a line, got 3 in the line '3 4 5'"),
        ("  N_Points : 3 \n{\n1 1\n5 9\n}\n", "n_points: 3, got 2 points"),
        (f"{{\n1 2\n3 1{'0' * 400}\n}}\n", "two finite numbers"),
        ("{\n1 nan\n3 4\n}\n", "two finite numbers .* got the line '1 nan'"),
        ("1 2\n", "got no braces"),
        ("", "got an empty file"),
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


def test_a_name_too_long_in_another_form_has_no_points(tmp_path: Path) -> None:
    """Taken apart, its letters are more bytes than a name may have."""
    picture = tmp_path / f"{'é' * 125}.jpg"
    shutil.copy(ROOT / "assets/sample.jpg", picture)
    (sample,) = find_samples([str(picture)])
    assert sample.annotation_px is None


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
