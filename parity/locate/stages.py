"""The sources that are compared stage by stage, whichever engine runs them.

Every source gives the tensors between its stages (`TappedSource`). A checkpoint or a graph can also
run each stage alone, on any inputs (`StagedSource`; a graph's is in `parity.locate.onnx_stages`).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity.locate.figures import F32
from parity.recording.recording import Recording
from runtime.backends import Backend
from runtime.errors import ArtifactError
from runtime.model.spec import OUTPUT_NAMES, InputSpec
from runtime.model.stages import MODULE_INPUT, Stage, living_stages

U8 = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """A part of a stage, between tensors that both sides have.

    Attributes:
        output: name of the tensor it makes.
        expected: that tensor, as the other side made it.
        inputs: the tensors it reads, as the other side made them; weights apart.
        operators: its operators in the order they run; the last makes the output.
    """

    output: str
    expected: F32
    inputs: Mapping[str, F32]
    operators: tuple[str, ...]


class TappedSource(ABC):
    """A source that gives the tensors between its stages.

    Attributes:
        name: the source's text.
        engine: what runs it, or ran it.
        checkpoint_sha256: of the weights it was made from; empty where unknown.
        size_px: S, the side of its crops.
        stages: those of its network that the landmarks depend on.
    """

    def __init__(
        self,
        name: str,
        engine: str,
        checkpoint_sha256: str,
        size_px: int,
        stages: tuple[Stage, ...],
    ) -> None:
        self.name = name
        self.engine = engine
        self.checkpoint_sha256 = checkpoint_sha256
        self.size_px = size_px
        self.stages = stages

    @abstractmethod
    def taps(self, crop: U8) -> dict[str, F32]:
        """Every living stage's tensors for the next picture, landmarks and covariance included."""

    @abstractmethod
    def close(self) -> None:
        """Release what it holds; a second call does nothing."""


class StagedSource(TappedSource):
    """A source whose stages can be run alone."""

    # its steps are a checkpoint's modules, not the nodes of a graph
    by_module = False

    @abstractmethod
    def run_stage(self, stage: Stage, inputs: Mapping[str, F32]) -> dict[str, F32]:
        """Run one stage on its inputs, which may be given among others."""

    @abstractmethod
    def inside(self, stage: Stage, inputs: Mapping[str, F32]) -> dict[str, F32]:
        """The tensors that a stage makes, its outputs included, by name and in their order."""

    @abstractmethod
    def steps(self, stage: Stage, values: Mapping[str, F32]) -> list[Step]:
        """Cut a stage at every tensor that the other side has, too, in the order they are made.

        `values` are the other side's `inside`, and the stage's inputs.
        """

    @abstractmethod
    def run_step(self, step: Step) -> F32:
        """Run one step on its inputs."""

    @abstractmethod
    def weights(self, step: Step) -> dict[str, F32]:
        """The weights of a step by name; none where this source has no such step."""

    def composed(self, step: Step) -> tuple[str, ...]:  # noqa: ARG002  # a graph's alone are
        """The checkpoint's modules that a step's weights were composed of at export, if any."""
        return ()


class RecordedStages(TappedSource):
    """A recording with taps, read in order.

    Raises:
        InputError: a recording without them.
    """

    def __init__(self, name: str, recording: Recording) -> None:
        self.recording = recording
        self._coming = recording.taps()
        self._outputs = zip(recording.landmarks, recording.covariance, strict=True)
        header = recording.header
        if not header.spec.taps:
            next(self._coming)  # raises the error that names the remedy
        super().__init__(
            name,
            header.engine,
            header.checkpoint_sha256,
            header.spec.input.size,
            stages_in(name, (*header.spec.taps, *OUTPUT_NAMES)),
        )

    def taps(self, crop: U8) -> dict[str, F32]:  # noqa: ARG002  # its own is on record
        """Every stage's tensors for the next picture."""
        tensors = {
            **next(self._coming),
            **dict(zip(OUTPUT_NAMES, next(self._outputs), strict=True)),
        }
        return {name: np.array(tensor[np.newaxis], np.float32) for name, tensor in tensors.items()}

    def close(self) -> None:
        """Close the file."""
        self._coming.close()


