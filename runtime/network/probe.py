"""Looking into a network's stages, module by module: what each is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from runtime.model.stages import MODULE_INPUT, Stage
from runtime.network.hourglass import StackedHourglass

F32 = NDArray[np.float32]
InTurn = Callable[[Callable[[], Any]], Any]


class ModuleProbe:
    """Runs parts of a network; numbers go in and come out as numpy arrays.

    Args:
        network: on its device.
        device: which that is.
        in_turn: does something on the device while nobody else does, and translates its errors.
    """

    def __init__(self, network: StackedHourglass, device: str, in_turn: InTurn) -> None:
        self._network = network
        self._device = device
        self._in_turn = in_turn
        self.stages = network.stages

    def modules_in(self, stage: Stage, inputs: Mapping[str, F32]) -> dict[str, F32]:
        """Run a stage, and note what every module without children was given and gave.

        Args:
            stage: which.
            inputs: at least the tensors it reads.

        Returns:
            By path, and path + `MODULE_INPUT`, in the order of the calls, then the stage's outputs
            by their names. What one module gives and the next is given is one array, not two equal
            ones.
        """

        def run() -> dict[str, F32]:
            seen: dict[str, Tensor] = {}
            with self._noting(seen):
                given = (self._sent(inputs[name]) for name in stage.inputs)
                made = self._network.run_stage(stage, *given)
            seen.update(zip(stage.outputs, made, strict=True))
            arrays = {id(tensor): tensor.cpu().numpy() for tensor in seen.values()}
            return {name: arrays[id(tensor)] for name, tensor in seen.items()}

        noted: dict[str, F32] = self._in_turn(run)
        return noted

    def run_module(self, path: str, given: F32) -> F32:
        """Run one module alone."""
        module = self._network.get_submodule(path)
        made: F32 = self._in_turn(lambda: module(self._sent(given)).cpu().numpy())
        return made

    def weights_of(self, path: str) -> dict[str, F32]:
        """A module's numbers, by their keys in the checkpoint; none where there is no such."""
        return {
            key: tensor.cpu().numpy()
            for key, tensor in self._network.state_dict().items()
            if key.rpartition(".")[0] == path and tensor.is_floating_point()
        }

    def _sent(self, array: F32) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    @contextmanager
    def _noting(self, seen: dict[str, Tensor]) -> Iterator[None]:
        def noting(path: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
            def note(_: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
                seen[path + MODULE_INPUT] = given[0]
                seen[path] = made

            return note

        hooks = [
            module.register_forward_hook(noting(path))
            for path, module in self._network.named_modules()
            if not any(module.children())
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
