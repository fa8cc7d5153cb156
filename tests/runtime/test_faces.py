"""Faces: what a finder may say, what is made of it, and YuNet on real pictures."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from builders import ROOT, noise
from numpy.typing import NDArray

from runtime.backends.base import Backend
from runtime.detector import LARGEST_BATCH, Detector
from runtime.errors import (
    ArtifactError,
    BackendUnavailable,
    ConfigError,
    InputError,
    StarmarkError,
)
from runtime.faces import DlibFaces, YuNetFaces, choice, find_boxes
from runtime.faces.scaled import seen
from runtime.faces.yunet import ZOO_FILE
from runtime.image.geometry import box_around
from runtime.image.picture import read_picture

PHOTO = ROOT / "assets/test.jpg"
Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def yunet(shared: Path) -> Path:
    return shared / "models/face_detection_yunet_n.onnx"


@pytest.fixture(scope="module")
def crowd(shared: Path) -> tuple[Picture, NDArray[np.float64]]:
    """Ten by ten of the faces in one picture, and the middle of each."""
    return crowd_of(sorted((shared / "faces").glob("*.jpg")), across=10, side=160)


def crowd_of(files: list[Path], *, across: int, side: int) -> tuple[Picture, NDArray[np.float64]]:
    """Faces cut out by their points, in rows and columns."""
    tiles: list[Picture] = []
    for index in range(across * across):
        file = files[index % len(files)]
        marked = np.array(
            [line.split() for line in file.with_suffix(".pts").read_text().split("\n")[3:71]], float
        )
        (x1, y1), (x2, y2) = marked.min(axis=0), marked.max(axis=0)
        half = 0.9 * max(x2 - x1, y2 - y1)
        scale = 2 * half / side
        matrix = np.array([[scale, 0, (x1 + x2) / 2 - half], [0, scale, (y1 + y2) / 2 - half]])
        picture = read_picture(file)
        flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
        tile = cv2.warpAffine(picture, matrix, (side, side), flags=flags)
        tiles.append(np.asarray(tile, np.uint8))
    rows = [np.hstack(tiles[start : start + across]) for start in range(0, len(tiles), across)]
    middles = (np.arange(across) + 0.5) * side
    return np.vstack(rows), np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)


def test_every_face_of_a_crowd_in_one_call_a_batch(
    starter_bundle: Path, yunet: Path, crowd: tuple[Picture, NDArray[np.float64]], calls: Any
) -> None:
    picture, middles = crowd
    with Detector(starter_bundle, "cpu", faces=YuNetFaces(yunet)) as detector:
        batches = calls(detector.backend)
        faces = detector.detect_faces(picture)

    assert len(faces) >= 95
    assert len(batches) == -(-len(faces) // LARGEST_BATCH)
    assert sum(batches) == len(faces)
    centres = np.array([face.points_px.mean(axis=0) for face in faces])
    nearest = np.linalg.norm(middles[:, None] - centres, axis=-1).min(axis=1)
    assert np.sort(nearest)[94] < 25
    assert all(face.score is not None and face.score >= 0.6 for face in faces)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[Backend], list[int]]:
    """Pictures in each call of a backend."""

    def watch(backend: Backend) -> list[int]:
        seen: list[int] = []
        run = backend.run

        def counted(batch: Any) -> Any:
            seen.append(len(batch))
            return run(batch)

        monkeypatch.setattr(backend, "run", counted)
        return seen

    return watch


def test_any_callable_is_a_finder(starter_bundle: Path, calls: Any) -> None:
    """With scores and without, with nothing; several pictures in one call."""
    photo = read_picture(PHOTO)
    box = (340, 270, 660, 575)
    answers: list[Any] = [[box], [(*box, 0.5), (*box, 0.25)], [], None, np.empty((0, 5))]
    said = iter(answers)
    with Detector(starter_bundle, "cpu", faces=lambda _: next(said)) as detector:
        batches = calls(detector.backend)
        found = detector.detect_faces_batch([photo] * len(answers))
        direct = detector.detect(photo, box).points_px

    assert [[face.score for face in faces] for faces in found] == [[None], [0.5, 0.25], [], [], []]
    assert batches[:-1] == [3]
    for faces in found[:2]:
        for face in faces:
            assert face.box_xyxy is not None
            assert face.box_xyxy.tolist() == list(box)
            np.testing.assert_allclose(face.points_px, direct, atol=0.01)
            assert face.spread_px.shape == (68,)


def test_without_a_finder_a_picture_is_one_face(starter_bundle: Path) -> None:
    photo = read_picture(PHOTO)
    with Detector(starter_bundle, "cpu") as detector:
        (face,) = detector.detect_faces(photo)
        assert face.box_xyxy is None
        assert face.score is None
        np.testing.assert_allclose(face.points_px, detector.detect(photo).points_px, atol=0.01)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("boxes", "boxes (N, 4)"),
        ([(1, 2, 3)], "boxes (N, 4)"),
        ([(1, 2, 3, 4, 5, 6)], "boxes (N, 4)"),
        ([[(1, 2, 3, 4)]], "boxes (N, 4)"),
        ([(9, 9, 1, 1)], "x1 < x2"),
        ([(1, 1, float("nan"), 9)], "finite"),
        ([(2000, 2000, 2100, 2100)], "overlaps the picture"),
        ([(1, 2, 30, 40), (1, 2)], "boxes (N, 4)"),
    ],
)
def test_what_is_no_box_is_refused(answer: Any, says: str) -> None:
    with pytest.raises(InputError) as caught:
        find_boxes(lambda _: answer, np.zeros((50, 60, 3), np.uint8))
    assert says in str(caught.value)


def test_finders_see_bytes_in_colour() -> None:
    """Whatever kind of picture the caller has."""
    shapes: list[Any] = []
    for picture in (np.zeros((5, 6), np.uint8), np.zeros((5, 6, 4), np.uint16)):
        find_boxes(lambda image: shapes.append((image.shape, image.dtype)), picture)
    assert shapes == [((5, 6, 3), np.uint8)] * 2


def test_refined_points_are_nearer_to_the_box_given(starter_bundle: Path) -> None:
    """Whole-picture mode squeezes the picture; cut again, it is nearly what a box gives."""
    photo = read_picture(PHOTO)
    with Detector(starter_bundle, "cpu") as plain:
        whole = plain.detect(photo).points_px
        truth = plain.detect(photo, (340, 270, 660, 575)).points_px
        by_hand = plain.detect(photo, box_around(whole)).points_px
        again = plain.detect(photo, box_around(by_hand)).points_px
    apart = {}
    for passes in (0, 1, 2):
        with Detector(starter_bundle, "cpu", refine=passes) as detector:
            points = detector.detect(photo).points_px
            (batched,) = detector.detect_batch([photo])
            (boxed,) = detector.detect_batch([photo], [(340, 270, 660, 575)])
            (face,) = detector.detect_faces(photo)
        np.testing.assert_allclose(points, (whole, by_hand, again)[passes], atol=0.01)
        np.testing.assert_allclose(points, batched.points_px, atol=0.01)
        np.testing.assert_allclose(points, face.points_px, atol=0.01)
        np.testing.assert_allclose(boxed.points_px, truth, atol=0.01)
        apart[passes] = float(np.linalg.norm(points - truth, axis=1).mean())
    assert apart[1] < apart[0]
    assert apart[2] < apart[0]


def test_pictures_without_a_face_survive_refining(starter_bundle: Path) -> None:
    pictures = [np.zeros((40, 50, 3), np.uint8), noise(np.random.default_rng(0), 90, 70)]
    with Detector(starter_bundle, "cpu", refine=3) as detector:
        found = detector.detect_batch(pictures)
    assert all(np.isfinite(f.points_px).all() for f in found)


@pytest.mark.parametrize("refine", [-1, 11, 1.5, True, "2"])
def test_absurd_passes_are_refused(starter_bundle: Path, refine: Any) -> None:
    with pytest.raises(ConfigError, match="refine: expected 0 to 10"):
        Detector(starter_bundle, "cpu", refine=refine)


@pytest.mark.parametrize("name", ["YuNet", "dlib"])
def test_the_marked_face_is_found_in_nearly_every_photo(
    shared: Path, yunet: Path, name: str
) -> None:
    """Of 250x250 px, half of a face's size below what dlib finds without enlarging them."""
    finder = YuNetFaces(yunet) if name == "YuNet" else dlib_faces()
    files = sorted((shared / "faces").glob("*.jpg"))
    hits = 0
    for file in files:
        picture = read_picture(file)
        text = file.with_suffix(".pts").read_text().split("\n")[3:71]
        middle = np.array([line.split() for line in text], float).mean(axis=0)
        hits += holds(finder(picture), middle)
    assert hits >= 46


