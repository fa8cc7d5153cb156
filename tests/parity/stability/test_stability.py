"""A source's questions to itself: planted answers, and the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from builders import ROOT
from numpy.typing import NDArray

from parity.samples import Sample
from parity.stability import __main__ as stability
from parity.stability.measure import Stability, elongation_of, stability_of
from parity.stability.report import StabilityReport
from runtime.backends.base import Backend, Outputs
from runtime.detector import Detector
from runtime.many.boxes import Box
from runtime.model.spec import spec_of

U8 = NDArray[np.uint8]
PLACE = Path("none.png")


class Dots(Backend):
    """Finds a bright dot, to the pixel: left, right and middle points all at the dot.

    Attributes:
        lean: crop px to the right of the dot that every point is said to lie.
        stuck: says the same place whatever it sees.
    """

    def __init__(self, points: int = 68, lean: float = 0.0, *, stuck: bool = False) -> None:
        self.name, self.device, self.spec = "dots", "cpu", spec_of(points=points)
        self.lean, self.stuck = lean, stuck

    def _run(self, batch: NDArray[Any]) -> Outputs:
        bright = batch[:, 1].reshape(len(batch), -1).argmax(axis=1)
        y, x = np.divmod(bright, 256)
        if self.stuck:
            x, y = x * 0 + 40, y * 0 + 50
        place = (np.stack([x + self.lean, y], axis=-1) * 2 + 1) / 256 - 1
        points = np.repeat(place[:, None], self.spec.points, axis=1).astype(np.float32)
        covariance = np.tile(
            np.array([0.04, 0, 0.01], np.float32), (len(batch), self.spec.points, 1)
        )
        return Outputs(landmarks=points, covariance=covariance)

    def _close(self) -> None:
        pass


def dot(x: int, y: int, size: int = 256) -> U8:
    picture = np.zeros((size, size, 3), np.uint8)
    picture[y, x] = 255
    return picture


def asked(
    backend: Backend, picture: U8, box_xyxy: Box | None = None, mode: str = "crop"
) -> Stability:
    """The answers on one picture, which is a crop, shown as a whole, or in a box."""
    sample = Sample(name="dot", path=PLACE, box_xyxy=box_xyxy, cropped=mode == "crop")
    with Detector(backend) as detector:
        return stability_of(detector, sample, picture)


@pytest.mark.parametrize("mode", ["crop", "whole", "box"])
def test_source_that_follows_the_picture_is_stable(mode: str) -> None:
    """The mirrored dot is found mirrored, and the moved dot moved: nothing is left."""
    picture = dot(100, 60)
    if mode == "whole":
        picture = np.repeat(np.repeat(picture, 4, axis=0), 3, axis=1)
    # a crop whose pixels are the picture's own: 230.4 px of box are 256 px of crop
    box = (12.3, 12.3, 242.7, 242.7) if mode == "box" else None
    found = asked(Dots(), picture, box, mode)

    assert found.flip_px is not None
    np.testing.assert_allclose(found.flip_px, 0, atol=1e-4)
    np.testing.assert_allclose(found.shift_px, 0, atol=1e-4)
    np.testing.assert_allclose(found.spread_px, 0.2 * 128, rtol=1e-6)
    np.testing.assert_allclose(found.elongation, 2, rtol=1e-6)


def test_source_that_leans_contradicts_its_mirror_image() -> None:
    """3 px to the right here are 3 px to the left there: 6 apart; a shift does not see it."""
    found = asked(Dots(lean=3.0), dot(100, 60))
    unknown = asked(Dots(points=5), dot(100, 60))  # an unknown mark-up has no mirror

    assert found.flip_px is not None
    np.testing.assert_allclose(found.flip_px, 6, atol=1e-4)
    np.testing.assert_allclose(found.shift_px, 0, atol=1e-4)
    assert unknown.flip_px is None
    np.testing.assert_allclose(unknown.shift_px, 0, atol=1e-4)


def test_source_that_does_not_look_moves_with_the_crop() -> None:
    """Always the same crop px: mapped back, exactly the pixel that the crop moved."""
    found = asked(Dots(stuck=True), dot(100, 60), (20.0, 20.0, 120.0, 120.0), "box")

    np.testing.assert_allclose(found.shift_px, 1, atol=1e-6)


def test_elongation_agrees_with_the_eigenvalues(rng: np.random.Generator) -> None:
    """Root of their ratio; a point without extent is round, a line is finite."""
    half = rng.normal(0, 0.1, (50, 2, 2))
    full = half @ half.transpose(0, 2, 1)
    covariance = np.stack([full[:, 0, 0], full[:, 0, 1], full[:, 1, 1]], -1).astype(np.float32)
    found = elongation_of(covariance)
    for n, (xx, xy, yy) in enumerate(covariance.astype(np.float64)):
        small, large = np.linalg.eigvalsh([[xx, xy], [xy, yy]])
        assert found[n] == pytest.approx(np.sqrt(large / small), rel=1e-3)
    assert elongation_of(np.zeros((1, 3), np.float32))[0] == 1
    assert np.isfinite(elongation_of(np.array([[1, 0, 0]], np.float32))).all()


def test_report_on_the_samples(
    starter_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The starter's own figures, in text and JSON, the same twice; noise is called unsure."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    shutil.copy(ROOT / "assets/sample.jpg", folder / "face.jpg")
    (folder / "broken.jpg").write_bytes(b"no picture")
    base = [str(starter_bundle), "--images", str(folder)]
    output = tmp_path / "report.json"
    assert stability.main([*base, "--output", str(output)]) == 0
    text = capsys.readouterr().out
    assert "1 pictures x 68 points, crop px; unsure here: 0 pictures" in text
    assert "left out: broken.jpg" in text
    assert stability.main([*base, "--json"]) == 0
    printed = capsys.readouterr().out
    report = msgspec.json.decode(printed, type=StabilityReport)

    assert printed == output.read_text()
    assert len(report.landmarks) == 68
    assert report.flip_px is not None
    assert 0 < report.shift_px.mean < 2
    assert 0 < report.flip_px.mean < 5
    assert stability.main([*base, "--strict"]) == 2


def test_noise_is_unsure(
    starter_bundle: Path,
    tmp_path: Path,
    rng: np.random.Generator,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No face: every answer contradicts every other."""
    import cv2

    cv2.imwrite(str(tmp_path / "noise.png"), rng.integers(0, 256, (256, 256, 3), np.uint8))
    assert stability.main([str(starter_bundle), "--images", str(tmp_path), "--json"]) == 0
    (picture,) = json.loads(capsys.readouterr().out)["pictures"]

    assert picture["unsure"]
    assert len(picture["unsure_points"]) > 34
    assert stability.main([str(starter_bundle), "--images", str(tmp_path)]) == 0
    assert "<- unsure here" in capsys.readouterr().out
