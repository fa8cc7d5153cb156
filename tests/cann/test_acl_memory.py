"""Memory of the simulated acl: two address spaces, each piece of it known and watched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cann.acl_cycle import D2H, H2D, good, value
from cann.control import Control

H2H, D2D, DEFAULT = 0, 3, 4


@pytest.fixture
def device(npu: Control) -> Any:
    """The module with device 0 set in this thread, in a process of its own."""
    npu.reset(new_process=True)
    good(npu.acl.init())
    good(npu.acl.rt.set_device(0))
    return npu.acl


@pytest.fixture
def board(npu: Control) -> Any:
    """The same on a board that is its own host."""
    npu.reset(new_process=True, soc="Ascend310B4", rc=True)
    good(npu.acl.init())
    good(npu.acl.rt.set_device(0))
    return npu.acl


def test_fresh_device_memory_is_noise(device: Any) -> None:
    """NaN as float32 and as float16, and aligned to 64 bytes; pinned memory likewise."""
    there, here = value(device.rt.malloc(1000, 0)), value(device.rt.malloc_host(1000))
    assert there % 64 == here % 64 == 0
    good(device.rt.memcpy(here, 1000, there, 1000, D2H))
    assert np.isnan(device.util.ptr_to_numpy(here, (250,), 11)).all()
    assert np.isnan(device.util.ptr_to_numpy(here, (500,), 23)).all()
    good(device.rt.free(there))
    good(device.rt.free_host(here))
    good(device.rt.reset_device(0))


def test_sizes_and_policies_are_checked(device: Any) -> None:
    """0 bytes and unknown policies are 100000."""
    assert device.rt.malloc(0, 0) == (0, 100000)
    assert device.rt.malloc_host(0) == (0, 100000)
    assert device.rt.malloc(4, 9) == (0, 100000)
    good(device.rt.reset_device(0))


@pytest.mark.parametrize(
    ("target", "source", "kind", "code"),
    [
        ("device", "pinned", H2D, 0),
        ("pinned", "device", D2H, 0),
        ("device", "device", D2D, 0),
        ("pinned", "pinned", H2H, 0),
        ("pinned", "device", DEFAULT, 0),
        ("device", "bytes", H2D, 0),
        ("pinned", "device", H2D, 107000),
        ("device", "pinned", D2H, 107000),
        ("pinned", "pinned", H2D, 107000),
        ("device", "device", H2H, 107000),
        ("device", "null", H2D, 100000),
        ("device", "pinned", 5, 100000),
    ],
)
def test_a_copy_s_kind_matches_its_addresses(
    device: Any, target: str, source: str, kind: int, code: int
) -> None:
    """Host and device are two address spaces."""
    data = bytes(range(16))
    places = {
        "device": value(device.rt.malloc(16, 0)),
        "pinned": value(device.rt.malloc_host(16)),
        "bytes": device.util.bytes_to_ptr(data),
        "null": 0,
    }
    assert device.rt.memcpy(places[target], 16, places[source], 16, kind) == code
    good(device.rt.free(places["device"]))
    good(device.rt.free_host(places["pinned"]))
    good(device.rt.reset_device(0))


def test_copies_stay_in_bounds(npu: Control, device: Any) -> None:
    """Count over dst_max is 107000; past an allocation, dst_max or not, a violation, too."""
    npu.expect_violations()
    there, here = value(device.rt.malloc(100, 0)), value(device.rt.malloc_host(200))
    assert device.rt.memcpy(there, 100, here, 101, H2D) == 107000
    assert npu.violations() == []
    assert device.rt.memcpy(there, 101, here, 101, H2D) == 107000
    assert device.rt.memcpy(there + 90, 20, here, 20, H2D) == 107000
    assert device.rt.memset(there, 200, 0, 200) == 107000
    assert device.rt.memcpy(here + 150, 100, there, 100, D2H) == 107000
    small = bytes(bytearray(50))
    assert device.rt.memcpy(there, 100, device.util.bytes_to_ptr(small), 100, H2D) == 107000
    assert len(npu.violations()) == 5
    good(device.rt.memcpy(there + 90, 10, here, 10, H2D))


def test_memory_is_freed_once_and_by_its_own_call(npu: Control, device: Any) -> None:
    """Double, foreign, mixed up and inner frees: 107000 and a violation each; so is a late use."""
    npu.expect_violations()
    there, here = value(device.rt.malloc(100, 0)), value(device.rt.malloc_host(100))
    assert device.rt.free(here) == 107000
    assert device.rt.free_host(there) == 107000
    assert device.rt.free(there + 64) == 107000
    good(device.rt.free(there))
    assert device.rt.free(there) == 107000
    good(device.rt.free_host(here))
    assert device.rt.free_host(here) == 107000
    assert device.rt.memset(there, 4, 0, 4) == 107000
    assert len(npu.violations()) == 6
    assert npu.leaks().keys() == {"device references"}


def test_the_host_cannot_read_device_memory(npu: Control, device: Any) -> None:
    """It would be a segmentation fault."""
    npu.expect_violations()
    there = value(device.rt.malloc(16, 0))
    with pytest.raises(RuntimeError, match="simulator: segmentation fault"):
        device.util.ptr_to_bytes(there, 16)
    with pytest.raises(RuntimeError, match="simulator: segmentation fault"):
        device.util.ptr_to_numpy(there, (4,), 11)

    assert len(npu.violations()) == 2


@pytest.mark.parametrize("kind", ["bytes", "array", "view"])
def test_dropped_host_memory_is_seen(npu: Control, device: Any, kind: str) -> None:
    """The address of bytes or of an array is good as long as somebody holds its memory."""
    npu.expect_violations()
    there = value(device.rt.malloc(400, 0))
    held = np.arange(100, dtype=np.float32)
    if kind == "bytes":
        held = held.tobytes()  # type: ignore[assignment]
        address = device.util.bytes_to_ptr(held)
    elif kind == "view":  # the array that owns the memory is what counts
        address = device.util.numpy_to_ptr(held[:])
    else:
        address = device.util.numpy_to_ptr(held)
    good(device.rt.memcpy(there, 400, address, 400, H2D))
    assert npu.violations() == []
    del held
    good(device.rt.memcpy(there, 400, address, 400, H2D))
    assert "was dropped" in npu.violations()[0]


def test_asynchronous_copies_want_pinned_memory(npu: Control, device: Any) -> None:
    """They work from other memory, and are no longer asynchronous: a violation."""
    npu.expect_violations()
    stream, there = value(device.rt.create_stream()), value(device.rt.malloc(8, 0))
    data = bytes(range(8))
    pointer = device.util.bytes_to_ptr(data)
    good(device.rt.memcpy_async(there, 8, pointer, 8, H2D, stream))
    good(device.rt.synchronize_stream(stream))
    assert "not pinned" in npu.violations()[0]


def test_host_memory_of_a_board_is_ordinary_memory(board: Any) -> None:
    """Not aligned to 64 bytes, and good for synchronous copies all the same."""
    assert board.rt.get_run_mode() == (0, 0)
    there, here = value(board.rt.malloc(24, 0)), value(board.rt.malloc_host(24))
    assert (there % 64, here % 64) == (0, 16)
    board.util.ptr_to_numpy(here, (6,), 11)[:] = range(6)
    good(board.rt.memcpy(there, 24, here, 24, H2D))
    board.util.ptr_to_numpy(here, (6,), 11)[:] = 0
    good(board.rt.memcpy(here, 24, there, 24, D2H))
    assert board.util.ptr_to_numpy(here, (6,), 11).tolist() == [0, 1, 2, 3, 4, 5]
    good(board.rt.free(there))
    good(board.rt.free_host(here))
    good(board.rt.reset_device(0))


@pytest.mark.parametrize("kind", [H2D, D2H])
def test_asynchronous_copies_want_aligned_addresses(npu: Control, board: Any, kind: int) -> None:
    """Multiples of 64 on both sides; else 107008, a violation, and nothing is queued."""
    npu.expect_violations()
    stream = value(board.rt.create_stream())
    there, here = value(board.rt.malloc(200, 0)), value(board.rt.malloc_host(200))
    even = here - here % 64 + 64
    for host, code in ((here, 107008), (even, 0)):
        to, origin = (there, host) if kind == H2D else (host, there)
        assert board.rt.memcpy_async(to, 8, origin, 8, kind, stream) == code
    assert board.rt.memcpy_async(there + 32, 8, even, 8, H2D, stream) == 107008
    assert ["not a multiple of 64" in text for text in npu.violations()] == [True, True]
    good(board.rt.synchronize_stream(stream))


def test_copying_nothing_is_no_error(device: Any) -> None:
    """Whatever the addresses: nothing is looked at."""
    assert device.rt.memcpy(0, 0, 0, 0, H2D) == 0
    assert device.rt.memcpy_async(0, 0, 0, 0, H2D, 0) == 0
    good(device.rt.reset_device(0))
