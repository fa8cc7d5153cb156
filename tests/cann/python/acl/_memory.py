"""Two address spaces: the device's, which no pointer of the host reaches, and the host's."""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from . import _host
from ._objects import U8, Allocation, HostBlock
from ._state import DEVICE_BASE, Refused, state

DEVICE_END = 0x0013_0000_0000_0000
ALIGNMENT, ORDINARY_ALIGNMENT = 64, 16
# Of what was freed, this much is remembered, so that a late use is told from a wild one.
KEPT_ALLOCATIONS = 4096
KEPT_HOST_BYTES, KEPT_HOST_BLOCKS = 64 << 20, 64
_noise = np.random.default_rng(0xA5CE)


@dataclass(frozen=True)
class Place:
    """Bytes that a copy reads or writes. `space` is device, pinned or pageable."""

    space: str
    data: U8


def noise(size: int) -> U8:
    """Bytes as fresh device memory holds them: NaN as float32 and float16, absurd as integers."""
    words = _noise.integers(0, 256, ((size + 3) // 4, 4), dtype=np.uint8)
    words[:, 1] |= 0x7E
    words[:, 1] &= 0x7F
    words[:, 0] |= 1
    words[:, 2] = 0xC0 | (words[:, 2] & 0x3F)
    words[:, 3] = 0x7F
    return words.reshape(-1)[:size].copy()


def is_device(address: int) -> bool:
    """Whether an address lies where device memory does."""
    return DEVICE_BASE <= address < DEVICE_END


def used_bytes(device: int) -> int:
    """Of a device's memory: allocations as they are rounded, and models."""
    held = sum(
        _rounded(a.size) for a in state.allocations if a.device == device and a.data is not None
    )
    models = (m.artifact for m in state.models.values() if m.device == device)
    return held + sum(a.work_bytes + a.weight_bytes for a in models)


def allocate(size: int, device: int) -> int:
    """Device memory full of noise, at an address that was never given before."""
    if size <= 0:
        raise Refused(100000, f"a size of {size} bytes")
    used = used_bytes(device) + _rounded(size)
    if used > state.settings.memory_bytes:
        raise Refused(207001, f"out of device memory: {size} bytes asked for, {used} with it")
    state.peak("device bytes", used)
    address = state.next_address
    # a gap, so that what runs over an end hits nothing
    state.next_address += -(-(_rounded(size) + 4096) // ALIGNMENT) * ALIGNMENT
    if len(state.allocations) > KEPT_ALLOCATIONS:
        state.allocations = [a for a in state.allocations if a.data is not None]
    state.allocations.append(Allocation(address, size, device, noise(size)))
    return address


def release(address: int) -> None:
    """Free what `allocate` gave."""
    found = _allocation(address)
    if found is None or found.address != address:
        kind = "pinned host memory" if _block(address) else "an address that malloc never gave"
        state.violate(f"rt.free({address:#x}): {kind}")
        raise Refused(107000, f"cannot free {address:#x}: {kind}")
    if found.data is None:
        state.violate(f"rt.free({address:#x}): freed twice")
        raise Refused(107000, f"cannot free {address:#x}: it is free already")
    if found.users:
        state.violate(f"rt.free({address:#x}): an execution still uses it")
    found.data = None


def allocate_host(size: int, device: int) -> int:
    """Pinned host memory, full of noise too. In RC mode it is ordinary memory of the host."""
    if size <= 0:
        raise Refused(100000, f"a size of {size} bytes")
    # numpy's own blocks need not be aligned; ordinary ones are to 16 bytes
    odd = ORDINARY_ALIGNMENT if state.settings.rc else 0
    whole = noise(size + ALIGNMENT + odd)
    skip = -whole.ctypes.data % ALIGNMENT + odd
    data = whole[skip : skip + size]
    block = HostBlock(data.ctypes.data, size, device, data)
    state.host_blocks[block.address] = block
    return block.address


def release_host(address: int) -> None:
    """Free what `allocate_host` gave. It stays mapped, as noise, so that a stale view shows."""
    found = state.host_blocks.get(address)
    if found is None:
        kind = "device memory" if is_device(address) else "an address that malloc_host never gave"
        state.violate(f"rt.free_host({address:#x}): {kind}")
        raise Refused(107000, f"cannot free {address:#x}: {kind}")
    if found.freed:
        state.violate(f"rt.free_host({address:#x}): freed twice")
        raise Refused(107000, f"cannot free {address:#x}: it is free already")
    found.freed = True
    found.data[:] = noise(found.size)
    freed = [block for block in state.host_blocks.values() if block.freed]
    total = sum(block.size for block in freed)
    for index, block in enumerate(freed):
        if total > KEPT_HOST_BYTES or len(freed) - index > KEPT_HOST_BLOCKS:
            total -= block.size
            del state.host_blocks[block.address]


def place(address: int, count: int, what: str) -> Place:
    """The bytes at an address.

    Raises:
        Refused: nothing is there, or less than `count` bytes.
    """
    if is_device(address):
        return Place("device", device_bytes(address, count, what))
    block = _block(address)
    if block is not None:
        if block.freed:
            state.violate(f"{what}: pinned host memory at {address:#x} after free_host")
        offset = address - block.address
        _within(block.size - offset, count, what)
        return Place("pinned", block.data[offset : offset + count])
    if not 0xFFFF < address < 1 << 47:
        raise Refused(100000, f"{what}: {address:#x} is no address")
    known = _host.known(address)
    if known is not None:
        _within(known.end - address, count, what)
        if known.is_dropped():
            state.violate(f"{what}: the array or bytes at {address:#x} was dropped before its use")
    source = (ctypes.c_uint8 * count).from_address(address)
    return Place("pageable", np.frombuffer(memoryview(source), np.uint8))


def device_bytes(address: int, count: int, what: str) -> U8:
    """A view of device memory; no pointer of the host leads there."""
    found = allocation(address, what)
    assert found.data is not None
    offset = address - found.address
    _within(found.size - offset, count, what)
    return found.data[offset : offset + count]


def allocation(address: int, what: str) -> Allocation:
    """The live allocation of the current device that holds an address."""
    if not is_device(address):
        state.violate(f"{what}: {address:#x} is not device memory")
        raise Refused(145007, f"{what}: {address:#x} is not an address of the device")
    found = _allocation(address)
    if found is None or found.data is None or address >= found.address + found.size:
        how = "freed" if found is not None and found.data is None else "never allocated"
        state.violate(f"{what}: device memory at {address:#x} was {how}")
        raise Refused(107000, f"{what}: device memory at {address:#x} was {how}")
    return found


def _within(room: int, count: int, what: str) -> None:
    if count > room:
        # the real thing copies past the end
        state.violate(f"{what}: {count} bytes where {room} are left")
        raise Refused(107000, f"{what}: {count} bytes where {room} are left")


def _allocation(address: int) -> Allocation | None:
    index = bisect_right(state.allocations, address, key=lambda a: a.address) - 1
    if index < 0:
        return None
    found = state.allocations[index]
    return found if address < found.address + _rounded(found.size) else None


def _block(address: int) -> HostBlock | None:
    for block in state.host_blocks.values():
        if block.address <= address < block.address + block.size:
            return block
    return None


def _rounded(size: int) -> int:
    # up to 32 bytes, and 32 more [V: rt docs, aclrtMalloc]
    return -(-size // 32) * 32 + 32
