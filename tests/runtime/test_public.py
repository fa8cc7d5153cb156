"""What users import: its types, its examples, and what it says of itself."""

from __future__ import annotations

import copy
import doctest
import importlib
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from builders import ROOT
from mypy import api

import runtime
from runtime.errors import BackendError

# Each line with "# wrong" is one that mypy must refuse, and no other.
CALLS = """
from pathlib import Path
import numpy as np
import runtime
from runtime import Detector, FaceFinder, InputError, Landmarks, Stream, StreamRow, read_picture

picture = read_picture(Path("a.jpg"))
detector = Detector("build/starter68", "cpu")
found: Landmarks = detector.detect(picture)
detector.detect(picture, (1, 2, 3, 4))
detector.detect(picture, np.array([1.0, 2.0, 3.0, 4.0]))
detector.detect_batch([picture, picture], [None, [1, 2, 3, 4]])
first: float = float(found.points_px[0, 0])
runtime.draw_landmarks_with_contours(picture, found)
runtime.draw_landmarks_with_contours(picture, [[1.0, 2.0]])
Stream(detector, ["a.jpg", (picture, (1, 2, 3, 4)), Path("b.jpg")])

def corners(image: np.ndarray) -> list[list[float]]:
    return [[0.0, 0.0, 9.0, 9.0]]

finder: FaceFinder = corners
Detector("build/starter68", faces=corners, refine=1)

detector.detect("a.jpg")  # wrong
detector.detect(Path("a.jpg"))  # wrong
detector.detect(None)  # wrong
detector.detect(picture, "1,2,3,4")  # wrong
detector.detect(picture, 5)  # wrong
detector.detect(picture, ["a", "b", "c", "d"])  # wrong
detector.detect(picture, box=(1, 2, 3, 4))  # wrong
detector.detect_batch(["a.jpg"])  # wrong
detector.detect_batch([picture], [(1, 2, "3", 4)])  # wrong
detector.detect(picture).points  # wrong
Detector(b"build/starter68")  # wrong
Detector("build/starter68", 0)  # wrong
Detector("build/starter68", settings={"threads": 1})  # wrong
Detector("build/starter68", faces="yunet.onnx")  # wrong
Stream(detector, [1, 2])  # wrong
runtime.draw_landmarks_with_contours("a.jpg", found)  # wrong
runtime.draw_landmarks_with_contours(picture, "points")  # wrong
runtime.read_picture(7)  # wrong
"""


@pytest.mark.slow
def test_wrong_calls_fail_a_type_checker(tmp_path: Path) -> None:
    """And right ones pass it."""
    (tmp_path / "calls.py").write_text(CALLS)
    given = ["--config-file", str(ROOT / "pyproject.toml"), "--no-error-summary"]
    said, trouble, _ = api.run([*given, str(tmp_path / "calls.py")])
    found = {int(line) for line in re.findall(r"calls\.py:(\d+): error", said)}
    lines = enumerate(CALLS.splitlines(), 1)

    assert not trouble
    assert found == {number for number, line in lines if line.endswith("# wrong")}, said


def test_packages_say_that_they_have_types() -> None:
    for package in ("runtime", "parity", "export", "starmark"):
        assert (ROOT / package / "py.typed").is_file()


YUNET = "face_detection_yunet_2023mar.onnx"


@pytest.fixture
def workplace(starter_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the examples name, where a user has it."""
    (tmp_path / "build").mkdir()
    (tmp_path / "build/starter68").symlink_to(starter_bundle)
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)
    return tmp_path


EXAMPLES = sorted(
    path.relative_to(ROOT)
    for package in ("runtime", "parity", "export", "starmark")
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_examples_of_docstrings_run(
    path: Path, workplace: Path, request: pytest.FixtureRequest
) -> None:
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    content = (ROOT / path).read_text(encoding="utf-8")
    assert "doctest: +SKIP" not in content
    if f'"{YUNET}"' in content:
        shared: Path = request.getfixturevalue("shared")
        (workplace / YUNET).symlink_to(shared / "models/face_detection_yunet_n.onnx")

    failed, tried = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert tried
    assert not failed


def test_detector_says_what_it_is(starter_bundle: Path) -> None:
    with runtime.Detector(starter_bundle, "cpu") as detector:
        text = repr(detector)
    assert text.startswith(f"Detector({str(starter_bundle)!r}, device='cpu', engine='onnxruntime ")
    assert text.endswith("points=68)")
    assert repr(detector).endswith("points=68, closed)")


@pytest.mark.parametrize("act", [pickle.dumps, copy.copy, copy.deepcopy])
def test_open_engines_do_not_travel(starter_bundle: Path, act: Any) -> None:
    """A pool's worker would have half of one; the error names the way."""
    with runtime.Detector(starter_bundle, "cpu") as detector:
        with pytest.raises(BackendError, match="Open a Detector in each process") as caught:
            act(detector.backend)
        if act is not copy.copy:  # which shares the engine, in the same process
            with pytest.raises(BackendError, match="Open a Detector in each process"):
                act(detector)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "level"), [({}, "FATAL"), ({"OPENCV_LOG_LEVEL": "INFO"}, "INFO")]
)
def test_opencv_prints_nothing_unless_asked(given: dict[str, str], level: str) -> None:
    line = "import runtime, cv2; log = cv2.utils.logging; print(log.getLogLevel() == log.LOG_LEVEL_"
    environment = {k: v for k, v in os.environ.items() if k != "OPENCV_LOG_LEVEL"} | given
    done = subprocess.run(
        [sys.executable, "-c", f"{line}{level})"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_errors_and_the_reader_of_pictures_are_public() -> None:
    """What an except clause names, and what `detect` is given."""
    errors = [value for value in vars(runtime.errors).values() if isinstance(value, type)]
    kinds = {kind.__name__ for kind in errors if issubclass(kind, runtime.StarmarkError)}

    assert kinds <= set(runtime.__all__)
    assert runtime.read_picture(ROOT / "assets/test.jpg").shape == (768, 1024, 3)