class TappedStages(TappedSource):
    """A debug bundle on an engine that runs it as a whole, an NPU's .om for example.

    Raises:
        ArtifactError: a model without taps.
    """

    def __init__(self, name: str, backend: Backend) -> None:
        self._backend = backend
        taps = backend.spec.taps
        if not taps:
            raise ArtifactError(
                name,
                expected="a debug bundle, which gives the tensors between its stages",
                got="a model that gives landmarks and covariance alone",
                action="Make one with python -m export --taps",
            )
        super().__init__(*_facts(name, backend), stages_in(name, (*taps, *OUTPUT_NAMES)))

    def taps(self, crop: U8) -> dict[str, F32]:
        """Every stage's tensors for one picture."""
        made = self._backend.run(self._backend.spec.input.pack(crop[np.newaxis]))
        outputs = zip(OUTPUT_NAMES, (made.landmarks, made.covariance), strict=True)
        return {**made.taps, **dict(outputs)}

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()


class TorchStages(StagedSource):
    """A checkpoint in a `TorchBackend`, on any of its devices; its steps are its modules."""

    by_module = True

    def __init__(self, name: str, backend: Any) -> None:
        self._backend = backend
        self._probe = backend.probe()
        names = [output for stage in self._probe.stages for output in stage.outputs]
        super().__init__(*_facts(name, backend), stages_in(name, names))

    def taps(self, crop: U8) -> dict[str, F32]:
        """Every stage's tensors for one picture."""
        made: dict[str, F32] = self._backend.taps(image_of(crop))
        return {**made, **self.run_stage(self.stages[-1], made)}

    def run_stage(self, stage: Stage, inputs: Mapping[str, F32]) -> dict[str, F32]:
        """Run one stage alone."""
        made: dict[str, F32] = self._backend.run_stage(stage.name, inputs)
        return made

    def inside(self, stage: Stage, inputs: Mapping[str, F32]) -> dict[str, F32]:
        """Input and output of every module of the stage, and the stage's outputs."""
        made: dict[str, F32] = self._probe.modules_in(stage, inputs)
        return made

    def steps(self, stage: Stage, values: Mapping[str, F32]) -> list[Step]:  # noqa: ARG002  # below
        """The modules, in the order they are called; they have the same paths in any checkpoint."""
        paths = [name.removesuffix(MODULE_INPUT) for name in values if name.endswith(MODULE_INPUT)]
        inputs = [{path + MODULE_INPUT: values[path + MODULE_INPUT]} for path in paths]
        return [
            Step(output=path, expected=values[path], inputs=given, operators=(path,))
            for path, given in zip(paths, inputs, strict=True)
        ]

    def run_step(self, step: Step) -> F32:
        """Run one module alone."""
        made: F32 = self._probe.run_module(step.output, *step.inputs.values())
        return made

    def weights(self, step: Step) -> dict[str, F32]:
        """The module's tensors, by their keys in the checkpoint."""
        found: dict[str, F32] = self._probe.weights_of(step.output)
        return found

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()


def image_of(crop: U8) -> F32:
    """The batch of one crop: the first stage's input, float32 (1, 3, S, S)."""
    # not the spec's own: a graph that takes bytes begins with this normalisation
    packed = InputSpec(size=len(crop)).pack(crop[np.newaxis])
    return np.asarray(packed, np.float32)


def stages_in(where: str, tensors: Collection[str]) -> tuple[Stage, ...]:
    """Tell a network's living stages by the names of its tensors.

    Raises:
        ArtifactError: no such names, or not all of them.
    """
    stacks = len({name for name in tensors if re.fullmatch(r"stack[0-9]+\.heatmaps", name)})
    contours = stacks == 0 or any(name.endswith(".edgemaps") for name in tensors)
    stages = living_stages(max(stacks, 1), contours=contours)
    wanted = [stage.name for stage in stages]
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise ArtifactError(
            where,
            expected=f"tensors that carry the stages' names ({wanted[0]}, {wanted[1]}, ...)",
            got=f"none called {missing[0]}" + (f", or {missing[1]}" if len(missing) > 1 else ""),
            action="Export the checkpoint again with python -m export; foreign graphs are not read",
        )
    return stages


def _facts(name: str, backend: Backend) -> tuple[str, str, str, int]:
    return name, backend.name, backend.checkpoint_sha256, backend.spec.input.size
