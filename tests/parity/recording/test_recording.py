"""Recordings: written, read, compared without an engine, and distrusted."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import shutil
import warnings
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from builders import ROOT, STARTER, run_python
from numpy.typing import NDArray
from recordings import (
    array_bytes,
    members,
    recording_of,
    shifted,
    with_header,
    with_members,
    with_pictures,
)

from parity.compare import __main__ as compare
from parity.judging.differences import check_comparable
from parity.record import __main__ as record
from parity.recording.recorder import Recorder
from parity.recording.recorder import record as record_pictures
from parity.recording.recording import Recording, load_recording, save_recording, sha256_pixels
from parity.samples import find_samples
from runtime.backends.base import Backend, Outputs
from runtime.detector import Detector
from runtime.errors import InferenceError, InputError
from runtime.model.spec import spec_of

replace = msgspec.structs.replace


def run_compare(*arguments: object) -> int:
    return compare.main([str(argument) for argument in arguments])


def run_record(*arguments: object) -> int:
    return record.main([str(argument) for argument in arguments])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The photo twice under other names, the crop, and a file that is no picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, source in (("a.jpg", "test.jpg"), ("b.jpg", "sample.jpg"), ("c.jpg", "test.jpg")):
        shutil.copy(ROOT / "assets" / source, folder / name)
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def carried(starter_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of the samples with crops; copy it before changing it."""
    path = tmp_path_factory.mktemp("carried") / "r.npz"
    assert run_record(starter_bundle, "--output", path, "--with-crops") == 0
    return path


