"""Loaded models: what may be done with one, by whom, and what an execution does."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

from . import _arithmetic, _memory
from ._artifact import GEARS_INPUT, ITEM_BYTES
from ._calls import current
from ._objects import U8, Allocation, Artifact, Model, Stream, Tensor, Work
from ._state import Refused, state

# a buffer may lack this much [V: ge, kDataMemAlignSizeCompare]
TOLERANCE_BYTES = 64


@dataclass
class Plan:
    """An execution whose buffers were found good."""

    model: Model
    inputs: list[U8]
    outputs: list[U8]
    allocations: list[Allocation]
    batch: int


def size_bytes(artifact: Artifact, tensor: Tensor) -> int:
    """Of the buffer that a tensor needs, for the largest gear."""
    shape = tensor.shape(artifact.largest)
    return int(np.prod(shape, dtype=np.int64)) * ITEM_BYTES[tensor.dtype]


def load(artifact: Artifact) -> int:
    """Put a model on the current context's device."""
    context = current()
    session = _arithmetic.session_of(artifact)
    handle = next(state.handles)
    state.models[handle] = Model(handle, context.handle, context.device, artifact, session)
    return handle


def find(handle: int) -> Model:
    """A model of the current context."""
    model = state.find(state.models, handle, "model", 145003)
    if model.context != current().handle:
        raise Refused(107003, f"model {handle} was loaded in another context")
    return model


def unload(handle: int) -> None:
    """Take a model off its device."""
    model = find(handle)
    if model.queued and not state.devices[model.device].lost:
        state.violate(f"mdl.unload: model {handle} is being executed")
    del state.models[handle]


def enqueue(handle: int, inputs: int, outputs: int, stream: Stream) -> None:
    """Queue an execution; the buffers are checked now, and again when it runs."""
    model = find(handle)
    if set(model.queued) - {id(stream)}:
        state.violate(f"model {handle} is executed on two streams at once")
    _plan(model, inputs, outputs)
    model.queued[id(stream)] += 1

    def done() -> None:
        with state.lock:
            model.queued[id(stream)] -= 1
            model.queued += Counter()  # drops what is not above zero

    def perform() -> None:
        try:
            with state.lock:
                plan = _plan(find(handle), inputs, outputs)
            _perform(plan)
        finally:
            done()

    stream.queue.append(Work(perform, done))


def set_batch(handle: int, dataset: int, index: int, batch: int) -> None:
    """Choose a gear: it is written into the hidden input's buffer.

    Source: hicann/ge, api/acl/acl_model/model/model.cpp:1839 and
    runtime/v1/executor/ge_executor.cc:375, in their order.
    """
    model = find(handle)
    gears = model.artifact.gears
    found = state.find(state.datasets, dataset, "dataset")
    if batch <= 0:
        raise Refused(100000, f"a batch of {batch}")
    buffers = found[index : index + 1] if index >= 0 else []
    buffer = state.buffers.get(buffers[0]) if buffers else None
    if buffer is None or not buffer.address:
        raise Refused(100000, f"input {index} of the dataset has no memory")
    if buffer.size < 4:
        raise Refused(145012, f"{GEARS_INPUT} has {buffer.size} bytes, at least 4 are written")
    if batch not in gears:
        raise Refused(145013, f"a batch of {batch}; the gears are {gears}")
    if model.artifact.inputs[index].name != GEARS_INPUT:
        state.violate(f"mdl.set_dynamic_batch_size: would write over input {index}'s pixels")
        raise Refused(100000, f"input {index} is not {GEARS_INPUT}")
    size = 8 if buffer.size >= 8 else 4
    data = _memory.view(buffer.address, size, "mdl.set_dynamic_batch_size")
    data[:] = np.frombuffer(batch.to_bytes(size, "little"), np.uint8)
    model.gear = batch


def _plan(model: Model, inputs: int, outputs: int) -> Plan:
    """Check both datasets against the model."""
    allocations: list[Allocation] = []
    artifact = model.artifact
    given = _views(model, inputs, artifact.inputs, "input", allocations)
    taken = _views(model, outputs, artifact.outputs, "output", allocations)
    return Plan(model, given, taken, allocations, _batch(model, given))


def _views(
    model: Model,
    dataset: int,
    tensors: tuple[Tensor, ...],
    side: str,
    allocations: list[Allocation],
) -> list[U8]:
    buffers = state.find(state.datasets, dataset, "dataset")
    if len(buffers) != len(tensors):
        text = f"E13025: the model has {len(tensors)} {side}s, the dataset {len(buffers)}"
        raise Refused(145000, text)
    views: list[U8] = []
    for index, (handle, tensor) in enumerate(zip(buffers, tensors, strict=True)):
        what = f"mdl.execute_async: {side} {index} ({tensor.name})"
        buffer = state.find(state.buffers, handle, "data buffer", 145000)
        needed = size_bytes(model.artifact, tensor)
        if buffer.size + TOLERANCE_BYTES < needed:
            raise Refused(
                145000, f"E13025: {what} needs {needed} bytes, its buffer has {buffer.size}"
            )
        allocation = _memory.find(buffer.address, what, device=True)
        current(allocation.device)
        allocations.append(allocation)
        views.append(_memory.view(buffer.address, buffer.size, what))
    return views


def _batch(model: Model, given: list[U8]) -> int:
    """The gear in the hidden input; the largest where nobody ever chose."""
    gears = model.artifact.gears
    if not gears:
        return 1
    batch = int.from_bytes(given[-1][:4].tobytes(), "little")
    if batch in gears:
        return batch
    if model.gear is None:
        return model.artifact.largest
    raise Refused(507011, f"{GEARS_INPUT} of this dataset holds {batch}, not one of {gears}")


def _perform(plan: Plan) -> None:
    """Compute outside the lock, as the device does."""
    with state.lock:
        for allocation in plan.allocations:
            allocation.users += 1
        inputs = [view.copy() for view in plan.inputs]
    try:
        if state.settings.latency_s:
            time.sleep(state.settings.latency_s)
        results = _arithmetic.run(plan.model.artifact, plan.model.session, inputs, plan.batch)
        with state.lock:
            for view, result in zip(plan.outputs, results, strict=True):
                count = min(view.size, result.size)
                view[:count] = result[:count]
    finally:
        with state.lock:
            for allocation in plan.allocations:
                allocation.users -= 1
