"""From contour maps to point maps: which contour each point lies on, as a fixed 1x1 convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class EdgeToHeatmap(nn.Module):
    """Spread each contour's map over the points that lie on it.

    Weight (P, E, 1, 1) holds 1 where point p lies on contour e; bias (P,) is 1 for a point on no
    contour, so that the product it gates is left as it is. Both are buffers of the checkpoint, not
    parameters.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, points: int, contours: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(points, contours, 1, 1))
        self.register_buffer("bias", torch.ones(points))

    def forward(self, edges: Tensor) -> Tensor:
        """(N, E, S, S) contour maps in [0, 1] to (N, P, S, S)."""
        return functional.conv2d(edges, self.weight, self.bias)
