"""acl.mdl, simulated: models, their descriptions, datasets, execution."""

from __future__ import annotations

from . import _artifact, _memory, _models, _streams
from ._calls import api, code_alone, nothing, with_zero
from ._descriptions import (
    create_desc,
    destroy_desc,
    get_cur_output_dims,
    get_desc,
    get_dynamic_batch,
    get_dynamic_hw,
    get_input_data_type,
    get_input_dims,
    get_input_dims_v2,
    get_input_dynamic_gear_count,
    get_input_format,
    get_input_index_by_name,
    get_input_name_by_index,
    get_input_size_by_index,
    get_num_inputs,
    get_num_outputs,
    get_output_data_type,
    get_output_dims,
    get_output_format,
    get_output_index_by_name,
    get_output_name_by_index,
    get_output_size_by_index,
)
from ._objects import Dataset
from ._state import Refused, state

__all__ = [
    "add_dataset_buffer",
    "create_dataset",
    "create_desc",
    "destroy_dataset",
    "destroy_desc",
    "execute",
    "execute_async",
    "get_cur_output_dims",
    "get_dataset_buffer",
    "get_dataset_num_buffers",
    "get_dataset_tensor_desc",
    "get_desc",
    "get_dynamic_batch",
    "get_dynamic_hw",
    "get_input_data_type",
    "get_input_dims",
    "get_input_dims_v2",
    "get_input_dynamic_gear_count",
    "get_input_format",
    "get_input_index_by_name",
    "get_input_name_by_index",
    "get_input_size_by_index",
    "get_num_inputs",
    "get_num_outputs",
    "get_output_data_type",
    "get_output_dims",
    "get_output_format",
    "get_output_index_by_name",
    "get_output_name_by_index",
    "get_output_size_by_index",
    "load_from_file",
    "load_from_mem",
    "query_size",
    "set_dataset_tensor_desc",
    "set_dynamic_batch_size",
    "unload",
]


@api("mdl.load_from_file", with_zero)
def load_from_file(path: str) -> tuple[int, int]:
    """(model id, ret)."""
    return _models.load(_artifact.read(path)), 0


@api("mdl.load_from_mem", with_zero)
def load_from_mem(address: int, size: int) -> tuple[int, int]:
    """(model id, ret), from host memory."""
    found = _memory.place(address, size, "mdl.load_from_mem")
    if found.space == "device":
        raise Refused(145007, "the model must lie in host memory")
    return _models.load(_artifact.parse(found.data.tobytes())), 0


@api("mdl.unload", code_alone, release=True)
def unload(model: int) -> int:
    """Take a model off its device."""
    _models.unload(model)
    return 0


@api("mdl.query_size", lambda code: (0, 0, code), context=False)
def query_size(path: str) -> tuple[int, int, int]:
    """(work bytes, weight bytes, ret)."""
    artifact = _artifact.read(path)
    return artifact.work_bytes, artifact.weight_bytes, 0


@api("mdl.set_dynamic_batch_size", code_alone)
def set_dynamic_batch_size(model: int, dataset: int, index: int, batch: int) -> int:
    """Choose a gear, in the hidden input's buffer of this dataset."""
    _models.set_batch(model, dataset, index, batch)
    return 0


@api("mdl.create_dataset", nothing, context=False)
def create_dataset() -> int:
    """An empty dataset."""
    handle = next(state.handles)
    state.datasets[handle] = Dataset()
    return handle


@api("mdl.destroy_dataset", code_alone, context=False, release=True)
def destroy_dataset(dataset: int) -> int:
    """Give a dataset back; its data buffers are the caller's, and should be gone."""
    left = [b for b in _models.dataset_of(dataset).buffers if b in state.buffers]
    if [b for b in left if b not in state.excused]:
        state.violate(f"mdl.destroy_dataset with {len(left)} data buffers left in it")
    del state.datasets[dataset]
    return 0


@api("mdl.add_dataset_buffer", with_zero, context=False)
def add_dataset_buffer(dataset: int, buffer: int) -> tuple[int, int]:
    """(dataset, ret)."""
    found = _models.dataset_of(dataset)
    if buffer not in state.buffers:
        state.violate(f"mdl.add_dataset_buffer: no data buffer {buffer:#x}")
        raise Refused(100000, f"no data buffer {buffer:#x}")
    found.buffers.append(buffer)
    return dataset, 0


@api("mdl.get_dataset_num_buffers", nothing, context=False)
def get_dataset_num_buffers(dataset: int) -> int:
    """How many there are."""
    return len(_models.dataset_of(dataset).buffers)


@api("mdl.get_dataset_buffer", nothing, context=False)
def get_dataset_buffer(dataset: int, index: int) -> int:
    """The handle; 0 where there is none."""
    buffers = _models.dataset_of(dataset).buffers
    return buffers[index] if 0 <= index < len(buffers) else 0


@api("mdl.execute", code_alone, slow=True)
def execute(model: int, inputs: int, outputs: int) -> int:
    """Run a model, and wait for it; it waits for no stream."""
    _models.execute(model, inputs, outputs)
    return 0


@api("mdl.execute_async", code_alone)
def execute_async(model: int, inputs: int, outputs: int, stream: int) -> int:
    """Queue a run."""
    _models.enqueue(model, inputs, outputs, _streams.find(stream))
    return 0


@api("mdl.set_dataset_tensor_desc", with_zero, context=False)
def set_dataset_tensor_desc(dataset: int, desc: int, index: int) -> tuple[int, int]:
    """(dataset, ret): for models of truly dynamic shape, which are not simulated."""
    _models.dataset_of(dataset)
    raise Refused(200001, f"no simulated model takes the tensor description {desc:#x} ({index})")


@api("mdl.get_dataset_tensor_desc", nothing, context=False)
def get_dataset_tensor_desc(dataset: int, index: int) -> int:
    """The handle, 0: for models of truly dynamic shape, which are not simulated."""
    _models.dataset_of(dataset)
    raise Refused(200001, f"no simulated model has a tensor description ({index})")
