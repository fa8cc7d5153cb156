"""The network's stages, in their order: where a difference between two runs can be looked for.

A stage's name is also the name of the tensor that leaves it, in every graph this project exports
(see `inner_tap_names`) and in every recording with taps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runtime.model.spec import INPUT_NAME, OUTPUT_NAMES, Architecture, TapShape

# The maps are a quarter of the picture: the stem halves twice.
STEM_STRIDE = 4
MOST_STACKS = 16
MOST_CHANNELS = 4096

# Of a module inside a stage, the output is called by its path in the checkpoint, and the input by
# this behind it.
MODULE_INPUT = " input"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of the network, with the tensors it reads and writes."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def stack(self) -> int:
        """The stack it belongs to; 0 for what comes before and after all of them."""
        stack, _, _ = self.name.rpartition(".")
        return int(stack.removeprefix("stack") or 0)

    @property
    def part(self) -> str:
        """What it does, the same word in every stack."""
        return self.name.rpartition(".")[2]


def stages_of(stacks: int, *, contours: bool = True) -> tuple[Stage, ...]:
    """List the stages of a network of so many stacks, from the picture to the landmarks.

    Without contours (use_AAM=False) there are no point, edge and fused maps.

    Tensors: `stem` is the first stack's input; `stack<i>.hourglass`, `.features`, `.heatmaps`
    (unfused), `.pointmaps`, `.edgemaps` and `.fused` are a stack's maps; `stack<i>.merged` is the
    next stack's input. The hourglass of a later stack also reads the heatmaps before it, for its
    boundary channels. The last stage writes both of the network's outputs.
    """
    found = [_stage("stem", INPUT_NAME)]
    entry = "stem"
    for index in range(stacks):
        hourglass, features, heat, point, edge, fused = (
            f"stack{index}.{part}"
            for part in ("hourglass", "features", "heatmaps", "pointmaps", "edgemaps", "fused")
        )
        before = (f"stack{index - 1}.heatmaps",) if index else ()
        found += [
            _stage(hourglass, entry, *before),
            _stage(features, hourglass),
            _stage(heat, features),
        ]
        maps: tuple[str, ...] = (heat,)
        if contours:
            maps = (heat, point, edge)
            found += [_stage(point, features), _stage(edge, features), _stage(fused, *maps)]
        last = found[-1].name
        if index + 1 < stacks:
            merged = f"stack{index}.merged"
            found.append(_stage(merged, entry, features, *maps))
            entry = merged
    return (*found, Stage(name=OUTPUT_NAMES[0], inputs=(last,), outputs=OUTPUT_NAMES))


def tap_shapes(architecture: Architecture) -> dict[str, TapShape]:
    """Every tensor that can be tapped between the picture and the outputs, in order."""
    a = architecture
    side = a.size // STEM_STRIDE
    channels = {
        "heatmaps": a.points,
        "pointmaps": a.points,
        "fused": a.points,
        "edgemaps": a.contours,
    }
    return {
        stage.name: (channels.get(stage.part, a.channels), side, side)
        for stage in stages_of(a.stacks, contours=a.has_contours)[:-1]
    }


def tap_names(architecture: Architecture) -> tuple[str, ...]:
    """The names of `tap_shapes`."""
    return tuple(tap_shapes(architecture))


def are_taps(shapes: Mapping[str, TapShape], *, points: int, size: int) -> bool:
    """Whether these are all the taps of one network, under their names and in their order."""
    stacks = sum(name.endswith(".hourglass") for name in shapes)
    if not shapes or next(iter(shapes)) != "stem" or not 1 <= stacks <= MOST_STACKS:
        return False
    channels = shapes["stem"][0]
    contours = shapes.get("stack0.edgemaps", (0,))[0]
    if not (1 <= channels <= MOST_CHANNELS and 0 <= contours <= MOST_CHANNELS):
        return False
    network = Architecture(
        stacks=stacks,
        depth=1,
        channels=channels,
        stem=1,
        points=points,
        contours=contours,
        size=size,
    )
    return list(shapes.items()) == list(tap_shapes(network).items())


def living_stages(stacks: int, *, contours: bool = True) -> tuple[Stage, ...]:
    """The stages that the landmarks depend on: nothing reads an earlier stack's fused maps."""
    stages = stages_of(stacks, contours=contours)
    read = {name for stage in stages for name in stage.inputs}
    return tuple(stage for stage in stages if stage is stages[-1] or stage.name in read)


def inner_tap_names(architecture: Architecture) -> tuple[str, ...]:
    """The taps that every exported graph holds as tensors inside it.

    The fused maps of a stack before the last are in debug bundles alone.
    """
    a = architecture
    return tuple(stage.name for stage in living_stages(a.stacks, contours=a.has_contours)[:-1])


def _stage(name: str, *inputs: str) -> Stage:
    return Stage(name=name, inputs=inputs, outputs=(name,))
