"""The exported graph against the checkpoint it came from, before anything is shipped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.graph.reference import Reference
from parity.judging.differences import table_of
from parity.judging.expected import rounding_of
from parity.judging.verdict import judge
from parity.samples import Sample
from runtime.backends import open_backend
from runtime.cli.command_line import step
from runtime.errors import ExportError
from runtime.image.crop import crop_straight, crop_whole
from runtime.model.manifest import ErrorFact
from runtime.model.spec import InputSpec

logger = logging.getLogger("starmark")

RANDOM_CROPS = 2


def verify(reference: Reference, graph: Path, samples: Sequence[Sample]) -> dict[str, ErrorFact]:
    """Run torch and onnxruntime on real and random crops, and compare every output.

    Returns:
        For each kind of crop and output, the errors in crop px: |dx| and |dy| of the landmarks,
        and differences of the spread along both axes of the covariance.

    Raises:
        ExportError: an output differs by more than rounding, as `parity.judging.expected` has it.
    """
    found: dict[str, ErrorFact] = {}
    with (
        step("verify torch against onnxruntime"),
        reference.open() as torch,
        open_backend(graph, "cpu") as onnxruntime,
    ):
        spec = torch.spec.input
        shape = (RANDOM_CROPS, spec.size, spec.size, 3)
        noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        for kind, crops in (("real", with_mirrored(real_crops(samples, spec))), ("random", noise)):
            here = torch.run(spec.pack(crops))
            there = onnxruntime.run(onnxruntime.spec.input.pack(crops))
            table = table_of(
                here,
                there,
                size=spec.size,
                names=tuple(f"{kind} crop {index}" for index in range(len(crops))),
                linear=np.tile(np.eye(2), (len(crops), 1, 1)),
                points_px=(here.landmarks + 1.0) * spec.size / 2,
                interocular_px=np.full(len(crops), np.nan),
            )
            for output, moved in (("landmarks", table.crop_px), ("covariance", table.spread_px)):
                mean, largest = float(np.abs(moved).mean()), float(np.abs(moved).max())
                logger.info("  %s/%s mean %.2g, max %.2g crop px", kind, output, mean, largest)
                found[f"{kind}/{output}"] = ErrorFact(
                    pictures=len(crops), mean_px=mean, max_px=largest
                )
            verdict = judge(table, rounding_of(table), basis="rounding")
            if not verdict.passed:
                raise ExportError(
                    f"{graph.name}: {kind} crops",
                    expected=f"no more than rounding from {reference.source.text} in torch",
                    got="; ".join(verdict.exceeded),
                    action="Try --exporter dynamo, or the versions in constraints.txt",
                )
    return found


def real_crops(samples: Sequence[Sample], spec: InputSpec) -> NDArray[np.uint8]:
    """Each sample's crop, (N, S, S, 3)."""
    cuts = [crop_straight if s.is_crop_of(spec.size) else crop_whole for s in samples]
    pictures = [sample.read() for sample in samples]
    return np.stack([cut(p, spec.size).pixels for cut, p in zip(cuts, pictures, strict=True)])


def with_mirrored(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crops, and each one's mirror image."""
    return np.concatenate([crops, crops[:, :, ::-1]])
