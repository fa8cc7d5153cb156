"""The fake's tensors: they compute on the CPU and know which device they are said to be on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from torch_npu import npu

_to, _module_to = torch.Tensor.to, torch.nn.Module.to


class NpuTensor(torch.Tensor):
    """A tensor of npu:N; every operator on it needs N to be its thread's device."""

    npu_index: int

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], _: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = list(_tensors((*args, *kwargs.values())))
        indices = {one.npu_index for one in tensors if isinstance(one, NpuTensor)}
        with torch._C.DisableTorchFunctionSubclass():
            if func.__name__ in ("__get__", "dim", "size", "__len__"):  # asks no device
                return func(*args, **kwargs)
            if len(indices) > 1:
                raise RuntimeError("Expected all tensors to be on the same device")
            (index,) = indices
            return _run(func, index, args, kwargs, tensors)


def _run(func: Callable[..., Any], index: int, args: Any, kwargs: Any, tensors: list[Any]) -> Any:
    name = func.__name__
    if name == "numpy":
        raise TypeError(f"can't convert npu:{index} device type tensor to numpy.")
    runs = npu.launch(name, index, tuple(tuple(one.shape) for one in tensors))
    if name == "cpu":
        npu.note("cpu", index)
        npu.wait_to_copy(index)
        return args[0].as_subclass(torch.Tensor).clone()
    if name == "conv2d":
        if not all(isinstance(one, NpuTensor) for one in tensors):
            raise RuntimeError("Expected all tensors to be on the same device, npu:0 and cpu!")
        bits = npu.conv_bits()
        npu.note("conv2d", (index, bits))
        args = [rounded(args[0], bits), rounded(args[1], bits), *args[2:]]
    result = func(*args, **kwargs)
    return _placed(result if runs else _unwritten(result), index)


def _unwritten(result: Any) -> Any:
    """What an operator that never ran leaves behind: whatever lay in that memory."""
    if isinstance(result, (tuple, list)):
        return type(result)(_unwritten(one) for one in result)
    if not isinstance(result, torch.Tensor) or not result.is_floating_point():
        return result
    return torch.linspace(-0.9, 0.9, result.numel()).reshape(result.shape)


def rounded(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Float32 with this many mantissa bits left, to nearest, away from zero at a tie."""
    if bits == 23:
        return x
    dropped = 23 - bits
    raw = x.as_subclass(torch.Tensor).contiguous().view(torch.int32)
    return ((raw + (1 << (dropped - 1))) & ~((1 << dropped) - 1)).view(torch.float32)


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _placed(result: Any, index: int) -> Any:
    if isinstance(result, (tuple, list)):
        return type(result)(_placed(one, index) for one in result)
    if not isinstance(result, torch.Tensor):
        return result
    made = result.as_subclass(NpuTensor)
    made.npu_index = index
    return made


def _index_of(target: Any) -> int | None:
    return int(target[4:]) if isinstance(target, str) and target.startswith("npu:") else None


def _tensor_to(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    index = _index_of(args[0]) if args else None
    if index is None:
        return _to(self, *args, **kwargs)
    npu.note("to", index)
    npu.launch("to", index, tuple(self.shape))
    npu.wait_to_copy(index)
    return _placed(self.detach().clone(), index)


def _placed_module(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    index = _index_of(args[0]) if args else None
    if index is None:
        return _module_to(self, *args, **kwargs)
    npu.note("module.to", index)
    npu.current_index("module.to")
    for module in self.modules():
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    held[name] = _tensor_to(tensor, f"npu:{index}")
    return self


def install() -> None:
    """Make torch know the device, as importing the real package does."""
    torch.npu = npu  # type: ignore[attr-defined]
    setattr(torch.Tensor, "to", _tensor_to)  # noqa: B010  # mypy knows no such overload
    setattr(torch.nn.Module, "to", _placed_module)  # noqa: B010


def uninstall() -> None:
    """Give the process its torch back."""
    del torch.npu  # type: ignore[attr-defined]
    setattr(torch.Tensor, "to", _to)  # noqa: B010
    setattr(torch.nn.Module, "to", _module_to)  # noqa: B010
