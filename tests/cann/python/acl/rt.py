"""acl.rt, simulated: devices, contexts, streams, memory.

A stream's work waits until somebody synchronises, so that who does not sees stale data.
"""

from __future__ import annotations

from typing import Any

from . import _memory
from ._calls import LOST, api, code_alone, current, touch, with_zero
from ._objects import Context, Device, Stream
from ._state import Refused, state

H2H, H2D, D2H, D2D, DEFAULT = range(5)
SIDES = {H2H: (False, False), H2D: (True, False), D2H: (False, True), D2D: (True, True)}


@api("rt.get_device_count", with_zero, context=False)
def get_device_count() -> tuple[int, int]:
    if state.settings.visible is not None and not state.devices:
        raise Refused(207004, "no device; see ASCEND_RT_VISIBLE_DEVICES")
    return len(state.devices), 0


@api("rt.set_device", code_alone, context=False)
def set_device(device: int) -> int:
    """Count, and give the thread the default context that all the device's users share."""
    found = _device(device)
    touch(device)
    if not found.default_context:
        found.default_context = _new_context(device, is_default=True)
    found.references += 1
    state.context = found.default_context
    return 0


@api("rt.reset_device", code_alone, context=False, release=True)
def reset_device(device: int) -> int:
    """Undo one set_device; at the last one everything on the device goes, asked for or not."""
    found = _device(device)
    what = f"rt.reset_device({device})"
    if state.torch_npu:
        state.violate(f"{what}: torch_npu's own resources die with it")
    if not found.references:
        state.violate(f"{what} without a set_device")
        raise Refused(107001, f"device {device} is not set")
    found.references -= 1
    if found.references:
        return 0
    contexts = [c for c in state.contexts.values() if c.device == device]
    memory = [*state.device_memory.values(), *state.host_memory.values()]
    left: dict[str, list[Any]] = {
        "models": [m for m in state.models.values() if m.device == device],
        "streams": [s for c in contexts for s in state.streams.values() if s.context == c.handle],
        "contexts": [c for c in contexts if not c.is_default],
        "allocations": [a for a in memory if a.device == device and not a.freed],
    }
    for kind, things in left.items():
        state.violate_if_left(what, kind, things)
    for context in contexts:
        _drop_context(context.handle)
    for allocation in left["allocations"]:
        allocation.freed = True
    found.default_context = 0
    found.lost = False
    return 0


@api("rt.create_context", with_zero, context=False)
def create_context(device: int) -> tuple[int, int]:
    """(context, ret); it becomes the calling thread's."""
    found = _device(device)
    touch(device)
    if not found.references:
        raise Refused(107001, f"device {device} is not set; call acl.rt.set_device first")
    state.context = _new_context(device, is_default=False)
    return state.context, 0


@api("rt.get_context", with_zero)
def get_context() -> tuple[int, int]:
    return current().handle, 0


@api("rt.set_context", code_alone, context=False)
def set_context(context: int) -> int:
    state.find(state.contexts, context, "context", 107000)
    state.context = context
    return 0


@api("rt.destroy_context", code_alone, context=False, release=True)
def destroy_context(context: int) -> int:
    """Destroy what create_context made, after its streams and models."""
    found = state.find(state.contexts, context, "context", 107000)
    if found.is_default:
        state.violate("rt.destroy_context of a device's default context")
        raise Refused(107000, "a default context goes with reset_device alone")
    for kind, things in (("streams", state.streams), ("models", state.models)):
        inside = [t for t in things.values() if t.context == context]
        state.violate_if_left("rt.destroy_context", kind, inside)
    lost = state.devices[found.device].lost
    _drop_context(context)
    if lost:
        raise Refused(LOST, "the device is lost (device setup error)")
    return 0


@api("rt.create_stream", with_zero)
def create_stream() -> tuple[int, int]:
    handle = next(state.handles)
    state.streams[handle] = Stream(handle, current().handle)
    return handle, 0


@api("rt.destroy_stream", code_alone, release=True)
def destroy_stream(stream: int) -> int:
    """Destroy a stream; its work should have been waited for."""
    if stream == 0:
        state.violate("rt.destroy_stream of the default stream")
        raise Refused(107000, "the default stream goes with its context")
    found = find_stream(stream)
    if found.queue and not state.devices[current().device].lost:
        state.violate(f"rt.destroy_stream with {len(found.queue)} calls still queued on it")
    _clear(found)
    del state.streams[stream]
    return 0


def _drop_queue(stream: int) -> None:
    """After an injected failure of synchronisation: its results never come."""
    if state.context:
        _clear(find_stream(stream))


@api("rt.synchronize_stream", code_alone, slow=True, at_fault=_drop_queue)
def synchronize_stream(stream: int) -> int:
    """Do a stream's work in order; the first failure drops the rest.

    What is no failure of execution comes as 507011.
    """
    with state.lock:
        found = find_stream(stream)
    with found.turn:
        while True:
            with state.lock:
                if not found.queue:
                    return 0
                work = found.queue.popleft()
            try:
                work.perform()
            except Refused as refused:
                _clear(found)
                code = refused.code if refused.code >= 500000 else 507011
                raise Refused(code, f"queued before: {refused}") from refused


@api("rt.malloc", with_zero)
def malloc(size: int, policy: int) -> tuple[int, int]:
    if not 0 <= policy <= 5:
        raise Refused(100000, f"the policy {policy}")
    return _memory.allocate(size, current().device), 0


@api("rt.free", code_alone, release=True)
def free(address: int) -> int:
    _memory.release(address)
    return 0


@api("rt.malloc_host", with_zero)
def malloc_host(size: int) -> tuple[int, int]:
    """(pointer to pinned host memory, ret)."""
    return _memory.allocate_host(size, current().device), 0


@api("rt.free_host", code_alone, release=True)
def free_host(address: int) -> int:
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


def find_stream(handle: int) -> Stream:
    """A stream of the current context; 0 is the context's default stream."""
    context = current()
    if handle == 0:
        return context.default_stream
    found = state.find(state.streams, handle, "stream", 107003)
    if found.context != context.handle:
        raise Refused(107003, "the stream is not in the current context")
    return found


def _clear(stream: Stream) -> None:
    """Drop the queue."""
    with state.lock:
        while stream.queue:
            stream.queue.popleft().drop()


def _new_context(device: int, *, is_default: bool) -> int:
    handle = next(state.handles)
    state.contexts[handle] = Context(handle, device, is_default, Stream(0, handle))
    return handle


def _drop_context(handle: int) -> None:
    """Forget a context and everything in it."""
    for stream in [s for s in state.streams.values() if s.context == handle]:
        del state.streams[stream.handle]
    for model in [m for m in state.models.values() if m.context == handle]:
        del state.models[model.handle]
    del state.contexts[handle]


def _device(device: int) -> Device:
    if device not in state.devices:
        raise Refused(107001, f"no device {device}; there are {len(state.devices)}")
    return state.devices[device]
