"""The pictures that ranges are taken from, and those that the budget is held on: never the same."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.int8.table import Int8Table
from parity.boxes import box_of_points, points_file, read_pts
from parity.samples import Sample, default_samples, find_samples
from runtime.cli import command_line
from runtime.errors import ConfigError
from runtime.image.crop import crop_as
from runtime.many.boxes import Box

logger = logging.getLogger("starmark")

# Of so many pictures, every one of this number is set aside for validation.
SET_ASIDE = 3
FEWEST = 2
# Fewer say little about the ranges, or the 99th percentile, of what a camera will show.
FEWEST_FOR_A_WORD = 16
# Cuts of an embedded picture: 24 to calibrate with, 12 to judge by.
EMBEDDED_CUTS = (24, 12)
SCALES = (0.85, 1.35)
LARGEST_SHIFT = 0.12


@dataclass(frozen=True, kw_only=True)
class Int8Pictures:
    """What an int8 export looks at.

    Attributes:
        calibration: the ranges are theirs.
        validation: the budget is held on these; the calibration never sees them.
        embedded: nobody named any, so that both are cuts of the project's own portrait.
    """

    calibration: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    embedded: bool


def choose_pictures(table: Int8Table) -> Int8Pictures:
    """Find the pictures, and hold the two sets apart.

    Raises:
        InputError: no pictures where some are named, one that cannot be read, or embedded ones that
            are missing.
        ConfigError: too few, or a picture in both sets, under whatever name.
    """
    if not table.calibration:
        return _embedded()
    calibration = find_samples(table.calibration)
    if table.validation:
        validation = find_samples(table.validation)
    else:
        aside = slice(SET_ASIDE - 1, None, SET_ASIDE)
        validation = calibration[aside]
        del calibration[aside]
    for name, samples in (("calibration", calibration), ("validation", validation)):
        _check_enough(name, samples)
        for sample in command_line.progress(samples, f"Reading {name}", len(samples)):
            sample.read()  # now, and not after a minute of exporting
    _check_apart(calibration, validation)
    return Int8Pictures(
        calibration=tuple(calibration), validation=tuple(validation), embedded=False
    )


def crops_of(samples: Sequence[Sample], size: int) -> NDArray[np.uint8]:
    """Cut every sample out as the network will see it.

    Returns:
        uint8 (N, size, size, 3) BGR.

    Raises:
        InputError: a picture that cannot be read or used: one that is left out in silence would
            move the ranges, or the verdict.
    """
    crops = [
        crop_as(s.read(), s.box_xyxy, size, cropped=s.is_crop_of(size)).pixels for s in samples
    ]
    return np.stack(crops)


def _check_enough(name: str, samples: Sequence[Sample]) -> None:
    if len(samples) < FEWEST:
        raise ConfigError(
            f"--{name}",
            expected=f"at least {FEWEST} pictures",
            got=str(len(samples)),
            action="Name more: what the camera will show, some dozens of people",
        )
    if len(samples) < FEWEST_FOR_A_WORD:
        logger.warning(
            "WARNING: %d pictures for %s: fewer than %d say little about what a camera will show",
            len(samples),
            name,
            FEWEST_FOR_A_WORD,
        )


def _check_apart(calibration: Sequence[Sample], validation: Sequence[Sample]) -> None:
    seen = {sample.sha256: sample for sample in calibration}
    both = [sample for sample in validation if sample.sha256 in seen]
    if both:
        raise ConfigError(
            "--validation",
            expected="pictures that the calibration has not seen",
            got=f"{len(both)} of {len(validation)} that it has, the first {both[0].name}, which is"
            f" {seen[both[0].sha256].name}",
            action="Name others, or leave --validation out: every third picture is then set aside",
        )


def _embedded() -> Int8Pictures:
    """Cuts of the sample photo for the ranges, and of the sample crop for the verdict."""
    logger.warning(
        "WARNING: int8 is calibrated and judged on cuts of one embedded portrait, which says little"
        " about other faces: name your own pictures with --calibration"
    )
    chosen = [
        tuple(_cuts(sample, count))
        for sample, count in zip(default_samples(), EMBEDDED_CUTS, strict=True)
    ]
    return Int8Pictures(calibration=chosen[0], validation=chosen[1], embedded=True)


def _cuts(sample: Sample, count: int) -> list[Sample]:
    """The face in boxes of other sizes and places, the same ones every time."""
    x1, y1, x2, y2 = box_of_points(read_pts(points_file(sample.path)), str(sample.path))
    rng = np.random.default_rng(0)
    cuts: list[Sample] = []
    for index in range(count):
        scale = rng.uniform(*SCALES)
        dx, dy = rng.uniform(-LARGEST_SHIFT, LARGEST_SHIFT, 2)
        middle_x, middle_y = (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1)
        half_w, half_h = (x2 - x1) * scale / 2, (y2 - y1) * scale / 2
        box: Box = (middle_x - half_w, middle_y - half_h, middle_x + half_w, middle_y + half_h)
        name = f"{sample.name} cut {index + 1}"
        cuts.append(Sample(name=name, path=sample.path, box_xyxy=box))
    return cuts
