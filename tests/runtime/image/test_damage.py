"""Damage in picture files: what their own evidence shows is refused, and what is whole is read."""

from __future__ import annotations

import io
import logging
import runpy
import struct
import sys
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from builders import ROOT, noise
from numpy.typing import NDArray
from PIL import Image, ImageFile

from runtime.errors import InputError
from runtime.image import decoders
from runtime.image.header import read_header
from runtime.image.picture import decode_picture, is_turned, read_picture

U8 = NDArray[np.uint8]
RANDOM = np.random.default_rng(0)
PHOTO = read_picture(ROOT / "assets/sample.jpg")
# Of four colours in its corners, so that every turn shows.
CORNERS = np.zeros((24, 40, 3), np.uint8)
CORNERS[:12, :20], CORNERS[12:, :20], CORNERS[:12, 20:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def by_pillow(picture: U8, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture[..., ::-1]).save(file, kind, **options)
    return file.getvalue()


def by_opencv(encoded: bytes) -> U8:
    found = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return np.asarray(found, np.uint8)


def turned(kind: str, orientation: int, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x112] = orientation
    if kind == "TIFF":
        return by_pillow(CORNERS, kind, tiffinfo={0x112: orientation})
    return by_pillow(CORNERS, kind, exif=exif, **options)


def refusal(encoded: bytes, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        decode_picture(encoded, "picture", **options)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture
def strict() -> None:
    pytest.importorskip("simplejpeg")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Take a package away."""

    def take(name: str) -> None:
        monkeypatch.setitem(sys.modules, name, None)
        for cached in (decoders.strict_jpeg, decoders._log_unchecked_tiff):
            cached.cache_clear()
            monkeypatch.setattr(decoders, cached.__name__, cached)

    return take


@pytest.fixture(autouse=True)
def forget() -> Any:
    yield
    decoders.strict_jpeg.cache_clear()
    decoders._log_unchecked_tiff.cache_clear()


def test_whole_jpeg_files_have_the_pixels_of_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any size, sampling and quality; progressive, grey, RGB, CMYK and restarted ones."""
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 1 << 20)
    for (width, height), sampling, quality in product(
        ((1, 1), (7, 9), (17, 33), (100, 75)), ("4:4:4", "4:2:2", "4:2:0"), (30, 90)
    ):
        picture = noise(RANDOM, height, width)
        for more in ({}, {"progressive": True}, {"restart_marker_blocks": 1}):
            encoded = by_pillow(picture, "JPEG", quality=quality, subsampling=sampling, **more)
            np.testing.assert_array_equal(decode_picture(encoded, "a"), by_opencv(encoded))
    file = io.BytesIO()
    Image.fromarray(PHOTO).convert("CMYK").save(file, "JPEG")
    for encoded in (
        file.getvalue(),
        by_pillow(PHOTO, "JPEG", keep_rgb=True),
        cv2.imencode(".jpg", PHOTO[..., 0])[1].tobytes(),
    ):
        np.testing.assert_array_equal(decode_picture(encoded, "a"), by_opencv(encoded))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_pictures_are_turned_upright_as_pillow_turns_them(kind: str, tmp_path: Path) -> None:
    """All eight orientations, and that a picture was turned can be asked."""
    quality: dict[str, Any] = {"WEBP": {"lossless": True}, "PNG": {}}.get(kind, {"quality": 100})
    upright = Image.fromarray(CORNERS[..., ::-1])
    steps = Image.Transpose
    undone = (
        *(None, steps.FLIP_LEFT_RIGHT, steps.ROTATE_180, steps.FLIP_TOP_BOTTOM),
        *(steps.TRANSPOSE, steps.ROTATE_270, steps.TRANSVERSE, steps.ROTATE_90),
    )
    for orientation, step in enumerate(undone, 1):
        encoded = turned(kind, orientation, **quality)
        expected = np.asarray(upright if step is None else upright.transpose(step))[..., ::-1]
        found = decode_picture(encoded, kind)
        assert found.shape == expected.shape
        assert np.abs(found.astype(float) - expected).mean() < 6
        path = tmp_path / "picture"
        path.write_bytes(encoded)
        # an AVIF's own property turns it, whatever its EXIF repeats
        assert is_turned(path) == (orientation != 1 and kind != "AVIF")


def test_the_first_exif_counts_and_a_damaged_one_does_not() -> None:
    """As OpenCV has it: wherever it stands before the scan; no orientation beyond 8."""
    encoded = turned("JPEG", 6)
    at = encoded.index(b"\xff\xe1")
    end = at + 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    exif, rest = encoded[at:end], encoded[:at] + encoded[end:]
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x/>"
    xmp = b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp
    scan = rest.index(b"\xff\xda")
    wrong = exif.replace(b"\x01\x12\0\x03\0\0\0\x01\0\x06", b"\x01\x12\0\x03\0\0\0\x01\0\x09")
    assert wrong != exif
    for segments, where in (
        *((xmp + exif, at), (exif + xmp, at), (exif + exif.replace(b"\0\x06", b"\0\x03"), at)),
        *((exif, scan), (wrong, at), (exif[:2] + b"\0\x0c" + exif[4:14], at)),
    ):
        both = rest[:where] + segments + rest[where:]
        np.testing.assert_array_equal(decode_picture(both, "a"), by_opencv(both))


@pytest.mark.usefixtures("strict")
def test_what_the_jpeg_decoder_warns_of_is_refused() -> None:
    """A hole, another picture in the middle, zeros before the end, a height that is too large."""
    whole = by_pillow(PHOTO, "JPEG", quality=90)
    middle = len(whole) // 2
    frame = whole.index(b"\xff\xc0")
    for damaged in (
        whole[:middle] + bytes(4096) + whole[middle + 4096 :],
        whole[:middle] + whole,
        whole[:middle] + bytes(len(whole) - middle - 2) + whole[-2:],
        whole[: frame + 5] + struct.pack(">H", 999) + whole[frame + 7 :],
    ):
        assert by_opencv(damaged) is not None  # OpenCV would have made something up
        refusal(damaged)


def test_holes_and_joined_files_need_no_strict_decoder(without: Callable[[str], None]) -> None:
    """Zeros are no code of a photo; a second start is none of any. A flat picture may be zeros."""
    without("simplejpeg")
    whole = by_pillow(PHOTO, "JPEG", quality=90)
    middle = len(whole) // 2
    hole = whole[:middle] + bytes(512) + whole[middle + 512 :]
    assert refusal(hole).got == "a JPEG with a hole of zeros"
    assert "another one behind it" in refusal(whole[:middle] + whole).got
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 256, 0).repeat(3, 2)
    for picture in (np.full((256, 256, 3), 90, np.uint8), ramp, ramp // 128 * 255):
        for quality, optimize, more in product((5, 75), (False, True), (False, True)):
            encoded = by_pillow(
                picture, "JPEG", quality=quality, optimize=optimize, progressive=more
            )
            np.testing.assert_array_equal(decode_picture(encoded, "a"), by_opencv(encoded))


def test_jpeg_files_that_are_whole_but_odd_are_read() -> None:
    """JFIF 2, as some cameras write; a video behind the picture, as phones have it; fill bytes."""
    whole = by_pillow(PHOTO, "JPEG")
    assert whole[6:11] == b"JFIF\0"
    expected = by_opencv(whole)
    for odd in (
        whole[:11] + b"\2" + whole[12:],
        whole + b"\0\0\0\x18ftypmp42" + bytes(100),
        whole + whole,
        whole[:2] + b"\xff" + whole[2:],
    ):
        np.testing.assert_array_equal(decode_picture(odd, "a"), expected)


def test_without_the_strict_decoder_pictures_are_still_read(
    without: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The log has one line about it, and files that end early are refused all the same."""
    without("simplejpeg")
    whole = turned("JPEG", 6)
    with caplog.at_level(logging.WARNING, "starmark"):
        for _ in range(2):
            np.testing.assert_array_equal(decode_picture(whole, "a"), by_opencv(whole))
    (record,) = caplog.records
    assert record.message.startswith("JPEG files are only checked for their end and for holes:")
    assert "truncated" in refusal(whole[:-2]).got


@pytest.mark.usefixtures("strict")
def test_tiff_data_are_held_to_their_own_sums_and_codes() -> None:
    """Strips of Deflate, JPEG and LZW with a byte changed or a piece zeroed."""
    for compression in ("tiff_adobe_deflate", "jpeg", "tiff_lzw"):
        whole = by_pillow(noise(RANDOM, 64, 64), "TIFF", compression=compression)
        np.testing.assert_array_equal(decode_picture(whole, "a"), by_opencv(whole))
        for size in (1,) if "deflate" in compression else (2048,):
            damaged = whole[:3000] + bytes(size) + whole[3000 + size :]
            assert damaged != whole
            assert by_opencv(damaged) is not None
            refusal(damaged)


def test_deflate_in_tiff_that_does_not_end_is_refused_in_little_memory() -> None:
    """A strip of a few kilobytes may hold gigabytes of zeros."""
    whole = by_pillow(CORNERS, "TIFF", compression="tiff_adobe_deflate")
    header = read_header(whole)
    assert header is not None
    (at,), (length,) = header.tags[273], header.tags[279]
    for strip in (zlib.compress(bytes(1 << 26), 9), whole[at : at + length - 4]):
        entry = struct.pack("<HHII", 273, 4, 1, len(whole))
        counts = struct.pack("<HHII", 279, 4, 1, len(strip))
        patched = bytearray(whole)
        for tag, new in ((273, entry), (279, counts)):
            where = next(
                at
                for at in range(8, len(whole))
                if struct.unpack_from("<HH", whole, at) in ((tag, 3), (tag, 4))
            )
            patched[where : where + 12] = new
        assert "as long as its size" in refusal(bytes(patched) + strip).got


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIF"])
def test_size_is_checked_by_the_header_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is decoded; the limit can be raised."""
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    encoded = by_pillow(noise(RANDOM, 64, 128), kind)
    assert decode_picture(encoded, "a", max_pixels=8192).shape == (64, 128, 3)
    monkeypatch.setattr(decoders, "decode", lambda *_: pytest.fail("decoded"))
    error = refusal(encoded, max_pixels=8191)
    assert (error.expected, error.got) == ("a picture of at most 8,191 px", "128x64")


def test_headers_have_the_size_that_pillow_finds() -> None:
    """WebP in its three forms, BMP of OS/2 and from the top down, TIFF of either byte order."""
    for kind, options in (
        *(("WEBP", {"lossless": True}), ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"})),
        *(("TIFF", {"big_tiff": True}), ("JPEG", {"progressive": True})),
    ):
        header = read_header(by_pillow(PHOTO, kind, **options))
        assert header is not None
        assert (header.height, header.width) == PHOTO.shape[:2]
    bmp = by_pillow(CORNERS, "BMP")
    for head in (struct.pack("<IHHHH", 12, 40, 24, 1, 24), struct.pack("<Iii", 40, 40, -24)):
        found = read_header(bmp[:14] + head + bmp[14 + len(head) :])
        assert found is not None
        assert (found.width, found.height) == (40, 24)
    tags = struct.pack(">HHHIHHHHIHHI", 2, 256, 3, 1, 40, 0, 257, 3, 1, 24, 0, 0)
    motorola = read_header(b"MM\0*\0\0\0\x08" + tags)
    assert motorola is not None
    assert (motorola.width, motorola.height) == (40, 24)


def test_without_its_extra_a_phone_picture_names_it(without: Callable[[str], None]) -> None:
    encoded = by_pillow(PHOTO, "AVIF")
    without("PIL.AvifImagePlugin")
    assert "pip install -e '.[pictures]'" in str(refusal(encoded))


@pytest.mark.slow
@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("form", ["JPEG", "JPEG progressive", "JPEG restarts"])
def test_whatever_opencv_itself_complains_of_is_refused(
    form: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Mutated files: libjpeg's own words are on stderr, and OpenCV returns a picture anyway."""
    complained = 0
    for kind, outcome, damaged in damage()["judged"](form, 150, 1):
        capfd.readouterr()
        cv2.imdecode(np.frombuffer(damaged, np.uint8), cv2.IMREAD_COLOR)
        if capfd.readouterr().err:
            complained += 1
            assert outcome != "missed", kind
    assert complained > 30


@pytest.mark.slow
@pytest.mark.parametrize("form", ["PNG", "TIFF deflate"])
def test_formats_with_checksums_let_no_damage_through(form: str) -> None:
    """Every mutation is refused, or the picture is the same."""
    outcomes = [outcome for _, outcome, _ in damage()["judged"](form, 150, 1)]
    assert "missed" not in outcomes
    assert outcomes.count("refused") > 100


def damage() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts/measure_damage.py"))
