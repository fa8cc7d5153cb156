"""What the engines of ONNX graphs share: the spec, read off the inputs and outputs they report."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.base import Backend, Outputs
from runtime.errors import ArtifactError
from runtime.model.manifest import MANIFEST_NAME
from runtime.model.source import Artifact
from runtime.model.spec import INPUT_NAME, OUTPUT_NAMES, ModelSpec, TapShape, spec_of
from runtime.model.stages import are_taps

SMALLEST_SIDE_PX = 32


@dataclass(frozen=True)
class GraphTensor:
    """An input or output; a dimension that is free is None."""

    dtype: str
    dims: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.dtype} ({', '.join('N' if d is None else str(d) for d in self.dims)})"


ABSENT = GraphTensor("", ())
# In the bytes of every graph that an engine runs in int8: names of operators stand there as text.
INT8_OPERATORS = (b"DequantizeLinear", b"QLinear", b"ConvInteger", b"MatMulInteger")


class GraphBackend(Backend):
    """A backend that runs an ONNX graph."""

    def _describe(
        self,
        artifact: Artifact,
        inputs: Mapping[str, GraphTensor],
        outputs: Mapping[str, GraphTensor],
    ) -> None:
        """Read the spec off the graph, and hold it to the manifest where there is one.

        Raises:
            ArtifactError: not a graph as this project exports them, or not the manifest's.
        """
        where, manifest = str(artifact.path), artifact.manifest
        graph = artifact.graph or artifact.path.read_bytes()
        self.arithmetic = "int8" if any(name in graph for name in INT8_OPERATORS) else "fp32"
        self.spec, batch = _spec_in_graph(inputs, outputs, where)
        self.batches = () if batch is None else (batch,)
        if manifest is not None:
            _check_same(self.spec, manifest.spec, where)
            self.spec, self.manifest = manifest.spec, manifest
            self.parameters = manifest.checkpoint.parameters

    def _run(self, batch: NDArray[Any]) -> Outputs:
        if not self.batches:
            return self._infer(batch)
        (size,) = self.batches
        parts = [self._padded(batch[at : at + size], size) for at in range(0, len(batch), size)]
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _padded(self, part: NDArray[Any], size: int) -> Outputs:
        """Run at most one static batch; empty places are zeros."""
        filled = len(part)
        if filled == size:
            return self._infer(part)
        whole = np.zeros((size, *part.shape[1:]), part.dtype)
        whole[:filled] = part
        found = self._infer(whole)
        return Outputs(
            landmarks=found.landmarks[:filled],
            covariance=found.covariance[:filled],
            timings=found.timings,
            taps={name: tap[:filled] for name, tap in found.taps.items()},
        )

    @abstractmethod
    def _infer(self, batch: NDArray[Any]) -> Outputs:
        """Run a batch that the graph takes."""


def _joined(parts: list[Outputs]) -> Outputs:
    first = parts[0]
    return Outputs(
        landmarks=np.concatenate([part.landmarks for part in parts]),
        covariance=np.concatenate([part.covariance for part in parts]),
        timings={stage: sum(part.timings[stage] for part in parts) for stage in first.timings},
        taps={name: np.concatenate([part.taps[name] for part in parts]) for name in first.taps},
    )


def _spec_in_graph(
    inputs: Mapping[str, GraphTensor], outputs: Mapping[str, GraphTensor], where: str
) -> tuple[ModelSpec, int | None]:
    """The spec, and the only batch that the graph takes; None where it takes any."""
    size = _side_of(inputs.get(INPUT_NAME, ABSENT))
    landmarks, covariance = (outputs.get(name, ABSENT) for name in OUTPUT_NAMES)
    points = landmarks.dims[1] if len(landmarks.dims) == 3 else None
    further = {name: tensor for name, tensor in outputs.items() if name not in OUTPUT_NAMES}
    batches = {tensor.dims[:1] for tensor in (*inputs.values(), *outputs.values())}
    good = (
        len(inputs) == 1
        and len(batches) == 1
        and size >= SMALLEST_SIDE_PX
        and points is not None
        and points >= 1
        and landmarks.dtype == covariance.dtype == "float32"
        and landmarks.dims[1:] == (points, 2)
        and len(covariance.dims) == 3
        and covariance.dims[1:] == (points, 3)
        and _are_taps(further, points=points, size=size)
    )
    if not good or points is None:
        raise ArtifactError(
            where,
            expected=f"input {INPUT_NAME} float32 (N, 3, S, S) or uint8 (N, S, S, 3), outputs"
            f" {OUTPUT_NAMES[0]} (N, P, 2) and {OUTPUT_NAMES[1]} (N, P, 3), one N for all;"
            " of a debug bundle, every tap",
            got=f"inputs {_listed(inputs)}, outputs {_listed(outputs)}",
            action="Export the checkpoint with python -m export; foreign graphs are not read",
        )
    spec = spec_of(
        points=points,
        size=size,
        taps=_shapes(further),
        bytes_in=inputs[INPUT_NAME].dtype == "uint8",
    )
    return spec, inputs[INPUT_NAME].dims[0]


def _check_same(graph: ModelSpec, manifest: ModelSpec, where: str) -> None:
    found, expected = (
        f"{spec.points} points, {spec.input} and {len(spec.taps)} taps"
        for spec in (graph, manifest)
    )
    if found != expected or graph.taps != manifest.taps:
        raise ArtifactError(
            where,
            expected=f"{expected}, as {MANIFEST_NAME} says",
            got=found if found != expected else "taps of other shapes",
            action="Make the bundle again with python -m export",
        )


def _are_taps(further: Mapping[str, GraphTensor], *, points: int, size: int) -> bool:
    """Whether what is given besides landmarks and covariance is nothing, or every tap."""
    shaped = all(
        tensor.dtype == "float32" and len(tensor.dims) == 4 and None not in tensor.dims[1:]
        for tensor in further.values()
    )
    return shaped and (not further or are_taps(_shapes(further), points=points, size=size))


def _shapes(further: Mapping[str, GraphTensor]) -> dict[str, TapShape]:
    """Only of taps, whose sizes are all known."""
    found: dict[str, TapShape] = {}
    for name, tensor in further.items():
        _, channels, height, width = (size or 0 for size in tensor.dims)
        found[name] = (channels, height, width)
    return found


def _side_of(tensor: GraphTensor) -> int:
    """Side of the square input in px; 0 where it is no input of ours."""
    if len(tensor.dims) != 4:
        return 0
    if tensor.dtype == "float32":
        channels, height, width = tensor.dims[1:]
    elif tensor.dtype == "uint8":
        height, width, channels = tensor.dims[1:]
    else:
        return 0
    return height if height is not None and (channels, height) == (3, width) else 0


def _listed(tensors: Mapping[str, GraphTensor]) -> str:
    return ", ".join(f"{name} {tensor}" for name, tensor in tensors.items()) or "none"
