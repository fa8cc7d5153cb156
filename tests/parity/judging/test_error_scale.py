"""The error scale: planted errors are recovered, bad ones refused, and what is kept is used."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from builders import STARTER
from numpy.typing import NDArray
from recordings import recording_of

from parity.judging.error_scale import learn_scale
from parity.record import __main__ as record
from parity.recording.recording import Recording
from runtime.detector import Detector
from runtime.errors import InputError
from runtime.image.picture import read_picture
from runtime.model.manifest import read_manifest
from runtime.model.topology import FACE_68

F64 = NDArray[np.float64]
PLANTED = {name: 0.1 * (1 + index) for index, name in enumerate(FACE_68.regions)}


def with_covariance(rng: np.random.Generator, pictures: int = 48) -> tuple[Recording, F64]:
    """A recording with ellipses of many shapes, and the same as (N, P, 2, 2), photo px2."""
    here = recording_of(rng, pictures=pictures)
    half = rng.normal(0, 0.05, (pictures, 68, 2, 2))
    full = half @ half.transpose(0, 1, 3, 2) + 0.003 * np.eye(2)
    covariance = full[..., [0, 0, 1], [0, 1, 1]].astype(np.float32)
    linear = here.image_from_crop[0, :2, :2] * 128
    return dataclasses.replace(here, covariance=covariance), linear @ full @ linear.T


def annotated(
    rng: np.random.Generator, noise: F64, scale: F64 | float, pictures: int = 48
) -> Recording:
    """Marks around the points, noise (N, P, 2) of unit variance widened as the scale has it.

    The variance is round in the photo: scale times the root of each covariance's determinant there.
    """
    here, matrices_px2 = with_covariance(rng, pictures)
    sigma = np.sqrt(scale * np.sqrt(np.linalg.det(matrices_px2)))
    return dataclasses.replace(here, annotations_px=here.points_px + noise * sigma[..., None])


def planted(rng: np.random.Generator, noise: F64, pictures: int = 48) -> Recording:
    by_point = np.empty(68)
    for name, points in FACE_68.regions.items():
        by_point[points] = PLANTED[name]
    return annotated(rng, noise, by_point, pictures)


def test_a_planted_scale_is_recovered_and_holds(rng: np.random.Generator) -> None:
    """By region, and with a Gaussian's shares on the pictures that it was not learnt from."""
    recording = planted(rng, rng.normal(size=(48, 68, 2)))
    marks = recording.annotations_px.copy()
    marks[5, 40] = np.nan
    marks[9] = np.nan
    found = learn_scale(dataclasses.replace(recording, annotations_px=marks))

    assert found.scale.pictures == 47
    assert found.scale.regions == pytest.approx(PLANTED, rel=0.15)
    assert found.scale.within == pytest.approx((0.393, 0.865), abs=0.02)
    assert found.holds
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    sigma, distance = [], []
    linear = recording.image_from_crop[0, :2, :2]
    for n, p in zip(*np.nonzero(~np.isnan(marks[..., 0])), strict=True):
        xx, xy, yy = (float(moment) for moment in recording.covariance[n, p])
        region = next(name for name, points in FACE_68.regions.items() if p in points)
        sigma.append((found.scale.regions[region] * (xx * yy - xy * xy) ** 0.5) ** 0.5)
        distance.append(float(np.linalg.norm(marks[n, p] - recording.points_px[n, p])))
    expected = stats.spearmanr(sigma, distance).statistic
    assert found.rank_correlation == pytest.approx(expected, abs=1e-6)
    offset = np.linalg.solve(linear, np.nanmean(marks - recording.points_px, axis=(0, 1)))
    assert found.offset_crop_px == pytest.approx(offset, abs=1e-6)


