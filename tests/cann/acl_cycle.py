"""One right way to use acl, written against the published contract for tests of the simulator."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

H2D, D2H = 1, 2
HUGE_FIRST = 0
DTYPES = {0: np.float32, 1: np.float16, 3: np.int32, 4: np.uint8}
GEARS_INPUT = "ascend_mbatch_shape_data"


def good(ret: int) -> None:
    """Hold that a call succeeded."""
    assert ret == 0, ret


def value(pair: tuple[Any, int]) -> Any:
    """The value of `(value, ret)`."""
    good(pair[1])
    return pair[0]


class Cycle:
    """A model from load to unload, in an own context with an own stream.

    Attributes:
        model, desc, stream, context: handles.
        datasets: inputs and outputs.
        buffers: per dataset, (data buffer, device pointer, host pointer, bytes).
    """

    def __init__(self, acl: Any, path: object, device: int = 0) -> None:
        self.acl, self.device = acl, device
        assert acl.init() in (0, 100002)
        good(acl.rt.set_device(device))
        self.context = value(acl.rt.create_context(device))
        self.stream = value(acl.rt.create_stream())
        self.model = value(acl.mdl.load_from_file(str(path)))
        self.desc = acl.mdl.create_desc()
        good(acl.mdl.get_desc(self.desc, self.model))
        self.datasets: list[int] = []
        self.buffers: list[list[tuple[int, int, int, int]]] = []
        for number, size in (
            (acl.mdl.get_num_inputs(self.desc), acl.mdl.get_input_size_by_index),
            (acl.mdl.get_num_outputs(self.desc), acl.mdl.get_output_size_by_index),
        ):
            dataset = acl.mdl.create_dataset()
            self.datasets.append(dataset)
            self.buffers.append([])
            for index in range(number):
                nbytes = size(self.desc, index)
                pointer = value(acl.rt.malloc(nbytes, HUGE_FIRST))
                buffer = acl.create_data_buffer(pointer, nbytes)
                assert value(acl.mdl.add_dataset_buffer(dataset, buffer)) == dataset
                host = value(acl.rt.malloc_host(nbytes))
                self.buffers[-1].append((buffer, pointer, host, nbytes))

    def enter(self) -> None:
        """Use the context in the calling thread."""
        good(self.acl.rt.set_context(self.context))

    def host(self, side: int, index: int) -> NDArray[np.uint8]:
        """Pinned memory of an input (0) or output (1) as bytes."""
        _, _, pointer, nbytes = self.buffers[side][index]
        found: NDArray[np.uint8] = self.acl.util.ptr_to_numpy(pointer, (nbytes,), 2)
        return found

    def outputs(self, batch: int = 0) -> list[NDArray[Any]]:
        """What pinned memory holds of the outputs, as arrays."""
        found = []
        for index in range(len(self.buffers[1])):
            dims = value(self.acl.mdl.get_output_dims(self.desc, index))["dims"]
            shape = (batch, *dims[1:]) if batch else tuple(dims)
            dtype = DTYPES[self.acl.mdl.get_output_data_type(self.desc, index)]
            nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
            found.append(self.host(1, index)[:nbytes].copy().view(dtype).reshape(shape))
        return found

    def queue(self, image: NDArray[Any], batch: int = 0) -> None:
        """Queue copies and execution, without waiting."""
        acl = self.acl
        data = image.reshape(-1).view(np.uint8)
        self.host(0, 0)[: data.size] = data
        if batch:
            index = value(acl.mdl.get_input_index_by_name(self.desc, GEARS_INPUT))
            good(acl.mdl.set_dynamic_batch_size(self.model, self.datasets[0], index, batch))
        _, pointer, host, nbytes = self.buffers[0][0]
        good(acl.rt.memcpy_async(pointer, nbytes, host, nbytes, H2D, self.stream))
        good(acl.mdl.execute_async(self.model, *self.datasets, self.stream))
        for _, pointer, host, nbytes in self.buffers[1]:
            good(acl.rt.memcpy_async(host, nbytes, pointer, nbytes, D2H, self.stream))

    def run(self, image: NDArray[Any], batch: int = 0) -> list[NDArray[Any]]:
        """The steady state: copy in, execute, copy out, wait."""
        self.queue(image, batch)
        good(self.acl.rt.synchronize_stream(self.stream))
        return self.outputs(batch)

    def run_now(self, image: NDArray[Any]) -> list[NDArray[Any]]:
        """The same with synchronous calls and bytes of the host."""
        acl = self.acl
        data = image.tobytes()
        _, pointer, _, nbytes = self.buffers[0][0]
        good(acl.rt.memcpy(pointer, nbytes, acl.util.bytes_to_ptr(data), len(data), H2D))
        good(acl.mdl.execute(self.model, *self.datasets))
        for _, pointer, host, nbytes in self.buffers[1]:
            good(acl.rt.memcpy(host, nbytes, pointer, nbytes, D2H))
        return self.outputs()

    def close(self) -> None:
        """Give everything back, in order."""
        acl = self.acl
        for dataset, buffers in zip(self.datasets, self.buffers, strict=True):
            for buffer, pointer, host, _ in buffers:
                good(acl.destroy_data_buffer(buffer))
                good(acl.rt.free(pointer))
                good(acl.rt.free_host(host))
            good(acl.mdl.destroy_dataset(dataset))
        good(acl.mdl.unload(self.model))
        good(acl.mdl.destroy_desc(self.desc))
        good(acl.rt.destroy_stream(self.stream))
        good(acl.rt.destroy_context(self.context))
        good(acl.rt.reset_device(self.device))

    def __enter__(self) -> Cycle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
