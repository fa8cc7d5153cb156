"""Networks with STAR's options, and weights that any machine draws alike."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.model.spec import Architecture
from runtime.model.topology import FACE_29
from runtime.network.hourglass import StackedHourglass

F64 = NDArray[np.float64]


def drawn(key: str, shape: tuple[int, ...]) -> F64:
    """The same numbers for a key on any machine."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape)
    if len(shape) == 4:
        damped = 0.2 if ".conv3." in key or key.startswith("merge_") else 1.0
        return rng.normal(0, np.sqrt(1 / np.prod(shape[1:])), shape) * damped
    if ".bn" in key and key.endswith("weight"):
        return rng.uniform(0.8, 1.2, shape)
    return rng.normal(0, 0.05, shape)


def edges_to_points() -> F64:
    """COFW's seven contours over its 29 points."""
    weight = np.zeros((29, 7, 1, 1))
    for edge, contour in enumerate(FACE_29.contours):
        weight[[*contour.indices], edge] = 1
    return weight


def network_of(architecture: Architecture) -> StackedHourglass:
    """A network of 29 points with weights drawn by their keys."""
    network = StackedHourglass(architecture).eval()
    state = network.state_dict()
    for key, tensor in state.items():
        if tensor.is_floating_point() and not key.startswith("e2h_transform"):
            state[key] = torch.from_numpy(drawn(key, tuple(tensor.shape)).astype(np.float32))
    if architecture.has_contours:
        state["e2h_transform.weight"] = torch.from_numpy(edges_to_points().astype(np.float32))
        state["e2h_transform.bias"] = torch.zeros(29)
        on_none = [p for p in range(29) if not edges_to_points()[p].any()]
        state["e2h_transform.bias"][on_none] = 1
    network.load_state_dict(state)
    return network
