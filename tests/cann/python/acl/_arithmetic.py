"""The numbers: the stored graph in onnxruntime, rounded as the precision mode rounds."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _memory
from ._artifact import GEARS_INPUT, ITEM_BYTES
from ._objects import U8, Artifact, Tensor
from ._state import Refused

if TYPE_CHECKING:
    import onnxruntime

    from parity.rehearsal.arithmetic import Arithmetic

UINT8 = 4
# numpy's types by aclDataType
DTYPES = {
    0: "float32",
    1: "float16",
    2: "int8",
    3: "int32",
    4: "uint8",
    6: "int16",
    7: "uint16",
    8: "uint32",
    9: "int64",
    10: "uint64",
    11: "float64",
    12: "bool",
}
# the mixed modes: convolutions multiply in fp16, everything else is as it was
ARITHMETIC: dict[str, Arithmetic] = {
    "fp32": "fp32",
    "hf32": "hf32",
    "fp16": "fp16",
    "mixed": "fp16_cube",
}
_sessions: dict[tuple[str, str, tuple[str, ...]], onnxruntime.InferenceSession] = {}
_building = threading.Lock()


def session_of(artifact: Artifact) -> onnxruntime.InferenceSession:
    """The model ready to run; made once in a process, whoever loads it again."""
    key = hashlib.sha256(artifact.onnx).hexdigest(), artifact.precision, artifact.keep_fp32
    with _building:
        if key not in _sessions:
            try:
                _sessions[key] = _session(artifact)
            except Exception as error:
                raise Refused(545001, f"the stored graph does not load: {error}") from error
        session = _sessions[key]
    data = [t for t in artifact.inputs if t.name != GEARS_INPUT]
    names = {t.name for t in data}, {i.name for i in session.get_inputs()}
    if names[0] != names[1] or len(artifact.outputs) != len(session.get_outputs()):
        raise Refused(545001, f"the model's inputs {names[0]} are not the graph's {names[1]}")
    return session


def run(artifact: Artifact, session: Any, inputs: list[U8], batch: int) -> list[U8]:
    """One execution."""
    wanted = {i.name: i.type for i in session.get_inputs()}
    feeds = {
        tensor.name: _fed(artifact, tensor, data, batch, wanted[tensor.name])
        for tensor, data in zip(artifact.inputs, inputs, strict=True)
        if tensor.name != GEARS_INPUT
    }
    try:
        results = session.run(None, feeds)
    except Exception as error:
        raise Refused(507011, f"model execution failed: {error}") from error
    given: list[U8] = []
    for tensor, result in zip(artifact.outputs, results, strict=True):
        shape = tensor.shape(batch)
        if artifact.gears and tensor.dims[0] == artifact.largest:
            shape = (batch, *tensor.dims[1:])
        if result.shape != shape:
            raise Refused(507011, f"{tensor.name} came out as {result.shape}, not {shape}")
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is what fp16 does
            cast = np.ascontiguousarray(result.astype(DTYPES[tensor.dtype]))
        given.append(cast.reshape(-1).view(np.uint8))
    return given


def _session(artifact: Artifact) -> onnxruntime.InferenceSession:
    """The graph with the rounding of its precision put in."""
    import onnxruntime

    from parity.rehearsal.graph import rehearsed_graph

    arithmetic = ARITHMETIC[artifact.precision]
    graph = rehearsed_graph(artifact.onnx, arithmetic, artifact.keep_fp32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(2, os.cpu_count() or 1)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _fed(
    artifact: Artifact, tensor: Tensor, data: U8, batch: int, wanted: str
) -> NDArray[np.generic]:
    """A buffer's bytes as the graph takes them."""
    shape = tensor.shape(batch)
    size = int(np.prod(shape, dtype=np.int64)) * ITEM_BYTES[tensor.dtype]
    if data.size < size:
        # within the tolerance of the check; what lies behind a buffer is anybody's
        data = np.concatenate([data, _memory.noise(size - data.size)])
    array = data[:size].copy().view(DTYPES[tensor.dtype]).reshape(shape)
    if artifact.aipp is not None and tensor.dtype == UINT8:
        array = _aipp(array, artifact.aipp)
    types = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64"}
    return array.astype(types.get(wanted, array.dtype), copy=False)


def _aipp(pixels: NDArray[Any], settings: dict[str, Any]) -> NDArray[np.float32]:
    """uint8 (N, H, W, 3) to float32 (N, 3, H, W), each number one that fp16 holds.

    The channels are swapped first; means and factors count channels after that. The arithmetic
    inside is not published, what is held as fp16 is: the factor and the result.
    """
    swapped = pixels[..., ::-1] if settings["rbuv_swap"] else pixels
    mean, least = (np.array(settings[name], np.float32) for name in ("mean", "min"))
    factor = np.array(settings["var_reci"], np.float16).astype(np.float32)
    scaled = (swapped.astype(np.float32) - mean - least) * factor
    return scaled.astype(np.float16).astype(np.float32).transpose(0, 3, 1, 2)