def dlib_faces(**settings: Any) -> DlibFaces:
    pytest.importorskip("dlib")
    return DlibFaces(**settings)


def test_dlibs_boxes_are_the_pictures_own_px_in_every_process() -> None:
    """Three by three pixels for one, searched at the old size; no scores."""
    photo = read_picture(PHOTO)[:600]
    finder = pickle.loads(pickle.dumps(dlib_faces(longest_side_px=max(photo.shape))))
    (expected,) = finder(photo)
    (found,) = finder(photo.repeat(3, 0).repeat(3, 1))

    assert expected.shape == (4,)
    np.testing.assert_allclose(found, expected * 3 + 1, atol=0.01)


def test_without_dlib_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(BackendUnavailable, match=r"pip install -e '\.\[faces\]'"):
        DlibFaces()


def test_a_finder_that_is_there_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """YuNet's file beside the bundle, in the current folder, in the cache; else dlib; else none."""
    names = ("models/yunet_n.onnx", "here/yunet.onnx", f"cache/starmark/{ZOO_FILE}")
    files = [tmp_path / name for name in names]
    for file in files:
        file.parent.mkdir(parents=True)
        file.touch()
        (file.parent / "face_detection_yunet_2023mar_int8.onnx").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path / "here")
    bundle = tmp_path / "models/star68"

    for file in files:
        assert choice.chosen("auto", bundle, required=True) == file
        file.unlink()
    assert choice.chosen("auto", bundle, required=False) is None
    with pytest.raises(ConfigError, match=rf"cache/starmark.*Get {ZOO_FILE}"):
        choice.chosen("auto", bundle, required=True)
    monkeypatch.setattr(choice, "has_dlib", lambda: True)
    assert choice.chosen("auto", bundle, required=False) == "dlib"


