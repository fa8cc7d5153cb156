"""What can be asked of a source whose stages are looked at, whichever engine it runs in."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ArtifactError, InputError
from runtime.model.spec import InputSpec
from runtime.model.stages import Stage, living_stages

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """One picture as both sides see it.

    Attributes:
        index: among the pictures.
        name: as reports call it.
        size_px: S, the side of the crop.
        crop: uint8 (S, S, 3) BGR; None between two recordings, which need none.
    """

    index: int
    name: str
    size_px: int
    crop: U8 | None


@dataclass(frozen=True, kw_only=True)
class Step:
    """A part of a stage: what lies between tensors whose values are known, and the next such.

    Attributes:
        output: name of the tensor it makes.
        inputs: names of the tensors it reads, weights apart.
        operators: what is in it, in the order it runs; the last makes the output.
    """

    output: str
    inputs: tuple[str, ...]
    operators: tuple[str, ...]


class TappedSource(Protocol):
    """A source that says what leaves each of its stages."""

    name: str
    stacks: int

    def taps(self, shown: Shown) -> dict[str, F32]:
        """Every living stage's tensors for one picture, landmarks and covariance among them."""
        ...

    def close(self) -> None:
        """Release what it holds; a second call does nothing."""
        ...


class StagedSource(TappedSource, Protocol):
    """A source whose stages can be run alone, on any inputs.

    `by_module`: its steps are a checkpoint's modules, and not the nodes of a graph.
    """

    by_module: bool

    def run_stage(self, stage: Stage, inputs: Mapping[str, F32]) -> dict[str, F32]:
        """One stage on the inputs it is given, among which are those it reads."""
        ...

    def inside(self, stage: Stage, inputs: Mapping[str, F32]) -> dict[str, F32]:
        """The tensors that a stage makes on its way and its outputs, by name, in their order."""
        ...

    def known_by(self, stage: Stage, values: Mapping[str, F32]) -> dict[str, F32]:
        """Another source's tensors by the names that this one has for them, where it has some.

        Args:
            stage: which they are of.
            values: what the other's `inside` gave, and the stage's inputs.
        """
        ...

    def steps(self, stage: Stage, known: Collection[str]) -> list[Step]:
        """Cut a stage at the tensors that are known, in the order they are made."""
        ...

    def run_step(self, step: Step, values: Mapping[str, F32]) -> F32:
        """One step on the values it reads."""
        ...

    def weights(self, step: Step) -> dict[str, F32]:
        """The weights a step multiplies with, by name; none where this source has no such step."""
        ...

    def composed(self, step: Step) -> tuple[str, ...]:
        """The checkpoint's modules that they were composed of at export; none of its own."""
        ...


def crop_of(shown: Shown) -> U8:
    """A picture's crop, for a source that is run.

    Raises:
        InputError: both sides are recordings.
    """
    if shown.crop is None:
        raise InputError(
            shown.name,
            expected="a crop, for a source that is run",
            got="a recording without crops",
            action="Record it again with --with-crops",
        )
    return shown.crop


def image_of(shown: Shown) -> F32:
    """The batch of one picture: the first stage's input, float32 (1, 3, S, S)."""
    # a source that can be run stage by stage is a float32 one, which all take this
    packed = InputSpec(size=shown.size_px).pack(crop_of(shown)[np.newaxis])
    return np.asarray(packed, np.float32)


def stacks_in(where: str, tensors: Collection[str]) -> int:
    """Count a network's stacks by the names of its stages' tensors.

    Raises:
        ArtifactError: no such names, or not all of them.
    """
    stacks = len({name for name in tensors if re.fullmatch(r"stack[0-9]+\.heatmaps", name)})
    wanted = [stage.name for stage in living_stages(max(stacks, 1))]
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise ArtifactError(
            where,
            expected=f"tensors that carry the stages' names ({wanted[0]}, {wanted[1]}, ...)",
            got=f"none called {missing[0]}" + (f", or {missing[1]}" if len(missing) > 1 else ""),
            action="Export the checkpoint again with python -m export; foreign graphs are not read",
        )
    return stacks
