"""Checkpoints seen from outside: without torch, and nothing in them is run."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
from builders import STARTER

from runtime.errors import ArtifactError
from runtime.info.weights_file import read_pickle_container, read_safetensors


def write_safetensors(path: Path, header: Any, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(start: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_header_of_the_starter_weights() -> None:
    """Tensors, dtypes and the architecture its maker wrote."""
    found = read_safetensors(STARTER)

    assert (found["tensors"], found["bytes"]) == (760, STARTER.stat().st_size)
    assert found["dtypes"] == {"F32": 664, "I64": 96}
    assert json.loads(found["metadata"]["architecture"])["points"] == 68
    assert found["values"] == 1_295_562


def test_values_are_counted_over_shapes(tmp_path: Path) -> None:
    """A scalar is one, an empty tensor none."""
    header = {"a": entry(0, 24, [2, 3]), "b": entry(24, 32, [], "I64"), "c": entry(32, 32, [0, 9])}
    found = read_safetensors(write_safetensors(tmp_path / "w.safetensors", header, bytes(32)))

    assert (found["tensors"], found["values"], found["metadata"]) == (3, 7, {})


@pytest.mark.parametrize(
    ("header", "data", "says"),
    [
        ({"a": entry(0, 8, [2])}, bytes(7), "got 7: it is truncated"),
        ({"a": entry(0, 8, [2])}, bytes(9), "got 9: it is truncated, or something was appended"),
        ({"a": {**entry(0, 8, [2]), "more": 1}}, bytes(8), "unknown field `more`"),
        ({"__metadata__": {"a": 1}}, b"", "Expected `str`, got `int`"),
        ([], b"", "Expected `object`, got `array`"),
        (b"{" * 300, b"", "a header that is none"),
        (b'{"a": \xff}', b"", "a header that is none"),
    ],
)
def test_damaged_header_is_refused(tmp_path: Path, header: Any, data: bytes, says: str) -> None:
    """A size that does not fit, no JSON."""
    path = write_safetensors(tmp_path / "w.safetensors", header, data)
    with pytest.raises(ArtifactError) as caught:
        read_safetensors(path)

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "an empty file"),
        (b"PK\x03\x04" + bytes(20), "a zip archive"),
        (struct.pack("<Q", 2**64 - 1) + b'{"', "a safetensors file"),
        (b"\x08", "unknown bytes"),
    ],
)
def test_foreign_file_is_no_safetensors(tmp_path: Path, content: bytes, says: str) -> None:
    """A length beyond the file or beyond reason is not followed."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=f"got {says}"):
        read_safetensors(path)


class Bomb:
    """Says, when unpickled, that it was."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def test_pickle_is_listed_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both containers, with something in them that would leave a trace."""
    monkeypatch.chdir(tmp_path)
    old = tmp_path / "old.pkl"
    old.write_bytes(pickle.dumps(Bomb()))
    new = tmp_path / "new.pth"
    with zipfile.ZipFile(new, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb()))
        archive.writestr("archive/data/0", bytes(40))
        archive.writestr("archive/data/1", bytes(2))
    first, second = read_pickle_container(old), read_pickle_container(new)

    assert (first["container"], first["tensors"]) == ("pickle", None)
    assert (second["container"], second["tensors"], second["tensor_bytes"]) == ("zip", 2, 42)
    assert not (tmp_path / "exploded").exists()


def test_checkpoint_as_torch_writes_it(tiny: Path) -> None:
    """The zip of today's torch."""
    found = read_pickle_container(tiny)

    assert found["container"] == "zip"
    assert found["tensors"] is not None
    assert found["tensors"] > 10
    assert found["tensor_bytes"] is not None
    assert 0 < found["tensor_bytes"] < found["bytes"]


def test_damaged_or_foreign_pickle_is_refused(tmp_path: Path) -> None:
    """A cut zip, a zip of something else, a page, nothing."""
    whole = tmp_path / "other.pth"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("readme.txt", "no checkpoint")
    cut = tmp_path / "cut.pth"
    cut.write_bytes(whole.read_bytes()[:-10])
    page = tmp_path / "page.pkl"
    page.write_text("<html>")
    for path, says in (
        (whole, "a zip archive without data.pkl"),
        (cut, "a truncated or damaged zip: BadZipFile"),
        (page, "an HTML page"),
        (tmp_path / "gone.pkl", "no such file"),
        (tmp_path, "a folder"),
    ):
        with pytest.raises(ArtifactError, match=f"got {says}"):
            read_pickle_container(path)


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    """Nothing but a record or one line, from both readers."""
    rng = random.Random(20)  # noqa: S311  # reproducible, not secret
    header = {"__metadata__": {"k": "v"}, "a": entry(0, 24, [2, 3]), "b": entry(24, 32, [], "I64")}
    weights = write_safetensors(tmp_path / "w.safetensors", header, bytes(32))
    archived = tmp_path / "w.pth"
    with zipfile.ZipFile(archived, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(40))
    refused = {weights: 0, archived: 0}
    for path, read in ((weights, read_safetensors), (archived, read_pickle_container)):
        content = path.read_bytes()
        for _ in range(500):
            changed = bytearray(content)
            for _ in range(rng.randint(1, 4)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            path.write_bytes(changed[: rng.choice((None, rng.randrange(len(changed))))])
            try:
                read(path)
            except ArtifactError:
                refused[path] += 1

    assert all(100 < count <= 500 for count in refused.values())
