"""The decoder, inside the graph: heatmaps to points and to how sure the network is of them."""

from __future__ import annotations

import torch
from torch import Tensor

# A map whose sum is below this is dead; the published decoder clamps at the same value.
SMALLEST_SUM = 1e-6


def soft_argmax(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Take the centre of mass of each map, and the second moments about it.

    Args:
        heatmaps: (N, P, S, S) non-negative.

    Returns:
        Points (N, P, 2) as (x, y) in [-1, 1], and covariance (N, P, 3) as xx, xy, yy in the same
        unit squared. The moments are centred (never E[g^2] - mu^2, which cancels), and 1 - sum / s
        is added to xx and yy so that a dead map reads as "unknown" and not as "certain".

    Source: soft-argmax of the published network; grid arange(S) / (S - 1) * 2 - 1 per axis.
    """
    side = heatmaps.shape[-1]
    grid = torch.arange(side, dtype=heatmaps.dtype, device=heatmaps.device) / (side - 1) * 2 - 1
    columns = heatmaps.sum(dim=2)  # (N, P, S) over x
    rows = heatmaps.sum(dim=3)  # (N, P, S) over y
    total = rows.sum(dim=2, keepdim=True)  # (N, P, 1)
    weight = torch.clamp(total, min=SMALLEST_SUM)

    x = (columns * grid).sum(dim=2, keepdim=True) / weight
    y = (rows * grid).sum(dim=2, keepdim=True) / weight
    dx = grid - x  # (N, P, S)
    dy = grid - y
    unknown = 1 - total / weight
    xx = (columns * dx * dx).sum(dim=2, keepdim=True) / weight + unknown
    yy = (rows * dy * dy).sum(dim=2, keepdim=True) / weight + unknown
    xy = ((heatmaps * dx.unsqueeze(2)).sum(dim=3) * dy).sum(dim=2, keepdim=True) / weight
    return torch.cat([x, y], dim=2), torch.cat([xx, xy, yy], dim=2)
