"""One loaded .om with its buffers: made once, used for every run.

The order of a run: copy in, execute_async, synchronise, copy out. Copies are synchronous. Those of
memcpy_async want addresses that are multiples of 64, which malloc_host gives everywhere but on a
310B that is its own host (RC mode) [V: hicann/runtime docs/zh/api_ref/11-02], and no process may be
forked while one is under way [V: pyACL guide, aclpythondevg_0141]. ACLLite, mmdeploy and users of a
310B copy so, too.
"""

from __future__ import annotations

import ctypes
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.ascend.acl import AclFailure, Owner
from runtime.backends.ascend.process import SharedDevice
from runtime.model import om_tensors

# aclDataType -> NumPy's, which has no bfloat16
DTYPES: dict[int, np.dtype[Any]] = {
    number: np.dtype(name) for number, name in om_tensors.DTYPES.items() if name != "bfloat16"
}
HIDDEN_GEAR_INPUT = "ascend_mbatch_shape_data"
HUGE_FIRST = 0
HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2


@dataclass(frozen=True, kw_only=True)
class TensorFact:
    """A tensor as the file describes it. `dims[0]` is -1 or the largest gear where there are gears.

    Attributes:
        name: of an output without ATC's prefix: "node:0:landmarks" is "landmarks".
        dtype: None for a type that NumPy does not have.
        bytes: of its buffer.
    """

    name: str
    dims: tuple[int, ...]
    dtype: np.dtype[Any] | None
    bytes: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one picture's share; a buffer may be larger than its rows."""
        return math.prod(self.dims[1:]) * (self.dtype.itemsize if self.dtype else 1)


@contextmanager
def _in_utf8(path: Path) -> Iterator[str]:
    """A name to open the file by for pyACL, which makes UTF-8 of text: its own, or its number."""
    if os.fsencode(path) == str(path).encode("utf-8", "replace"):
        yield str(path)
        return
    with path.open("rb") as file:  # a name in GBK, or one that is no text
        yield f"/proc/self/fd/{file.fileno()}"


