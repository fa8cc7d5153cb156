"""Containers of tensors: what they claim is held against what they hold."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import ArtifactError
from runtime.files import archive
from runtime.model.checkpoint.container import StoredTensor, open_container


def write_safetensors(path: Path, header: Any, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(start: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_tensors_of_a_header(tmp_path: Path) -> None:
    """Shapes, strides and bytes; a scalar is one value, an empty tensor none."""
    header = {"a": entry(0, 24, [2, 3]), "b": entry(24, 32, [], "I64"), "c": entry(32, 32, [0, 9])}
    with open_container(write_safetensors(tmp_path / "w", header, bytes(range(32)))) as found:
        a, b, c = (found.content[key] for key in "abc")
        assert isinstance(a, StoredTensor)
        assert (a.stride, a.values, b.values, b.dtype, c.values) == ((3, 1), 6, 1, "int64", 0)
        assert found.read("b") == bytes(range(24, 32))


@pytest.mark.parametrize(
    ("header", "data", "says"),
    [
        ({"a": entry(0, 8, [2])}, bytes(7), "7 bytes of tensors where its header describes 8"),
        ({"a": entry(0, 8, [2])}, bytes(9), "9 bytes of tensors where its header describes 8"),
        ({"a": entry(0, 8, [2**60, 2**60])}, bytes(8), "a of F32"),
        ({"a": entry(0, 8, [-2])}, bytes(8), "a of F32"),
        ({"a": entry(8, 16, [2])}, bytes(8), "in bytes 8 to 16"),
        ({"a": entry(0, 9, [2]), "b": entry(0, -1, [])}, bytes(8), "in bytes 0 to 9"),
        ({"a": {**entry(0, 8, [2]), "more": 1}}, bytes(8), "unknown field `more`"),
        ({"__metadata__": {"a": 1}}, b"", "Expected `str`, got `int`"),
        (b"{" * 300, b"", "a safetensors header that is none"),
        (b'{"a":' * 200_000, b"", "a safetensors header that is none"),
        (b'{"a": \xff}', b"", "a safetensors header that is none"),
    ],
)
def test_lying_or_damaged_header_is_refused(
    tmp_path: Path, header: Any, data: bytes, says: str
) -> None:
    """Sizes that do not fit, no JSON, no UTF-8, too deep."""
    with (
        pytest.raises(ArtifactError) as caught,
        open_container(write_safetensors(tmp_path / "w.safetensors", header, data)),
    ):
        pass
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "no checkpoint")


def two_pickles(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", b"\x80\x02}.")
        file.writestr("b/data.pkl", b"\x80\x02}.")


def cut_zip(path: Path) -> None:
    other_zip(path)
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda path: path.write_bytes(b""), "an empty file"),
        (lambda path: path.write_text("<html>"), "an HTML page"),
        (lambda path: path.write_bytes(b"\x08"), "unknown bytes"),
        (lambda path: path.write_bytes(b"\x80\x02K\x01."), "that torch.save did not write"),
        (lambda path: path.write_bytes(b"\xff" * 8 + b'{"'), "cut off in its header"),
        (lambda _: None, "no such file"),
        (lambda path: path.mkdir(), "a folder"),
        (other_zip, "a zip archive with no data.pkl"),
        (two_pickles, "a zip archive with 2 data.pkl"),
        (cut_zip, "a truncated or damaged zip"),
    ],
)
def test_other_files_are_told(tmp_path: Path, made: Any, says: str) -> None:
    """By what they are, on one line."""
    path = tmp_path / "w.pth"
    made(path)
    with pytest.raises(ArtifactError, match=f"got {says}|{says}"), open_container(path):
        pass


def test_a_directory_of_members_is_measured_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's list of a zip's members takes ten times its size; also behind a comment."""
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as file:
        for index in range(100):
            file.writestr(f"{index}", b"")
        file.comment = b"PK\x05\x06"
    monkeypatch.setattr(archive, "LARGEST_DIRECTORY_BYTES", 4000)
    with pytest.raises(ArtifactError, match="a zip directory of 4790 bytes"), open_container(path):
        pass
