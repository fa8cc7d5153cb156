"""Devices and contexts: counted use, one default context, one order of destruction."""

from __future__ import annotations

from collections.abc import Sequence

from . import _streams
from ._calls import LOST, touch
from ._objects import Allocation, Context, Device, HostBlock, Model, Stream
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
    if state.torch_npu:
        state.violate(f"rt.reset_device({device}): torch_npu's own resources die with it")
    if not found.references:
        state.violate(f"rt.reset_device({device}) without a set_device")
        raise Refused(107001, f"device {device} is not set")
    found.references -= 1
    if found.references:
        return
    left: dict[str, Sequence[Model | Stream | Context | Allocation | HostBlock]] = {
        "models": [m for m in state.models.values() if m.device == device],
        "streams": [s for s in state.streams.values() if _device_of(s) == device],
        "contexts": [c for c in state.contexts.values() if c.device == device and not c.is_default],
        "device allocations": [
            a for a in state.allocations if a.device == device and a.data is not None
        ],
        "pinned host blocks": [
            b for b in state.host_blocks.values() if b.device == device and not b.freed
        ],
    }
    for kind, things in left.items():
        loud = [t for t in things if _handle(t) not in state.excused]
        if loud:
            state.violate(f"rt.reset_device({device}) with {len(loud)} {kind} left")
    for context in [c.handle for c in state.contexts.values() if c.device == device]:
        _drop_context(context)
    for allocation in state.allocations:
        if allocation.device == device:
            allocation.data = None
    for block in state.host_blocks.values():
        block.freed = block.freed or block.device == device
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
    found = state.contexts.get(handle)
    if found is None:
        state.violate(f"rt.destroy_context({handle:#x}): no such context")
        raise Refused(107000, f"no context {handle:#x}")
    if found.is_default:
        state.violate("rt.destroy_context of a device's default context")
        raise Refused(107000, "a default context goes with reset_device alone")
    streams = [s for s in state.streams.values() if s.context == handle]
    models = [m for m in state.models.values() if m.context == handle]
    for kind, things in (("streams", streams), ("models", models)):
        loud = [t for t in things if _handle(t) not in state.excused]
        if loud:
            state.violate(f"rt.destroy_context with {len(loud)} {kind} left in it")
    lost = state.devices[found.device].lost
    _drop_context(handle)
    if lost:
        raise Refused(LOST, "the device is lost (device setup error)")


def _new_context(device: int, *, is_default: bool) -> int:
    handle = next(state.handles)
    state.contexts[handle] = Context(handle, device, is_default, Stream(0, handle))
    return handle


def _drop_context(handle: int) -> None:
    """Forget a context and what lives in it."""
    for stream in [s for s in state.streams.values() if s.context == handle]:
        _streams.clear(stream)
        del state.streams[stream.handle]
    for model in [m for m in state.models.values() if m.context == handle]:
        del state.models[model.id]
    _streams.clear(state.contexts[handle].default_stream)
    del state.contexts[handle]


def _device(device: int) -> Device:
    if device not in state.devices:
        raise Refused(107001, f"no device {device}; there are {len(state.devices)}")
    return state.devices[device]


def _device_of(stream: Stream) -> int:
    return state.contexts[stream.context].device


def _handle(thing: object) -> int:
    for name in ("handle", "address", "id"):
        if hasattr(thing, name):
            return int(getattr(thing, name))
    raise AssertionError(thing)
