"""acl.mdl, simulated: models, their descriptions, datasets, execution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _artifact, _models
from ._calls import api, code_alone, nothing, with_zero
from ._objects import Artifact, Tensor
from ._state import Refused, state
from .rt import find_stream

Dims = dict[str, Any]
NO_TYPE = -1  # ACL_DT_UNDEFINED


def _no_dims(code: int) -> tuple[Dims, int]:
    return {}, code


def _no_name(_: int) -> str:
    return ""


def _no_type(_: int) -> int:
    return NO_TYPE


@api("mdl.load_from_file", with_zero)
def load_from_file(path: str) -> tuple[int, int]:
    return _models.load(_artifact.read(path)), 0


@api("mdl.unload", code_alone, release=True)
def unload(model: int) -> int:
    _models.unload(model)
    return 0


@api("mdl.create_desc", nothing, context=False)
def create_desc() -> int:
    return state.add(state.descriptions, None)


@api("mdl.get_desc", code_alone, context=False)
def get_desc(desc: int, model: int) -> int:
    if model not in state.models:
        raise Refused(145003, f"no model {model}")
    state.find(state.descriptions, desc, "model description")
    state.descriptions[desc] = state.models[model].artifact
    return 0


@api("mdl.destroy_desc", code_alone, context=False, release=True)
def destroy_desc(desc: int) -> int:
    state.find(state.descriptions, desc, "model description")
    del state.descriptions[desc]
    return 0


@api("mdl.get_num_inputs", nothing, context=False)
def get_num_inputs(desc: int) -> int:
    return len(_filled(desc).inputs)


@api("mdl.get_num_outputs", nothing, context=False)
def get_num_outputs(desc: int) -> int:
    return len(_filled(desc).outputs)


def _pair(form: str, failing: Callable[[int], Any], read: Callable[[Artifact, Tensor], Any]) -> Any:
    """A call about one tensor of either side, by its index."""

    def made(side: str) -> Any:
        def call(desc: int, index: int) -> Any:
            tensors = getattr(_filled(desc), f"{side}s")
            if not 0 <= index < len(tensors):
                raise Refused(100000, f"index {index} of {len(tensors)}")
            return read(_filled(desc), tensors[index])

        return api(f"mdl.{form.format(side)}", failing, context=False)(call)

    return made("input"), made("output")


get_input_size_by_index, get_output_size_by_index = _pair(
    "get_{}_size_by_index", nothing, _models.size_bytes
)
get_input_data_type, get_output_data_type = _pair(
    "get_{}_data_type", _no_type, lambda _, tensor: tensor.dtype
)
get_input_name_by_index, get_output_name_by_index = _pair(
    "get_{}_name_by_index", _no_name, lambda _, tensor: tensor.name
)
get_input_dims, get_output_dims = _pair(
    "get_{}_dims", _no_dims, lambda _, tensor: (_dims(tensor), 0)
)


@api("mdl.get_input_index_by_name", with_zero, context=False)
def get_input_index_by_name(desc: int, name: str) -> tuple[int, int]:
    names = [tensor.name for tensor in _filled(desc).inputs]
    if name not in names:
        raise Refused(100000, f"no input {name!r}")
    return names.index(name), 0


@api("mdl.get_dynamic_batch", _no_dims, context=False)
def get_dynamic_batch(desc: int) -> tuple[Dims, int]:
    """({batchCount, batch}, ret); a count of 0 is a static model."""
    gears = _filled(desc).gears
    return {"batchCount": len(gears), "batch": list(gears)}, 0


@api("mdl.set_dynamic_batch_size", code_alone)
def set_dynamic_batch_size(model: int, dataset: int, index: int, batch: int) -> int:
    """Choose a gear, in the hidden input's buffer of this dataset."""
    _models.set_batch(model, dataset, index, batch)
    return 0


@api("mdl.create_dataset", nothing, context=False)
def create_dataset() -> int:
    return state.add(state.datasets, [])


@api("mdl.destroy_dataset", code_alone, context=False, release=True)
def destroy_dataset(dataset: int) -> int:
    """Give a dataset back; its data buffers are the caller's, and should be gone."""
    found = state.find(state.datasets, dataset, "dataset")
    left = [b for b in found if b in state.buffers and b not in state.excused]
    if left:
        state.violate(f"mdl.destroy_dataset with {len(left)} data buffers left in it")
    del state.datasets[dataset]
    return 0


@api("mdl.add_dataset_buffer", with_zero, context=False)
def add_dataset_buffer(dataset: int, buffer: int) -> tuple[int, int]:
    found = state.find(state.datasets, dataset, "dataset")
    state.find(state.buffers, buffer, "data buffer")
    found.append(buffer)
    return dataset, 0


@api("mdl.execute_async", code_alone)
def execute_async(model: int, inputs: int, outputs: int, stream: int) -> int:
    _models.enqueue(model, inputs, outputs, find_stream(stream))
    return 0


def _filled(desc: int) -> Artifact:
    found = state.find(state.descriptions, desc, "model description")
    if found is None:
        raise Refused(100000, f"the model description {desc:#x} is empty; call get_desc")
    return found


def _dims(tensor: Tensor) -> Dims:
    return {"name": tensor.name, "dimCount": len(tensor.dims), "dims": list(tensor.dims)}
