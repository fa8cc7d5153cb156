"""Loaded models: what may be done with one, by whom, and what an execution does."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

from . import _arithmetic, _memory, _streams
from ._artifact import GEARS_INPUT, ITEM_BYTES
from ._calls import current
from ._objects import U8, Allocation, Artifact, Dataset, Model, Stream, Tensor
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
    queue: int = 0


def size_bytes(artifact: Artifact, tensor: Tensor) -> int:
    """Of the buffer that a tensor needs; gears are told for the largest."""
    shape = tensor.shape(artifact.largest)
    return int(np.prod(shape, dtype=np.int64)) * ITEM_BYTES[tensor.dtype]


def load(artifact: Artifact) -> int:
    """Put a model on the current context's device."""
    context = current()
    needed = artifact.work_bytes + artifact.weight_bytes
    used = _memory.used_bytes(context.device)
    if used + needed > state.settings.memory_bytes:
        raise Refused(207018, f"out of device memory: the model needs {needed} bytes beside {used}")
    session = _arithmetic.session_of(artifact)
    number = next(state.model_ids)
    state.models[number] = Model(number, context.handle, context.device, artifact, session)
    state.peak("models", len(state.models))
    state.peak("device bytes", used + needed)
    return number


def find(number: int) -> Model:
    """A model of the current context.

    Raises:
        Refused: 145003 no such model; 107003 it was loaded in another context.
    """
    model = state.models.get(number)
    if model is None:
        state.violate(f"model {number} is not loaded")
        raise Refused(145003, f"no model {number}")
    if model.context != current().handle:
        raise Refused(107003, f"model {number} was loaded in another context")
    return model


def unload(number: int) -> None:
    """Take a model off its device."""
    model = find(number)
    if (model.running or model.pending) and not state.devices[model.device].lost:
        state.violate(f"mdl.unload: model {number} is being executed")
    del state.models[number]


def execute(number: int, inputs: int, outputs: int) -> None:
    """Run a model now, in the calling thread."""
    with state.lock:
        model = find(number)
        if model.pending or model.running:
            _overlap(model)
        plan = _claim(_plan(model, inputs, outputs), -threading.get_ident())
    _perform(plan)


def enqueue(number: int, inputs: int, outputs: int, stream: Stream) -> None:
    """Queue an execution; the buffers are looked at now, and again when it runs."""
    model = find(number)
    if {*model.pending, *model.running} - {id(stream)}:
        _overlap(model)
    _plan(model, inputs, outputs)
    model.pending[id(stream)] += 1

    def take_back() -> None:
        model.pending[id(stream)] -= 1
        model.pending += Counter()  # drops what is not above zero

    def perform() -> None:
        with state.lock:
            take_back()
            plan = _claim(_plan(find(number), inputs, outputs), id(stream))
        _perform(plan)

    _streams.enqueue(stream, "mdl.execute_async", perform, take_back)


def set_batch(number: int, dataset: int, index: int, batch: int) -> None:
    """Choose a gear: it is written into the hidden input's buffer.

    Source: hicann/ge, api/acl/acl_model/model/model.cpp:1839 and
    runtime/v1/executor/ge_executor.cc:375, in their order.
    """
    model = find(number)
    gears = model.artifact.gears
    found = dataset_of(dataset)
    if batch <= 0:
        raise Refused(100000, f"a batch of {batch}")
    buffers = found.buffers[index : index + 1] if index >= 0 else []
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
    data = _memory.device_bytes(buffer.address, size, "mdl.set_dynamic_batch_size")
    data[:] = np.frombuffer(batch.to_bytes(size, "little"), np.uint8)
    model.gear = batch


def dataset_of(handle: int) -> Dataset:
    """A live dataset."""
    found = state.datasets.get(handle)
    if found is None:
        state.violate(f"dataset {handle:#x} does not exist, or no longer")
        raise Refused(100000, f"no dataset {handle:#x}")
    return found


def _overlap(model: Model) -> None:
    state.violate(f"model {model.id} is executed by two threads or on two streams at once")


def _plan(model: Model, inputs: int, outputs: int) -> Plan:
    """Check both datasets against the model.

    Raises:
        Refused: 145000 with E13025, number or size of the buffers; 145007 not device memory.
    """
    allocations: list[Allocation] = []
    artifact = model.artifact
    given = _views(model, dataset_of(inputs), artifact.inputs, "input", allocations)
    taken = _views(model, dataset_of(outputs), artifact.outputs, "output", allocations)
    return Plan(model, given, taken, allocations, _batch(model, given))


def _views(
    model: Model,
    dataset: Dataset,
    tensors: tuple[Tensor, ...],
    side: str,
    allocations: list[Allocation],
) -> list[U8]:
    if len(dataset.buffers) != len(tensors):
        raise Refused(
            145000,
            f"E13025: the model has {len(tensors)} {side}s, the dataset {len(dataset.buffers)}",
        )
    views: list[U8] = []
    for index, (handle, tensor) in enumerate(zip(dataset.buffers, tensors, strict=True)):
        what = f"mdl.execute: {side} {index} ({tensor.name})"
        buffer = state.buffers.get(handle)
        if buffer is None:
            state.violate(f"{what}: its data buffer was destroyed")
            raise Refused(145000, f"{what}: its data buffer was destroyed")
        needed = size_bytes(model.artifact, tensor)
        if side == "output" and not buffer.address and not buffer.size:
            # the runtime allocates, the caller frees [V]
            buffer.address = _memory.allocate(needed, model.device)
            buffer.size = needed
        if buffer.size + TOLERANCE_BYTES < needed:
            raise Refused(
                145000, f"E13025: {what} needs {needed} bytes, its buffer has {buffer.size}"
            )
        allocation = _memory.allocation(buffer.address, what)
        current(allocation.device)
        allocations.append(allocation)
        views.append(_memory.device_bytes(buffer.address, buffer.size, what))
    return views


def _batch(model: Model, given: list[U8]) -> int:
    """The gear that stands in the hidden input; the largest where nobody ever chose."""
    gears = model.artifact.gears
    if not gears:
        return 1
    batch = int.from_bytes(given[-1][:4].tobytes(), "little")
    if batch in gears:
        return batch
    if model.gear is None:
        return model.artifact.largest
    raise Refused(507011, f"{GEARS_INPUT} of this dataset holds {batch}, not one of {gears}")


def _claim(plan: Plan, queue: int) -> Plan:
    """Mark model and buffers as used until `_perform` is through."""
    plan.queue = queue
    plan.model.running[queue] += 1
    for allocation in plan.allocations:
        allocation.users += 1
    state.peak("executions at once", sum(m.running.total() for m in state.models.values()))
    return plan


def _perform(plan: Plan) -> None:
    """Compute outside the lock, as the device does."""
    latency_s = state.settings.latency_s
    try:
        with state.lock:
            inputs = [view.copy() for view in plan.inputs]
        if latency_s:
            time.sleep(latency_s)
        results = _arithmetic.run(plan.model.artifact, plan.model.session, inputs, plan.batch)
        with state.lock:
            for view, result in zip(plan.outputs, results, strict=True):
                count = min(view.size, result.size)
                view[:count] = result[:count]
    finally:
        with state.lock:
            plan.model.running[plan.queue] -= 1
            plan.model.running += Counter()  # drops what is not above zero
            for allocation in plan.allocations:
                allocation.users -= 1
