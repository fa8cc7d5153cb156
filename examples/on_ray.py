"""Ray Data in a pipeline of your own: a pool of Detectors, one row for each picture.

    python examples/on_ray.py build/starter68 assets/*.jpg

For files into Parquet there is `python -m runtime.batch --engine ray`, which also goes on where it
was stopped. This is for rows that come from, or go to, something else.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ray

from runtime import Detector, StarmarkError
from runtime.image.picture import decode_picture

WORKERS = 1
# On Ascend "npu:0", and resources={"NPU": 1} below: Ray shows each actor its own chip as 0.
DEVICE = "cpu"


class Landmarks:
    """An actor: opens the model once, and adds columns to the rows it is given."""

    def __init__(self, bundle: str) -> None:
        self.detector = Detector(bundle, DEVICE)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Picture bytes in, points out; one bad picture is a row with an error."""
        encoded = row.pop("bytes")
        try:
            picture = decode_picture(encoded, row["name"])
            points_px = self.detector.detect(picture).points_px.tolist()
        except StarmarkError as error:
            return {**row, "points_px": None, "error": str(error)}
        return {**row, "points_px": points_px, "error": ""}


def main() -> int:
    """Print each picture's nose, or its error."""
    bundle, *paths = sys.argv[1:]
    ray.init(include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    pictures = ray.data.from_items([{"name": p, "bytes": Path(p).read_bytes()} for p in paths])
    found = pictures.map(
        Landmarks,  # type: ignore[arg-type]  # a class stands for a pool of its objects
        fn_constructor_args=(str(Path(bundle).resolve()),),
        compute=ray.data.ActorPoolStrategy(size=WORKERS),
        num_cpus=1,
    )
    for row in found.take_all():
        print(row["name"], f"failed: {row['error']}" if row["error"] else row["points_px"][30])
    ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
