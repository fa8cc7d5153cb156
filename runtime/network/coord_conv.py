"""Convolution that is told where it is: coordinate channels beside the picture's own.

Source: "An intriguing failing of convolutional neural networks and the CoordConv solution",
https://arxiv.org/abs/1807.03247, in the variant the published checkpoint was trained with.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# The boundary channels switch on where the last point's heatmap exceeds this. It is a step: points
# near it can jump when the arithmetic changes, so it must be compared exactly as published.
BOUNDARY_THRESHOLD = 0.05

COORDINATE_CHANNELS = 3
BOUNDARY_CHANNELS = 2


def coordinate_planes(side: int) -> Tensor:
    """Make the three constant planes xx, yy and rr of a square grid.

    Returns:
        (1, 3, side, side) float32 in [-1, 1]. The plane called xx varies along the rows and yy
        along the columns: the published layer transposes its grid, and the weights expect it.

    Source: AddCoords of the published network (coordinates arange(n) / (n - 1) * 2 - 1).
    """
    planes = torch.empty(1, COORDINATE_CHANNELS, side, side)
    if planes.device.type == "meta":
        # shapes alone are asked for; computing there would import torch's compiler, for 2 seconds
        return planes
    ramp = torch.arange(side, dtype=torch.float32) / (side - 1) * 2 - 1
    xx = ramp.view(side, 1).expand(side, side)
    yy = ramp.view(1, side).expand(side, side)
    rr = torch.sqrt(xx**2 + yy**2)
    return torch.stack([xx, yy, rr / rr.max()]).unsqueeze(0)


def boundary_planes(heat: Tensor, planes: Tensor) -> Tensor:
    """Gate xx and yy by the last point's heatmap of the stack before.

    Args:
        heat: (N, P, S, S) unfused heatmaps of the previous stack.
        planes: (1, 3, S, S) from `coordinate_planes`; the third is not used.

    Returns:
        (N, 2, S, S): xx and yy where the heatmap is above the threshold, else 0.
    """
    gate = torch.clamp(heat[:, -1:], 0.0, 1.0) > BOUNDARY_THRESHOLD
    xx_yy = planes[:, :BOUNDARY_CHANNELS]
    return torch.where(gate, xx_yy, torch.zeros_like(xx_yy))


def norm_relu(x: Tensor, bn: nn.Module | None) -> Tensor:
    """Batch norm and ReLU where there is one (the stem); nothing in an hourglass."""
    return x if bn is None else functional.relu(bn(x))


class CoordConv(nn.Module):
    """A convolution over its input, xx, yy, rr and, after the first stack, the boundary planes.

    The submodule is called `conv` (and `bn` in the stem) because the checkpoint says so.
    """

    planes: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        side: int,
        kernel: int = 1,
        stride: int = 1,
        boundary: bool = False,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        extra = COORDINATE_CHANNELS + (BOUNDARY_CHANNELS if boundary else 0)
        self.in_channels = in_channels
        self.boundary = boundary
        self.kernel = kernel
        self.stride = stride
        self.padding = (kernel - 1) // 2
        self.conv = nn.Conv2d(
            in_channels + extra, out_channels, kernel, stride, padding=self.padding
        )
        self.bn: nn.Module | None = nn.BatchNorm2d(out_channels) if batch_norm else None
        # Not persistent: the checkpoint does not hold them.
        self.register_buffer("planes", coordinate_planes(side), persistent=False)

    def forward(self, x: Tensor, heat: Tensor | None = None) -> Tensor:
        """(N, C, S, S), and the previous stack's (N, P, S, S) heatmaps where boundary is on."""
        planes = self.planes.to(x.dtype)
        channels = [x, planes.expand(x.shape[0], -1, -1, -1)]
        if self.boundary and heat is not None:
            channels.append(boundary_planes(heat, planes))
        return norm_relu(self.conv(torch.cat(channels, dim=1)), self.bn)


class ConstantMapCoordConv(nn.Module):
    """The same function, shaped for a graph with a symbolic batch.

    The coordinates do not depend on the picture, so their share of the convolution is a constant
    map that is added afterwards: no Shape, Gather or Expand is left for a converter to trip over.
    """

    constant_map: Tensor
    planes: Tensor

    def __init__(self, source: CoordConv) -> None:
        super().__init__()
        conv, first = source.conv, source.in_channels
        last = first + COORDINATE_CHANNELS
        weight = conv.weight.detach()
        kept = torch.cat([weight[:, :first], weight[:, last:]], dim=1)
        self.conv = nn.Conv2d(
            kept.shape[1],
            kept.shape[0],
            source.kernel,
            source.stride,
            padding=source.padding,
        )
        self.conv.weight = nn.Parameter(kept)
        self.conv.bias = conv.bias
        self.boundary = source.boundary
        self.bn = source.bn
        # float64, so that the map is the rounded truth and not another rounding of its own
        share = functional.conv2d(
            source.planes.double(),
            weight[:, first:last].double(),
            stride=source.stride,
            padding=source.padding,
        )
        self.register_buffer("constant_map", share.to(weight.dtype))
        self.register_buffer("planes", source.planes)

    def forward(self, x: Tensor, heat: Tensor | None = None) -> Tensor:
        """As `CoordConv.forward`."""
        if self.boundary and heat is not None:
            x = torch.cat([x, boundary_planes(heat, self.planes)], dim=1)
        return norm_relu(self.conv(x) + self.constant_map, self.bn)
