"""What each module of a stage is given and gives, and one module run alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# A module's input is called by its path and this; its output by its path alone.
INPUT_SUFFIX = " input"


def called_modules(network: nn.Module, run: Callable[[], object]) -> dict[str, Tensor]:
    """Run something, and note what every module without children was given and gave.

    Args:
        network: whose modules.
        run: what to run.

    Returns:
        By path, and path + `INPUT_SUFFIX`, in the order of the calls. A module that is called
        twice is noted the last time.
    """
    seen: dict[str, Tensor] = {}
    with _noting(network, seen):
        run()
    return seen


def run_module(network: nn.Module, path: str, given: Tensor) -> Tensor:
    """Run one module alone."""
    made: Tensor = network.get_submodule(path)(given)
    return made


def weights_of(network: nn.Module, path: str) -> dict[str, Tensor]:
    """A module's parameters and buffers that are numbers, by their keys in the checkpoint."""
    module = network.get_submodule(path)
    return {
        f"{path}.{name}": tensor.detach()
        for name, tensor in module.state_dict().items()
        if tensor.is_floating_point()
    }


@contextmanager
def _noting(network: nn.Module, seen: dict[str, Tensor]) -> Iterator[None]:
    def noting(path: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def note(_: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
            seen[path + INPUT_SUFFIX] = given[0]
            seen[path] = made

        return note

    hooks = [
        module.register_forward_hook(noting(path))
        for path, module in network.named_modules()
        if not any(module.children())
    ]
    try:
        with torch.inference_mode():
            yield
    finally:
        for hook in hooks:
            hook.remove()
