"""How long `detect` takes around the engine's call: python scripts/measure_host.py [BUNDLE].

The engine is replaced by one that answers at once. Boxes of 200 to 1,000 px a side, small faces,
faces that fill the picture and faces partly outside, on pictures of 1920x1080 and 4000x3000.

Beside it, box by box, the floor: OpenCV's warp into a kept buffer and one call that normalises and
transposes, without any check, any way home and any new memory but that call's. Its ratio is that of
the fastest rounds, P10/P50/P90 over the boxes.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.suite.floor import Floor
from runtime.backends import Backend, Outputs
from runtime.detector import Detector
from runtime.model.spec import spec_of

ROUNDS = 40
SIZES_WH = ((1920, 1080), (4000, 3000))


class Instant(Backend):
    """Answers with the same numbers at once; `seconds` is what its calls took, checks included."""

    def __init__(self, kind: str) -> None:
        self.name, self.device, self.spec = (
            "instant",
            "cpu",
            spec_of(points=68, bytes_in=kind == "uint8"),
        )
        rng = np.random.default_rng(0)
        self._landmarks = rng.uniform(-1, 1, (1, 68, 2)).astype(np.float32)
        self._covariance = np.full((1, 68, 3), 1e-3, np.float32)

    def _run(self, batch: NDArray[Any]) -> Outputs:
        return Outputs(
            landmarks=self._landmarks[: len(batch)],
            covariance=self._covariance,
            timings={"compute": 0.0},
        )

    def _close(self) -> None:
        pass


def boxes_of(width: int, height: int) -> list[tuple[float, ...]]:
    """Boxes of 200 to 1,000 px a side in the picture, the whole of it, and some half outside."""
    rng = np.random.default_rng(1)
    found: list[tuple[float, ...]] = []
    for side in (200, 300, 400, 500, 600, 700, 800, 900, 1000):
        for _ in range(3):
            x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
            found.append((x, y, x + side, y + side))
        found.append((-side / 3, -side / 3, side * 2 / 3, side * 2 / 3))
        found.append((width - side / 2, height - side / 2, width + side / 2, height + side / 2))
    found.append((0.0, 0.0, float(height), float(height)))
    return found


def main() -> int:
    """Print one line for each size of picture and kind of input."""
    rng = np.random.default_rng(0)
    for width, height in SIZES_WH:
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        boxes = boxes_of(width, height)
        for kind in ("float32", "uint8"):
            detector = Detector(Instant(kind))
            floor = Floor(detector.spec.input)
            seconds: list[float] = []
            least: list[float] = []
            stages: dict[str, list[float]] = {}
            for _ in range(ROUNDS):
                for box in boxes:
                    start = time.perf_counter()
                    trace = detector.trace(image, box)
                    seconds.append(time.perf_counter() - start)
                    least.append(floor.seconds(image, box))
                    for stage, value in trace.timings.items():
                        stages.setdefault(stage, []).append(value)
            medians = {stage: statistics.median(of) for stage, of in stages.items()}
            rest = statistics.median(seconds) - sum(medians.values())
            found = {"all": statistics.median(seconds), **medians, "rest": rest}
            said = "  ".join(f"{stage} {value * 1e3:.3f}" for stage, value in found.items())
            worst = max(
                statistics.median(seconds[index :: len(boxes)]) for index in range(len(boxes))
            )
            # of each box the fastest round: whatever else the machine does only adds
            fastest = [np.reshape(of, (ROUNDS, len(boxes))).min(axis=0) for of in (seconds, least)]
            over = "/".join(
                f"{r:.2f}" for r in np.percentile(fastest[0] / fastest[1], (10, 50, 90))
            )
            sys.stdout.write(
                f"{width}x{height} {kind}: ms {said}  slowest box {worst * 1e3:.3f}"
                f"  fastest {np.median(fastest[0]) * 1e3:.3f}, over the floor {over}\n"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