def test_shares_are_of_pictures_that_had_no_part_in_the_scale(rng: np.random.Generator) -> None:
    """Learnt anew by the product without each run of eight, and counted there by hand."""
    noise = rng.normal(size=(48, 68, 2)) * rng.uniform(0.3, 3, (48, 1, 1))
    recording = planted(rng, noise)
    ratios = []
    for first in range(0, 48, 8):
        rest = np.r_[:first, first + 8 : 48]
        columns = ("landmarks", "covariance", "image_from_crop", "annotations_px")
        part = {name: getattr(recording, name)[rest] for name in columns}
        learnt = learn_scale(dataclasses.replace(recording, **part)).scale.regions
        for name, points in FACE_68.regions.items():
            squared = (noise[first : first + 8, points] ** 2).sum(axis=-1)
            ratios += (squared * PLANTED[name] / learnt[name]).ravel().tolist()

    expected = [float(np.mean(np.array(ratios) <= limit)) for limit in (1, 4)]
    assert learn_scale(recording).scale.within == pytest.approx(expected, abs=1e-3)


def test_raw_shares_are_those_of_the_covariance_itself(rng: np.random.Generator) -> None:
    """Errors drawn from it lie within one and two sigma as often as a Gaussian's do."""
    here, matrices_px2 = with_covariance(rng)
    half = np.linalg.cholesky(matrices_px2)
    error_px = np.einsum("npij,npj->npi", half, rng.normal(size=(48, 68, 2)))
    found = learn_scale(dataclasses.replace(here, annotations_px=here.points_px + error_px))

    assert found.raw == pytest.approx((0.393, 0.865), abs=0.02)


def test_what_does_not_hold_elsewhere_is_judged_so(rng: np.random.Generator) -> None:
    """Errors without a scale of their own, pictures that differ from part to part, and too few."""
    assert not learn_scale(planted(rng, rng.standard_cauchy((48, 68, 2)))).holds
    noise = rng.normal(size=(48, 68, 2))
    noise[40:] *= 5  # the last part, which the others then judge
    assert not learn_scale(planted(rng, noise)).holds
    with pytest.raises(InputError, match="at least 24 annotated pictures, got 23"):
        learn_scale(planted(rng, noise[:23], 23))


def test_a_bundle_keeps_a_scale_that_holds_and_no_other(
    starter_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit 0 and 1; its detector then gives sigma, which without one is None: raw."""
    bundle = Path(shutil.copytree(starter_bundle, tmp_path / "bundle"))
    picture = read_picture(Path(record.__file__).parents[2] / "assets/test.jpg")
    before = (bundle / "manifest.json").read_bytes()
    given = [planted(rng, rng.standard_cauchy((48, 68, 2)))]
    monkeypatch.setattr(record, "record", lambda *_, **__: given)
    with Detector(bundle) as detector:
        raw = detector.detect(picture)
    assert raw.sigma_px is None
    assert record.main([str(bundle), "--error-scale"]) == 1
    assert (bundle / "manifest.json").read_bytes() == before
    given[0] = planted(rng, rng.normal(size=(48, 68, 2)))
    assert record.main([str(bundle), "--error-scale"]) == 0

    kept = read_manifest(bundle).error_scale
    assert kept == learn_scale(given[0]).scale
    with Detector(bundle) as detector:
        (face,) = detector.detect_faces(picture)
    sigma_px = face.landmarks.sigma_px
    assert sigma_px is not None
    matrix = face.landmarks.covariance_px2[30][[0, 1, 1, 2]].reshape(2, 2).astype(float)
    expected = (kept.regions["nose bridge"] * np.linalg.det(matrix) ** 0.5) ** 0.5
    assert sigma_px[30] == pytest.approx(expected, rel=1e-4)
    assert face.record()["sigma_px"][30] == pytest.approx(expected, abs=1e-3)
    np.testing.assert_array_equal(face.landmarks.covariance_px2, raw.covariance_px2)
    assert record.main([str(STARTER), "--error-scale"]) == 2
    assert "expected a bundle, whose manifest keeps it" in capsys.readouterr().err
