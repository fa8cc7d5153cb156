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


@api("rt.get_device", with_zero)
def get_device() -> tuple[int, int]:
    """(device of the current context, ret)."""
    return current().device, 0


@api("rt.get_run_mode", with_zero)
def get_run_mode() -> tuple[int, int]:
    """(mode, ret): 1, a card in a host; 0, a board that is its own host."""
    return 0 if state.settings.rc else 1, 0


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
    if context not in state.contexts:
        state.violate(f"rt.set_context({context:#x}): no such context")
        raise Refused(107000, f"no context {context:#x}")
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


@api("rt.memset", code_alone)
def memset(address: int, room: int, value: int, count: int) -> int:
    """Fill device memory."""
    if not 0 < count <= room:
        raise Refused(100000, f"memset of {count} bytes where {room} fit")
    _memory.place(address, count, "rt.memset").data[:] = value & 0xFF
    return 0


@api("rt.memcpy", code_alone)
def memcpy(target: int, room: int, source: int, count: int, kind: int) -> int:
    """Copy now; it waits for no stream."""
    if count:
        _copy("rt.memcpy", target, room, source, count, kind)
    return 0


@api("rt.memcpy_async", code_alone)
def memcpy_async(target: int, room: int, source: int, count: int, kind: int, stream: int) -> int:
    """Queue a copy: what it reads is read, and what it writes written, at synchronisation."""
    found = _streams.find(stream)
    if not count:
        return 0
    spaces = _copy("rt.memcpy_async", target, room, source, count, kind, dry=True)
    if "pageable" in spaces:
        state.violate("rt.memcpy_async: host memory that malloc_host did not give is not pinned")
    elif odd := [f"{a:#x}" for a in (target, source) if a % _memory.ALIGNMENT]:
        # every product [V: pyACL reference of CANN 8.0, memcpy_async]; which code, nobody says
        state.violate(f"rt.memcpy_async: {' and '.join(odd)} not a multiple of 64")
        raise Refused(107008, f"the address {odd[0]} is not aligned to 64 bytes")

    def perform() -> None:
        with state.lock:
            _copy("rt.memcpy_async", target, room, source, count, kind)

    _streams.enqueue(found, "rt.memcpy_async", perform)
    return 0


@api("rt.get_mem_info", lambda code: (0, 0, code))
def get_mem_info(attribute: int) -> tuple[int, int, int]:
    """(free, total, ret) bytes; attribute 0 DDR, 1 HBM, of which a chip has one."""
    if attribute not in (0, 1):
        raise Refused(100000, f"the attribute {attribute}")
    if bool(attribute) != state.settings.has_hbm:
        return 0, 0, 0
    total = state.settings.memory_bytes
    return total - _memory.used_bytes(current().device), total, 0


def _copy(
    what: str, target: int, room: int, source: int, count: int, kind: int, *, dry: bool = False
) -> tuple[str, str]:
    """Copy, or only check that it could be done; says which spaces it touches."""
    if kind not in (*SIDES, DEFAULT) or count < 0 or not (target and source):
        raise Refused(100000, f"{count} bytes from {source:#x} to {target:#x}, kind {kind}")
    if count > room:
        raise Refused(107000, f"{count} bytes into {room}")
    sides = _memory.is_device(target), _memory.is_device(source)
    if kind != DEFAULT and sides != SIDES[kind]:
        names = " from ".join("device" if side else "host" for side in sides)
        raise Refused(107000, f"kind {kind} does not copy to the {names}")
    for address in (target, source):
        if _memory.is_device(address):
            current(_memory.allocation(address, what).device)
    to, origin = _memory.place(target, count, what), _memory.place(source, count, what)
    if not dry:
        to.data[:] = origin.data
    return to.space, origin.space
