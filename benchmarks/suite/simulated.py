"""A simulated device of fixed latency, to see what a stream does with the rest of the time.

It computes nothing and is no chip's simulator. Its answers tell pictures apart.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends import Backend, Outputs
from runtime.model.spec import spec_of

POINTS = 68
SPREAD = 1e-3


class SimulatedDevice(Backend):
    """Takes so many seconds for each call, whatever the batch.

    Args:
        latency_s: of a call.

    Attributes:
        busy_s: seconds it was at work so far.
    """

    def __init__(self, latency_s: float) -> None:
        self.name = f"simulated device, {latency_s * 1e3:g} ms a call, computes nothing"
        self.device = "simulated"
        self.spec = spec_of(points=POINTS)
        self.busy_s = 0.0
        self._latency_s = latency_s

    def _run(self, batch: NDArray[Any]) -> Outputs:
        start = time.perf_counter()
        landmarks = np.zeros((len(batch), POINTS, 2), np.float32)
        # every 16th pixel: enough to tell pictures apart, and soon done
        landmarks[:] = batch[:, :, ::16, ::16].mean(axis=(1, 2, 3))[:, None, None]
        covariance = np.full((len(batch), POINTS, 3), SPREAD, np.float32)
        left = self._latency_s - (time.perf_counter() - start)
        if left > 0:
            time.sleep(left)
        took = time.perf_counter() - start
        self.busy_s += took
        return Outputs(landmarks=landmarks, covariance=covariance, timings={"compute": took})

    def _close(self) -> None:
        pass
