"""The stages of a checkpoint, through the backend that runs it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from parity.locate.stage_runs import F32, Shown, Step, image_of
from runtime.model.stages import MODULE_INPUT, Stage, stages_of


class TorchStages:
    """A checkpoint, on any of torch's devices; its steps are its modules.

    Args:
        name: of the source.
        backend: a `TorchBackend`, which is closed with this.
    """

    by_module = True

    def __init__(self, name: str, backend: Any) -> None:
        self.name = name
        self._backend = backend
        self._probe = backend.probe()
        self.stacks: int = self._probe.stacks

    def taps(self, shown: Shown) -> dict[str, F32]:
        """Every stage's tensors for one picture."""
        made: dict[str, F32] = self._backend.taps(image_of(shown))
        last = stages_of(self.stacks)[-1]
        return {**made, **self.run_stage(last, made)}

    def run_stage(self, stage: Stage, inputs: Mapping[str, F32]) -> dict[str, F32]:
        """One stage alone."""
        made: dict[str, F32] = self._backend.run_stage(stage.name, inputs)
        return made

    def inside(self, stage: Stage, inputs: Mapping[str, F32]) -> dict[str, F32]:
        """What every module of the stage is given and gives, and the stage's outputs."""
        made: dict[str, F32] = self._probe.modules_in(stage, inputs)
        return made

    def known_by(self, stage: Stage, values: Mapping[str, F32]) -> dict[str, F32]:
        """Another checkpoint's modules have the same paths."""
        _ = stage
        return dict(values)

    def steps(self, stage: Stage, known: Collection[str]) -> list[Step]:
        """The modules, in the order they are called; what lies between them is not cut."""
        _ = stage
        paths = [name.removesuffix(MODULE_INPUT) for name in known if name.endswith(MODULE_INPUT)]
        return [
            Step(output=path, inputs=(path + MODULE_INPUT,), operators=(path,)) for path in paths
        ]

    def run_step(self, step: Step, values: Mapping[str, F32]) -> F32:
        """One module alone."""
        made: F32 = self._probe.run_module(step.output, values[step.inputs[0]])
        return made

    def weights(self, step: Step) -> dict[str, F32]:
        """The module's tensors, by their keys in the checkpoint."""
        found: dict[str, F32] = self._probe.weights_of(step.output)
        return found

    def composed(self, step: Step) -> tuple[str, ...]:
        """A checkpoint's weights are its own."""
        _ = step
        return ()

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()
