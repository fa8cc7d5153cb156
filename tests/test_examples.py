"""The examples, run as a reader would."""

from __future__ import annotations

import ast
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from builders import ROOT, run_python
from numpy.typing import NDArray

from runtime.detector import Detector
from runtime.image.picture import read_picture

EXAMPLES = ROOT / "examples"
PHOTO, CROP = ROOT / "assets/test.jpg", ROOT / "assets/sample.jpg"


def example(name: str, *arguments: object) -> str:
    done = run_python(EXAMPLES / name, *arguments, PYTHONPATH=str(ROOT), PYTHONWARNINGS="ignore")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def noses(starter_bundle: Path) -> dict[Path, NDArray[np.float32]]:
    """What the Detector says of both pictures."""
    with Detector(starter_bundle, "cpu") as detector:
        return {path: detector.detect(read_picture(path)).points_px[30] for path in (PHOTO, CROP)}


def said_of(line: str, path: Path) -> NDArray[np.float64]:
    return np.array(ast.literal_eval(line.removeprefix(str(path)).strip()))


def test_every_example_is_listed_and_tested() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    tested = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f"`{path.name}`" in listed
        assert f'example("{path.name}"' in tested


SNIPPETS = """
from inference import FaceLandmarkDetector, draw_landmarks_with_contours
import cv2

detector = FaceLandmarkDetector('pytorch_model.pkl', device='cpu')
image = cv2.imread('assets/test.jpg')
landmarks = detector.detect(image)
assert landmarks.shape == (68, 2)
cropped = cv2.imread('assets/sample.jpg')
assert (detector.detect_from_cropped(cropped) * 2).shape == (68, 2)
landmarks = detector.detect(image, face_bbox=(100, 50, 500, 450))
result = draw_landmarks_with_contours(image, landmarks)
cv2.imwrite('result.png', result)
"""


@pytest.mark.slow
def test_the_published_ports_own_calls_work_unchanged(tiny: Path, tmp_path: Path) -> None:
    """In a folder like its own: code, weights and pictures beside each other, and no NPU here."""
    for path in (EXAMPLES / "reference_port").glob("*.py"):
        assert f"`reference_port/{path.name}`" in (EXAMPLES / "README.md").read_text()
        assert len(path.read_text().splitlines()) < 60
        shutil.copy(path, tmp_path)
    shutil.copytree(PHOTO.parent, tmp_path / "assets")
    shutil.copy(tiny, tmp_path / "pytorch_model.pkl")
    (tmp_path / "yunet.onnx").write_bytes(b"")  # a finder that is there is not asked
    calls = [
        "inference.py --input assets/test.jpg --output a.png --device cpu --contour",
        "inference.py --input assets/sample.jpg --output b.png --device cpu --cropped --contour",
        "benchmark.py --device_npu none --device_cpu cpu --runs 10 --output benchmark_report.json",
        "inference.py --input assets/test.jpg --output c.png",
    ]
    api = run_python("-c", SNIPPETS, cwd=tmp_path, PYTHONPATH=str(ROOT))
    photo, crop, benchmark, no_npu = (
        run_python(*call.split(), cwd=tmp_path, PYTHONPATH=str(ROOT)) for call in calls
    )

    assert (api.returncode, photo.returncode, crop.returncode) == (0, 0, 0), photo.stderr
    assert "参数量：9,646" in photo.stdout  # noqa: RUF001  # Chinese
    assert "人脸" not in photo.stdout
    assert read_picture(tmp_path / "b.png").shape == (256, 256, 3)
    assert benchmark.returncode in {0, 4}, benchmark.stderr  # a busy machine makes a run invalid
    assert "参考实现的指标" in benchmark.stdout
    assert json.loads((tmp_path / "benchmark_report.json").read_text())["sources"]
    assert (tmp_path / "benchmark_report_cpu_test.jpg").is_file()
    assert (no_npu.returncode, no_npu.stdout) == (3, "")


def test_service_answers_everything(
    starter_bundle: Path, noses: dict[Path, NDArray[np.float32]]
) -> None:
    lines = example("service.py", starter_bundle, PHOTO, CROP).splitlines()
    photo, crop, bad = (json.loads(line) for line in lines)
    assert np.allclose(photo["points_px"][30], noses[PHOTO], atol=0.01)
    assert np.allclose(crop["points_px"][30], noses[CROP], atol=0.01)
    assert "that no decoder takes" in bad["error"]


def test_data_loader_gives_every_picture(
    starter_bundle: Path, noses: dict[Path, NDArray[np.float32]], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    lines = example("data_loader.py", starter_bundle, PHOTO, bad, CROP).splitlines()
    assert np.allclose(said_of(lines[0], PHOTO), noses[PHOTO], atol=0.1)
    assert np.allclose(said_of(lines[1], CROP), noses[CROP], atol=0.1)
    assert lines[2].startswith(f"{bad} failed:")


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
def test_ray_gives_every_row(
    starter_bundle: Path, noses: dict[Path, NDArray[np.float32]], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    lines = example("on_ray.py", starter_bundle, PHOTO, bad, CROP).splitlines()
    found = {line.split()[0]: line for line in lines}
    assert np.allclose(said_of(found[str(PHOTO)], PHOTO), noses[PHOTO], atol=1e-4)
    assert np.allclose(said_of(found[str(CROP)], CROP), noses[CROP], atol=1e-4)
    assert "failed:" in found[str(bad)]


def test_threads_and_processes(
    starter_bundle: Path, noses: dict[Path, NDArray[np.float32]]
) -> None:
    """Both ways of processes and threads agree; in a fork of an open one it says what to do."""
    lines = example("threads_and_processes.py", starter_bundle, PHOTO).splitlines()
    said = dict(line.split(": ", 1) for line in lines)
    assert list(said) == ["forked", "spawned", "threads", "used in a fork"]
    for way in ("forked", "spawned", "threads"):
        answers = np.array(ast.literal_eval(said[way]))
        assert answers.shape == (2, 2)
        assert np.allclose(answers, noses[PHOTO], atol=0.1)
    assert "Open a Detector in each process" in said["used in a fork"]
