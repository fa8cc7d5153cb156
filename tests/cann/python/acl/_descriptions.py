"""Model descriptions, simulated: what acl.mdl tells of a loaded model."""

from __future__ import annotations

from typing import Any

from . import _models
from ._calls import api, code_alone, nothing, with_zero
from ._objects import Artifact, Description, Tensor
from ._state import Refused, state

Dims = dict[str, Any]


def _no_name(_: int) -> str:
    return ""


def _no_dims(code: int) -> tuple[Dims, int]:
    return {}, code


@api("mdl.create_desc", nothing, context=False)
def create_desc() -> int:
    """An empty description."""
    handle = next(state.handles)
    state.descriptions[handle] = Description()
    return handle


@api("mdl.get_desc", code_alone, context=False)
def get_desc(desc: int, model: int) -> int:
    """Fill a description."""
    if model not in state.models:
        raise Refused(145003, f"no model {model}")
    found = _description(desc)
    found.model, found.artifact = model, state.models[model].artifact
    return 0


@api("mdl.destroy_desc", code_alone, context=False, release=True)
def destroy_desc(desc: int) -> int:
    """Give a description back."""
    _description(desc)
    del state.descriptions[desc]
    return 0


@api("mdl.get_num_inputs", nothing, context=False)
def get_num_inputs(desc: int) -> int:
    """Hidden ones count."""
    return len(_filled(desc).inputs)


@api("mdl.get_num_outputs", nothing, context=False)
def get_num_outputs(desc: int) -> int:
    """How many outputs there are."""
    return len(_filled(desc).outputs)


@api("mdl.get_input_size_by_index", nothing, context=False)
def get_input_size_by_index(desc: int, index: int) -> int:
    """Bytes; 0 where there is no such input."""
    artifact = _filled(desc)
    return _models.size_bytes(artifact, _at(artifact.inputs, index))


@api("mdl.get_output_size_by_index", nothing, context=False)
def get_output_size_by_index(desc: int, index: int) -> int:
    """Bytes, for the largest gear; 0 where there is no such output."""
    artifact = _filled(desc)
    return _models.size_bytes(artifact, _at(artifact.outputs, index))


@api("mdl.get_input_dims", _no_dims, context=False)
def get_input_dims(desc: int, index: int) -> tuple[Dims, int]:
    """(dims, ret); -1 is the batch of gears."""
    return _dims(_at(_filled(desc).inputs, index)), 0


@api("mdl.get_input_dims_v2", _no_dims, context=False)
def get_input_dims_v2(desc: int, index: int) -> tuple[Dims, int]:
    """As get_input_dims: static AIPP is told as it is fed by both."""
    return _dims(_at(_filled(desc).inputs, index)), 0


@api("mdl.get_output_dims", _no_dims, context=False)
def get_output_dims(desc: int, index: int) -> tuple[Dims, int]:
    """(dims, ret), for the largest gear."""
    return _dims(_at(_filled(desc).outputs, index)), 0


@api("mdl.get_cur_output_dims", _no_dims, context=False)
def get_cur_output_dims(desc: int, index: int) -> tuple[Dims, int]:
    """(dims, ret), for the gear that was chosen last."""
    artifact = _filled(desc)
    dims = _dims(_at(artifact.outputs, index))
    model = state.models.get(state.descriptions[desc].model)
    if artifact.gears and model is not None and model.gear is not None:
        dims["dims"][0] = model.gear
    return dims, 0


@api("mdl.get_input_data_type", lambda _: -1, context=False)
def get_input_data_type(desc: int, index: int) -> int:
    """AclDataType; -1 where there is no such input."""
    return _at(_filled(desc).inputs, index).dtype


@api("mdl.get_output_data_type", lambda _: -1, context=False)
def get_output_data_type(desc: int, index: int) -> int:
    """AclDataType; -1 where there is no such output."""
    return _at(_filled(desc).outputs, index).dtype


@api("mdl.get_input_format", lambda _: -1, context=False)
def get_input_format(desc: int, index: int) -> int:
    """AclFormat; -1 where there is no such input."""
    return _at(_filled(desc).inputs, index).format


@api("mdl.get_output_format", lambda _: -1, context=False)
def get_output_format(desc: int, index: int) -> int:
    """AclFormat; -1 where there is no such output."""
    return _at(_filled(desc).outputs, index).format


@api("mdl.get_input_name_by_index", _no_name, context=False)
def get_input_name_by_index(desc: int, index: int) -> str:
    """The ONNX input's name; empty where there is no such input."""
    return _at(_filled(desc).inputs, index).name


@api("mdl.get_output_name_by_index", _no_name, context=False)
def get_output_name_by_index(desc: int, index: int) -> str:
    """`<node>:<idx>:<onnx_output_name>`; empty where there is no such output."""
    return _at(_filled(desc).outputs, index).name


@api("mdl.get_input_index_by_name", with_zero, context=False)
def get_input_index_by_name(desc: int, name: str) -> tuple[int, int]:
    """(index, ret)."""
    return _index(_filled(desc).inputs, name), 0


@api("mdl.get_output_index_by_name", with_zero, context=False)
def get_output_index_by_name(desc: int, name: str) -> tuple[int, int]:
    """(index, ret)."""
    return _index(_filled(desc).outputs, name), 0


@api("mdl.get_dynamic_batch", _no_dims, context=False)
def get_dynamic_batch(desc: int) -> tuple[Dims, int]:
    """({batchCount, batch}, ret); a count of 0 is a static model."""
    gears = _filled(desc).gears
    return {"batchCount": len(gears), "batch": list(gears)}, 0


@api("mdl.get_dynamic_hw", _no_dims, context=False)
def get_dynamic_hw(desc: int, index: int) -> tuple[Dims, int]:
    """No simulated model has gears of height and width."""
    _filled(desc)
    if index != -1:
        raise Refused(100000, f"the index is {index}, not -1")
    return {"hwCount": 0, "hw": []}, 0


@api("mdl.get_input_dynamic_gear_count", with_zero, context=False)
def get_input_dynamic_gear_count(desc: int, index: int) -> tuple[int, int]:
    """No simulated model has gears of other dims."""
    _filled(desc)
    if index != -1:
        raise Refused(100000, f"the index is {index}, not -1")
    return 0, 0


def _description(desc: int) -> Description:
    found = state.descriptions.get(desc)
    if found is None:
        state.violate(f"model description {desc:#x} does not exist, or no longer")
        raise Refused(100000, f"no model description {desc:#x}")
    return found


def _filled(desc: int) -> Artifact:
    found = _description(desc).artifact
    if found is None:
        raise Refused(100000, f"the model description {desc:#x} is empty; call get_desc")
    return found


def _at(tensors: tuple[Tensor, ...], index: int) -> Tensor:
    if not 0 <= index < len(tensors):
        raise Refused(100000, f"index {index} of {len(tensors)}")
    return tensors[index]


def _index(tensors: tuple[Tensor, ...], name: str) -> int:
    for index, tensor in enumerate(tensors):
        if tensor.name == name:
            return index
    raise Refused(100000, f"no tensor {name!r}")


def _dims(tensor: Tensor) -> Dims:
    return {"name": tensor.name, "dimCount": len(tensor.dims), "dims": list(tensor.dims)}
