"""The page's cuts and drawings: the right place of the right picture, and legible numbers."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from builders import noise
from numpy.typing import NDArray
from recordings import comparison_of, moved, recording_of, with_header, with_pictures

from parity.html.face import LABEL_WH, POINT_CLEAR, SIDE, label_places, mean_shape, most_typical
from parity.html.page import as_html
from parity.html.pictures import (
    OUTSIDE_BGR,
    View,
    cut,
    draw_zoom,
    face_window,
    have_pictures,
    views,
    zoom_window,
)
from parity.recording.recording import Recording, load_recording, save_recording, sha256_pixels
from parity.samples import Sample
from runtime.image import geometry

Pixels = NDArray[Any]


def spot(height: int, width: int, xy: Pixels, sigma: float) -> NDArray[np.uint8]:
    """A bright Gaussian spot on black, in a picture's own pixels."""
    rows, columns = np.mgrid[:height, :width]
    bright = 255 * np.exp(-((columns - xy[0]) ** 2 + (rows - xy[1]) ** 2) / (2 * sigma**2))
    picture: NDArray[np.uint8] = np.repeat(bright[..., None], 3, axis=2).round().astype(np.uint8)
    return picture


def centre_of(picture: Pixels) -> NDArray[np.float64]:
    """Where the light is, in px."""
    weights = picture[..., 0].astype(np.float64)
    rows, columns = np.mgrid[: len(weights), : weights.shape[1]]
    found: NDArray[np.float64] = (
        np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()
    )
    return found