class LoadedModel:
    """A model on a device. The device's context must be current in the calling thread.

    Attributes:
        inputs, outputs: as the file describes them, a hidden gear input last.
        gears: the batches it serves, ascending; empty where it is static.
        stuck: why its stream did not come to rest after a run that failed: the model is of no more
            use. None where it did.

    Raises:
        AclFailure: a call failed; everything made so far is released.
    """

    def __init__(self, device: SharedDevice, path: Path) -> None:
        self._acl = device.acl
        self.stuck: AclFailure | None = None
        self._owner = Owner(device.acl)
        try:
            self._stream = self._owner.make("rt.destroy_stream", "rt.create_stream")
            self._desc = self._owner.make("mdl.destroy_desc", "mdl.create_desc")
            # after the description, so that it is unloaded before that is destroyed
            with _in_utf8(path) as name:
                self._id = self._acl.get("mdl.load_from_file", name)
            self._owner.owe("mdl.unload", self._id)
            self._acl.do("mdl.get_desc", self._desc, self._id)
            self.inputs = self._tensors("input")
            self.outputs = self._tensors("output")
            self.gears = self._gears()
            self._gear_index = self._find_gear_input() if self.gears else -1
        except BaseException:
            self._owner.release()
            raise

    def prepare(self) -> None:
        """Make the buffers, once the file's own description has been checked.

        Raises:
            AclFailure: no memory.
        """
        make = self._owner.make
        self._in_set = make("mdl.destroy_dataset", "mdl.create_dataset")
        self._in_device = [self._buffer(self._in_set, fact.bytes) for fact in self.inputs]
        self._out_set = make("mdl.destroy_dataset", "mdl.create_dataset")
        self._out_device = [self._buffer(self._out_set, fact.bytes) for fact in self.outputs]
        self._in_host = make("rt.free_host", "rt.malloc_host", self.inputs[0].bytes)
        self._out_host = [make("rt.free_host", "rt.malloc_host", f.bytes) for f in self.outputs]

    def run(
        self, batch: NDArray[Any], size: int
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, float]]:
        """Run up to `size` pictures; missing ones are padded with zeros and dropped.

        Args:
            batch: (n, ...), n at most `size`, in any dtype that the input's holds.
            size: the static batch, or one of the gears.

        Returns:
            Outputs by name, float32 (n, ...); and seconds by stage.

        Raises:
            AclFailure: a call failed; the stream holds no work any more, unless the device is lost.
        """
        clock = time.perf_counter
        try:
            start = clock()
            self._send(batch, size)
            sent = clock()
            if self.gears:
                self._acl.do(
                    "mdl.set_dynamic_batch_size", self._id, self._in_set, self._gear_index, size
                )
            self._acl.do("mdl.execute_async", self._id, self._in_set, self._out_set, self._stream)
            self._acl.do("rt.synchronize_stream", self._stream)
            computed = clock()
            outputs = self._fetch(len(batch), size)
            fetched = clock()
        except BaseException:
            # also after Ctrl-C: queued work must not meet the next run's data
            code: int = self._acl.call("rt.synchronize_stream", self._stream)
            if code != 0:
                self.stuck = AclFailure("rt.synchronize_stream", code, self._acl.recent_error())
            raise
        stages = {"h2d": sent - start, "compute": computed - sent, "d2h": fetched - computed}
        return outputs, stages

    def release(self) -> list[AclFailure]:
        """Free the buffers, unload the model, destroy the stream; a second call does nothing."""
        return self._owner.release()

    def _send(self, batch: NDArray[Any], size: int) -> None:
        fact = self.inputs[0]
        count = fact.row_bytes * size
        host = _host_view(self._in_host, count, fact.dtype).reshape(size, -1)
        np.copyto(host[: len(batch)], batch.reshape(len(batch), -1), casting="same_kind")
        host[len(batch) :] = 0
        self._acl.do(
            "rt.memcpy", self._in_device[0], fact.bytes, self._in_host, count, HOST_TO_DEVICE
        )

    def _fetch(self, rows: int, size: int) -> dict[str, NDArray[np.float32]]:
        outputs: dict[str, NDArray[np.float32]] = {}
        for fact, host, device in zip(self.outputs, self._out_host, self._out_device, strict=True):
            count = fact.row_bytes * size
            self._acl.do("rt.memcpy", host, fact.bytes, device, count, DEVICE_TO_HOST)
            whole = _host_view(host, count, fact.dtype).reshape(size, *fact.dims[1:])
            outputs[fact.name] = whole[:rows].astype(np.float32)  # copies: the buffer is reused
        return outputs

    def _buffer(self, dataset: int, size: int) -> int:
        device = self._owner.make("rt.free", "rt.malloc", size, HUGE_FIRST)
        buffer = self._owner.make("destroy_data_buffer", "create_data_buffer", device, size)
        self._acl.get("mdl.add_dataset_buffer", dataset, buffer)
        return device

    def _tensors(self, kind: str) -> Sequence[TensorFact]:
        call, desc = self._acl.call, self._desc
        facts: list[TensorFact] = []
        for index in range(call(f"mdl.get_num_{kind}s", desc)):
            dtype: int = call(f"mdl.get_{kind}_data_type", desc, index)
            dims = self._acl.get(f"mdl.get_{kind}_dims", desc, index)
            name = str(call(f"mdl.get_{kind}_name_by_index", desc, index))
            facts.append(
                TensorFact(
                    name=name.rsplit(":", maxsplit=1)[-1] if kind == "output" else name,
                    dims=tuple(dims["dims"]),
                    dtype=DTYPES.get(dtype),
                    bytes=call(f"mdl.get_{kind}_size_by_index", desc, index),
                )
            )
        return facts

    def _gears(self) -> tuple[int, ...]:
        found = self._acl.get("mdl.get_dynamic_batch", self._desc)
        return tuple(sorted(found["batch"][: found["batchCount"]]))

    def _find_gear_input(self) -> int:
        return int(self._acl.get("mdl.get_input_index_by_name", self._desc, HIDDEN_GEAR_INPUT))


def _host_view(address: int, count: int, dtype: np.dtype[Any] | None) -> NDArray[Any]:
    """An array over pinned memory; it must not outlive the memory."""
    memory = memoryview((ctypes.c_uint8 * count).from_address(address))
    return np.frombuffer(memory, dtype or np.dtype(np.uint8))
