"""The detector on real pictures: accuracy, one path for all calls, threads, and bad calls."""

from __future__ import annotations

import threading
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from builders import PHOTO_BOX, ROOT, STARTER, read_pts, run_python, skip_without_openvino
from numpy.typing import NDArray

from runtime.backends import Backend
from runtime.detector import LARGEST_BATCH, Detector
from runtime.errors import InferenceError, InputError
from runtime.image.picture import read_picture

U8 = NDArray[np.uint8]


def test_starter_finds_the_hand_checked_points_of_the_photo(detector: Detector, photo: U8) -> None:
    """Whole-picture mode with unequal axes: every point within 15 photo px."""
    trace = detector.trace(photo)
    expected = read_pts(ROOT / "assets/test.pts")

    assert np.linalg.norm(trace.landmarks.points_px - expected, axis=1).max() < 15
    assert trace.warnings == ()


def test_starter_finds_the_hand_checked_points_of_the_crop(detector: Detector) -> None:
    """Straight through: every point within 4 crop px."""
    crop = read_picture(ROOT / "assets/sample.jpg")
    expected = read_pts(ROOT / "assets/sample.pts")
    found = detector.detect_from_cropped(crop)

    assert np.linalg.norm(found.points_px - expected, axis=1).max() < 4


def test_starter_is_accurate_on_faces_it_has_never_seen(detector: Detector, shared: Path) -> None:
    """48 photos, box from the points: mean NME by the outer eye corners at most 5.3 %."""
    pictures = sorted((shared / "faces").glob("*.jpg"))
    assert len(pictures) == 48
    errors = []
    for path in pictures:
        expected = read_pts(path.with_suffix(".pts"))
        box = (*expected.min(axis=0), *expected.max(axis=0))
        trace = detector.trace(read_picture(path), box)
        distance = np.linalg.norm(trace.landmarks.points_px - expected, axis=1).mean()
        errors.append(distance / np.linalg.norm(expected[36] - expected[45]))
        assert trace.warnings == ()

    assert np.mean(errors) <= 0.053


def test_box_and_whole_picture_agree_on_the_same_face(detector: Detector, photo: U8) -> None:
    """Two ways to the same face: a few photo px apart."""
    whole = detector.detect(photo)
    boxed = detector.detect(photo, face_bbox=PHOTO_BOX)

    assert np.abs(whole.points_px - boxed.points_px).mean() < 6


def test_detect_is_the_trace(detector: Detector, photo: U8) -> None:
    """Parity measures the production path: same numbers, bit for bit."""
    trace = detector.trace(photo, PHOTO_BOX)
    found = detector.detect(photo, PHOTO_BOX)

    np.testing.assert_array_equal(found.points_px, trace.landmarks.points_px)
    np.testing.assert_array_equal(found.covariance_px2, trace.landmarks.covariance_px2)
    assert set(trace.timings) == {"crop", "pack", "compute", "home"}
    assert min(trace.timings.values()) > 0