def test_boxes_of_a_larger_photo_are_its_own_px(yunet: Path) -> None:
    """Each pixel drawn three by three and searched at its old size: the box's pixels, too."""
    photo = read_picture(PHOTO)[:600]
    finder = YuNetFaces(yunet, longest_side_px=max(photo.shape))
    expected = finder(photo)
    expected[:, :4] = expected[:, :4] * 3 + 1  # the middle one of three
    assert len(expected) >= 1
    np.testing.assert_allclose(finder(photo.repeat(3, 0).repeat(3, 1)), expected, atol=0.01)


def test_boxes_beside_the_picture_or_without_area_are_dropped() -> None:
    """Of a picture 60 wide and 40 high; each pair on both sides of a bound."""
    kept = [(-5, -5, 0.1, 9), (58.9, 0, 70, 9), (0, 38.9, 9, 50), (5, 5, 6, 6)]
    gone = [(-5, -5, 0, 9), (59, 0, 70, 9), (0, 39, 9, 50), (5, 5, 5.9, 6), (5, 5, 6, 5.9)]
    found = np.array([(*box, 0.5) for box in (*kept, *gone)])
    np.testing.assert_array_equal(seen(found, (60, 40)), found[: len(kept)])


def holds(found: NDArray[np.float64], middle: NDArray[np.float64]) -> bool:
    return any(
        x1 < middle[0] < x2 and y1 < middle[1] < y2 and (x2 - x1) < 4 * (middle[0] - x1)
        for x1, y1, x2, y2 in found[:, :4]
    )


def test_yunet_is_shared_by_threads_and_sent_to_processes(yunet: Path) -> None:
    photo = read_picture(PHOTO)
    sent = YuNetFaces(yunet, least_score=0.3, longest_side_px=700)
    finder = pickle.loads(pickle.dumps(sent))
    assert (finder._least_score, finder._longest_side_px) == (0.3, 700)
    expected = finder(photo)
    half = np.ascontiguousarray(photo[::2, ::2])
    smaller = finder(half)
    found: dict[int, list[Any]] = {0: [], 1: []}

    def search(which: int) -> None:
        found[which] = [finder((photo, half)[which]) for _ in range(5)]

    threads = [threading.Thread(target=search, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(expected) >= 1
    for which, right in ((0, expected), (1, smaller)):
        assert len(found[which]) == 5
        assert all(np.array_equal(one, right) for one in found[which])


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (400, 3), (8, 8), (9, 2000)])
def test_tiny_and_thin_pictures_have_no_face(yunet: Path, shape: tuple[int, int]) -> None:
    assert len(YuNetFaces(yunet)(np.zeros((*shape, 3), np.uint8))) == 0


@pytest.mark.parametrize(
    ("content", "settings", "says"),
    [
        (None, {}, "no such file"),
        (b"", {}, "YuNet as an ONNX file"),
        (b"not a model", {}, "YuNet as an ONNX file"),
        (b"x", {"least_score": 2}, "least_score: expected 0 to 1"),
        (b"x", {"least_score": float("nan")}, "least_score: expected 0 to 1"),
        (b"x", {"longest_side_px": 1}, "longest_side_px: expected at least 8"),
    ],
)
def test_bad_models_and_settings_are_refused(
    tmp_path: Path, content: bytes | None, settings: dict[str, Any], says: str
) -> None:
    file = tmp_path / "yunet.onnx"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StarmarkError) as caught:
        YuNetFaces(file, **settings)
    assert says in str(caught.value)


def test_another_network_is_no_finder(starter_bundle: Path) -> None:
    """Refused when it is opened, not at every picture."""
    with pytest.raises(ArtifactError, match="YuNet as an ONNX file"):
        YuNetFaces(starter_bundle / "model.onnx")
