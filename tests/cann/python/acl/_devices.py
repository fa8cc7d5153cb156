"""Devices and contexts: counted use, one default context, one order of destruction."""

from __future__ import annotations

from ._calls import LOST, touch
from ._objects import Context, Device, Stream
from ._state import Refused, state


def use(device: int) -> None:
    """set_device: count, and give the thread the default context that all its users share."""
    found = _device(device)
    touch(device)
    if not found.default_context:
        found.default_context = _new_context(device, is_default=True)
    found.references += 1
    state.context = found.default_context


def release(device: int) -> None:
    """reset_device: at the last one everything on the device goes, asked for or not."""
    found = _device(device)
    what = f"rt.reset_device({device})"
    if state.torch_npu:
        state.violate(f"{what}: torch_npu's own resources die with it")
    if not found.references:
        state.violate(f"{what} without a set_device")
        raise Refused(107001, f"device {device} is not set")
    found.references -= 1
    if found.references:
        return
    contexts = [c for c in state.contexts.values() if c.device == device]
    memory = [*state.device_memory.values(), *state.host_memory.values()]
    left = {
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


def create_context(device: int) -> int:
    """An explicit context, current in the calling thread."""
    found = _device(device)
    touch(device)
    if not found.references:
        raise Refused(107001, f"device {device} is not set; call acl.rt.set_device first")
    state.context = _new_context(device, is_default=False)
    return state.context


def destroy_context(handle: int) -> None:
    """What create_context made, after its streams and models."""
    found = state.find(state.contexts, handle, "context", 107000)
    if found.is_default:
        state.violate("rt.destroy_context of a device's default context")
        raise Refused(107000, "a default context goes with reset_device alone")
    for kind, things in (("streams", state.streams), ("models", state.models)):
        inside = [t for t in things.values() if t.context == handle]
        state.violate_if_left("rt.destroy_context", kind, inside)
    lost = state.devices[found.device].lost
    _drop_context(handle)
    if lost:
        raise Refused(LOST, "the device is lost (device setup error)")


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
