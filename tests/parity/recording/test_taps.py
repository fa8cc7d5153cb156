"""Recordings with taps: made on the box, read picture by picture, and distrusted."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from builders import ROOT, TINY
from recordings import array_bytes, members, recording_of, with_header, with_members

from parity.compare import __main__ as compare
from parity.record import __main__ as record
from parity.recording.recording import load_recording, save_recording, tap_numbers
from runtime.backends import open_backend
from runtime.errors import InputError
from runtime.model.spec import spec_of
from runtime.model.stages import tap_shapes

NUMBERS = sum(c * h * w for c, h, w in tap_shapes(TINY).values())


def run_record(*arguments: object) -> int:
    return record.main([str(argument) for argument in arguments])


def planted(path: Path, rng: np.random.Generator, *, pictures: int = 2) -> bytes:
    """Write a recording with random taps, and give their bytes."""
    numbers = rng.standard_normal((pictures, NUMBERS)).astype("<f4")
    numbers[0, :3] = np.nan, np.inf, -np.inf
    content = numbers.tobytes()
    spec = spec_of(points=68, taps=tap_shapes(TINY))
    with io.BytesIO(content) as taps:
        save_recording(
            path, with_header(recording_of(rng, pictures=pictures), spec=spec), taps=taps
        )
    return content


@pytest.mark.usefixtures("npu")
def test_what_the_box_records_is_what_its_model_gave(
    tiny_debug: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bit for bit, on the crops that the bundle carries; and it is compared like any other."""
    carried = tiny_debug / "selftest.npz"
    box = tmp_path / "box.npz"
    asked = (f"{tiny_debug}@npu:0", "--images", carried, "--output", box)
    assert run_record(*asked, "--taps", "--with-crops") == 0
    recording = load_recording(box)
    assert dict(recording.header.spec.taps) == tap_shapes(TINY)

    found = list(recording.taps())
    assert len(found) == 4
    with open_backend(tiny_debug, "npu:0") as backend:
        for crop, taps in zip(recording.crops(), found, strict=True):
            said = backend.run(backend.spec.input.pack(crop[None]))
            assert list(taps) == list(said.taps)
            for name, tap in taps.items():
                np.testing.assert_array_equal(tap, said.taps[name][0])
    assert any(np.any(a["stem"] != b["stem"]) for a, b in itertools.pairwise(found))
    capsys.readouterr()
    limits = ("--max-mean", "0.01", "--max-error", "0.1", "--unit", "crop")
    assert compare.main([str(carried), str(box), *limits]) == 0


def test_without_being_asked_a_debug_bundle_leaves_a_plain_recording(
    tiny_debug: Path, tmp_path: Path
) -> None:
    """No taps in the file, and none in its header."""
    path = tmp_path / "r.npz"
    assert run_record(f"{tiny_debug}@cpu", "--output", path) == 0
    header = members(path)["header.npy"]
    assert "taps.npy" not in members(path)
    spec = json.loads(header[header.index(b"\n") + 1 :])["spec"]
    assert set(spec) == {"topology", "input", "outputs"}
    with pytest.raises(InputError, match="expected a recording with taps, got one without"):
        next(load_recording(path).taps())


def test_more_pictures_than_a_file_can_carry_are_refused(
    tiny_debug: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """65, with the size of one; 64 is the limit."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(65):
        shutil.copy(ROOT / "assets/sample.jpg", pictures / f"{index}.jpg")
    output = tmp_path / "r.npz"
    assert run_record(f"{tiny_debug}@cpu", "--taps", "--images", pictures, "--output", output) == 2
    megabytes = NUMBERS * 4 / 1e6
    assert f"at most 64 pictures, of {megabytes:.0f} MB each, got 65" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.slow
def test_taps_are_read_as_they_were_written(tmp_path: Path, rng: np.random.Generator) -> None:
    """To the bit, with what had overflowed; by name and shape."""
    content = planted(tmp_path / "r.npz", rng)
    recording = load_recording(tmp_path / "r.npz")
    assert tap_numbers(recording.header.spec) == NUMBERS

    joined = b"".join(tap.tobytes() for taps in recording.taps() for tap in taps.values())
    assert joined == content
    first = next(recording.taps())
    assert {name: tap.shape for name, tap in first.items()} == tap_shapes(TINY)
    assert np.isnan(first["stem"][0, 0, 0])
    assert np.isposinf(first["stem"][0, 0, 1])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_pictures(tmp_path: Path, rng: np.random.Generator) -> None:
    """Of six pictures, reading holds the one that is shown and the one that comes next."""
    planted(tmp_path / "r.npz", rng, pictures=6)
    recording = load_recording(tmp_path / "r.npz")
    tracemalloc.start()
    try:
        for _ in recording.taps():
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * NUMBERS * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("short", "taps cut off after"),
        ("long", "taps longer than its shape"),
        ("another shape", "taps of float32"),
        ("pickle", "taps of object"),
        ("huge", "taps of float32"),
        ("gone", "no taps in it"),
    ],
)
def test_hostile_taps_are_refused(
    tmp_path: Path, rng: np.random.Generator, name: str, says: str
) -> None:
    """One line, whatever the array claims of itself."""
    path = tmp_path / "r.npz"
    content = planted(path, rng, pictures=1)
    shape = (1, NUMBERS)
    arrays = {
        "short": array_bytes(shape, "<f4", content[:-8]),
        "long": array_bytes(shape, "<f4", content + b"x"),
        "another shape": array_bytes((NUMBERS, 1), "<f4", content),
        "pickle": array_bytes(shape, "|O", b"cos\nsystem\n"),
        "huge": array_bytes((2**40, NUMBERS), "<f4", b""),
    }
    with_members(path, {"taps.npy": arrays.get(name)})
    with pytest.raises(InputError, match=says) as caught:
        list(load_recording(path).taps())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "shapes",
    [
        {"../../etc/passwd": (8, 64, 64)},
        {"stem": (2**31, 64, 64)},
        {**tap_shapes(TINY), "stem": (8, 2**40, 64)},
        {**tap_shapes(TINY), "surprise": (8, 64, 64)},
        {},
    ],
)
def test_a_header_that_names_no_networks_taps_is_refused(
    tmp_path: Path, rng: np.random.Generator, shapes: dict[str, Any]
) -> None:
    """Before any of them is read; an empty list of taps is none."""
    made = recording_of(rng)
    spec = msgspec.structs.replace(made.header.spec, debug_taps=shapes)
    save_recording(tmp_path / "r.npz", with_header(made, spec=spec))
    with pytest.raises(InputError, match="taps that are not those of one network|without"):
        next(load_recording(tmp_path / "r.npz").taps())
