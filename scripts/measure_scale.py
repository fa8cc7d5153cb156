"""What a picture costs on its way to a device: python scripts/measure_scale.py PHOTO [YUNET].

The photo is stored as JPEG (quality 90) at several sizes; every stage is measured in processor time
of this process, one thread where a library lets itself be told. docs/scale.md is made of these
figures. The device itself is not measured here: see `python -m parity.benchmark`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.suite.simulated import SimulatedDevice
from runtime.detector import Detector
from runtime.faces import Face, YuNetFaces, find_boxes
from runtime.image.picture import decode_picture, read_picture
from runtime.many.inputs import PictureFile
from runtime.many.rows import rows_of
from runtime.many.search import Searched

SIZES_WH = ((250, 250), (640, 480), (1280, 720), (1920, 1080), (4000, 3000))
QUALITY = 90
RUNS = 20


def cost_ms(work: Callable[[], Any]) -> float:
    """Median processor time of a call, all threads of this process added up, ms."""
    found: list[float] = []
    for _ in range(RUNS + 1):
        start = time.process_time()
        work()
        found.append((time.process_time() - start) * 1e3)
    return median(found[1:])


def measure(photo: Any, size_wh: tuple[int, int], finder: YuNetFaces | None) -> str:
    """One size, as a row of a Markdown table."""
    picture = np.asarray(cv2.resize(photo, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    picture = decode_picture(encoded, "photo")
    with Detector(SimulatedDevice(0)) as detector:
        crop = detector.crop(picture)
        batch = detector.spec.input.pack([crop.pixels])
        trace = detector.trace(picture)
        face = Face(box_xyxy=None, score=None, trace=trace)
        name = PictureFile(name="photo.jpg", path=Path("photo.jpg"))
        row = rows_of(Searched(file=name, image=picture, faces=[face]))[0]
        whole = cost_ms(lambda: detector.trace(picture))
        found = [
            cost_ms(lambda: decode_picture(encoded, "photo")),
            cost_ms(lambda: find_boxes(finder, picture)) if finder else float("nan"),
            cost_ms(lambda: detector.crop(picture)),
            cost_ms(lambda: detector.spec.input.pack([crop.pixels], batch)),
            whole,
            cost_ms(lambda: msgspec.json.encode(rows_of(Searched(file=name, faces=[face])))),
        ]
    times = " | ".join(f"{ms:.2f}" for ms in found)
    line = len(msgspec.json.encode(row))
    return (
        f"| {size_wh[0]} x {size_wh[1]} | {len(encoded) / 1e3:.0f} | {times} | {line / 1e3:.1f} |"
    )


def main() -> int:
    """Print the table."""
    cv2.setNumThreads(1)
    photo = read_picture(Path(sys.argv[1]))
    finder = YuNetFaces(sys.argv[2]) if len(sys.argv) > 2 else None
    heads = (
        "px | KB | decode ms | find ms | crop ms | pack ms | crop to points ms | row ms | row KB"
    )
    sys.stdout.write(f"| {heads} |\n{'| --- ' * 9}|\n")
    for size_wh in SIZES_WH:
        sys.stdout.write(measure(photo, size_wh, finder) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
