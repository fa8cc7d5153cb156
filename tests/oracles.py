"""Slow, obvious versions of what the runtime does fast. Float64, loops, no shared code."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def crop_from_image(box: tuple[float, float, float, float], size: int = 256) -> F64:
    """The published crop rule, step by step: scale, rotate by nothing, centre."""
    x1, y1, x2, y2 = box
    scale = max(x2 - x1, y2 - y1) / 180.0
    zoom = size / (scale * 200.0)
    centre = ((x1 + x2) / 2, (y1 + y2) / 2)
    middle = (size - 1) / 2
    return np.array(
        [
            [zoom, 0, middle - zoom * centre[0]],
            [0, zoom, middle - zoom * centre[1]],
            [0, 0, 1],
        ]
    )


def bilinear(picture: NDArray[np.uint8], image_from_crop: F64, size: int) -> F64:
    """Sample a picture under a map, black outside."""
    height, width = picture.shape[:2]
    out = np.zeros((size, size, 3))
    for row in range(size):
        for column in range(size):
            x, y, _ = image_from_crop @ (column, row, 1.0)
            x0, y0 = math.floor(x), math.floor(y)
            for xi, yi, weight in (
                (x0, y0, (x0 + 1 - x) * (y0 + 1 - y)),
                (x0 + 1, y0, (x - x0) * (y0 + 1 - y)),
                (x0, y0 + 1, (x0 + 1 - x) * (y - y0)),
                (x0 + 1, y0 + 1, (x - x0) * (y - y0)),
            ):
                if 0 <= xi < width and 0 <= yi < height:
                    out[row, column] += weight * picture[yi, xi]
    return out


def resized(picture: NDArray[np.uint8], size: int) -> F64:
    """Bilinear resize with half-pixel centres and repeated edges."""
    height, width = picture.shape[:2]
    out = np.zeros((size, size, 3))
    for row in range(size):
        y = min(max((row + 0.5) * height / size - 0.5, 0), height - 1)
        y0 = min(math.floor(y), height - 2)
        for column in range(size):
            x = min(max((column + 0.5) * width / size - 0.5, 0), width - 1)
            x0 = min(math.floor(x), width - 2)
            top = picture[y0, x0] * (x0 + 1 - x) + picture[y0, x0 + 1] * (x - x0)
            low = picture[y0 + 1, x0] * (x0 + 1 - x) + picture[y0 + 1, x0 + 1] * (x - x0)
            out[row, column] = top * (y0 + 1 - y) + low * (y - y0)
    return out


def decode(heatmap: F64) -> tuple[F64, F64]:
    """One map (S, S) to its point and its covariance, by the formulas of the design."""
    side = heatmap.shape[0]
    grid = [i / (side - 1) * 2 - 1 for i in range(side)]
    total = float(heatmap.sum())
    s = max(total, 1e-6)
    x = sum(heatmap[r, c] * grid[c] for r in range(side) for c in range(side)) / s
    y = sum(heatmap[r, c] * grid[r] for r in range(side) for c in range(side)) / s
    xx = xy = yy = 0.0
    for r in range(side):
        for c in range(side):
            dx, dy = grid[c] - x, grid[r] - y
            xx += heatmap[r, c] * dx * dx / s
            xy += heatmap[r, c] * dx * dy / s
            yy += heatmap[r, c] * dy * dy / s
    unknown = 1 - total / s
    return np.array([x, y]), np.array([xx + unknown, xy, yy + unknown])


def home(point: F64, covariance: F64, image_from_crop: F64, size: int) -> tuple[F64, F64]:
    """One point and its covariance from the normalised frame into the picture."""
    crop = ((point + 1) * size - 1) / 2
    image = image_from_crop @ (crop[0], crop[1], 1.0)
    a = image_from_crop[:2, :2]
    xx, xy, yy = covariance * (size / 2) ** 2
    moved = a @ np.array([[xx, xy], [xy, yy]]) @ a.T
    return image[:2], np.array([moved[0, 0], moved[0, 1], moved[1, 1]])