@pytest.mark.parametrize("enlarging", [cv2.INTER_NEAREST, cv2.INTER_CUBIC])
@pytest.mark.parametrize(
    ("shown_px", "sigma"), [(20.0, 1.5), (64.0, 3.0), (300.0, 12.0), (1000.0, 40.0)]
)
def test_a_cut_shows_what_its_matrix_says(shown_px: float, sigma: float, enlarging: int) -> None:
    """Enlarged, as it is and shrunk: a spot lies where the matrix maps its centre."""
    at = np.array([711.3, 602.8])
    view = View(pixels=spot(1300, 1500, at, sigma), view_from_image=np.eye(3))
    window = cut(view, at + shown_px * 0.06, shown_px, 256, enlarging)
    wanted = geometry.apply(window.window_from_image, at)

    assert window.pixels.shape == (256, 256, 3)
    assert not (window.pixels == OUTSIDE_BGR).all(axis=2)[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    # squares of a whole number of px begin at a whole px
    allowed = 0.55 if enlarging == cv2.INTER_NEAREST else 0.25
    off = np.abs(centre_of(window.pixels) - wanted)
    assert off.max() < allowed, off


def test_a_crop_that_was_squeezed_is_shown_in_the_pictures_proportions() -> None:
    """A circle in the picture is one in the cut, although the crop has made it an ellipse."""
    image_from_crop = np.array([[4.0, 0, 1.5], [0, 3.0, 1.0], [0, 0, 1]])
    at = np.array([500.0, 400.0])
    in_crop = geometry.apply(np.linalg.inv(image_from_crop), at)
    rows, columns = np.mgrid[:256, :256]
    squeezed = ((columns - in_crop[0]) * 4) ** 2 + ((rows - in_crop[1]) * 3) ** 2
    bright = (255 * np.exp(-squeezed / (2 * 40.0**2))).round().astype(np.uint8)
    crop = np.repeat(bright[..., None], 3, axis=2)
    view = View(pixels=crop, view_from_image=np.linalg.inv(image_from_crop))
    window = cut(view, at, 320.0, 256, cv2.INTER_CUBIC)
    weights = window.pixels[..., 0].astype(np.float64)
    down, across = np.mgrid[:256, :256]
    x, y = centre_of(window.pixels)

    assert abs(x - 127.5) < 1.5
    assert abs(y - 127.5) < 1.5
    spread = [float(((axis - c) ** 2 * weights).sum()) for axis, c in ((across, x), (down, y))]
    assert spread[0] / spread[1] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("place", [(-500.0, -500.0), (1e6, 3.0), (0.0, 0.0), (2000.0, 700.0)])
@pytest.mark.parametrize("shown_px", [0.5, 16.0, 1e6])
def test_points_outside_the_picture_have_a_cut(place: tuple[float, float], shown_px: float) -> None:
    """Wild points are when a report is needed most."""
    view = View(pixels=np.zeros((480, 640, 3), np.uint8), view_from_image=np.eye(3))
    both_px = np.array([place, (place[0] + shown_px, place[1])])
    covariances = np.tile([1.0, 0.0, 1.0], (2, 1))
    assert face_window(view, both_px, 64).pixels.shape == (64, 64, 3)
    zoom = zoom_window(view, both_px, covariances, 64)
    assert draw_zoom(zoom, both_px, covariances).shape == (64, 64, 3)


def test_the_zoom_holds_both_points_and_their_ellipses() -> None:
    """However far apart, and however wide."""
    view = View(pixels=np.zeros((900, 900, 3), np.uint8), view_from_image=np.eye(3))
    for error_px, sigma_px in ((0.01, 0.1), (30.0, 1.0), (1.0, 60.0)):
        both = np.array([[400.0, 400.0], [400.0 + error_px, 400.0]])
        covariances = np.tile([sigma_px**2, 0.0, sigma_px**2], (2, 1))
        window = zoom_window(view, both, covariances, 264)
        corners = geometry.apply(
            window.window_from_image,
            np.concatenate([both - sigma_px, both + sigma_px]),
        )
        assert corners.min() > 0
        assert corners.max() < 264


def with_crops(rng: np.random.Generator, path: Path, pictures: int = 3) -> Recording:
    """A recording whose file carries its crops."""
    crops = [noise(rng, 256, 256) for _ in range(pictures)]
    here = with_pictures(
        recording_of(rng, pictures=pictures), sha256_crop=[sha256_pixels(crop) for crop in crops]
    )
    with tempfile.TemporaryFile() as file:
        for crop in crops:
            file.write(crop.tobytes())
        save_recording(path, with_header(here, with_crops=True), file)
    return load_recording(path)


def test_recordings_show_the_crops_they_carry(rng: np.random.Generator, tmp_path: Path) -> None:
    """No picture file is needed; without crops the page has the reason why nothing is shown."""
    here = with_crops(rng, tmp_path / "a.npz")
    bare = replace(with_header(moved(here, 0.1), with_crops=False), path=None)
    found = dict(views({0, 2}, (bare, here), ()))

    assert set(found) == {0, 2}
    assert np.array_equal(found[2].pixels, list(here.crops())[2])
    page = as_html(comparison_of(bare, here), language="en", command="x")
    assert page.count("data:image/jpeg") == 2 * 3 + 2
    assert not have_pictures((bare, bare), ())
    page = as_html(comparison_of(bare, moved(bare, 0.1)), language="en", command="x")
    assert "data:image/jpeg" not in page
    assert "Neither recording carries its crops" in page
    assert "Drawn on the mean shape" in page


def test_a_picture_that_changed_since_is_not_shown(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    """Points on another face would mislead."""
    samples = [Sample(name=f"{n}.jpg", path=tmp_path / f"{n}.png") for n in range(3)]
    pictures = [noise(rng, 60, 80) for _ in samples]
    for sample, picture in zip(samples, pictures, strict=True):
        cv2.imwrite(str(sample.path), picture)
    hashes = [sha256_pixels(picture) for picture in pictures]
    here = with_pictures(recording_of(rng, pictures=3), sha256_picture=hashes)
    cv2.imwrite(str(samples[0].path), noise(rng, 60, 80))
    samples[1].path.unlink()

    assert [index for index, _ in views({0, 1, 2}, (here, here), samples)] == [2]


def test_numbers_cover_neither_points_nor_each_other(starter_bundle: Path) -> None:
    """On the sample face, where lips and eyes are crowded."""
    from parity.samples import default_samples
    from runtime.detector import Detector
    from runtime.image.picture import read_picture

    with Detector(starter_bundle) as detector:
        points = detector.detect(read_picture(default_samples()[1].path)).points_px
    places = mean_shape(points.astype(np.float64)[None])
    labels = label_places(places)
    half = np.array(LABEL_WH) / 2

    assert (labels >= half[0]).all()
    assert (labels <= SIDE - half[0]).all()
    for index, label in enumerate(labels):
        others = np.delete(labels, index, axis=0)
        assert not (np.abs(others - label) < LABEL_WH).all(axis=1).any(), index
        assert not (np.abs(places - label) < half + POINT_CLEAR).all(axis=1).any(), index
        assert np.hypot(*(label - places[index])) < 60


def test_the_most_typical_face_is_none_of_the_odd_ones(rng: np.random.Generator) -> None:
    """Whatever its place and size; of two faces the first."""
    shape = rng.normal(0, 50, (68, 2))
    faces = [shape * scale + place for scale, place in ((1, 0), (9, 400), (0.5, -30), (2, 7))]
    faces[1] = faces[1] + rng.normal(0, 100, (68, 2))
    faces[2] = faces[2] + rng.normal(0, 10, (68, 2))
    stack = np.stack(faces)

    assert most_typical(stack) in {0, 3}
    assert most_typical(stack[1:3]) == 0
