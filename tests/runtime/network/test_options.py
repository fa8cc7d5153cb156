"""STAR's options, against what its published code answers with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from star_networks import network_of

from runtime.model.spec import Architecture

# Points 0, 7, 16 and 28 of `picture` in [-1, 1], by the published StackedHGNetV1 (STAR's
# lib/backbone/stackedHGNetV1.py at 9b12574, in float64, COFW's edges, in_channel=8).
PUBLISHED = {
    ("use_AAM", "add_coord", 256): (
        *(0.443001, 0.716683, -0.492281, -0.699854),
        *(-0.1025, -0.30729, 0.590253, 0.678576),
    ),
    ("", "add_coord", 256): (
        *(0.259261, 0.421119, -0.537688, -0.630087),
        *(-0.311874, -0.385923, 0.513193, 0.528727),
    ),
    ("use_AAM", "", 256): (
        *(-0.081212, 0.338245, -0.306431, 0.128133),
        *(-0.337159, 0.131613, -0.310733, 0.232814),
    ),
    ("", "", 256): (
        *(-0.333742, 0.373924, -0.318568, 0.093061),
        *(-0.301563, 0.05935, -0.278972, 0.202292),
    ),
    ("use_AAM", "add_coord", 128): (
        *(0.465895, 0.71973, -0.516122, -0.680836),
        *(-0.401509, -0.502287, 0.614583, 0.62582),
    ),
}


@pytest.mark.parametrize(("aam", "coord", "size"), list(PUBLISHED))
def test_options_answer_as_the_published_code(aam: str, coord: str, size: int) -> None:
    """With and without point and edge maps, coordinate channels, and at another size."""
    architecture = Architecture(
        stacks=4,
        depth=4,
        channels=8,
        stem=64,
        points=29,
        contours=7 if aam else 0,
        size=size,
        **({} if coord else {"add_coord": False}),
    )
    picture = np.random.default_rng(7).integers(0, 256, (1, 3, size, size))
    crop = torch.from_numpy((picture / 127.5 - 1).astype(np.float32))
    with torch.inference_mode():
        landmarks = network_of(architecture)(crop)[0][0, [0, 7, 16, 28]]

    expected = np.array(PUBLISHED[aam, coord, size]).reshape(4, 2)
    np.testing.assert_allclose(landmarks.numpy(), expected, atol=2e-5)
