"""A backend without a network: it says how grey a picture is, or does as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends import Backend, Outputs
from runtime.errors import InferenceError
from runtime.model.spec import spec_of

U8 = NDArray[np.uint8]
SIZE = 32


class Grey(Backend):
    """Says the grey of a picture, as the x of its points; does as told about some greys."""

    def __init__(self, number: int = 0, seed: int = 0, size: int = SIZE, at_once: int = 1) -> None:
        self.name, self.device, self.spec = "grey", f"npu:{number}", spec_of(points=2, size=size)
        self.at_once = at_once
        self.sizes: list[int] = []
        self.threads: set[int] = set()
        self.faults: dict[int, Callable[[], object]] = {}
        self._random = np.random.default_rng(seed)

    def _run(self, batch: NDArray[Any]) -> Outputs:
        self.sizes.append(len(batch))
        self.threads.add(threading.get_ident())
        grey = batch.mean(axis=(1, 2, 3)) / 2
        for value in grey_levels(grey):
            self.faults.get(value, lambda: None)()
        time.sleep(self._random.uniform(0, 1e-3))
        landmarks = np.zeros((len(batch), 2, 2), np.float32)
        landmarks[..., 0] = grey[:, None]
        return Outputs(
            landmarks=landmarks,
            covariance=np.full((len(batch), 2, 3), 1e-3, np.float32),
            timings={"compute": 1e-3},
        )

    def _close(self) -> None:
        pass


def grey_levels(normalised: NDArray[Any]) -> list[int]:
    return [round(value) for value in np.atleast_1d(normalised * 2 * 127.5 + 127.5).tolist()]


def picture(index: int) -> U8:
    return np.full((40, 40, 3), index % 256, np.uint8)


def raising(error: BaseException) -> Callable[[], object]:
    def fault() -> None:
        raise error

    return fault


def failure(got: str = "none") -> InferenceError:
    return InferenceError("grey", expected="a run", got=got, action="Look")


def threads_left() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("starmark-")]
