"""The exported graph against the checkpoint it came from, before anything is shipped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.graph.reference import Reference
from parity.samples import Sample
from runtime.backends import open_backend
from runtime.cli.command_line import step
from runtime.errors import ExportError
from runtime.image.crop import crop_straight, crop_whole
from runtime.image.landmarks import spread_of
from runtime.image.picture import read_picture
from runtime.model.manifest import ErrorFact
from runtime.model.spec import InputSpec

logger = logging.getLogger("starmark")

# Measured between torch and onnxruntime in float32, full size and starter: means up to 3e-5 crop
# px, maxima up to 5e-4. The limit on the maximum leaves room for one flip of the boundary gate,
# which is a step; a graph that is wrong is off by pixels everywhere.
LIMIT_MEAN_CROP_PX = 0.001
LIMIT_MAX_CROP_PX = 0.05
RANDOM_CROPS = 2


def verify(reference: Reference, graph: Path, samples: Sequence[Sample]) -> dict[str, ErrorFact]:
    """Run torch and onnxruntime on real and random crops, and compare every output.

    Returns:
        For each kind of crop and output, the errors in crop px: |dx| and |dy| of the landmarks,
        and differences of the spread (root of the covariance's larger eigenvalue).

    Raises:
        ExportError: an output differs by more than rounding.
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
            for output, moved in (
                ("landmarks", there.landmarks - here.landmarks),
                ("covariance", spread_of(there.covariance) - spread_of(here.covariance)),
            ):
                px = np.abs(moved.astype(np.float64)) * spec.size / 2
                found[f"{kind}/{output}"] = ErrorFact(
                    pictures=len(crops), mean_px=float(px.mean()), max_px=float(px.max())
                )
    for name, fact in found.items():
        logger.info("  %-18s mean %.2g, max %.2g crop px", name, fact.mean_px, fact.max_px)
        # "not <=" so that a NaN fails, too
        if not (fact.mean_px <= LIMIT_MEAN_CROP_PX and fact.max_px <= LIMIT_MAX_CROP_PX):
            raise ExportError(
                f"{graph.name}: {name}",
                expected=f"mean at most {LIMIT_MEAN_CROP_PX} and max at most {LIMIT_MAX_CROP_PX}"
                f" crop px from {reference.source.text} in torch",
                got=f"mean {fact.mean_px:.4g}, max {fact.max_px:.4g} crop px",
                action="Try --exporter dynamo, or the versions in constraints.txt",
            )
    return found


def real_crops(samples: Sequence[Sample], spec: InputSpec) -> NDArray[np.uint8]:
    """Each sample's crop, (N, S, S, 3)."""
    cuts = [crop_straight if s.is_crop_of(spec.size) else crop_whole for s in samples]
    pictures = [read_picture(sample.path) for sample in samples]
    return np.stack([cut(p, spec.size).pixels for cut, p in zip(cuts, pictures, strict=True)])


def with_mirrored(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crops, and each one's mirror image."""
    return np.concatenate([crops, crops[:, :, ::-1]])
