"""What a graph says of itself, so that it can be used without this project and its manifest.

Keys that Ultralytics' exports have are named as there (task, stride, imgsz, kpt_shape, ...), and
lists and mappings are JSON that is a Python literal, too. Nothing depends on time, machine or path.
"""

from __future__ import annotations

import json

import onnx
from msgspec import UNSET

from runtime.model.manifest import CheckpointFact, OnnxFact
from runtime.model.spec import CHECKPOINT_KEY, ModelSpec
from runtime.model.stages import STEM_STRIDE
from runtime.model.topology import Topology, mirrored_points
from runtime.version import VERSION

UNKNOWN_LICENSE = "not stated: the terms of the weights apply"


def describe(
    graph: onnx.ModelProto,
    spec: ModelSpec,
    checkpoint: CheckpointFact,
    fact: OnnxFact,
    *,
    precision: str = "fp32",
    license_name: str = "",
) -> None:
    """Write a graph's metadata, in place of what it has.

    Args:
        graph: finished; changed in place.
        spec: of this graph.
        checkpoint: what it was made from.
        fact: how it was made.
        precision: fp32 or int8.
        license_name: of the weights, as SPDX names it; empty where nobody stated one.
    """
    batch = None if fact.static_batch is UNSET else fact.static_batch
    settings = {
        "exporter": fact.exporter,
        "opset": fact.opset,
        "rewrites": list(fact.rewrites),
        "precision": precision,
        # 0 and 1, not JSON's false and true, which are no Python
        "dynamic": int(batch is None),
        "batch": batch or 1,
    }
    found = {
        "description": f"{spec.points} landmarks of a face and their covariance, by a stacked"
        " hourglass network with its decoder",
        "author": "Starmark developers",
        "version": VERSION,
        "license": license_name or UNKNOWN_LICENSE,
        "task": "keypoint-detection",
        "batch": str(batch or 1),
        "args": json.dumps(settings),
        CHECKPOINT_KEY: checkpoint.sha256,
        **_points(spec.topology),
        **_input(spec),
        **_outputs(spec),
    }
    del graph.metadata_props[:]
    for key, value in found.items():
        graph.metadata_props.add(key=key, value=value)
    graph.producer_version = VERSION


def point_names(topology: Topology) -> list[str]:
    """A name for each point: the first contour that it lies on, and its number."""
    contours = {point: region for region, points in topology.regions.items() for point in points}
    first = {
        point: contour.name for contour in reversed(topology.contours) for point in contour.indices
    }
    return [f"{(contours | first)[point]} {point}" for point in range(topology.points)]


def _points(topology: Topology) -> dict[str, str]:
    contours = [
        {"name": one.name, "points": [*one.indices], "closed": int(one.closed)}
        for one in topology.contours
    ]
    mirrored = mirrored_points(topology)
    normaliser = topology.normaliser
    return {
        "topology": topology.name,
        "names": json.dumps({"0": "face"}),
        "kpt_shape": json.dumps([topology.points, 2]),
        "kpt_names": json.dumps({"0": point_names(topology)}),
        "contours": json.dumps(contours),
        **({"flip_idx": json.dumps(mirrored)} if mirrored else {}),
        **({"nme_normaliser": json.dumps(normaliser)} if normaliser else {}),
    }


def _input(spec: ModelSpec) -> dict[str, str]:
    of, size = spec.input, spec.input.size
    normalisation = f"(pixel - {of.mean:g}) / {of.scale:g}"
    normalised = "inside the graph: feed the crop's bytes" if of.dtype == "uint8" else "by the host"
    return {
        "stride": str(STEM_STRIDE),
        "imgsz": json.dumps([size, size]),
        "channels": "3",
        "input.name": of.name,
        "input.dtype": of.dtype,
        "input.layout": of.layout,
        "input.color": of.colour,
        "input.mean": f"{of.mean:g}",
        "input.scale": f"{of.scale:g}",
        "input.normalisation": f"{normalisation}, {normalised}",
        "input.crop": f"of a face box x1, y1, x2, y2 in image px: (image_px - box middle) * scale"
        f" + {(size - 1) / 2:g}, bilinear, 0 outside; without a box, the whole image resized to"
        f" {size} x {size}, bilinear",
        "input.crop_scale": f"{size} / (max(x2 - x1, y2 - y1) / 180 * 200)",
    }


def _outputs(spec: ModelSpec) -> dict[str, str]:
    landmarks, covariance = spec.outputs
    size = spec.input.size
    return {
        "output.names": json.dumps([*spec.outputs, *spec.taps]),
        f"{landmarks}.order": f"(N, {spec.points}, 2): x to the right, y down",
        f"{landmarks}.unit": "-1 and 1 are the outer edges of the crop's first and last pixel"
        " (align_corners=False)",
        f"{landmarks}.crop_px": f"((p + 1) * {size} - 1) / 2; pixel centres are whole numbers",
        f"{landmarks}.image_px": "by the inverse of the crop's matrix; of a whole image of width W,"
        f" x = (x_crop_px + 0.5) * W / {size} - 0.5, and y likewise by its height",
        f"{covariance}.order": f"(N, {spec.points}, 3): xx, xy, yy",
        f"{covariance}.unit": f"that of {landmarks}, squared; {size / 2:g}^2 times that is crop"
        " px^2. 1 or more on xx and yy: the point is unknown",
    }
