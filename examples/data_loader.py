"""torch.utils.data: loader processes decode, the main process runs the device in batches.

    python examples/data_loader.py build/starter68 assets/*.jpg

The Detector stays in the main process: a device belongs to one process, engines' threads do not
survive the fork by which loaders start, and eight loaders would hold the model eight times. What
costs processor time, decoding, is in the loaders; the crop is a fraction of a millisecond.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset

from runtime import Detector, StarmarkError
from runtime.image.picture import read_picture

BATCH = 8
LOADERS = 2


class Pictures(Dataset[tuple[str, Any]]):
    """Decoded pictures; one that cannot be read is its error, so that it ends no epoch."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, Any]:
        path = self.paths[index]
        try:
            return path, read_picture(Path(path))
        except StarmarkError as error:
            return path, str(error)


def as_list(items: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Pictures differ in size: they are not stacked, the Detector crops them to one."""
    return items


def main() -> int:
    """Print each picture's nose, or its error."""
    bundle, *paths = sys.argv[1:]
    loader = DataLoader(Pictures(paths), batch_size=BATCH, num_workers=LOADERS, collate_fn=as_list)
    # before the first batch: loaders are forked when it is asked for, and must not own an engine
    batches = iter(loader)
    with Detector(bundle) as detector:
        for batch in batches:
            readable = [(path, picture) for path, picture in batch if not isinstance(picture, str)]
            found = detector.detect_batch(picture for _, picture in readable)
            for (path, _), landmarks in zip(readable, found, strict=True):
                print(path, landmarks.points_px[30].round(1).tolist())
            for path, picture in batch:
                if isinstance(picture, str):
                    print(path, "failed:", picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
