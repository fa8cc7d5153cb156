"""How crops become the network's input."""

from __future__ import annotations

import numpy as np
import pytest
from builders import noise

from runtime.model.spec import InputSpec, spec_of


@pytest.mark.parametrize(("mean", "scale", "count"), [(127.5, 127.5, 1), (96.0, 64.0, 3)])
def test_crops_are_packed_in_the_published_order_of_operations(
    mean: float, scale: float, count: int
) -> None:
    """X / 127.5 - 1 in float32, bit for bit, every value in every channel and place."""
    spec = InputSpec(size=32, mean=mean, scale=scale)
    crops = np.arange(count * 32 * 32 * 3).reshape(count, 32, 32, 3).astype(np.uint8)
    assert set(crops[0, ..., 2].ravel().tolist()) == set(range(256))
    packed = spec.pack(crops)

    assert packed.shape == (count, 3, 32, 32)
    assert packed.dtype == np.float32
    assert packed.flags.c_contiguous
    for channel in range(3):
        scaled = crops[..., channel].astype(np.float32) / np.float32(scale)
        np.testing.assert_array_equal(packed[:, channel], scaled - np.float32(mean / scale))


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


@pytest.mark.parametrize("bytes_in", [True, False])
def test_a_batch_is_of_the_inputs_own_shape_and_lies_where_it_is_wanted(
    rng: np.random.Generator, *, bytes_in: bool
) -> None:
    """A model that normalises takes the crops as they are, channels last."""
    spec = spec_of(points=68, size=32, bytes_in=bytes_in).input
    crops = [noise(rng, 32, 32) for _ in range(3)]
    packed = spec.pack(crops)
    out = np.zeros_like(packed)

    assert packed.shape == spec.shape(3) == ((3, 32, 32, 3) if bytes_in else (3, 3, 32, 32))
    assert packed.dtype == spec.dtype
    assert spec.pack(crops, out) is out
    np.testing.assert_array_equal(out, packed)
    np.testing.assert_array_equal(spec.pack(crops[1:2]), packed[1:2])
    if bytes_in:
        np.testing.assert_array_equal(packed, crops)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_batch_of_another_length_than_its_crops_is_refused(
    rng: np.random.Generator, rows: int
) -> None:
    """Else a crop would be dropped, or a row be left as an earlier call filled it."""
    spec = InputSpec(size=32)
    crops = [noise(rng, 32, 32) for _ in range(2)]
    with pytest.raises(ValueError, match="zip"):
        spec.pack(crops, np.zeros(spec.shape(rows), np.float32))
