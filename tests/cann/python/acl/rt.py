"""acl.rt, simulated: devices, contexts, streams, memory."""

from __future__ import annotations

from . import _devices, _memory, _streams
from ._calls import api, code_alone, current, with_zero
from ._state import Refused, state

H2H, H2D, D2H, D2D, DEFAULT = range(5)
SIDES = {H2H: (False, False), H2D: (True, False), D2H: (False, True), D2D: (True, True)}


@api("rt.get_device_count", with_zero, context=False)
def get_device_count() -> tuple[int, int]:
    """(count, ret)."""
    if state.settings.visible is not None and not state.devices:
        raise Refused(207004, "no device; see ASCEND_RT_VISIBLE_DEVICES")
    return len(state.devices), 0


@api("rt.set_device", code_alone, context=False)
def set_device(device: int) -> int:
    """Use a device in this thread: its default context becomes current."""
    _devices.use(device)
    return 0


@api("rt.reset_device", code_alone, context=False, release=True)
def reset_device(device: int) -> int:
    """Undo one set_device."""
    _devices.release(device)
    return 0


@api("rt.create_context", with_zero, context=False)
def create_context(device: int) -> tuple[int, int]:
    """(context, ret); it becomes the calling thread's."""
    return _devices.create_context(device), 0


@api("rt.get_context", with_zero)
def get_context() -> tuple[int, int]:
    """(the calling thread's context, ret)."""
    return current().handle, 0


@api("rt.set_context", code_alone, context=False)
def set_context(context: int) -> int:
    """Make a context the calling thread's."""
    state.find(state.contexts, context, "context", 107000)
    state.context = context
    return 0


@api("rt.destroy_context", code_alone, context=False, release=True)
def destroy_context(context: int) -> int:
    """Destroy what create_context made, after everything in it."""
    _devices.destroy_context(context)
    return 0


@api("rt.create_stream", with_zero)
def create_stream() -> tuple[int, int]:
    """(stream in the current context, ret)."""
    return _streams.create(), 0


@api("rt.destroy_stream", code_alone, release=True)
def destroy_stream(stream: int) -> int:
    """Destroy a stream whose work is done."""
    _streams.destroy(stream)
    return 0


@api("rt.synchronize_stream", code_alone, slow=True, at_fault=_streams.drop_queue)
def synchronize_stream(stream: int) -> int:
    """Do everything that was queued, and report how it went."""
    _streams.synchronize(stream)
    return 0


@api("rt.malloc", with_zero)
def malloc(size: int, policy: int) -> tuple[int, int]:
    """(device pointer, ret)."""
    if not 0 <= policy <= 5:
        raise Refused(100000, f"the policy {policy}")
    return _memory.allocate(size, current().device), 0


@api("rt.free", code_alone, release=True)
def free(address: int) -> int:
    """Free device memory."""
    _memory.release(address)
    return 0


@api("rt.malloc_host", with_zero)
def malloc_host(size: int) -> tuple[int, int]:
    """(pointer to pinned host memory, ret)."""
    return _memory.allocate_host(size, current().device), 0


@api("rt.free_host", code_alone, release=True)
def free_host(address: int) -> int:
    """Free pinned host memory."""
    _memory.release_host(address)
    return 0


@api("rt.memcpy", code_alone)
def memcpy(target: int, room: int, source: int, count: int, kind: int) -> int:
    """Copy now; it waits for no stream."""
    if not count:
        return 0
    if kind not in (*SIDES, DEFAULT) or count < 0 or not (target and source):
        raise Refused(100000, f"{count} bytes from {source:#x} to {target:#x}, kind {kind}")
    if count > room:
        raise Refused(107000, f"{count} bytes into {room}")
    sides = _memory.is_device(target), _memory.is_device(source)
    if kind != DEFAULT and sides != SIDES[kind]:
        names = " from ".join("device" if side else "host" for side in sides)
        raise Refused(107000, f"kind {kind} does not copy to the {names}")
    for address, device in zip((target, source), sides, strict=True):
        if device:
            current(_memory.find(address, "rt.memcpy", device=True).device)
    origin = _memory.view(source, count, "rt.memcpy")
    _memory.view(target, count, "rt.memcpy")[:] = origin
    return 0
