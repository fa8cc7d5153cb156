"""Crops against a bilinear oracle, the written rule for formats, and unusable pictures."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import oracles
import pytest
from builders import noise
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.image.crop import crop_as, crop_face, crop_straight, crop_whole

SIZE = 64
# OpenCV 5 samples in float32, OpenCV 4 in fixed point with 5 bits.
GREY_LEVELS = 1 if int(cv2.__version__.split(".")[0]) >= 5 else 4


@pytest.mark.parametrize(
    "box",
    [
        (20, 10, 90, 80),
        (-30, -20, 60, 90),
        (100.3, 50.7, 160.9, 119.2),
        (30, 30, 33, 33),
        (-200, -200, 400, 400),
        (158, 118, 300, 300),
    ],
)
def test_crop_agrees_with_the_bilinear_oracle(
    rng: np.random.Generator, box: tuple[float, ...]
) -> None:
    """Also where the box leaves the picture: black outside, blended at the border."""
    picture = cv2.GaussianBlur(noise(rng, 120, 160), (0, 0), 2).astype(np.uint8)
    crop = crop_face(picture, box, SIZE)
    expected = oracles.bilinear(picture, crop.image_from_crop, SIZE)

    assert np.abs(crop.pixels - expected).max() <= GREY_LEVELS


def test_whole_picture_agrees_with_the_resize_oracle(rng: np.random.Generator) -> None:
    """Each axis on its own, half-pixel centres."""
    picture = noise(rng, 90, 200)
    crop = crop_whole(picture, SIZE)

    assert np.abs(crop.pixels - oracles.resized(picture, SIZE)).max() <= GREY_LEVELS
    np.testing.assert_allclose(np.diag(crop.image_from_crop), [200 / SIZE, 90 / SIZE, 1])


def test_crop_goes_straight_through(rng: np.random.Generator) -> None:
    """A picture of the network's size is not touched."""
    picture = noise(rng, SIZE, SIZE)
    crop = crop_straight(picture, SIZE)

    np.testing.assert_array_equal(crop.pixels, picture)
    np.testing.assert_array_equal(crop.image_from_crop, np.eye(3))


def test_a_crop_is_made_as_it_is_asked_for(rng: np.random.Generator) -> None:
    """By its box, as a whole, or as it is."""
    picture, box = noise(rng, SIZE, SIZE), (5, 5, 50, 50)
    for asked, expected in (
        (crop_as(picture, box, SIZE), crop_face(picture, box, SIZE)),
        (crop_as(picture, None, 32), crop_whole(picture, 32)),
        (crop_as(picture, box, SIZE, cropped=True), crop_straight(picture, SIZE)),
    ):
        np.testing.assert_array_equal(asked.pixels, expected.pixels)
        np.testing.assert_array_equal(asked.image_from_crop, expected.image_from_crop)


def test_far_away_face_is_cropped_like_a_near_one(rng: np.random.Generator) -> None:
    """Only the part under the crop is read: far from the origin, the same bytes."""
    near = noise(rng, 200, 200)
    far = np.zeros((3_200, 3_200, 3), np.uint8)
    far[3_000:, 3_000:] = near
    here = crop_face(near, (60, 60, 140, 140), SIZE)
    there = crop_face(far, (3_060, 3_060, 3_140, 3_140), SIZE)

    np.testing.assert_array_equal(there.pixels, here.pixels)


