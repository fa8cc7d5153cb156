"""The network's stages, in their order: where a difference between two runs can be looked for.

A stage's name is also the name of the tensor that leaves it, in every graph this project exports
and in every recording with taps.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.spec import INPUT_NAME, OUTPUT_NAMES, Architecture


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of the network: the tensors it reads, and the tensors it gives."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def stages_of(stacks: int) -> tuple[Stage, ...]:
    """List the stages of a network of so many stacks, from the picture to the landmarks.

    Tensors: `stem` is the first stack's input; `stack<i>.hourglass`, `.features`, `.heatmaps`
    (unfused), `.pointmaps`, `.edgemaps` and `.fused` are a stack's maps; `stack<i>.merged` is the
    next stack's input. The hourglass of a later stack also reads the heatmaps before it, for its
    boundary channels. The last stage gives both of the network's outputs.
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
            _stage(point, features),
            _stage(edge, features),
            _stage(fused, heat, point, edge),
        ]
        if index + 1 < stacks:
            merged = f"stack{index}.merged"
            found.append(_stage(merged, entry, features, heat, point, edge))
            entry = merged
    last = f"stack{stacks - 1}.fused"
    return (*found, Stage(name=OUTPUT_NAMES[0], inputs=(last,), outputs=OUTPUT_NAMES))


def tap_names(architecture: Architecture) -> tuple[str, ...]:
    """Every tensor that can be tapped between the picture and the outputs."""
    return tuple(stage.name for stage in stages_of(architecture.stacks)[:-1])


def _stage(name: str, *inputs: str) -> Stage:
    return Stage(name=name, inputs=inputs, outputs=(name,))