def test_what_is_written_is_read(tmp_path: Path, rng: np.random.Generator) -> None:
    """Every array and the header, to the bit; a thousand pictures take little room."""
    made = recording_of(rng, pictures=1000)
    made.annotations_px[1] = made.points_px[1] + 3
    save_recording(tmp_path / "r.npz", made)
    read = load_recording(tmp_path / "r.npz")

    assert read.header == made.header
    for name in ("landmarks", "covariance", "image_from_crop", "timings", "annotations_px"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
    assert (tmp_path / "r.npz").stat().st_size < 5_000_000
    with np.load(tmp_path / "r.npz", allow_pickle=False) as plain:
        assert plain["landmarks"].shape == (1000, 68, 2)


def test_recorded_and_live_comparison_give_the_same_figures(
    starter_bundle: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Bit for bit in the JSON, also from recordings made apart; the broken picture is listed."""
    pair = (f"{STARTER}@cpu", starter_bundle)
    images = ("--images", pictures, "--jobs", 2, "--json")
    recordings = tmp_path / "1.npz", tmp_path / "2.npz"
    assert run_compare(*pair, *images, "--record", *recordings) == 0
    live = json.loads(capsys.readouterr().out)
    assert run_compare(*recordings, "--json") == 0
    recorded = json.loads(capsys.readouterr().out)
    for source, path in zip(pair, (tmp_path / "3.npz", tmp_path / "4.npz"), strict=True):
        assert run_record(source, "--images", pictures, "--output", path) == 0
    assert "3 pictures, 1 left out" in capsys.readouterr().out
    assert run_compare(tmp_path / "3.npz", tmp_path / "4.npz", "--json") == 0
    apart = json.loads(capsys.readouterr().out)

    assert live == recorded == apart
    assert live["judged_on"] == "same crops"
    assert [one["name"] for one in live["unreadable"]] == ["broken.jpg"]
    assert "left out: " in caplog.text
    assert run_compare(*pair, *images, "--strict") == 2


def test_points_go_home_by_each_pictures_own_map(rng: np.random.Generator) -> None:
    turned = np.array([[[0.0, -2, 5], [3, 0, 7], [0, 0, 1]], [[1.0, 0, 9], [0, 2, 2], [0, 0, 1]]])
    made = dataclasses.replace(recording_of(rng), image_from_crop=turned)
    for points, place, found in zip(made.landmarks, turned, made.points_px, strict=True):
        crop_px = np.column_stack([points.astype(float) * 128 + 127.5, np.ones(68)])
        np.testing.assert_allclose(found, (place @ crop_px.T).T[:, :2])


def test_pixels_of_another_shape_have_another_hash() -> None:
    assert len({sha256_pixels(np.zeros(shape, np.uint8)) for shape in ((2, 8), (8, 2), (16,))}) == 3


BARRED = ("torch", "onnx", "matplotlib", "jinja2", "scipy", "rich", "safetensors")


def run_without(barred: Sequence[str], module: str, *arguments: object) -> str:
    """Run a command line in a process that cannot import these packages; its stdout."""
    done = run_python(
        "-c",
        "import sys\n"
        "class Bar:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {set(barred)!r}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Bar())\n"
        f"from {module}.__main__ import main\n"
        f"sys.exit(main({[str(argument) for argument in arguments]!r}))\n",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_recordings_made_with_onnxruntime_alone_are_compared_with_numpy_alone(
    starter_bundle: Path, tmp_path: Path
) -> None:
    """No torch where they are made; no engine and no OpenCV where they are compared.

    With annotations, too: accuracy and its interval need no package more.
    """
    for path in (tmp_path / "1.npz", tmp_path / "2.npz"):
        run_without(BARRED, "parity.record", starter_bundle, "--output", path)
        made = load_recording(path)
        marked = made.points_px + np.array([3.0, 0.0])
        save_recording(path, dataclasses.replace(made, annotations_px=marked))
    barred = (*BARRED, "onnxruntime", "cv2")
    both = (tmp_path / "1.npz", tmp_path / "2.npz", "--max-nme-increase", 0)
    text = run_without(barred, "parity.compare", *both)

    assert text.startswith("PASSED: ")
    assert "accuracy on 2 annotated pictures of 2" in text
    assert json.loads(run_without(barred, "parity.compare", *both, "--json"))["verdict"]["passed"]
    with pytest.raises(AssertionError, match="torch"):  # the control: what is barred is missed
        run_without(("torch",), "parity.record", STARTER, "--output", tmp_path / "3.npz")


def planted(recording: Recording, crops: Sequence[NDArray[np.uint8]] = ()) -> Recording:
    """The same recording as another OpenCV would have made it: other crops, points moved."""
    hashes = [sha256_pixels(crop) for crop in crops] or ["0" * 64] * len(recording.landmarks)
    return shifted(with_pictures(recording, sha256_crop=hashes), 0.02)


def test_difference_of_the_crops_is_not_blamed_on_the_backend(
    starter_bundle: Path, carried: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Crops changed by a grey level: said, both figures given, judged on shared crops."""
    path = tmp_path / "crops.npz"
    whole = load_recording(carried)
    changed = [np.clip(crop.astype(int) + 9, 0, 255).astype(np.uint8) for crop in whole.crops()]
    with io.BytesIO(b"".join(crop.tobytes() for crop in changed)) as crops:
        save_recording(path, planted(whole, changed), crops)
    other = tmp_path / "carried.npz"
    assert run_record(f"{STARTER}@cpu", "--images", path, "--output", other) == 0
    capsys.readouterr()

    # what the recording says of its own crops is 2 crop px off; the backend is not
    replayed = tmp_path / "replayed.npz"
    assert run_record(starter_bundle, "--images", path, "--output", replayed, "--with-crops") == 0
    capsys.readouterr()
    assert run_compare(f"{STARTER}@cpu", replayed, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["judged_on"] == "shared crops"
    assert report["crop_px"]["axis"]["max"] < 1e-2
    assert report["end_to_end"]["crops_that_differ"] == ["test.jpg", "sample.jpg"]
    assert report["end_to_end"]["crop_px"]["axis"]["max"] > 10 * report["crop_px"]["axis"]["max"]
    assert not any(picture["same_crop"] for picture in report["pictures"])

    # two recordings on the same crops need no engine to be told apart
    assert run_compare(other, replayed, "--json") == 0
    assert json.loads(capsys.readouterr().out)["judged_on"] == "same crops"


def test_differing_crops_that_nobody_carries_are_judged_end_to_end(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the report says so."""
    made = recording_of(rng)
    save_recording(tmp_path / "1.npz", made)
    save_recording(tmp_path / "2.npz", planted(made))

    assert run_compare(tmp_path / "1.npz", tmp_path / "2.npz") == 1
    text = capsys.readouterr().out
    assert "WARNING: the crops of 2 pictures differ" in text
    assert "judged end to end" in text


PICTURE_CHANGES: dict[str, Callable[..., Any]] = {
    "names": lambda one, two, three: (one, replace(two, name="x.jpg"), three),
    "order": lambda one, two, three: (two, one, three),
    "count": lambda one, two, _: (one, two),
    "pixels": lambda one, two, three: (one, two, replace(three, sha256_picture="f" * 64)),
    "mode": lambda one, two, three: (one, replace(two, mode="crop"), three),
    "box": lambda one, two, three: (replace(one, mode="box", box_xyxy=(1, 2, 3, 4)), two, three),
}


@pytest.mark.parametrize("change", [*PICTURE_CHANGES, "points", "size", "place"])
def test_recordings_of_other_things_are_refused(rng: np.random.Generator, change: str) -> None:
    here = recording_of(rng, pictures=3)
    there = here
    if change in PICTURE_CHANGES:
        there = with_header(here, pictures=PICTURE_CHANGES[change](*here.header.pictures))
    if change == "size":
        there = with_header(here, spec=spec_of(points=68, size=128))
    if change == "points":
        there = recording_of(rng, pictures=3, points=98)
    if change == "place":
        there = dataclasses.replace(here, image_from_crop=here.image_from_crop * 1.01)
    check_comparable(here, here)
    with pytest.raises(InputError, match="comparison: expected"):
        check_comparable(here, there)


def header_of(path: Path) -> dict[str, Any]:
    raw = members(path)["header.npy"]
    return dict(json.loads(raw[raw.index(b"\n") + 1 :]))


def bad_numbers(made: Recording, where: str) -> None:
    if where == "nan":
        made.landmarks[1, 5, 0] = np.nan
    if where == "overflow":
        made.landmarks[0, 3, 0] = 1e30
    if where == "flat place":
        made.image_from_crop[1] = 0
    if where == "half marked":
        made.annotations_px[1, 0, 0] = 5


TOPOLOGY_CHANGES: dict[str, dict[str, Any]] = {
    "points": {"points": 0},
    "eyes": {"outer_eye_corners": [36, 450]},
    "contour": {"contours": [{"name": "jaw", "first": 0, "last": 670, "closed": False}]},
    "order": {"contours": [{"name": "jaw", "first": 0, "last": 16, "order": [0, 99, 16]}]},
    "pupils": {"pupils": [0, 68]},
}
HEADER_CHANGES: dict[str, dict[str, Any]] = {
    "schema": {"schema": 99},
    "unknown field": {"surprise": 1},
    "no pictures": {"pictures": []},
}
LANDMARKS: dict[str, Callable[[bytes], bytes]] = {
    "pickle": lambda _: array_bytes((2, 68, 2), "|O", pickle.dumps([1])),
    "huge shape": lambda _: array_bytes((2**40, 68, 2), "<f4", b""),
    "negative shape": lambda _: array_bytes((-1, 68, 2), "<f4", b""),
    "short": lambda content: content[:-9],
    "long": lambda content: content + b"x",
    "array header": lambda _: b"\x93NUMPY\x01\x00" + (900).to_bytes(2, "little") + b"(" * 900,
    "bomb": lambda _: array_bytes((50_000_000,), "|u1", bytes(50_000_000)),
}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pickle", "landmarks: |landmarks of object"),
        ("huge shape", "landmarks of float32"),
        ("negative shape", "landmarks of float32"),
        ("short", "cut off after"),
        ("long", "longer than its shape"),
        ("bomb", "landmarks of uint8"),
        ("array header", "landmarks: "),
        ("schema", "schema 99, which this version cannot read"),
        ("unknown field", "unknown field"),
        ("no pictures", "no pictures"),
        ("points", "0 points"),
        ("eyes", "eye corners"),
        ("order", "contour 'jaw' from 0 to 16"),
        ("pupils", "eye corners and pupils"),
        ("contour", "contour 'jaw' from 0 to 670"),
        ("size", "crops of 1025 px"),
        ("header dtype", "a header of float64"),
        ("header gone", "no header in it"),
        ("nan", r"got \[nan, .* at picture 1.jpg, point 5"),
        ("overflow", r"got .*e.30, .* at picture 0.jpg, point 3"),
        ("flat place", "a crop's place that no box gives"),
        ("half marked", "annotations that are no points"),
        ("twice", "two members of one name"),
        ("garbage", "expected a recording"),
    ],
)
def test_hostile_recording_is_refused(
    tmp_path: Path, rng: np.random.Generator, name: str, says: str
) -> None:
    """Pickles, absurd shapes, bombs, other schemas, NaN: one line, nothing large allocated."""
    path = tmp_path / "r.npz"
    made = recording_of(rng)
    bad_numbers(made, name)
    save_recording(path, made)
    header, spec = header_of(path), header_of(path)["spec"]
    changed = header | HEADER_CHANGES.get(name, {})
    if name in TOPOLOGY_CHANGES:
        changed["spec"] = {**spec, "topology": {**spec["topology"], **TOPOLOGY_CHANGES[name]}}
    if name == "size":
        changed["spec"] = {**spec, "input": {**spec["input"], "size": 1025}}
    if changed != header:
        encoded = json.dumps(changed).encode()
        with_members(path, {"header.npy": array_bytes((len(encoded),), "|u1", encoded)})
    if name in LANDMARKS:
        old = members(path)["landmarks.npy"]
        with_members(path, {"landmarks.npy": LANDMARKS[name](old)})
    if name.startswith("header"):
        float64 = array_bytes((1,), "<f8", bytes(8))
        with_members(path, {"header.npy": None if name == "header gone" else float64})
    if name == "twice":
        with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            archive.writestr("landmarks.npy", members(path)["landmarks.npy"])
    if name == "garbage":
        path.write_bytes(b"PK\x03\x04" + rng.bytes(500))
    with pytest.raises(InputError, match=says) as caught:
        load_recording(path)
    assert "\n" not in str(caught.value)


def test_truncated_and_mutated_recordings_never_crash(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Cut anywhere, or with bytes flipped: refused, or read with the right shapes."""
    path = tmp_path / "r.npz"
    save_recording(path, recording_of(rng))
    whole = path.read_bytes()
    for index in range(300):
        damaged = bytearray(whole[: int(rng.integers(0, len(whole)))] if index % 3 == 0 else whole)
        for at in rng.integers(0, max(len(damaged), 1), 4):
            if damaged:
                damaged[at] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with suppress(InputError):
            assert load_recording(path).landmarks.shape[1:] == (68, 2)


def test_carried_crops_are_the_recorded_ones(carried: Path, tmp_path: Path) -> None:
    """Crops exchanged in the file, or gone from it, or never in it, are not run on."""
    path = Path(shutil.copy(carried, tmp_path))
    crops = members(path)["crops.npy"]
    for changed, says in (
        (crops[:-1] + bytes([crops[-1] ^ 1]), "another crop of sample.jpg than was recorded"),
        (crops + b"x", "crops longer than its shape"),
        (None, "no crops in it"),
    ):
        with_members(path, {"crops.npy": changed})
        with pytest.raises(InputError, match=says):
            list(load_recording(path).crops())
    save_recording(path, with_header(load_recording(carried), with_crops=False))
    with pytest.raises(InputError, match="Record it again with --with-crops"):
        next(load_recording(path).crops())


def test_names_in_a_recording_cannot_speak_to_the_terminal(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters and line breaks are printed as what they are."""
    made = with_pictures(recording_of(rng), name=("a\x1b]0;x\x07\nPASSED: all", "b.jpg"))
    for name in ("1.npz", "2.npz"):
        save_recording(tmp_path / name, made)
    assert run_compare(tmp_path / "1.npz", tmp_path / "2.npz") == 0
    text = capsys.readouterr().out

    assert "\x1b" not in text
    assert [line for line in text.splitlines() if line.startswith("PASSED: all")] == []


def test_annotation_of_another_mark_up_is_refused(
    starter_bundle: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five points make another box than 68; such a picture is left out, or fatal with --strict."""
    (pictures / "a.pts").write_text("n_points: 5\n{\n1 1\n9 1\n5 5\n2 9\n8 9\n}\n")
    base = (starter_bundle, "--images", pictures / "a.jpg", pictures / "b.jpg")
    path = tmp_path / "r.npz"
    assert run_record(*base, "--output", path, "--strict") == 2
    assert "a.jpg: its .pts: expected 68 points" in capsys.readouterr().err
    assert not path.exists()
    assert run_record(*base, "--output", path) == 0
    assert [one.name for one in load_recording(path).header.unreadable] == ["a.jpg"]


class Overflowing(Backend):
    """Says NaN of one point of the second picture it sees."""

    def __init__(self) -> None:
        self.name, self.device, self.spec = "overflowing", "cpu", spec_of(points=68)
        self.seen = 0

    def _run(self, batch: NDArray[Any]) -> Outputs:
        self.seen += 1
        landmarks = np.zeros((len(batch), 68, 2), np.float32)
        landmarks[0, 17] = np.nan if self.seen == 2 else 0
        return Outputs(landmarks=landmarks, covariance=np.zeros((len(batch), 68, 3), np.float32))

    def _close(self) -> None:
        pass


def test_number_that_is_none_names_source_picture_and_point(pictures: Path) -> None:
    """Whose overflow it was, and where; nothing is recorded of the rest."""
    recorder = Recorder("box.om@npu:0", Detector(Overflowing()))
    with pytest.raises(InferenceError) as caught:
        record_pictures([recorder], find_samples([str(pictures)], "whole"))

    said = str(caught.value)
    assert said.startswith("box.om@npu:0: b.jpg: overflowing: landmarks: expected finite numbers")
    assert "point 17" in said


def test_no_picture_at_all_is_an_error() -> None:
    """An empty list is not a comparison that passes."""
    recorder = Recorder("a", Detector(Overflowing()))
    with pytest.raises(InputError, match="at least one that can be read, got none"):
        record_pictures([recorder], [])


def test_crops_of_another_mark_up_are_replayed_without_its_annotations(
    rng: np.random.Generator,
) -> None:
    """98 annotated points say nothing of a model that marks 68."""
    shown, crop = recording_of(rng).header.pictures[0], np.zeros((256, 256, 3), np.uint8)
    recorder = Recorder("overflowing", Detector(Overflowing()))
    recorder.replay(shown, crop, np.eye(3), np.zeros((98, 2)))

    assert np.isnan(recorder.finish().annotations_px).all()
    assert recorder.finish().annotations_px.shape == (1, 68, 2)