@pytest.mark.parametrize("side", [3, 40, 400, 900])
def test_widened_cuts_give_the_same_bytes(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    """Four channels instead of three are for speed alone, and for small cuts alone."""
    picture = noise(rng, side, side)
    box = (0.3, -0.2, 0.9 * side, 0.9 * side)
    monkeypatch.setattr("runtime.image.crop.LARGEST_WIDENED_PX", 0)
    plain = crop_face(picture, box, SIZE)
    monkeypatch.setattr("runtime.image.crop.LARGEST_WIDENED_PX", 10_000**2)
    widened = crop_face(picture, box, SIZE)

    np.testing.assert_array_equal(widened.pixels, plain.pixels)
    assert widened.pixels.shape == (SIZE, SIZE, 3)


def test_very_large_picture_works_with_a_box() -> None:
    """20,000 x 20,000 px, and a side beyond what OpenCV's warp can address."""
    grey = np.zeros((20_000, 20_000), np.uint8)
    grey[10_000:10_100, 10_000:10_100] = 200
    long = np.zeros((40, 40_000, 3), np.uint8)
    long[:, 39_000:] = 120

    assert crop_face(grey, (10_000, 10_000, 10_100, 10_100), SIZE).pixels[32, 32, 1] == 200
    assert crop_face(long, (39_100, 0, 39_140, 40), SIZE).pixels[32, 32, 0] == 120


def test_face_wider_than_the_warp_can_address_is_refused() -> None:
    """A cut beyond 32,766 px is one line, not an assertion of OpenCV's."""
    widest = np.zeros((30, 32_767, 3), np.uint8)
    crop_face(widest[:, :32_766], (0, 0, 32_766, 30), SIZE)
    with pytest.raises(InputError, match="at most 32766 px"):
        crop_face(widest, (0, 0, 32_767, 30), SIZE)


def test_side_of_one_pixel_needs_a_box() -> None:
    """Legal under a box, refused as a whole picture."""
    line = np.full((1, 300, 3), 90, np.uint8)

    assert (crop_whole(np.vstack([line, line]), SIZE).pixels == 90).all()
    assert crop_face(line, (100, -20, 140, 20), SIZE).pixels.max() > 0
    with pytest.raises(InputError, match="Pass a face box"):
        crop_whole(line, SIZE)


def convert(picture: NDArray[np.uint8], kind: str) -> NDArray[Any]:
    if kind == "grey":
        return picture[..., 0]
    if kind == "grey with an axis":
        return picture[..., :1]
    if kind == "alpha":
        return np.dstack([picture, np.full(picture.shape[:2], 7, np.uint8)])
    if kind == "16-bit":
        # halfway to the next level and back: rounded, not cut off
        away = np.resize([-128, 128, 0, 5], picture.shape)
        deep: NDArray[Any] = np.clip(picture.astype(int) * 257 + away, 0, 65535).astype(np.uint16)
        return deep
    if kind == "columns skipped":
        return np.repeat(picture, 2, axis=1)[:, ::2]
    axis = ["rows turned", "columns turned", "channels turned"].index(kind)
    turned: NDArray[Any] = np.ascontiguousarray(np.flip(picture, axis))
    return np.flip(turned, axis)  # a negative stride


@pytest.mark.parametrize(
    "kind",
    [
        *("grey", "grey with an axis", "alpha", "16-bit"),
        *("rows turned", "columns turned", "channels turned", "columns skipped"),
    ],
)
@pytest.mark.parametrize("mode", ["face", "whole", "straight"])
def test_formats_are_converted_by_the_written_rule(
    rng: np.random.Generator, kind: str, mode: str
) -> None:
    """Grey is repeated, alpha dropped, 16-bit divided by 257; strides do not matter."""
    plain = noise(rng, SIZE, SIZE)
    if kind.startswith("grey"):
        plain[...] = plain[..., :1]
    picture = convert(plain, kind)

    def cut(image: NDArray[Any]) -> NDArray[np.uint8]:
        if mode == "face":
            return crop_face(image, (5, 5, 50, 50), SIZE).pixels
        return (crop_whole if mode == "whole" else crop_straight)(image, SIZE).pixels

    # 16-bit is warped before it is rounded to 8: half a level apart, or one after rounding
    tolerance = 1 if kind == "16-bit" and mode != "straight" else 0
    difference = cut(picture).astype(int) - cut(plain).astype(int)
    assert np.abs(difference).max() <= tolerance


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 10, 3), np.float32),
        np.full((10, 10, 3), np.nan),
        np.zeros((10, 10, 3), np.int16),
        np.zeros((10, 10, 3), bool),
        np.zeros((2, 10, 10, 3), np.uint8),
        np.zeros((10,), np.uint8),
        np.zeros((10, 10, 2), np.uint8),
        np.zeros((0, 10, 3), np.uint8),
        np.zeros((3, 256, 256), np.uint8),
        "face.jpg",
        None,
    ],
    ids=lambda image: str(getattr(image, "dtype", image)) + str(getattr(image, "shape", "")),
)
def test_what_is_no_picture_is_refused(image: Any) -> None:
    """Float, wrong rank, wrong channels, empty, or not an array."""
    with pytest.raises(InputError, match="expected a decoded picture: uint8") as caught:
        crop_face(image, (1, 1, 9, 9), SIZE)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="expected a decoded picture: uint8"):
        crop_whole(image, SIZE)


@pytest.mark.parametrize("shape", [(255, 256, 3), (256, 257, 3), (1, 1, 3), (512, 512)])
def test_crop_of_another_size_is_refused(shape: tuple[int, ...]) -> None:
    """The size found and the way out are named."""
    with pytest.raises(InputError, match="crop: expected exactly 256x256 px, got"):
        crop_straight(np.zeros(shape, np.uint8), 256)
