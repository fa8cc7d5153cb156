"""acl.util, simulated: addresses of host memory."""

from __future__ import annotations

import ctypes
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _host, _memory
from ._calls import api, nothing
from ._state import state

# numpy's own type numbers
NPY_TYPES = {2: "uint8", 5: "int32", 7: "int64", 11: "float32", 23: "float16"}


def _none(_: int) -> Any:
    return None


@api("util.bytes_to_ptr", nothing, context=False)
def bytes_to_ptr(data: bytes) -> int:
    """The address of the bytes; they must live as long as it is used."""
    address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
    _host.remember(address, len(data), data)
    return address


@api("util.ptr_to_bytes", _none, context=False)
def ptr_to_bytes(address: int, size: int) -> bytes:
    """A copy of host memory."""
    return _on_host(address, size, "ptr_to_bytes").tobytes()


@api("util.numpy_to_ptr", nothing, context=False)
def numpy_to_ptr(array: NDArray[Any]) -> int:
    """The address of an array's memory; the array must live as long as it is used."""
    if not array.flags.c_contiguous:
        warnings.warn(
            "acl.util.numpy_to_ptr (simulated): the array is not contiguous", stacklevel=3
        )
    address = array.ctypes.data
    _host.remember(address, array.nbytes, array)
    return address


@api("util.numpy_contiguous_to_ptr", lambda _: (0, np.empty(0)), context=False)
def numpy_contiguous_to_ptr(array: NDArray[Any]) -> tuple[int, NDArray[Any]]:
    """The address of the array or of a contiguous copy, and which."""
    contiguous = np.ascontiguousarray(array)
    address = contiguous.ctypes.data
    _host.remember(address, contiguous.nbytes, contiguous)
    return address, contiguous


@api("util.ptr_to_numpy", _none, context=False)
def ptr_to_numpy(address: int, shape: tuple[int, ...], npy_type: int) -> NDArray[Any]:
    """A view of host memory."""
    if npy_type not in NPY_TYPES:
        raise TypeError(f"acl.util.ptr_to_numpy (simulated): npy type {npy_type}")
    dtype = np.dtype(NPY_TYPES[npy_type])
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return _on_host(address, size, "ptr_to_numpy").view(dtype).reshape(shape)


def _on_host(address: int, size: int, call: str) -> NDArray[np.uint8]:
    if _memory.is_device(address):
        state.violate(f"util.{call}: the device pointer {address:#x} was read on the host")
        raise RuntimeError("simulator: segmentation fault: device pointer read on the host")
    return _memory.place(address, size, f"util.{call}").data
