"""Picture files: what is read, what is refused, and nothing half-written."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from builders import ROOT, noise

from runtime.errors import InputError
from runtime.image.picture import read_picture, write_picture

ENCODED = {
    suffix: cv2.imencode(suffix, np.full((40, 60, 3), 90, np.uint8))[1].tobytes()
    for suffix in (".jpg", ".png", ".bmp", ".webp", ".tiff")
}


@pytest.mark.parametrize("suffix", list(ENCODED))
def test_common_formats_are_read(tmp_path: Path, suffix: str) -> None:
    """As uint8 BGR."""
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(ENCODED[suffix])
    picture = read_picture(path)

    assert picture.shape == (40, 60, 3)
    assert picture.dtype == np.uint8


def test_grey_alpha_and_16_bit_files_become_bgr(tmp_path: Path) -> None:
    """As the decoder does for the reference."""
    for name, picture in (
        ("grey.png", np.full((9, 9), 80, np.uint8)),
        ("alpha.png", np.full((9, 9, 4), 80, np.uint8)),
        ("deep.png", np.full((9, 9, 3), 80 * 257, np.uint16)),
    ):
        cv2.imwrite(str(tmp_path / name), picture)
        found = read_picture(tmp_path / name)
        np.testing.assert_array_equal(found, np.full((9, 9, 3), 80))


def test_jpeg_with_a_thumbnail_is_no_excuse(tmp_path: Path) -> None:
    """An end marker inside a segment (an EXIF thumbnail's) does not make a cut file whole."""
    whole = ENCODED[".jpg"]
    thumbnail = b"\xff\xe1" + (2 + len(whole)).to_bytes(2, "big") + whole
    path = tmp_path / "thumbnail.jpg"
    path.write_bytes(whole[:2] + thumbnail + whole[2:])
    assert read_picture(path).shape == (40, 60, 3)

    path.write_bytes(whole[:2] + thumbnail + whole[2:-2])
    with pytest.raises(InputError, match="truncated"):
        read_picture(path)


@pytest.mark.parametrize("keep", [0.05, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".bmp"])
def test_truncated_file_is_refused(tmp_path: Path, suffix: str, keep: float) -> None:
    """Whatever the decoder would have made up for the rest."""
    encoded = cv2.imencode(suffix, noise(np.random.default_rng(0), 50, 70))[1].tobytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(encoded[: int(len(encoded) * keep)])
    with pytest.raises(InputError, match=str(path)):
        read_picture(path)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    """Missing, empty, a folder, text, a model."""
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a picture at all")
    (tmp_path / "folder.jpg").mkdir()
    for path, says in (
        (tmp_path / "gone.jpg", "No such file"),
        (tmp_path / "empty.jpg", "an empty file"),
        (tmp_path / "text.jpg", "no decoder takes"),
        (Path("/dev/zero"), "a pipe or device"),
        (tmp_path / "folder.jpg", "a folder"),
        (ROOT / "assets/starter68.safetensors", "no decoder takes"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            read_picture(path)
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)


def test_float_pictures_are_refused_and_not_turned_black(tmp_path: Path) -> None:
    """OpenCV would cast 0..1 to bytes."""
    picture = np.full((9, 9, 3), 0.5, np.float32)
    for name in ("float.pfm", "float.tiff", "float.hdr"):
        assert cv2.imwrite(str(tmp_path / name), picture)
        with pytest.raises(InputError, match=name):
            read_picture(tmp_path / name)


def test_picture_too_large_for_its_format_is_said(tmp_path: Path) -> None:
    """A JPEG ends at 65,500 px."""
    with pytest.raises(InputError, match="a picture that .jpg can hold, got 70000x2 px"):
        write_picture(tmp_path / "wide.jpg", np.zeros((2, 70_000, 3), np.uint8))


def test_written_picture_is_whole_or_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves the old file and no temporary one."""
    path = tmp_path / "out.png"
    write_picture(path, np.zeros((4, 4, 3), np.uint8))
    before = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_picture(path, np.ones((4, 4, 3), np.uint8))

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_suffix_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """The suffixes that work are named."""
    for name in ("out.xyz", "out"):
        with pytest.raises(InputError, match=r"\.png, \.jpg"):
            write_picture(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []
