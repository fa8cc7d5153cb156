"""How crops become the network's input."""

from __future__ import annotations

import numpy as np
import pytest
from builders import noise

from runtime.spec import InputSpec


@pytest.mark.parametrize("count", [1, 3])
def test_crops_are_packed_in_the_published_order_of_operations(count: int) -> None:
    """X / 127.5 - 1 in float32, bit for bit, every value in every channel and place."""
    spec = InputSpec(size=32)
    crops = np.arange(count * 32 * 32 * 3).reshape(count, 32, 32, 3).astype(np.uint8)
    assert set(crops[0, ..., 2].ravel().tolist()) == set(range(256))
    packed = spec.pack(crops)

    assert packed.shape == (count, 3, 32, 32)
    assert packed.dtype == np.float32
    assert packed.flags.c_contiguous
    for channel in range(3):
        expected = crops[..., channel].astype(np.float32) / np.float32(127.5) - np.float32(1)
        np.testing.assert_array_equal(packed[:, channel], expected)


def test_packing_leaves_the_crops_and_earlier_batches_alone(rng: np.random.Generator) -> None:
    """Detectors are shared between threads, so no buffer is used twice."""
    spec = InputSpec(size=32)
    first, second = noise(rng, 32, 32)[None], noise(rng, 32, 32)[None]
    before = first.copy()
    packed = spec.pack(first)
    kept = packed.copy()
    spec.pack(second)

    np.testing.assert_array_equal(first, before)
    np.testing.assert_array_equal(packed, kept)
