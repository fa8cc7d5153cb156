"""Two address spaces: the device's, which no pointer of the host reaches, and the host's."""

from __future__ import annotations

import numpy as np

from ._objects import U8, Allocation
from ._state import Refused, state

# Not canonical on x86-64 and beyond user space on AArch64: reading it on the host is a fault.
DEVICE_BASE, DEVICE_END = 0x0012_0000_0000_0000, 0x0013_0000_0000_0000
ALIGNMENT = 64
# Freed host memory stays mapped for a while, so that a late use is seen and does not crash.
KEPT_HOST_BLOCKS = 64
_noise = np.random.default_rng(0xA5CE)


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


def allocate(size: int, device: int) -> int:
    """Device memory full of noise, at an address that was never given before."""
    if size <= 0:
        raise Refused(100000, f"a size of {size} bytes")
    last = next(reversed(state.device_memory.values()), None)
    # a gap, so that what runs over an end hits nothing
    end = last.handle + last.size + 4096 if last else DEVICE_BASE
    address = -(-end // ALIGNMENT) * ALIGNMENT
    state.device_memory[address] = Allocation(address, size, device, noise(size))
    return address


def allocate_host(size: int, device: int) -> int:
    """Pinned host memory, full of noise too."""
    if size <= 0:
        raise Refused(100000, f"a size of {size} bytes")
    whole = noise(size + ALIGNMENT)  # numpy's own blocks need not be aligned
    skip = -whole.ctypes.data % ALIGNMENT
    data = whole[skip : skip + size]
    address = data.ctypes.data
    state.host_memory.pop(address, None)
    state.host_memory[address] = Allocation(address, size, device, data)
    return address


def release(address: int) -> None:
    """Free what `allocate` gave."""
    _free(state.device_memory, address, f"rt.free({address:#x})").data = noise(0)


def release_host(address: int) -> None:
    """Free what `allocate_host` gave. It stays mapped, as noise, so that a stale view shows."""
    found = _free(state.host_memory, address, f"rt.free_host({address:#x})")
    found.data[:] = noise(found.size)
    for old in [one for one in state.host_memory.values() if one.freed][:-KEPT_HOST_BLOCKS]:
        del state.host_memory[old.handle]


def _free(memory: dict[int, Allocation], address: int, what: str) -> Allocation:
    found = memory.get(address)
    if found is None or found.freed:
        why = "freed twice" if found else "an address of another kind, or never given"
        state.violate(f"{what}: {why}")
        raise Refused(107000, f"cannot free {address:#x}: {why}")
    if found.users:
        state.violate(f"{what}: an execution still uses it")
    found.freed = True
    return found


def find(address: int, what: str, *, device: bool) -> Allocation:
    """The live allocation that holds an address."""
    if device and not is_device(address):
        state.violate(f"{what}: {address:#x} is not device memory")
        raise Refused(145007, f"{what}: {address:#x} is not an address of the device")
    memory = state.device_memory if device else state.host_memory
    for found in reversed(memory.values()):
        if found.handle <= address < found.handle + found.size:
            break
    else:
        state.violate(f"{what}: {address:#x} was never allocated")
        raise Refused(107000, f"{what}: {address:#x} was never allocated")
    if found.freed:
        state.violate(f"{what}: memory at {address:#x} was freed")
        raise Refused(107000, f"{what}: memory at {address:#x} was freed")
    return found


def view(address: int, count: int, what: str) -> U8:
    """The bytes at an address of either space."""
    found = find(address, what, device=is_device(address))
    offset = address - found.handle
    if offset + count > found.size:
        # the real thing copies past the end
        state.violate(f"{what}: {count} bytes where {found.size - offset} are left")
        raise Refused(107000, f"{what}: {count} bytes where {found.size - offset} are left")
    return found.data[offset : offset + count]