def test_batch_agrees_with_single_calls(detector: Detector, photo: U8) -> None:
    """Pictures of any sizes, with and without boxes, more than one engine call."""
    images = [photo, photo[:700, :900]] * (LARGEST_BATCH // 2 + 1)
    boxes = [PHOTO_BOX, None] * (LARGEST_BATCH // 2 + 1)
    start = time.perf_counter()
    traces = detector.trace_batch(images, boxes)
    took_s = time.perf_counter() - start
    together = [trace.landmarks for trace in traces]

    # what the batch took together is shared out, not told to each
    assert sum(sum(trace.timings.values()) for trace in traces) <= took_s
    assert len(together) == len(images)
    for index in (0, 1, len(images) - 1):
        alone = detector.detect(images[index], boxes[index])
        np.testing.assert_allclose(together[index].points_px, alone.points_px, atol=2e-3)
    assert detector.detect_batch([]) == []


def test_batch_names_the_picture_that_is_wrong(detector: Detector, photo: U8) -> None:
    """Its index stands first; a wrong number of boxes is said."""
    with pytest.raises(InputError, match="picture 1: image: expected a decoded picture"):
        detector.detect_batch([photo, photo.astype(np.float32)])
    with pytest.raises(InputError, match="picture 0: face box"):
        detector.detect_batch([photo], [(1, 2, 3)])
    with pytest.raises(InputError, match="one box for each of the 2 pictures, got 1"):
        detector.detect_batch([photo, photo], [PHOTO_BOX])


@pytest.mark.parametrize("images", [None, 3, np.zeros((90, 90, 3), np.uint8)], ids=str)
def test_batch_that_is_none_is_refused(detector: Detector, images: object) -> None:
    """One picture alone would be taken for its rows."""
    with pytest.raises(InputError, match="detect_batch: expected a list of pictures"):
        detector.detect_batch(images)  # type: ignore[arg-type]  # on purpose


def test_batch_takes_generators_and_arrays(detector: Detector, photo: U8) -> None:
    """Anything that can be gone through."""
    two = np.stack([photo, photo])
    from_array = detector.detect_batch(two)
    from_generator = detector.detect_batch((image for image in two), (None for _ in two))

    np.testing.assert_array_equal(from_array[1].points_px, from_generator[1].points_px)


def test_threads_share_one_detector(detector: Detector, photo: U8) -> None:
    """Eight threads get what one gets."""
    boxes = [(300 + 5 * i, 230, 700 + 5 * i, 600) for i in range(8)]
    expected = [detector.detect(photo, box).points_px for box in boxes]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(3):
            found = detector.detect(photo, boxes[index]).points_px
            if not np.array_equal(found, expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_closed_detector_says_so(starter_bundle: Path, photo: U8) -> None:
    """Closing twice is fine, using it afterwards is one line."""
    with Detector(starter_bundle) as detector:
        detector.detect(photo)
    detector.close()
    with pytest.raises(InferenceError, match="expected an open backend"):
        detector.detect(photo)


@pytest.mark.parametrize("picture", ["noise", "black", "tiny face"])
def test_absent_or_small_face_is_warned_of(
    detector: Detector, photo: U8, rng: np.random.Generator, picture: str
) -> None:
    """In words that fit code and command lines: only a command knows its own options."""
    image = np.zeros((300, 300, 3), np.uint8)
    if picture == "noise":
        image = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    if picture == "tiny face":
        image = np.full((2_000, 2_000, 3), 128, np.uint8)
        image[100:292, 100:356] = cv2.resize(photo, (256, 192))
    (warning,) = detector.trace(image).warnings

    assert warning.endswith("the face is too small in the crop, or absent")


def test_auto_says_what_it_took_and_why(starter_torch: Backend) -> None:
    """A named device needs no reasons; auto names what it refused."""
    assert starter_torch.reasons == ()
    with Detector(STARTER) as detector:
        assert detector.device == "cpu"
        assert any(reason.startswith("npu: ") for reason in detector.backend.reasons)


def test_bundle_needs_numpy_opencv_msgspec_and_onnxruntime_alone(starter_bundle: Path) -> None:
    """Every other package is barred from import; torch is not in sys.modules."""
    done = run_python(
        "-c",
        "import sys\n"
        "class Bar:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'torch', 'onnx', 'onnxsim', 'rich', 'safetensors',\n"
        "                                      'filelock', 'onnxscript', 'skimage', 'scipy'}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Bar())\n"
        "import cv2\n"
        "from runtime import Detector\n"
        f"found = Detector({str(starter_bundle)!r}).detect(cv2.imread('assets/test.jpg'))\n"
        "print(found.shape, 'torch' in sys.modules)\n",
    )

    assert done.stdout.strip() == "(68, 2) False", done.stderr


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_call_allocates_its_answer_alone(engine: str, starter_bundle: Path, photo: U8) -> None:
    """Once warm: the crop that its trace keeps, and no batch, plane or cut beside it."""
    if engine == "openvino":
        skip_without_openvino()
    with Detector(f"{starter_bundle}@{engine}/cpu") as detector:
        for _ in range(3):
            detector.trace(photo, PHOTO_BOX)
        tracemalloc.start()
        try:
            detector.trace(photo, PHOTO_BOX)
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            trace = detector.trace(photo, PHOTO_BOX)
            _, peak = tracemalloc.get_traced_memory()
            kept = trace.crop.pixels.nbytes
            del trace
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept < peak - before < kept + 32_000
    assert after - before < 4_000
