"""How much damage a picture file shows: `python scripts/measure_damage.py [MUTATIONS] [SEED]`.

Small pictures of each format, with bits flipped, pieces zeroed, overwritten, cut off or dropped.
A mutation counts as missed where a block of 16x16 px differs by more than encoding it again does.
"""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import InputError
from runtime.image.picture import decode_picture

U8 = NDArray[np.uint8]
PHOTO = Path(__file__).resolve().parents[1] / "assets/sample.jpg"
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG": ("JPEG", {"quality": 90}),
    "JPEG progressive": ("JPEG", {"quality": 90, "progressive": True}),
    "JPEG restarts": ("JPEG", {"quality": 90, "restart_marker_rows": 1}),
    "PNG": ("PNG", {}),
    "TIFF deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "TIFF JPEG": ("TIFF", {"compression": "jpeg", "quality": 90}),
    "TIFF LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF PackBits": ("TIFF", {"compression": "packbits"}),
    "TIFF plain": ("TIFF", {}),
    "BMP": ("BMP", {}),
    "WebP": ("WEBP", {"quality": 90}),
    "WebP lossless": ("WEBP", {"lossless": True}),
}
KINDS = ("flip", "zero", "overwrite", "cut", "zero to the end", "drop")
SIZE_WH = (96, 112)


def encoded_as(form: str) -> bytes:
    """The sample, small."""
    kind, options = FORMS[form]
    file = io.BytesIO()
    with Image.open(PHOTO) as photo:
        photo.resize(SIZE_WH).save(file, kind, **options)
    return file.getvalue()


def mutated(encoded: bytes, random: np.random.Generator) -> tuple[str, bytes]:
    """One mutation of at most a quarter of the file, and its kind."""
    kind = KINDS[random.integers(len(KINDS))]
    found, at = bytearray(encoded), int(random.integers(2, len(encoded)))
    end = min(len(encoded), at + int(random.integers(1, len(encoded) // 4)))
    if kind == "flip":
        found[at] ^= 1 << int(random.integers(8))
    elif kind == "zero":
        found[at:end] = bytes(end - at)
    elif kind == "overwrite":
        found[at:end] = random.bytes(end - at)
    elif kind == "zero to the end":
        found[at:] = bytes(len(found) - at)
    else:
        del found[at : end if kind == "drop" else None]
    return kind, bytes(found)


def largest_block_difference(one: U8, other: U8) -> float:
    """The mean difference of the worst block of 16x16 px, in grey levels; inf for other sizes."""
    if one.shape != other.shape:
        return float("inf")
    apart = np.abs(one.astype(np.float32) - other).mean(axis=2)
    height, width = (side // 16 * 16 for side in apart.shape)
    return float(apart[:height, :width].reshape(height // 16, 16, -1, 16).mean((1, 3)).max())


def judged(form: str, count: int, seed: int) -> Iterator[tuple[str, str, bytes]]:
    """Mutations of a picture: kind, what became of it (refused, same or missed), bytes."""
    random = np.random.default_rng([seed, list(FORMS).index(form)])
    whole = encoded_as(form)
    right = decode_picture(whole, form)
    again = cv2.imencode(".jpg", right, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    allowed = largest_block_difference(right, decode_picture(again, form))
    for _ in range(count):
        kind, bad = mutated(whole, random)
        try:
            apart = largest_block_difference(right, decode_picture(bad, form))
            yield kind, "missed" if apart > allowed else "same", bad
        except InputError:
            yield kind, "refused", bad


def main(count: int, seed: int) -> None:
    """Print the share that was missed, by form and kind."""
    sys.stdout.write(f"| % missed | {' | '.join(KINDS)} | all |\n|{' --- |' * (len(KINDS) + 2)}\n")
    for form in FORMS:
        seen: Counter[tuple[str, str]] = Counter()
        for kind, outcome, _ in judged(form, count // len(FORMS), seed):
            seen[kind, outcome] += 1
            seen["all", outcome] += 1
        shares = (
            100 * seen[kind, "missed"] / max(1, sum(n for (k, _), n in seen.items() if k == kind))
            for kind in (*KINDS, "all")
        )
        sys.stdout.write(f"| {form} | {' | '.join(f'{share:.0f}' for share in shares)} |\n")


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["10000"])[0]), int((sys.argv[2:] or ["0"])[0]))
