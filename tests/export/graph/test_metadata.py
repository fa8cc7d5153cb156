"""What an exported graph says of itself is enough to use it with onnxruntime and numpy alone."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from builders import PHOTO_BOX
from onnxruntime import InferenceSession

from export.graph.metadata import point_names
from runtime import Detector
from runtime.image.crop import crop_face
from runtime.image.picture import read_picture
from runtime.info.__main__ import describe
from runtime.model.topology import FACE_29, FACE_98, Topology
from runtime.version import VERSION

pytestmark = pytest.mark.slow

PICTURE = Path("assets/test.jpg")


def _metadata(graph: Path) -> dict[str, str]:
    found: dict[str, str] = InferenceSession(str(graph)).get_modelmeta().custom_metadata_map
    return found


def _formula(text: str, **values: Any) -> Any:
    """A formula as a reader would type it into Python."""
    return eval(text, {}, values)  # noqa: S307  # of our own graph


def test_stranger_finds_the_points_by_the_metadata_alone(starter_bundle: Path) -> None:
    """The input and the way back to the picture, taken from the text; the points are ours."""
    graph = starter_bundle / "model.onnx"
    said = _metadata(graph)
    picture = read_picture(PICTURE)
    assert said["input.color"] == "BGR"
    width, height = json.loads(said["imgsz"])
    crop = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    normalised = _formula(said["input.normalisation"].partition(",")[0], pixel=crop.astype("f4"))
    fed = np.asarray(normalised, np.float32).transpose(2, 0, 1)[None]
    outputs = InferenceSession(str(graph)).run(
        json.loads(said["output.names"]), {said["input.name"]: fed}
    )
    crop_px = _formula(said["landmarks.crop_px"].partition(";")[0], p=outputs[0][0])
    to_x = said["landmarks.image_px"].partition(" x = ")[2].partition(",")[0]
    x = _formula(to_x, x_crop_px=crop_px[:, 0], W=picture.shape[1])
    y = _formula(to_x, x_crop_px=crop_px[:, 1], W=picture.shape[0])

    with Detector(starter_bundle, "cpu") as detector:
        ours = detector.detect(picture)
    assert np.abs(np.stack([x, y], axis=1) - ours.points_px).max() < 1e-3


def test_face_box_is_cropped_as_described(starter_bundle: Path) -> None:
    """A warp by the text's scale and middle is the crop that the detector makes."""
    said = _metadata(starter_bundle / "model.onnx")
    x1, y1, x2, y2 = PHOTO_BOX
    picture = read_picture(PICTURE)
    scale = _formula(said["input.crop_scale"], x1=x1, y1=y1, x2=x2, y2=y2)
    middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    assert "(image_px - box middle) * scale + 127.5, bilinear" in said["input.crop"]
    shift = 127.5 - middle * scale
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    crop = cv2.warpAffine(picture, matrix, json.loads(said["imgsz"]))

    ours = crop_face(picture, PHOTO_BOX, 256).pixels
    assert np.abs(crop.astype(int) - ours).max() <= 4  # OpenCV's warps differ by rounding


def test_keys_are_those_of_the_ecosystem(starter_bundle: Path) -> None:
    """Each as Ultralytics' loader reads it: numbers by int, lists and mappings as literals."""
    said = _metadata(starter_bundle / "model.onnx")
    literal = {key: ast.literal_eval(said[key]) for key in ("imgsz", "names", "kpt_shape", "args")}

    assert {"description", "author", "version", "license", "task"} <= said.keys()
    assert (int(said["stride"]), int(said["batch"]), int(said["channels"])) == (4, 1, 3)
    assert literal["imgsz"] == [256, 256]
    assert literal["kpt_shape"] == [68, 2]
    assert literal["names"] == {"0": "face"}
    assert literal["args"]["opset"] == 13
    assert literal["args"]["dynamic"] == 1
    assert "date" not in said


def test_points_have_names_in_their_order(starter_bundle: Path) -> None:
    """Contour and number; mirrored, every point's name changes its side and nothing else."""
    said = _metadata(starter_bundle / "model.onnx")
    names = json.loads(said["kpt_names"])["0"]
    assert [names[i] for i in (0, 30, 36, 45, 67)] == [
        "jaw 0",
        "nose bridge 30",
        "right eye 36",
        "left eye 45",
        "inner lip 67",
    ]
    sides = {"right": "left", "left": "right"}
    for name, mirrored in zip(names, json.loads(said["flip_idx"]), strict=True):
        side, *rest = name.split()[:-1]
        assert names[mirrored].split()[:-1] == [sides.get(side, side), *rest]


@pytest.mark.parametrize("topology", [FACE_98, FACE_29])
def test_other_markups_have_names_too(topology: Topology) -> None:
    assert len(set(point_names(topology))) == topology.points


def test_info_prints_them(starter_bundle: Path) -> None:
    facts, faults = describe(starter_bundle / "model.onnx")

    assert not faults
    assert facts["metadata"] == _metadata(starter_bundle / "model.onnx")
    assert facts["producer"] == f"starmark {VERSION}"
